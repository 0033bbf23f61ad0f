"""How far a training run is, and the means of its losses since they were last written."""

import math
from dataclasses import dataclass, field

from torch import Tensor

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
        left_out = parts["nonfinite"] > 0
        for name, part in parts.items():
            counted = count * (part if name == "nonfinite" else part.where(~left_out, 0))
            self.sums[name] = self.sums.get(name, 0) + counted
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
