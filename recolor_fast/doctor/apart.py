"""Checks in processes of their own: one that crashes, aborts or hangs is a finding, and the others go on.

A process makes all checks of a group, one after the other, so that what they share is imported once. Where one brings
it down, another process makes the rest.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NamedTuple

from recolor_fast.doctor.findings import Check, Finding
from recolor_fast.machine import extras

# What the process runs: it imports from where this one does, whatever lies in the working folder.
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from recolor_fast.doctor.child import main; main()"


GRACE = 3.0  # seconds that processes have to remove their temporary files


class Running:
    """The processes that make checks now, which another thread may end."""

    def __init__(self) -> None:
        self.ended = False
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def end(self) -> None:
        """End them all, with what they started; none is begun any more."""
        with self._lock:
            self.ended = True
            _end(self._processes)

    @contextmanager
    def holding(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """A block in which a process is one of them; it is ended after it."""
        with self._lock:
            self._processes.add(process)
            if self.ended:
                _end([process])
        try:
            yield
        finally:
            with self._lock:
                self._processes.remove(process)
            _end([process])


def _signal(process: "subprocess.Popen[str]", force: bool) -> None:
    """Ask a process and all that it started to end, or make it; elsewhere than on POSIX, always make it."""
    with suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
        else:
            process.kill()


def _end(processes: Collection["subprocess.Popen[str]"]) -> None:
    """End processes and all that they started, by force those that still run after GRACE seconds."""
    for process in processes:
        _signal(process, force=False)
    deadline = time.monotonic() + GRACE
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        _signal(process, force=True)
        process.wait()


def examined(
    checks: Sequence[Check], done: Callable[[Check], None] = lambda check: None, running: Running | None = None
) -> list[Finding]:
    """What the checks of one group find, in their order; of some where `running` is ended. `done` is called after
    each."""
    running = running or Running()
    findings: list[Finding] = []
    sound: set[str] = set()  # the checks that found no fault and nothing missing
    rest = list(checks)
    while rest and not running.ended:
        with _process(rest, running) as process:
            while rest:
                check = rest[0]
                rest.pop(0)
                wanted = not check.needs or check.needs in sound
                process.ask(wanted)
                answer = process.answer(check.seconds) if wanted else [_skipped(check)]
                found = [_broken(check, process)] if answer is None else answer
                findings += found
                if all(finding.state == "ok" for finding in found):
                    sound.add(check.name)
                done(check)
                if answer is None:
                    break
    return findings


def _skipped(check: Check) -> Finding:
    return Finding(check.name, "skipped", f"not looked at, for want of {check.needs}", f"see {check.needs}")


def _broken(check: Check, process: "_Process") -> Finding:
    """The finding of a check that gave no answer: it hangs, or its process ended."""
    code = process.ended()
    if code is None:
        why = f"it did not end in {check.seconds:g} seconds"
    elif code < 0:
        why = f"its process was ended by {signal.Signals(-code).name}"
    else:
        why = f"its process ended with exit code {code}"
    said = process.said()
    return Finding(check.name, "fault", f"{why}{said and f': {said}'}", reinstall(check.package))


def reinstall(package: str) -> str:
    """What installs a package again as it was; where there is none to blame, what else to do."""
    if not package:
        return "report it, with what `recolor-fast doctor --json` says"
    return extras.reinstall(package)


class _Process(NamedTuple):
    process: subprocess.Popen[str]
    lines: "queue.Queue[str | None]"
    log: IO[str]

    def ask(self, yes: bool) -> None:
        """Let it make the next check, or leave it out."""
        with suppress(OSError):  # it is gone, which its answer tells
            assert self.process.stdin
            self.process.stdin.write("yes\n" if yes else "no\n")
            self.process.stdin.flush()

    def answer(self, seconds: float) -> list[Finding] | None:
        """The findings of the check that it makes; None where none come."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return None
        return None if line is None else [Finding(**finding) for finding in json.loads(line)]

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        try:
            return self.process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            return None

    def said(self) -> str:
        """The last line that it wrote for people, shortened."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""


@contextmanager
def _process(checks: Sequence[Check], running: Running) -> Iterator[_Process]:
    """A process that makes these checks as it is asked to, killed with all that it started when the block ends."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(checks), json.dumps(sys.path)]
    # Of the same session, so that it has its share of time, and no group that Ctrl-C reaches before us.
    apart: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            **apart,
        )
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        try:
            with running.holding(process):
                yield _Process(process, lines, log)
        finally:
            reader.join()
            with suppress(OSError):  # what was never read
                process.stdin and process.stdin.close()
            process.stdout and process.stdout.close()


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str | None]") -> None:
    assert process.stdout
    for line in process.stdout:
        lines.put(line)
    lines.put(None)
