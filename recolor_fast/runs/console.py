"""What people see of a training: a bar on a terminal; elsewhere a line a row of results.csv, and one every 30 s."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from recolor_fast.machine import bars, processors

Means = Callable[[], Mapping[str, float]]
WAITED = 0.25  # share of its time that a thread waits for a processor: with more, the processors are contended


class Console:
    """Lines on stderr, and the bar where that is a terminal."""

    def __init__(self, total: int, begun: int, threads: int = 1) -> None:
        """`total` photographs, of which `begun` are seen; computed by so many `threads` of this machine."""
        self.bar = tqdm(
            total=total,
            initial=begun,
            unit="img",
            disable=not bars.drawn(),
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self.total, self.images, self.threads = total, begun, threads
        self.since: tuple[float, int] | None = None  # when the first iteration ended, and the photographs seen then
        self.told = time.monotonic()
        self.row: Mapping[str, Any] = {}
        self.validated: Mapping[str, float] = {}
        self.waited = processors.waited()

    def seen(self, images: int, row: Mapping[str, Any] | None, means: Means | None) -> None:
        """So many photographs are seen, and this `row` of results.csv was written, if any.

        `means` are the losses since the last row; None: to know them would wait for a GPU, and that row's are shown.
        """
        now = time.monotonic()
        if self.since is None:  # the first iteration compiles, or records
            self.since = now, images
        self.bar.update(images - self.images)
        self.images = images
        if row:
            self.row = row
            self.bar.set_postfix_str(self._beside())
        if self.bar.disable and (row or now - self.told >= bars.EVERY):
            self.told = now
            said = losses(row or (means() if means else self.row))
            self.write(f"{bars.pace(images, self.total, self._rate(now))}{said and f': {said}'}")
        if row and self.threads > 1:
            self._warn_of_others()

    def measured(self, numbers: Mapping[str, float]) -> None:
        """The metrics of a validation, which the bar shows from now on."""
        self.validated = numbers
        self.bar.set_postfix_str(self._beside())

    def _beside(self) -> str:
        """What stands beside the bar, as far as its line has room: the last ab error against gray's, memory, losses."""
        error = "ab error {ab_rmse:.2f} (gray {ab_rmse/gray:.2f})".format(**self.validated) if self.validated else ""
        memory = gib(self.row["memory"]) if "memory" in self.row else ""
        columns = self.bar.format_dict["ncols"] or sys.maxsize
        room = columns - len(f"100%|##| {self.total}/{self.total} [0:00:00<0:00:00, 00.00img/s]")
        told = ""
        for part in filter(None, (error, memory, *losses(self.row).split(", "))):
            if len(f"{told}, {part}") > room:
                break
            told = f"{told}, {part}"
        return told.removeprefix(", ")

    def _rate(self, now: float) -> float:
        """Photographs/s since the first iteration, pauses included; 0 where it is not known."""
        begun, first = self.since or (now, self.images)
        return (self.images - first) / (now - begun) if now > begun else 0.0

    def write(self, text: str) -> None:
        """A line, above the bar where there is one."""
        tqdm.write(text, file=sys.stderr)

    def _warn_of_others(self) -> None:
        """Once, where this thread has waited for a processor long since the last look: its team waits with it."""
        before, self.waited = self.waited, processors.waited()
        if not (before and self.waited):
            return
        ran, stood = (new - old for new, old in zip(self.waited, before))
        if stood > WAITED * (ran + stood):
            share = stood / (ran + stood)
            self.write(
                f"warning: other processes keep the processors busy: {share:.0%} of the time this training waited for "
                "one; stop them, or stop this and resume it with --resume --threads 1"
            )
            self.threads = 1  # said


def gib(mebibytes: float) -> str:
    """Memory as people read it: "812 MiB", "3.4 GiB"."""
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def losses(row: Mapping[str, Any]) -> str:
    """The losses of a row of results.csv as people read them: "critic real 0.69 fake 0.7, generator l1 0.12"."""
    players: dict[str, list[str]] = {}
    for name, value in row.items():
        player, _, part = name.partition("/")
        if player in ("generator", "critic"):
            players.setdefault(player, []).append(f"{part} {value:.3g}")
    told = [f"{player} {' '.join(parts)}" for player, parts in players.items()]
    if left_out := row.get("nonfinite"):
        told.append(f"{left_out:.0f} photographs left out as not finite")
    return ", ".join(told)


class Lasting:
    """Standard error for as long as somebody reads it: a closed pipe or terminal is no reason to end a training."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> int:
        try:
            self.file.write(text)
            self.file.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class Quiet:
    """Standard error with --quiet, and of a rank that is not the first: warnings and errors alone, a line each."""

    def __init__(self, file: TextIO, rank: int = 0) -> None:
        self.file, self.whose = file, f"rank {rank}: " if rank else ""

    def write(self, text: str) -> int:
        if text.startswith(("error: ", "warning: ")):
            Lasting(self.file).write(f"{self.whose}{text.rstrip()}\n")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
