"""The examples of --old-film, docs/old-film.jpg: python bench/records/old_film_sheet.py [--out FILE] [--seed N].

Above, each part alone, stronger than in most old photographs. Below, each of the sample's photographs, which are free
(data/README.txt of scikit-image): in plain gray, then as it becomes as number 0, 1, 2, ... of a run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder is there
from bench.arguments import parse
from bench.records.arguments import OldFilmSheet as Arguments

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from recolor_fast.data import film, sources
from recolor_fast.data.old_film import old_film
from recolor_fast.machine.files import replacing
from recolor_fast.photographs import images

SIDE = 160  # pixels of an example
COLUMNS = 7
ROWS = 2  # of each photograph
FILMS = {"blue-sensitive": (0.02, 0.1, 0.88), "orthochromatic": (0.05, 0.5, 0.45), "panchromatic": (0.3, 0.4, 0.3)}
PARTS: dict[str, tuple[Callable[..., Tensor], tuple[float, ...]]] = {  # each with its parameters, in its order
    "soft": (film.blur, (0.33,)),
    "sharpened": (film.blur, (-0.25,)),
    "halation": (film.halation, (0.6,)),
    "curve": (film.curve, (1.4, 0.3, 0.4)),
    "flat curve": (film.curve, (0.65, 0, 0)),
    "vignette": (film.vignette, (0.7, 0.1, 0)),
    "grain": (film.grain, (0.06, 0.2)),
    "fading": (film.fading, (0.6, 0.8)),
    "levels": (film.levels, (0.25, 0.8)),
    "oval": (film.oval, (0.95, 0.8, 0.95, 0.2)),
    "border": (film.border, (0.95, 0.1, 0.2, -0.3, 0.1, 0.05)),
    "paper": (film.paper, (0.05, 0.2)),
    "spot": (film.spot, (-0.5, -0.3, 0.3, 0.8, 0.6, 0)),
    "water": (film.spot, (0.5, 0.6, 0.5, 0.2, 0.6, 1)),
    "dust": (film.dust, (0.002, 1, 0.2)),
    "scratch": (film.scratch, (0.6, 0.1, 0.1, 1.2, -1, 1.8, 1, 0.9)),
    "fold": (film.fold, (0.03, 0.2, 1.2, 0.8, 0.15)),
    "jpeg": (film.jpeg, (25,)),
}


def square(path: Path) -> np.ndarray:
    """The middle of a photograph, uint8 (SIDE,SIDE,3)."""
    rgb = images.read_rgb(path.read_bytes())
    short = min(rgb.shape[:2])
    top, left = ((length - short) // 2 for length in rgb.shape[:2])
    return images.resize(np.ascontiguousarray(rgb[top : top + short, left : left + short]), SIDE, SIDE)


def alone(rgb: Tensor) -> dict[str, np.ndarray]:
    """A photograph, uint8 (1,3,SIDE,SIDE), on each film and after each part, by name, uint8 (SIDE,SIDE)."""
    grays = {name: film.exposed(rgb, torch.tensor([weights])) for name, weights in FILMS.items()}
    key = torch.tensor([1])
    for name, (part, values) in PARTS.items():
        grays[name] = part(grays["panchromatic"], key, *(torch.full((1, 1, 1, 1), float(value)) for value in values))
    return {name: (gray[0, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy() for name, gray in grays.items()}


def tiles(paths: tuple[Path, ...], seed: int) -> list[tuple[str, np.ndarray]]:
    """The examples of the sheet with what is written on them, COLUMNS of them a row."""
    rgb = np.stack([square(path) for path in paths])
    planes = torch.from_numpy(rgb).permute(0, 3, 1, 2).contiguous()
    shown = list(alone(planes[:1]).items())
    shown += [("", np.full((SIDE, SIDE), 255, np.uint8))] * (-len(shown) % COLUMNS)
    count = ROWS * COLUMNS - 1
    for number, one in enumerate(rgb):
        many = planes[number : number + 1].repeat(count, 1, 1, 1)
        old = old_film(many[:, :1], many, 1.0, seed, number * count)
        shown += [("plain gray", images.gray(one)), *(("", gray[0].numpy()) for gray in old)]
    return shown


def main(arguments: Arguments) -> None:
    """Write the sheet."""
    shown = tiles(sources.sample(), arguments.seed)
    sheet = Image.new("L", (COLUMNS * SIDE, len(shown) // COLUMNS * SIDE))
    draw = ImageDraw.Draw(sheet)
    for number, (name, gray) in enumerate(shown):
        place = (number % COLUMNS * SIDE, number // COLUMNS * SIDE)
        sheet.paste(Image.fromarray(gray), place)
        draw.text((place[0] + 4, place[1] + 3), name, fill=255, stroke_width=2, stroke_fill=0)
    with replacing(arguments.out) as file:
        sheet.save(file, "JPEG", quality=80, optimize=True)
    print(arguments.out)


if __name__ == "__main__":
    main(parse(Arguments))
