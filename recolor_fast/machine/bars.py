"""Progress on stderr: a bar on a terminal, elsewhere a line every 30 seconds, so that no log is silent for minutes."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

EVERY = 30.0  # seconds between lines, where stderr is no terminal


def drawn() -> bool:
    """Whether stderr is a terminal that a bar can be drawn on: TERM=dumb is one that moves no cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def bar(
    items: Iterable[Any] | None, desc: str, total: int, show: bool = True, unit: str = "img", done: int = 0
) -> "tqdm | Lines":
    """Progress through `total` photographs: iterate over it, or over something else and call its `update`.

    It is a context manager. `total` 0: nobody knows. `unit`: what is counted; `done`: how many were before. On a
    terminal it is a bar that is gone at its end; elsewhere what takes less than EVERY seconds says nothing. Silent
    without `show`.
    """
    if show and not drawn():
        return Lines(items, desc, total, done)
    return tqdm(
        items, desc=desc, total=total or None, unit=unit, initial=done, file=sys.stderr, leave=False, disable=not show
    )


class Lines:
    """What a tqdm is on a terminal, as whole lines."""

    def __init__(self, items: Iterable[Any] | None, desc: str, total: int, done: int = 0) -> None:
        self.items, self.desc, self.total, self.done, self.before = items, desc, total, done, done
        self.started = self.told = time.monotonic()

    def __iter__(self) -> Iterator[Any]:
        for item in self.items or ():
            yield item
            self.update()

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if now - self.told >= EVERY:
            rate = (self.done - self.before) / (now - self.started)
            print(f"{self.desc}: {pace(self.done, self.total, rate)}", file=sys.stderr, flush=True)
            self.told = now

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left to wipe."""


def pace(done: int, total: int, rate: float) -> str:
    """How far: "1,200 of 5,000, 12.3/s, 5 min left"; `rate` per second, 0 where it is not known yet, as may `total`."""
    text = f"{done:,} of {total:,}" if total else f"{done:,}"
    if rate <= 0:
        return text
    left = f", {duration((total - done) / rate)} left" if done < total else ""
    return f"{text}, {rate:.3g}/s{left}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3 h 20 min, 2 d 3 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
