"""Photographs from a folder and from shards made of it, by the loader: python bench/shards.py [--photographs FOLDER].

Rows, of each source: `read`, the files' bytes alone, and `host` and `dali-cpu`, pairs of 256x256 by all processors, all
in the order of a training's first epoch. `cached` says whether the system has the bytes in memory (`warm`), or was told
to forget them before each run (`cold`, by posix_fadvise), as where a set is larger than memory. `ratio` is the
folder's ms over the row's own: more than 1 is faster than from the folder.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Shards as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import product

import torch

from bench.common import report
from bench.loader import make_photographs
from recolor_fast.data import dali, index, loader, shards, sources
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.options import Data
from recolor_fast.shards import MB, pack


@starting.verb()
def main(argv: list[str]) -> int:
    """Parse the command line, pack, time every row in turn, and report."""
    arguments = parse(Arguments, argv)
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.photographs or Path(place, "photographs")
        if not arguments.photographs:
            make_photographs(folder, arguments.count, 500, 375)
        pack(folder, Path(place, "shards"), arguments.shard_size * MB, 0)
        places = {"folder": folder, "shards": Path(place, "shards")}
        paths = {name: chosen(data, arguments.count) for name, data in places.items()}
        rows = measure(paths, places, arguments.runs)
    note = f"medians of {arguments.runs} runs in turn; ratio = ms from the folder / ms"
    count = len(paths["shards"])
    report("shards", device_name(torch.device("cpu")), count, rows, note, arguments.save)
    return 0


def chosen(data: Path, count: int) -> list[Path]:
    """The first usable photographs of a source, in an order to train in."""
    paths = index.usable(sources.photographs(Data(data=str(data))).train[:count], progress=False)[0]
    return [paths[place] for place in next(loader.indices(0, len(paths), len(paths)))]


def measure(paths: dict[str, list[Path]], places: dict[str, Path], runs: int) -> list[dict[str, object]]:
    """The rows. What both sources give is compared first."""
    options = Data(equalize="none", blur="none")
    whole = {name: loader.load(options, some[:32]) for name, some in paths.items()}
    if not all(map(torch.equal, *whole.values())):
        raise AssertionError("folder and shards give other photographs")
    ways: dict[str, Callable[[list[Path]], object]] = {
        "read": lambda some: [shards.read(path) for path in some],
        "host": lambda some: loader.load(options, some),
    }
    if dali.available():
        ways["dali-cpu"] = lambda some: loader.load(options, some, backend="dali")
    times: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(runs + 1):
        for way, cached, name in product(ways, ("warm", "cold"), paths):
            if cached == "cold":
                forget(path for path in places[name].rglob("*") if path.is_file())
            started = time.perf_counter()
            ways[way](paths[name])
            if turn:
                times.setdefault((way, cached, name), []).append(time.perf_counter() - started)
    medians = {key: statistics.median(some) for key, some in times.items()}
    count = len(paths["folder"])
    return [
        {
            "name": way,
            "cached": cached,
            "source": source,
            "ms": 1e3 * seconds / count,
            "images_per_s": count / seconds,
            "ratio": medians[way, cached, "folder"] / seconds,
        }
        for (way, cached, source), seconds in medians.items()
    ]


def forget(files: Iterable[Path]) -> None:
    """Let the system drop what it holds of files in memory."""
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
