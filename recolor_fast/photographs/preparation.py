"""How a gray photograph becomes what a network sees: what loader, graphs, folder tool and artefact share."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from recolor_fast.machine.errors import UserError

Applied = Literal["none", "source", "both"]


@dataclass(frozen=True)
class Preparation:
    """Size, equalization and blur of the gray source; images.source applies them."""

    size: int = 256
    """Side of the square the networks see, pixels: unet and nearest take 64, 128, 256 and 512, other generators any
    multiple of 32 from 64 to 1024."""
    equalize: Applied = "source"
    """Histogram equalization of: nothing (none), the gray source, or source and target (both).

    Of the target by channel. Equalize and blur see the photograph as decoded: before resizing, but JPEGs of 1024 pixels
    a side and more may be scaled down by then."""
    blur: Applied = "source"
    """Gaussian blur, 5x5 pixels, sigma 0.7 pixels, of: nothing, the gray source, or source and target."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected."""
        if type(self.size) is not int or self.size % 32 or not 64 <= self.size <= 1024:
            raise UserError(f"size {self.size}: expected a multiple of 32, 64 to 1024 pixels")
        for name in ("equalize", "blur"):
            if getattr(self, name) not in get_args(Applied):
                raise UserError(f"{name} {getattr(self, name)!r}: expected {', '.join(get_args(Applied))}")


def from_options(stored: Mapping[str, Any]) -> Preparation:
    """The preparation among the options of a run, whatever the others are. UserError where it is not there whole."""
    names = [field.name for field in fields(Preparation)]
    if missing := [name for name in names if name not in stored]:
        raise UserError(f"no {', '.join(missing)} among them")
    return Preparation(**{name: stored[name] for name in names})
