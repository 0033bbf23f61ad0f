"""What --restore is worth: photographs of known colors, faded, colored with and without it.

    python bench/restore.py FOLDER... [--model FILE.onnx]

A photograph becomes a square of 256 pixels. Its gray version is faded: black and white become levels drawn for it, 20
to 90 and 150 to 230, and every other one lies on paper of level 235, a twentieth of the side wide. The paper is cut off
again before anything is compared. Rows: `whole` was not faded, `faded` was, `restored` was, and has --restore.

ab_error, below_gray    as bench/colors.py has them
ciede2000               mean over pixels and photographs
luma                    root mean square error of the luminance, levels
borders                 percent of the photographs on paper, and of the others, of which a border was found
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Restore as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from typing import Any

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000

from bench.colors import SIDE, lab, truths
from bench.common import table
from recolor_fast.colorize import Colorizer
from recolor_fast.photographs import images, restoring

PAPER, WIDE = 235, SIDE // 20
BLACKS, WHITES = (20, 90), (150, 230)


def faded(gray: np.ndarray, number: int) -> np.ndarray:
    """uint8 (SIDE,SIDE), faded by levels drawn for its number; those of odd numbers on paper, which is not cut off."""
    chance = np.random.default_rng(number)
    low, high = chance.uniform(*BLACKS), chance.uniform(*WHITES)
    print_ = np.rint(low + gray * ((high - low) / 255)).astype(np.uint8)
    if number % 2 == 0:
        return print_
    return np.pad(print_, WIDE, constant_values=PAPER)


def cut(pixels: np.ndarray) -> np.ndarray:
    """Without the paper."""
    by = (len(pixels) - SIDE) // 2
    return pixels[by : by + SIDE, by : by + SIDE]


def row(originals: list[np.ndarray], prints: list[np.ndarray], colorizer: Colorizer) -> dict[str, Any]:
    """The numbers of one way to color these gray prints."""
    squares = grays = light = 0.0
    seen = []
    for truth, one in zip(originals, prints):
        colored = cut(colorizer(one))
        true, ours = lab(truth), lab(colored)
        squares += np.square(ours - true).sum(0).mean()
        grays += np.square(true).sum(0).mean()
        light += np.square(images.gray(colored).astype(np.float64) - images.gray(truth)).mean()
        full = [cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for rgb in (truth, colored)]
        seen.append(deltaE_ciede2000(*full).mean())
    return {
        "ab_error": (squares / len(originals) / 2) ** 0.5,
        "below_gray": 100 * (1 - (squares / grays) ** 0.5),
        "ciede2000": float(np.mean(seen)),
        "luma": (light / len(originals)) ** 0.5,
    }


def borders(prints: list[np.ndarray]) -> str:
    """Percent of those on paper and of the others of which a border was found."""
    found = [restoring.restored(one).border is not None for one in prints]
    return " and ".join(f"{100 * sum(found[at::2]) / max(1, len(found[at::2])):.0f}" for at in (1, 0))


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    arguments = parse(Arguments, argv)
    plain, restores = Colorizer(arguments.model), Colorizer(arguments.model, restore=True)
    rows = []
    try:
        for folder in arguments.folders:
            every = list(truths(folder))
            some = every[:: max(1, len(every) // arguments.limit)][: arguments.limit]
            grays = [images.gray(truth) for truth in some]
            prints = [faded(gray, number) for number, gray in enumerate(grays)]
            for name, these, by in (("whole", grays, plain), ("faded", prints, plain), ("restored", prints, restores)):
                found = borders(these) if by is restores else ""
                rows.append({"set": folder.name, "print": name, **row(some, these, by), "borders": found})
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
