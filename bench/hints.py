"""How well a model follows colors given at some places.

    python bench/hints.py FOLDER... [--model FILE.onnx]

A photograph becomes a square of 256 pixels, and its gray version is colored with colors of the truth given at random
places, as Zhang et al. 2017 do in their section 4.1: each the mean of a square of 7 pixels. For each number of places:

ab_error, below_gray    as bench/colors.py has them
psnr                    dB of RGB, the mean over photographs
followed                percent of the places where the result is within 8 units of a and b of what was asked for there
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Hints as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from typing import Any

import numpy as np

from bench.colors import SIDE, lab, pairs
from bench.common import table
from recolor_fast.artefact import hints, runtime
from recolor_fast.colorize import Colorizer
from recolor_fast.photographs import images

RADIUS = 3  # pixels around a place: squares of 7
NEAR = 8.0  # units of a and b


def places(count: int, number: int) -> list[tuple[int, int]]:
    """Places x, y of a photograph, evenly random, the same for the same number of it."""
    drawn = np.random.default_rng(number).integers(RADIUS, SIDE - RADIUS, (count, 2))
    return [(int(x), int(y)) for x, y in drawn]


def mean_color(truth: np.ndarray, x: int, y: int) -> str:
    """The mean color, #rrggbb, around a place of uint8 RGB (H,W,3)."""
    square = truth[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1]
    return f"#{bytes(np.rint(square.mean((0, 1))).astype(np.uint8)).hex()}"


def row(truths: list[np.ndarray], colorizer: Colorizer, points: int) -> dict[str, Any]:
    """The numbers of one number of places."""
    squares = grays = 0.0
    psnr, followed = [], []
    for number, truth in enumerate(truths):
        placed = [hints.Hint(x, y, mean_color(truth, x, y), RADIUS) for x, y in places(points, number)]
        colored = colorizer(images.gray(truth), placed)
        true, ours = lab(truth), lab(colored)
        squares += np.square(ours - true).sum(0).mean()
        grays += np.square(true).sum(0).mean()
        error = np.square(colored.astype(np.float64) - truth).mean()
        psnr.append(10 * np.log10(255**2 / max(error, 1e-6)))
        followed += [np.hypot(*(ours[:, int(h.y), int(h.x)] - hints.ab(h.color))) <= NEAR for h in placed]
    return {
        "points": points,
        "ab_error": (squares / len(truths) / 2) ** 0.5,
        "below_gray": 100 * (1 - (squares / grays) ** 0.5),
        "psnr": float(np.mean(psnr)),
        "followed": 100 * float(np.mean(followed)) if followed else None,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    arguments = parse(Arguments, argv)
    follows = Colorizer(arguments.model or runtime.shipped("hints"))
    rows = []
    try:
        for folder in arguments.folders:
            every = [truth for truth, _ in pairs(folder, lambda gray: gray)]
            truths = every[:: max(1, len(every) // arguments.limit)][: arguments.limit]
            automatic = row(truths, Colorizer(arguments.automatic), 0)
            rows.append({"set": folder.name, "model": "automatic", **automatic})
            rows += [{"set": folder.name, "model": "hints", **row(truths, follows, n)} for n in arguments.points]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
