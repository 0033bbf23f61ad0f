"""How far an artefact is from what was trained, on real photographs: one input to both, levels and colors compared.

Every export ends with this proof, in its metadata and on the terminal, and fails above the bound of its precision.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from skimage import color

from recolor_fast.artefact import hints
from recolor_fast.data import index, shards, sources
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Data
from recolor_fast.photographs import chroma, images
from recolor_fast.photographs.preparation import Preparation

SIDES = (0.5, 1.0, 2.0)  # longer sides of the photographs an artefact is proven on, in sides of its model
BOUNDS = {  # precision -> field of Proof, and what it may be at most; int8: CIEDE2000 1 is barely seen side by side
    "fp32": ("largest", 1.0),
    "fp16": ("largest", 2.0),
    "int8": ("ciede2000", 1.0),
}
Run = Callable[..., np.ndarray]  # a graph's inputs to its output
HINTS = 5  # colors of the photograph itself that a graph which follows hints is proven with


class View(NamedTuple):
    """Pictures as a graph takes them."""

    inputs: tuple[np.ndarray, ...]
    """The graph's inputs, each a batch."""
    lumas: Sequence[np.ndarray]
    """Luminance (H,W) that each picture's chroma is merged with to compare colors; for "image" not used."""


class Proof(NamedTuple):
    """Differences between two computations of one graph."""

    pictures: int
    """Pictures compared: a photograph at another size is another one."""
    largest: int
    """Largest difference of an output value, levels of 255: Cb and Cr of graph "chroma", RGB of "image"."""
    mean: float
    """Mean difference, levels."""
    ciede2000: float
    """Mean CIEDE2000 between the colored pictures."""
    psnr: float
    """dB between the colored pictures, peak 255, at most 100."""

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures: largest difference {self.largest} of 255 levels, mean {self.mean:.5f}; "
            f"CIEDE2000 {self.ciede2000:.4f}, PSNR {self.psnr:.1f} dB"
        )

    def to_json(self) -> str:
        """For an artefact's metadata."""
        return json.dumps({name: round(value, 6) for name, value in self._asdict().items()})


def photographs(options: Data, count: int) -> list[Path]:
    """Up to `count` validation photographs of a run's data, those that are usable. ValueError where there is none."""
    paths, _ = index.usable(sources.photographs(options).val[:count])
    return paths


def view(rgb: np.ndarray, preparation: Preparation, graph: str) -> View:
    """One photograph (H,W,3) as a batch of 1; where the graph follows hints, with HINTS of its own colors."""
    if graph == "image":
        return View((rgb[None],), ())
    luma = images.gray(rgb)
    gray = images.source(luma, preparation)[None, None]
    if graph != "hints":
        return View((gray,), [luma])
    height, width = luma.shape
    places = np.random.default_rng(0).random((HINTS, 2)) * (width, height)
    smooth = cv2.blur(rgb, (max(1, width // 20), max(1, height // 20)))  # a thing's color, not its grain's
    colors = [smooth[int(y), int(x)] for x, y in places]
    drawn = [hints.Hint(x, y, f"#{bytes(color).hex()}") for (x, y), color in zip(places.tolist(), colors)]
    return View((gray, hints.draw(drawn, width, height, preparation.size)[None]), [luma])


def views(paths: Sequence[Path], preparation: Preparation, graph: str) -> Iterator[View]:
    """Every photograph at every one of SIDES."""
    for path in paths:
        rgb = images.read_rgb(shards.read(path))
        for side in SIDES:
            scale = side * preparation.size / max(rgb.shape[:2])
            yield view(images.resize(rgb, *(max(1, round(edge * scale)) for edge in rgb.shape[:2])), preparation, graph)


def prove(expected: Run, actual: Run, graph: str, views: Iterable[View]) -> Proof:
    """Compare two computations of a graph, batches in and batch out. ValueError where there is no picture."""
    largest, means, deltas, errors = 0, [], [], []
    for inputs, lumas in views:
        outputs = [run(*inputs) for run in (expected, actual)]
        for place, pair in enumerate(zip(*outputs)):
            levels = np.abs(pair[0].astype(np.int16) - pair[1])
            largest = max(largest, int(levels.max()))
            means.append(float(levels.mean()))
            colored = pair if graph == "image" else [chroma.merge(lumas[place], cbcr) for cbcr in pair]
            deltas.append(float(color.deltaE_ciede2000(*(color.rgb2lab(rgb) for rgb in colored)).mean()))
            errors.append(float(np.square(colored[0].astype(np.float32) - colored[1]).mean()))
    if not means:
        raise UserError("no photographs to prove an artefact on")
    psnr = 10 * np.log10(255**2 / max(float(np.mean(errors)), 255**2 * 1e-10))
    return Proof(len(means), largest, float(np.mean(means)), float(np.mean(deltas)), float(psnr))


def excess(proof: Proof, precision: str) -> str:
    """Half a sentence saying by what a proof is above the bound of its precision; empty where it is not."""
    field, bound = BOUNDS[precision]
    value = getattr(proof, field)
    # So written that no number at all is above every bound.
    return "" if value <= bound else f"{field} {value:.4g}, expected at most {bound:g} for {precision}"
