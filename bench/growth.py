"""How cost grows: python bench/growth.py [--quick] [--plot FILE] [--save].

Cases: `batch`, `size` and `width`, one iteration of wgan-gp-lpips with --amp as the one named grows and the others stay
at 1, 256 and 64 (64 pixels, a width of 16 and a batch of 1 where it is `--quick`); `photographs`, files of one small
JPEG as their number grows: listed, looked at for the first time, and looked at again by what the cache knows.

`seconds` are of an iteration (median), or of all files; `each` is per photograph, in ms; `memory` is the process's
peak, MiB. `power` says how the seconds grow from the row before: 1 is linear, 2 square.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Growth as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import math
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
import torch

from bench.common import report
from recolor_fast.data import index, sources
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import memory, processors, starting
from recolor_fast.machine.environment import device_name
from recolor_fast.options import Data
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.resolve import for_photographs, resolve
from recolor_fast.step.iteration import Step

GROWN = {"batch": (1, 2, 4, 8, 16, 32), "size": (64, 128, 256, 512), "width": (16, 32, 64, 128)}
QUICK = {"batch": (1, 2), "size": (64, 128), "width": (8, 16)}
LINKS = 30_000  # names of one file, which a file system limits


@starting.verb()
def main(argv: list[str]) -> int:
    """Measure every row in a process of its own, and report."""
    arguments = parse(Arguments, argv)
    small = {"size": 64, "width": 16} if arguments.quick else {}
    rows: list[dict[str, Any]] = []
    for case, values in (QUICK if arguments.quick else GROWN).items():
        kept = [value for value in values if value <= arguments.most] if case == "batch" else values
        _grow(rows, case, {value: partial(iteration, **(small | {case: value}), runs=arguments.runs) for value in kept})
    counts = [10**power for power in range(2, 1 + round(math.log10(arguments.photographs)))]
    for case in ("list", "look", "again"):
        _grow(rows, f"photographs, {case}", {count: partial(files, count, case) for count in counts})
    if arguments.plot:
        plot(rows, arguments.plot)
    report("growth", device_name(torch.device("cpu")), arguments.runs, rows, "", arguments.save)
    return 0


def _grow(rows: list[dict[str, Any]], case: str, calls: dict[int, Any]) -> None:
    """Add a row of each call, by what it is for, with the power by which it grew since the one before."""
    before: tuple[int, float] | None = None
    for value, call in calls.items():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            seconds, count, peak = alone.submit(call).result()
        power = math.log(seconds / before[1]) / math.log(value / before[0]) if before else None
        each = 1000 * seconds / count
        rows.append({"case": case, "value": value, "seconds": seconds, "each": each, "memory": peak, "power": power})
        before = value, seconds


def iteration(batch: int = 1, size: int = 256, width: int = 64, runs: int = 3) -> tuple[float, int, float]:
    """Median seconds of an iteration of the default preset, its photographs, and the peak of the process, MiB."""
    made = replace(PRESETS[DEFAULT], batch=batch, size=size, width=width, amp=True, lpips="lpips_mini", device="cpu")
    options = for_photographs(resolve(replace(made, data="sample", threads=processors.threads())), 1)
    memory.keep_freed()
    step = Step(options, build_terms(options), torch.device("cpu"))
    generator = np.random.default_rng(0)
    gray, rgb = (
        torch.from_numpy(generator.integers(0, 256, (batch, channels, size, size), dtype=np.uint8))
        for channels in (1, 3)
    )
    times = []
    for turn in range(runs + 1):
        started = time.perf_counter()
        step(gray, rgb, turn * batch)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:]), batch, memory.peak()


def files(count: int, case: str) -> tuple[float, int, float]:
    """Seconds to list so many files, or to look at them once or again, their number, and the process's peak, MiB."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["RECOLOR_FAST_CACHE"] = str(Path(place, "cache"))
        folder = Path(place, "photographs")
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        for number in range(count):
            path = folder / f"{number // 1000:04d}" / f"{number:07d}.jpg"
            if number % LINKS == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(simplejpeg.encode_jpeg(pixels, 90, "RGB"))
                linked = path
                continue
            path.parent.mkdir(exist_ok=True)
            os.link(linked, path)
        started = time.perf_counter()
        split = sources.photographs(Data(data=str(folder)))
        listed = time.perf_counter() - started
        if case == "list":
            return listed, count, memory.peak()
        time.sleep(2.5)  # files changed just now are looked at anew (data/checked.py)
        paths = [*split.train, *split.val]
        for _ in range(1 + (case == "again")):
            started = time.perf_counter()
            index.look(paths, progress=False)
            seconds = time.perf_counter() - started
        return seconds, count, memory.peak()


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds and memory of each case by its value, both axes logarithmic; dotted: linear."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2), ("seconds", "memory")):
        for case in dict.fromkeys(row["case"] for row in rows):
            points = [(row["value"], row[column]) for row in rows if row["case"] == case]
            (line,) = axes.plot(*zip(*points), "o-", label=case)
            if column == "seconds":
                first, last = points[0][0], points[-1][0]
                ends = [points[0][1], points[0][1] * last / first]
                axes.plot([first, last], ends, ":", color=line.get_color(), linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="value", ylabel=column + (", MiB" if column == "memory" else ""))
    axes.legend(fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
