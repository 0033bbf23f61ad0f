"""Colors that a person gives at some places of a photograph; as a file, and as a model that follows them takes them."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from recolor_fast.machine.errors import UserError

MOST = 1000  # hints of one photograph
RADIUS = 0.01  # of a hint that says none, of the longer side


class Hint(NamedTuple):
    """A color at a place of an upright photograph."""

    x: float
    """Pixels from the left edge."""
    y: float
    """Pixels from the top edge."""
    color: str
    """#rrggbb (sRGB). Its chroma counts; the lightness stays the photograph's."""
    radius: float | None = None
    """Pixels around the place that surely have this color: half the side of a square. None: RADIUS."""


def draw(hints: Sequence[Hint], width: int, height: int, size: int) -> np.ndarray:
    """Hints of a photograph of width x height pixels for a model of a size: float32 (3,size,size).

    Planes: a and b of CIE Lab, and 1 where a hint says so, 0 elsewhere. Of hints that overlap the last one counts.
    Raises ValueError, naming the hint, for a place outside the photograph.
    """
    planes = np.zeros((3, size, size), np.float32)
    for hint in hints:
        if not (0 <= hint.x < width and 0 <= hint.y < height):
            raise UserError(f"hint at {hint.x:g}, {hint.y:g}: outside the photograph of {width} x {height} pixels")
        radius = RADIUS * max(width, height) if hint.radius is None else hint.radius
        rows, columns = _span(hint.y, radius, height, size), _span(hint.x, radius, width, size)
        planes[:, rows, columns] = np.array([*ab(hint.color), 1], np.float32)[:, None, None]
    return planes


def _span(place: float, radius: float, side: int, size: int) -> slice:
    """The model's pixels whose middles are within a radius of a place, and the one that the place is in."""
    at = min(int(place * size / side), size - 1)
    first = math.ceil((place - radius) * size / side - 0.5)
    last = math.floor((place + radius) * size / side - 0.5)
    return slice(max(0, min(first, at)), min(size, max(last, at) + 1))


def ab(color: str) -> tuple[float, float]:
    """a and b (CIE Lab, D65) of #rrggbb. Raises ValueError for anything else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise UserError(f"color {color!r}: expected #rrggbb, as #c08040")
    rgb = np.array([[[*bytes.fromhex(color[1:])]]], np.float32) / 255
    _, a, b = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0, 0].tolist()
    return a, b


def color(lightness: float, a: float, b: float) -> str:
    """#rrggbb of CIE Lab (D65), the nearest that sRGB has by clipping."""
    rgb = cv2.cvtColor(np.array([[[lightness, a, b]]], np.float32), cv2.COLOR_LAB2RGB)[0, 0]
    return f"#{bytes(np.rint(rgb * 255).clip(0, 255).astype(np.uint8)).hex()}"


def checked(values: Any) -> tuple[Hint, ...]:
    """Hints of one photograph from JSON's [{"x", "y", "color", "radius"}], or from Hints. Raises ValueError."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) > MOST:
        raise UserError(f"hints: expected a list of at most {MOST} hints, each with x, y and color")
    hints = []
    for value in values:
        fields = value._asdict() if isinstance(value, Hint) else value
        if not isinstance(fields, Mapping) or not {"x", "y", "color"} <= {*fields} <= {*Hint._fields}:
            raise UserError(f"hint {str(value)[:80]}: expected x, y, color and perhaps radius")
        hint = Hint(**fields)
        numbers = [hint.x, hint.y, *([] if hint.radius is None else [hint.radius])]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 2**31 for n in numbers):
            raise UserError(f"hint {str(value)[:80]}: expected x, y and radius as numbers of pixels, 0 or more")
        ab(hint.color if isinstance(hint.color, str) else str(hint.color))
        hints.append(hint)
    return tuple(hints)


def read(path: Path) -> dict[str, tuple[Hint, ...]]:
    """The hints of a file {name of a photograph: [hints]} by name. Raises UserError, naming the file."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict):
            raise UserError('expected {"photograph.jpg": [{"x": 10, "y": 20, "color": "#c08040"}]}')
        return {name: checked(hints) for name, hints in values.items()}
    except OSError as error:
        raise UserError(f"hints {path}: cannot be read ({error.strerror}); give a JSON file") from error
    except json.JSONDecodeError as error:
        raise UserError(f"hints {path}: not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"hints {path}: {error}") from error


class Given:
    """Hints by name of photograph, as `read` gives them, and which of them were taken."""

    def __init__(self, by_name: Mapping[str, tuple[Hint, ...]]) -> None:
        self.by_name = by_name
        self.taken: set[str] = set()

    def of(self, path: Path) -> tuple[Hint, ...]:
        """The hints of a file: of the longest name that its path ends with, folder by folder."""
        for start in range(len(path.parts)):
            name = "/".join(path.parts[start:])
            if name in self.by_name:
                self.taken.add(name)
                return self.by_name[name]
        return ()

    def digest(self, path: Path) -> str:
        """16 digits that tell the hints of a file from others; empty where it has none."""
        hints = self.of(path)
        return hashlib.sha256(json.dumps(hints).encode()).hexdigest()[:16] if hints else ""

    def left(self) -> list[str]:
        """Names that no file was taken for."""
        return sorted({*self.by_name} - self.taken)
