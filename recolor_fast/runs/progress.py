"""How far a training run is, the means of its losses since they were last written, and its times."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")
SAVED = ("images", "logged", "sums")  # of Progress


@dataclass
class Progress:
    """How far a run is; its checkpoint holds this besides the step."""

    images: int = 0
    """Photographs seen."""
    logged: int = 0
    """Photographs seen at the last row of results.csv that `log_every` asked for."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Of each part over the photographs since then; "nonfinite" counts those that were left out."""

    begun: int = 0
    """Photographs seen when this process took it up."""

    def add(self, parts: dict[str, Tensor], count: int) -> None:
        """The parts of an iteration on `count` photographs. Nothing waits for the device."""
        names = [name for name in parts if name != "nonfinite"]
        # All at once: on a GPU each operation is a launch, and these are outside of the recorded iteration.
        seen = count * torch.stack([parts[name] for name in names]).where(parts["nonfinite"] <= 0, 0)
        left_out = count * parts["nonfinite"]
        if self.sums:
            seen = seen + torch.stack([self.sums[name] for name in names])
            left_out = left_out + self.sums["nonfinite"]
        self.sums = dict(zip(names, seen.unbind())) | {"nonfinite": left_out}
        self.images += count

    def take_back(self, count: int) -> None:
        """The last `count` photographs, all of which were left out."""
        self.images -= count
        self.sums["nonfinite"] = self.sums["nonfinite"] - count

    def means(self) -> dict[str, float]:
        """Of each part over the photographs since the last row, and how many of them were left out. Waits."""
        sums = {name: float(total) for name, total in self.sums.items()}
        left_out = sums.pop("nonfinite")
        count = self.images - self.logged - left_out
        return {name: total / count if count else math.nan for name, total in sums.items()} | {"nonfinite": left_out}


class Clock:
    """The times in the rows of results.csv: of the training so far, and of the interval since the last row."""

    def __init__(self, before: float) -> None:
        """`before`: seconds that the sessions before this one have trained."""
        self._begun = time.perf_counter() - before
        self._started, self._waited, self._counted, self._paused = 0.0, 0.0, 0, 0.0

    def batch(self, stream: Iterator[Batch]) -> Batch:
        """The next of the stream. The first comes with the whole cache, or once decoders have started: no step waits
        for it, and the interval begins after it."""
        asked = time.perf_counter()
        batch = next(stream)
        if self._started:
            self._waited += time.perf_counter() - asked
        else:
            self._started = time.perf_counter()
        return batch

    def add(self, count: int) -> None:
        """So many photographs are seen."""
        self._counted += count

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block that is no part of the interval: validation and saving."""
        paused = time.perf_counter()
        yield
        took = time.perf_counter() - paused
        self._started += took if self._started else 0
        self._paused += took

    def seconds(self) -> float:
        """Of training, those of earlier sessions and of pauses included."""
        return time.perf_counter() - self._begun

    def working(self) -> float:
        """Of training, those of pauses left out: what the next photographs take."""
        return self.seconds() - self._paused

    def interval(self) -> dict[str, float]:
        """Photographs/s since the last row, and the share of that time in which steps waited for batches; ends it."""
        elapsed = time.perf_counter() - self._started
        rates = {"images_per_s": self._counted / elapsed, "data_wait": self._waited / elapsed}
        self._started, self._waited, self._counted = time.perf_counter(), 0.0, 0
        return rates
