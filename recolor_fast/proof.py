"""How far an artefact is from what was trained, on real photographs: one input to both, levels and colors compared.

Every export ends with this proof, in its metadata and on the terminal, and fails above the bound of its precision.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from skimage import color

from recolor_fast import chroma, images
from recolor_fast.data import index, sources
from recolor_fast.options import Options

SIDES = (0.5, 1.0, 2.0)  # longer sides of the photographs an artefact is proven on, in sides of its model
BOUNDS = {  # precision -> field of Proof, and what it may be at most; int8: CIEDE2000 1 is barely seen side by side
    "fp32": ("largest", 1.0),
    "fp16": ("largest", 2.0),
    "int8": ("ciede2000", 1.0),
}
Run = Callable[[np.ndarray], np.ndarray]


class Proof(NamedTuple):
    """Differences between two computations of one graph."""

    photographs: int
    """Photographs, each at every one of SIDES."""
    largest: int
    """Largest difference of an output value, levels of 255: Cb and Cr of graph "chroma", RGB of "image"."""
    mean: float
    """Mean difference, levels."""
    ciede2000: float
    """Mean CIEDE2000 between the colored photographs."""
    psnr: float
    """dB between the colored photographs, peak 255, at most 100."""

    def __str__(self) -> str:
        return (
            f"{self.photographs} photographs at {len(SIDES)} sizes: largest difference {self.largest} of 255 levels, "
            f"mean {self.mean:.5f}; CIEDE2000 {self.ciede2000:.4f}, PSNR {self.psnr:.1f} dB"
        )

    def to_json(self) -> str:
        """For an artefact's metadata."""
        return json.dumps({name: round(value, 6) for name, value in self._asdict().items()})


def photographs(options: Options, count: int) -> list[Path]:
    """Up to `count` validation photographs of a run's data, those that are usable. ValueError where there is none."""
    paths, _ = index.usable(sources.photographs(options).val[:count])
    return paths


def seen(rgb: np.ndarray, options: Options, graph: str) -> np.ndarray:
    """What a graph takes of one photograph (H,W,3), as a batch of 1."""
    if graph == "image":
        return rgb[None]
    prepared = images.source(images.gray(rgb), options.size, options.equalize != "none", options.blur != "none")
    return prepared[None, None]


def prove(trained: Run, artefact: Run, graph: str, options: Options, paths: Sequence[Path]) -> Proof:
    """Compare two computations of a graph, batch in and batch out, on photographs of several sizes, one by one."""
    largest, means, deltas, errors = 0, [], [], []
    for rgb in _sizes(paths, options.size):
        batch = seen(rgb, options, graph)
        outputs = [run(batch)[0] for run in (trained, artefact)]
        levels = np.abs(outputs[0].astype(np.int16) - outputs[1])
        largest = max(largest, int(levels.max()))
        means.append(float(levels.mean()))
        colored = [output if graph == "image" else chroma.merge(images.gray(rgb), output) for output in outputs]
        deltas.append(float(color.deltaE_ciede2000(*(color.rgb2lab(each) for each in colored)).mean()))
        errors.append(float(np.square(colored[0].astype(np.float32) - colored[1]).mean()))
    if not means:
        raise ValueError("no photographs to prove an artefact on")
    psnr = 10 * np.log10(255**2 / max(float(np.mean(errors)), 255**2 * 1e-10))
    return Proof(len(paths), largest, float(np.mean(means)), float(np.mean(deltas)), float(psnr))


def _sizes(paths: Sequence[Path], size: int) -> Iterable[np.ndarray]:
    for path in paths:
        rgb = images.read_rgb(path.read_bytes())
        for side in SIDES:
            scale = side * size / max(rgb.shape[:2])
            yield images.resize(rgb, *(max(1, round(length * scale)) for length in rgb.shape[:2]))


def excess(proof: Proof, precision: str) -> str:
    """Half a sentence saying by what a proof is above the bound of its precision; empty where it is not."""
    field, bound = BOUNDS[precision]
    value = getattr(proof, field)
    return f"{field} {value:.4g}, expected at most {bound:g} for {precision}" if value > bound else ""
