"""Verb: a local page to color photographs with, and an HTTP API.

recolor-fast serve
curl --data-binary @old.jpg 'http://127.0.0.1:8765/color?saturation=1.2' > colored.jpg
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.serve.__main__", arguments="serve")

import ipaddress
import os
import re
import signal
import socket
import sys
import webbrowser
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import prometheus_client  # noqa: F401 - like the next one, of the extra: missing, it is told before anything is done
import python_multipart  # noqa: F401
import uvicorn

from recolor_fast.arguments.serve import Arguments, parse
from recolor_fast.machine import signals, starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say, state_folder
from recolor_fast.photographs import images
from recolor_fast.serve import colorizers, desk, work
from recolor_fast.serve.app import application
from recolor_fast.serve.connection import settings
from recolor_fast.serve.desk import Desks
from recolor_fast.serve.guard import Rules

EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # hosts of all addresses, and one of these


class Server(uvicorn.Server):
    """uvicorn's, which a lost terminal ends in good order, too."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with super().capture_signals():
            before = signal.getsignal(signal.SIGHUP)
            if before != signal.SIG_IGN:  # nohup
                signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)


def check(arguments: Arguments) -> None:
    """Raise UserError for a value out of range."""
    limits = (("port", 0, 65535), ("queue", 1, 10**6), ("max_bytes", 1, 2**30), ("max_pixels", 1, images.MAX_PIXELS))
    for name, low, high in limits:
        if not low <= (value := getattr(arguments, name)) <= high:
            raise UserError(f"--{name.replace('_', '-')} {value}: expected {low} to {high:,}")
    if not 0 < arguments.timeout <= 86400:
        raise UserError(f"--timeout {arguments.timeout:g}: expected more than 0 and at most 86400 seconds")
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads {arguments.threads}: expected 1 or more")
    if (token := _token(arguments)) and not re.fullmatch(r"[A-Za-z0-9_-]{16,}", token):
        raise UserError("--token: expected at least 16 letters, digits, - and _")


def _token(arguments: Arguments) -> str:
    return arguments.token or os.environ.get("RECOLOR_FAST_TOKEN", "")


def _local(host: str) -> bool:
    """Whether an address is for programs of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. UserError where that is not possible."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise UserError(f"{host}, port {port}: {error.strerror}; give another --port or --host") from error
    # asyncio does this to sockets that say they are TCP's, and this one does not. Without it a small answer, whose
    # headers and body are sent apart, takes 40 milliseconds: one end waits for more, and so does the other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(arguments: Arguments) -> None:
    """Serve until a signal, which is raised as Stopped. Raises UserError."""
    check(arguments)
    token = _token(arguments)
    limits = work.Limits(
        arguments.max_bytes, arguments.max_pixels, arguments.queue, arguments.timeout, arguments.threads
    )
    with (
        listening(arguments.host, arguments.port) as listener,
        closing(Desks(arguments.state or state_folder())) as desks,
    ):
        models = colorizers.models(arguments.model, arguments.provider, arguments.threads)
        names = (*arguments.name, arguments.host)
        own = work.Work(models, limits)
        app = application(own, Rules(names, token, arguments.max_bytes), desks)
        if not _local(arguments.host) and not token:
            say("warning: there is no --token: anyone who reaches this machine may use the page and the API")
        say("serving until Ctrl-C")
        host = EVERYWHERE.get(arguments.host, arguments.host)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        print(address, flush=True)
        if arguments.open and _screen():
            webbrowser.open(f"{address}?token={token}" if token else address)
        try:
            with signals.stoppable():
                Server(settings(app)).run(sockets=[listener])
        finally:
            own.abandon()


def clear(state: Path) -> None:
    """Remove what the page keeps. UserError where a server uses it."""
    count = desk.clear(state)
    say(f"{state}: {count} desk{'' if count == 1 else 's'} removed, with all photographs")


def _screen() -> bool:
    """Whether a browser could be shown: without a screen it would be one of text, in this terminal."""
    desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.stdout.isatty() and bool(desktop)


@starting.verb(told={OSError: 2})
def main(argv: list[str]) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    arguments = parse(argv)
    if arguments.clear:
        clear(arguments.state or state_folder())
    else:
        serve(arguments)
    return 0
