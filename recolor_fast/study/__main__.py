"""Verb: ask people which colors are real. The perceptual realism study of Tarres et al. (their Table 2), as a web page.

    python -m recolor_fast.study serve STUDY.sqlite --truth FOLDER --systems NAME=FOLDER [NAME=FOLDER ...]
    python -m recolor_fast.study report STUDY.sqlite

Protocol (ChromaGAN's): 150 photographs with their own colors and the same 150 from each system; each participant
judges 50, drawn evenly from all of them, one at a time, as real or colored. Naturalness is the share judged real.

What is shown must not say where it comes from. So all versions of a photograph go through one pipeline: decoded
(metadata and color profiles ignored), resized by one filter to the same pixels, and stored as uncompressed BMP, whose
length depends on nothing but those pixels' number. A picture's URL is a random token of one participant.
One trace is beyond repair here: a system's file that was written small or by a lossy encoder stays softer than a truth
of higher quality; give the truth at the size and quality at which the systems wrote.

STUDY.sqlite holds all of it: definition, digests of the files, pictures as shown, participants and answers.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.study.__main__", arguments="study")

import socket
import sqlite3

import uvicorn

from recolor_fast.arguments.study import Report, Serve, parse
from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say
from recolor_fast.study.making import check_same, make
from recolor_fast.study.page import application
from recolor_fast.study.report import report

IMAGES, SIZE, SEED = 50, 256, 0  # a new study's, where not given


def serve(arguments: Serve) -> None:
    """Make the study where it is new, then serve it until a signal. UserError and OSError for the user."""
    path = arguments.study
    if arguments.host in ("", "0.0.0.0"):
        raise UserError(f"host {arguments.host!r}: expected one address of this machine, as browsers are to name it")
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"port {arguments.port}: expected 0 to 65535")
    if path.exists():
        check_same(path, arguments)
    elif arguments.truth is None or not arguments.systems:
        raise UserError(f"study {path}: no such file; give --truth and --systems to make it")
    else:
        asked = zip((arguments.images, arguments.size, arguments.seed), (IMAGES, SIZE, SEED))
        make(
            path,
            arguments.truth,
            arguments.systems,
            *(new if asked_for is None else asked_for for asked_for, new in asked),
        )
    try:
        listener = socket.create_server((arguments.host, arguments.port))
    except OSError as error:
        raise OSError(
            f"{arguments.host}, port {arguments.port}: {error.strerror}; give another --port or --host"
        ) from error
    with listener:
        if not arguments.host.startswith("127.") and arguments.host != "localhost":
            say(f"warning: anyone who reaches {arguments.host} in its network can take part, unencrypted")
        say("serving until Ctrl-C; the same command resumes from there")
        print(f"http://{arguments.host}:{listener.getsockname()[1]}/", flush=True)
        settings = uvicorn.Config(
            application(path, arguments.host),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,  # seconds; browsers keep connections open
        )
        uvicorn.Server(settings).run(sockets=[listener])


@starting.verb(stopped="interrupted; every answer so far is stored", told={OSError: 2, sqlite3.Error: 2})
def main(argv: list[str]) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    arguments = parse(argv)
    if isinstance(arguments, Report):
        print(report(arguments))
    else:
        serve(arguments)
    return 0
