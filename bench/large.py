"""Large photographs: seconds and memory of `colorize IN OUT --color recolor`: python bench/large.py [--quick] [--save].

Its start is included; the model is that of this package. Cases: JPEGs of 12 and of 100 megapixels, baseline and
progressive, and PNGs of 100, of 8 and of 16 bits a channel, alone with one thread; four of the JPEGs with two, and
with `--shard 0/1`, which takes no room by the memory that is free. The pictures are sample photographs side by side
near their own resolution, with noise.

`memory` is the process's peak, MiB; `bytes a pixel` is what of it a photograph of 500x375 does not take, by the pixels
of one photograph. Each row is the median of the runs, which are in turns.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Large as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import shutil
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from bench.common import Ended, ended, report
from recolor_fast.data import sources
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.photographs import images

NOISE = 4.0  # standard deviation, levels of 255
TILE = 512  # pixels of a side of a photograph in the picture
SIZES = {"small": (500, 375), "12 megapixels": (4000, 3000), "100 megapixels": (11600, 8700)}
QUICK = {"small": (500, 375), "12 megapixels": (1200, 900), "100 megapixels": (2400, 1800)}


class Row(NamedTuple):
    """What a row colors, and how."""

    size: str
    """A key of SIZES."""
    kind: str
    """A key of KINDS."""
    photographs: int = 1
    threads: int = 1
    words: tuple[str, ...] = ()


KINDS: dict[str, tuple[str, dict[str, Any], type[np.uint8] | type[np.uint16]]] = {
    "JPEG": (".jpg", {"quality": 90}, np.uint8),
    "progressive JPEG": (".jpg", {"quality": 90, "progressive": True}, np.uint8),
    "PNG": (".png", {}, np.uint8),
    "PNG of 16 bits": (".png", {}, np.uint16),
}
JPEGS = "JPEG", "progressive JPEG"
ROWS = (
    Row("small", "JPEG"),
    *(Row("12 megapixels", kind) for kind in JPEGS),
    *(Row("12 megapixels", kind, 4, 2) for kind in JPEGS),
    *(Row("100 megapixels", kind) for kind in KINDS),
    *(Row("100 megapixels", kind, 4, 2) for kind in JPEGS),
    *(Row("100 megapixels", kind, 4, 2, ("--shard", "0/1")) for kind in JPEGS),
)


@starting.verb()
def main(argv: list[str]) -> int:
    """Measure every row in turns, and report."""
    arguments = parse(Arguments, argv)
    sizes = QUICK if arguments.quick else SIZES
    rows = [row for row in ROWS if not arguments.sizes or row.size in ("small", *arguments.sizes)]
    took: dict[Row, list[Ended]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory() as name:
        for row in rows:
            folder = Path(name, "in", f"{row.size} {row.kind}")
            if not folder.is_dir():
                make(folder, sizes[row.size], row.kind)
        for _ in range(arguments.runs):
            for row in rows:
                took[row].append(_measured(Path(name), row))
    report("large", device_name(torch.device("cpu")), arguments.runs, _rows(took, sizes), "", arguments.save)
    return 0


def make(folder: Path, size: tuple[int, int], kind: str) -> None:
    """A picture of this width and height in a folder of its own; of 16 bits, the lower 8 are noise."""
    folder.mkdir(parents=True)
    width, height = size
    suffix, options, dtype = KINDS[kind]
    tiles = [cv2.resize(images.read_rgb(path.read_bytes()), (TILE, TILE)) for path in sources.sample()]
    generator = np.random.default_rng(0)
    pixels = np.empty((height, width, 3), dtype)
    for number, top in enumerate(range(0, height, TILE)):  # a row of tiles at a time: the whole in floats is 1.2 GB
        across = [tiles[(number + column) % len(tiles)] for column in range(-(-width // TILE))]
        row = np.hstack(across)[: height - top, :width].astype(np.float32)
        row += generator.standard_normal(row.shape, np.float32) * NOISE
        pixels[top : top + TILE] = (row.clip(0, 255) * (np.iinfo(dtype).max / 255)).round()
    path = folder / f"0{suffix}"
    if suffix == ".jpg":
        Image.fromarray(pixels).save(path, **options)
    else:
        cv2.imwrite(str(path), pixels[..., ::-1])


def _measured(place: Path, row: Row) -> Ended:
    """What the row's command takes."""
    source, given, out = place / "in" / f"{row.size} {row.kind}", place / "given", place / "out"
    given.mkdir()
    for path in source.iterdir():
        for number in range(row.photographs):
            (given / f"{number}{path.suffix}").hardlink_to(path)
    try:
        return ended("colorize", given, out, "--color", "recolor", "--threads", str(row.threads), *row.words)
    finally:
        for folder in (given, out):
            shutil.rmtree(folder, ignore_errors=True)


def _rows(took: dict[Row, list[Ended]], sizes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The rows as `report` takes them; the first is what all have."""

    def median(of: Sequence[Ended], name: str) -> float:
        return statistics.median(getattr(one, name) for one in of)

    least = median(took[ROWS[0]], "memory")
    rows = []
    for row, runs in took.items():
        width, height = sizes[row.size]
        memory = median(runs, "memory")
        found = {"case": row.size, "name": row.kind, "photographs": row.photographs, "threads": row.threads}
        found |= {"options": " ".join(row.words) or None, "seconds": median(runs, "seconds")}
        found |= {"processor": median(runs, "processor"), "memory": memory}
        rows.append(found | {"bytes a pixel": (memory - least) * 2**20 / (width * height)})
    return rows


if __name__ == "__main__":
    sys.exit(main())
