"""What shows a training beside it, while it runs: loggers, and results.png. It holds no step up, and ends none."""

import queue
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from recolor_fast.options import Command
from recolor_fast.runs import loggers
from recolor_fast.runs.beside import Beside, Failed, started

Tell = Callable[[str], None]
WAIT = 20.0  # seconds that the end of a training waits for each of them, at most
HURRY = 1.0  # where it was stopped, or fails
USER = re.compile(r"(?<=://)[^\s/?#]*@")  # the name and password of an address


class Feed:
    """A logger in a thread of its own: it is told, and never waited for but at the end. It fails with one warning."""

    def __init__(self, name: str, start: Callable[[], loggers.Logger | None], tell: Tell) -> None:
        """`start` may wait; None: there is no need of it any more."""
        self.name, self.start, self._tell = name, start, tell
        self.jobs: queue.SimpleQueue[Callable[[loggers.Logger], None] | None] = queue.SimpleQueue()
        self.failed = self.left = False
        self.thread = threading.Thread(target=self._run, name=f"recolor_fast-{name}", daemon=True)
        self.thread.start()

    def put(self, job: Callable[[loggers.Logger], None]) -> None:
        """Have this done with the logger once all before is."""
        if not self.failed:
            self.jobs.put(job)

    def close(self, seconds: float) -> None:
        """Wait until all is done, for so many seconds at most."""
        self.jobs.put(None)
        self.thread.join(seconds)
        if self.thread.is_alive():
            self.tell(
                f"warning: --log {self.name} is not done {seconds:.0f} s after the end and is waited for no longer: "
                "its last rows may be missing"
            )
            self.left = True

    def tell(self, line: str) -> None:
        """Tell a line without passwords, which addresses of servers may hold, unless nobody waits any more."""
        if not self.left:
            self._tell(USER.sub("", line))

    def _run(self) -> None:
        try:
            if not (logger := self.start()):
                return
            if logger.where:
                self.tell(f"--log {self.name}: {logger.where}")
            while job := self.jobs.get():
                job(logger)
            logger.close()
        except BaseException as error:  # libraries exit, too
            self.failed = True
            kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
            reason = f"{kind}{' '.join(str(error).split())}"
            self.tell(f"warning: --log {self.name} failed, nothing more goes there, the training goes on ({reason})")


def draw(folder: Path, *words: str) -> "subprocess.Popen[str] | None":
    """Start a process that draws results.png (curves.py): matplotlib takes a second, none of it this process's."""
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    return started("recolor_fast.runs.curves", str(folder), *words, stdin=null, stdout=null, stderr=pipe)


class Picture:
    """results.png, drawn beside the training."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.folder, self.tell = folder, tell
        self.process: subprocess.Popen[str] | None = None
        self.due = self.failed = False
        self.lock = threading.Lock()  # rows are told by the training's thread and by its background's

    def ask(self) -> None:
        """Draw it anew, in processor time that nobody else wants."""
        self.due = True
        self.go_on()

    def go_on(self) -> None:
        """Begin what is due, unless one is being drawn."""
        with self.lock:
            if self.due and (self.process is None or self.process.poll() is not None):
                self._end(0)
                self._begin("idle")

    def close(self) -> None:
        """Draw it for the last time, at once."""
        if self.due or (self.process and self.process.poll() is None):
            if self.process:
                self.process.kill()
                self.process.communicate()
                self.process = None
            self._begin()
        self._end(WAIT)

    def _begin(self, *words: str) -> None:
        self.due = False
        if self.failed:
            return
        try:
            self.process = draw(self.folder, *words)
        except OSError as error:
            self._fail(str(error))

    def _end(self, seconds: float) -> None:
        """What became of the one before."""
        if self.process is None:
            return
        try:
            _, said = self.process.communicate(timeout=seconds or None)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, said = self.process.communicate()
            said = said or f"it took more than {seconds:.0f} s"
        if self.process.returncode:
            self._fail(said.strip().splitlines()[-1] if said.strip() else f"exit code {self.process.returncode}")
        self.process = None

    def _fail(self, reason: str) -> None:
        self.failed = True
        self.tell(f"warning: {self.folder / 'results.png'} could not be drawn, the training goes on ({reason})")


class Watch:
    """All of it, for a session of a run."""

    def __init__(self, folder: Path, options: Command, begun: int, tell: Tell) -> None:
        """`begun` photographs are seen; `tell` takes a line for people, from any thread."""
        self.picture = Picture(folder, tell)
        self.under_way = threading.Event()
        self.in_vain = False
        names = [name for name in options.log if name != "none"]
        libraries = {name: loggers.LIBRARIES[name] for name in names}
        starts = {name: partial(Beside, name) if one.apart else one.start for name, one in libraries.items()}
        self.feeds = [
            Feed(name, partial(self._started, partial(start, folder, options, begun)), tell)
            for name, start in starts.items()
        ]

    def _started(self, start: Callable[[], loggers.Logger]) -> loggers.Logger | None:
        self.under_way.wait()
        return None if self.in_vain else start()

    def begin(self) -> None:
        """Let the loggers start, whose libraries take a second and more to import: the first iteration is done."""
        self.under_way.set()

    def numbers(self, row: Mapping[str, float], prefix: str = "") -> None:
        """A row of results.csv, or of another file with its `prefix`."""
        images = int(row["images"])
        values = {prefix + name: float(value) for name, value in row.items() if name not in ("images", "time")}
        for feed in self.feeds:
            feed.put(lambda logger: logger.scalars(values, images))
        self.picture.go_on()

    def sheet(self, path: Path, images: int) -> None:
        """A sheet of samples, if there is such a file."""
        if path.is_file():
            for feed in self.feeds:
                feed.put(lambda logger: logger.picture(path, images))

    def saved(self) -> None:
        """A checkpoint was written."""
        self.picture.ask()

    def close(self) -> None:
        """The training is done: wait for what is left, the picture and each logger for WAIT seconds at most."""
        self.begin()
        self.picture.close()
        for feed in self.feeds:
            feed.close(WAIT)

    def leave(self) -> None:
        """The training was stopped, or fails: who stops it does not wait long. A picture at work is finished alone, and
        loggers that had nothing to begin with do not begin."""
        self.in_vain = not self.under_way.is_set() and all(feed.jobs.empty() for feed in self.feeds)
        self.begin()
        for feed in self.feeds:
            feed.close(HURRY)
