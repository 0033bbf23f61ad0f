"""What shows a training from a process of its own: a logger whose library imports, prints and keeps what it likes.

`python -m recolor_fast.runs.beside NAME FOLDER BEGUN` is the process of a logger. It is told by lines of JSON, of which
the first holds the run's options. Once the logger has begun it answers with a line: where one sees what it keeps. It
ends when nothing more can come: signals meant for the training, which saves what it has, do not end it.
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
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn

from recolor_fast.machine import signals
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Command, from_dict
from recolor_fast.runs.loggers import LIBRARIES

BEGIN = 300.0  # seconds that a logger has to begin
REST = 300.0  # to be done once nothing more comes: uploads, and servers that do not answer


class Failed(Exception):
    """The process of a logger has ended before it was asked to; with the reason."""


def started(module: str, *words: str, stdin: int, stdout: int, stderr: "int | IO[str]") -> "subprocess.Popen[str]":
    """A module of this package as a process, which has one thread to compute with.

    It is of no group that a signal to the training's reaches.
    """
    apart: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    root = str(Path(__file__).parents[2])  # from a checkout that is not installed, too
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        **apart,
    )


class Beside:
    """A logger (loggers.Logger) at work in a process of its own."""

    def __init__(self, name: str, folder: Path, options: Command, begun: int) -> None:
        """Wait until it has begun. Failed where it does not."""
        pipe, words = subprocess.PIPE, (name, str(folder), str(begun), str(BEGIN), str(REST))
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - until it is closed
        self.process = started("recolor_fast.runs.beside", *words, stdin=pipe, stdout=pipe, stderr=self.log)
        self._tell(asdict(options))
        assert self.process.stdout
        with self.process.stdout as answers:
            answer = answers.readline()
        if not answer:
            self._gone()
        self.where = answer.strip()

    def scalars(self, values: dict[str, float], images: int) -> None:
        self._tell(["scalars", values, images])

    def picture(self, path: Path, images: int) -> None:
        self._tell(["picture", str(path), images])

    def close(self) -> None:
        assert self.process.stdin
        with suppress(OSError):  # it is gone, which its exit code tells
            self.process.stdin.close()
        code = self.process.wait()
        with self.log:
            self.log.seek(0)
            said = self.log.read().strip().splitlines()
        if code == 1 and said:
            raise Failed(said[-1])
        if code:
            raise Failed(f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")

    def _tell(self, told: Any) -> None:
        assert self.process.stdin
        try:
            print(json.dumps(told), file=self.process.stdin, flush=True)
        except OSError:
            self._gone()

    def _gone(self) -> NoReturn:
        """Raise why it has ended before it was asked to."""
        self.close()
        raise Failed("its process ended")


def main() -> None:
    """Be the process of a logger."""
    for number in signals.NUMBERS:  # systemd, SLURM and others send them to each process of a training
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    name, folder, begun, begin, rest = sys.argv[1:]
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines, float(rest)), daemon=True).start()
    late = threading.Timer(float(begin), _end, [f"it has not begun in {float(begin):.0f} s"])
    late.daemon = True
    late.start()
    try:
        if not (options := lines.get()):
            return  # the training is gone already
        logger = LIBRARIES[name].start(Path(folder), from_dict(json.loads(options)), int(begun))
        late.cancel()
        with suppress(OSError), answers:  # the training may be over
            print(logger.where, file=answers)
        while line := lines.get():
            kind, told, images = json.loads(line)
            if kind == "scalars":
                logger.scalars(told, images)
            else:
                logger.picture(Path(told), images)
        logger.close()
    except BaseException as error:  # libraries exit, too
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        _end(f"{kind}{' '.join(str(error).split())}")


def _read(lines: "queue.SimpleQueue[str | None]", rest: float) -> None:
    """Take what is told, whatever the logger is at, then give it so many seconds."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)
    time.sleep(rest)
    _end(f"it was not done {rest:.0f} s after the end")


def _end(reason: str) -> NoReturn:
    """End at once, whatever is at work."""
    os.write(2, f"\n{reason}\n".encode(errors="replace"))
    os._exit(1)


if __name__ == "__main__":
    main()
