"""The picture at the top of the README, docs/colored.jpg: python bench/records/readme_picture.py [--out FILE].

The color photographs of scikit-image that anyone may use (FREE, by the docstrings of `skimage.data`), all of them; none
was trained on. From the top: gray, as the colorizer that comes with the package colors it, and as it was taken.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder is there
from bench.arguments import parse
from bench.records.arguments import ReadmePicture as Arguments

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import numpy as np
from PIL import Image

from recolor_fast.colorize import Colorizer
from recolor_fast.data import sources
from recolor_fast.machine.files import replacing
from recolor_fast.photographs import images

FREE = {
    "astronaut.png": "NASA, public domain",
    "chelsea.png": "Stefan van der Walt, CC0",
    "coffee.png": "Rachel Michetti, CC0",
    "rocket.jpg": "SpaceX, public domain",
}
SIDE, GAP = 248, 2  # pixels of a photograph, and of the white between two
QUALITY = 88  # of the JPEG


def middle(rgb: np.ndarray) -> np.ndarray:
    """The middle square of a photograph, uint8 (S,S,3)."""
    short = min(rgb.shape[:2])
    top, left = ((length - short) // 2 for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + short, left : left + short])


def column(truth: np.ndarray, colorizer: Colorizer) -> np.ndarray:
    """A photograph gray, colored whole and as it was, their middles one below the other, uint8 (3 * (SIDE+GAP),SIDE,3).

    It is colored at its full size, as `colorize` does.
    """
    gray = images.gray(truth)
    shown = [np.repeat(gray[..., None], 3, 2), colorizer(gray), truth]
    tiles = [images.resize(middle(one), SIDE, SIDE) for one in shown]
    return np.concatenate([np.pad(one, ((0, GAP), (0, 0), (0, 0)), constant_values=255) for one in tiles])


def main(arguments: Arguments) -> None:
    """Write the picture."""
    colorizer = Colorizer()
    columns = [column(images.read_rgb(path.read_bytes()), colorizer) for path in sources.sample() if path.name in FREE]
    sheet = np.concatenate([np.pad(one, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for one in columns], 1)
    with replacing(arguments.out) as file:
        Image.fromarray(sheet[:-GAP, :-GAP]).save(file, "JPEG", quality=QUALITY, optimize=True)
    print(arguments.out)


if __name__ == "__main__":
    main(parse(Arguments))
