"""How cost grows: python bench/growth.py [--quick] [--cases CASE...] [--plot FILE] [--save].

Cases: `batch`, `size` and `width`, one iteration of wgan-gp-lpips with --amp as the one named grows and the others stay
at 1, 256 and 64 (64 pixels, a width of 16 and a batch of 1 where it is `--quick`); `photographs`, files of one small
JPEG as their number grows: listed, looked at for the first time, and looked at again by what the cache knows; `no-op`,
JPEGs of 64x64 in one folder, colored by a model that does nothing (`colorize IN OUT --color recolor --json`, its start
included), and by the same command again, which skips all; `colored`, the same with the model of this package.

`seconds` are of an iteration (median), or of all files; `each` is per photograph, in ms; `processor` is seconds of all
threads; `memory` is the process's peak, MiB. `power` says how the seconds grow from the row before: 1 is linear, 2
square. With --save the rows take the place of the same ones in bench/results, and --plot draws all that are there.
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
import torch

from bench.common import ended, report, results, saved_rows
from recolor_fast.data import index, sources
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import memory, processors, starting
from recolor_fast.machine.environment import device_name
from recolor_fast.options import Data
from recolor_fast.photographs import images
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.resolve import for_photographs, resolve
from recolor_fast.step.iteration import Step

GROWN = {"batch": (1, 2, 4, 8, 16, 32), "size": (64, 128, 256, 512), "width": (16, 32, 64, 128)}
QUICK = {"batch": (1, 2), "size": (64, 128), "width": (8, 16)}
LINKS = 30_000  # names of one file, which a file system limits
FILES = "list", "look", "again"
FOLDERS = "no-op", "colored"
SMALL = 64  # pixels of a side
Grown = tuple[float, int, float, float | None]  # seconds, photographs, peak in MiB, processor seconds


@starting.verb()
def main(argv: list[str]) -> int:
    """Measure every row in a process of its own, and report."""
    arguments = parse(Arguments, argv)
    small = {"size": 64, "width": 16} if arguments.quick else {}
    rows: list[dict[str, Any]] = []
    chosen: Sequence[str] = arguments.cases or (*GROWN, "photographs", *FOLDERS)
    for case, values in (QUICK if arguments.quick else GROWN).items():
        if case not in chosen:
            continue
        kept = [value for value in values if value <= arguments.most] if case == "batch" else values
        _grow(rows, case, {value: partial(iteration, **(small | {case: value}), runs=arguments.runs) for value in kept})
    for name in FILES if "photographs" in chosen else ():
        counts = _powers(arguments.photographs)
        _grow(rows, f"photographs, {name}", {count: partial(files, count, name) for count in counts})
    for name in FOLDERS:
        counts = _powers(arguments.folder) if name in chosen else []
        took = {count: alone(partial(folder, count, name)) for count in counts}
        for case, at in ((f"folder, {name}", 0), (f"folder, {name}, skipped", 1)):
            _add(rows, case, {count: measured[at] for count, measured in took.items()})
    device = device_name(torch.device("cpu"))
    report("growth", device, arguments.runs, rows, "", arguments.save, same=("case", "value"))
    if arguments.plot:
        plot(saved_rows(results("growth", device)) if arguments.save else rows, arguments.plot)
    return 0


def _powers(most: int) -> list[int]:
    """100, 1,000, ... up to `most`."""
    return [10**power for power in range(2, 1 + round(math.log10(most)))]


def alone(call: Callable[[], Any]) -> Any:
    """What a call returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(call).result()
    print(f"{call}: {result}", file=sys.stderr, flush=True)  # the next may take half an hour
    return result


def _grow(rows: list[dict[str, Any]], case: str, calls: Mapping[int, Callable[[], Grown]]) -> None:
    """Add a row of each call, made in a process of its own, by what it is for."""
    _add(rows, case, {value: alone(call) for value, call in calls.items()})


def _add(rows: list[dict[str, Any]], case: str, grown: Mapping[int, Grown]) -> None:
    """Add a row of each value, with the power by which its seconds grew since the one before."""
    before: tuple[int, float] | None = None
    for value, (seconds, count, peak, processor) in grown.items():
        power = math.log(seconds / before[1]) / math.log(value / before[0]) if before else None
        each = 1000 * seconds / count
        row = {"case": case, "value": value, "seconds": seconds, "each": each, "memory": peak, "power": power}
        rows.append(row | {"processor": processor})
        before = value, seconds


def iteration(batch: int = 1, size: int = 256, width: int = 64, runs: int = 3) -> Grown:
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
    return statistics.median(times[1:]), batch, memory.peak(), None


def files(count: int, case: str) -> Grown:
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
            return listed, count, memory.peak(), None
        time.sleep(2.5)  # files changed just now are looked at anew (data/checked.py)
        paths = [*split.train, *split.val]
        for _ in range(1 + (case == "again")):
            started = time.perf_counter()
            index.look(paths, progress=False)
            seconds = time.perf_counter() - started
        return seconds, count, memory.peak(), None


def folder(count: int, model: str) -> tuple[Grown, Grown]:
    """Seconds to color so many files, their number, the command's peak, MiB, and its processor time; then the same of
    the same command once more, which skips all.

    They are all different: parts of the sample photographs, 2 KB each. `model`: that of FOLDERS.
    """
    from bench.folder import no_op  # whose libraries the other cases' memory should not have

    whole = [images.read_rgb(path.read_bytes()) for path in sources.sample()]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        for number in range(count):
            pixels = whole[number % len(whole)]
            top, left = (int(generator.integers(side - SMALL)) for side in pixels.shape[:2])
            part = np.ascontiguousarray(pixels[top : top + SMALL, left : left + SMALL])
            (place / "in" / f"{number:07d}.jpg").write_bytes(simplejpeg.encode_jpeg(part, 90, "RGB"))
        no_op(place / "no-op.onnx")
        own: list[str | Path] = ["--model", place / "no-op.onnx"] if model == "no-op" else []
        words: list[str | Path] = [place / "in", place / "out", "--color", "recolor", "--json", *own]
        first, second = (ended("colorize", *words) for _ in range(2))
        made = sum(one.name.endswith(".jpg") for one in os.scandir(place / "out"))
    if made != count:
        raise RuntimeError(f"{made} of {count} files colored")
    both = [(took.seconds, count, took.memory, took.processor) for took in (first, second)]
    return both[0], both[1]


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Seconds and memory of each case by its value, both axes logarithmic; dotted: linear. Where a row has processor
    seconds, these: a folder of many files takes so long that others have work meanwhile."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2), ("seconds", "memory")):
        for case in dict.fromkeys(row["case"] for row in rows):
            own = [row for row in rows if row["case"] == case]
            points = [(float(row["value"]), float(_spent(row) if column == "seconds" else row[column])) for row in own]
            (line,) = axes.plot(*zip(*points), "o-", label=case)
            if column == "seconds":
                first, last = points[0][0], points[-1][0]
                ends = [points[0][1], points[0][1] * last / first]
                axes.plot([first, last], ends, ":", color=line.get_color(), linewidth=1)
        label = "seconds (folders: of processor)" if column == "seconds" else "memory, MiB"
        axes.set(xscale="log", yscale="log", xlabel="value", ylabel=label)
    axes.legend(fontsize=8)
    figure.savefig(path)


def _spent(row: Mapping[str, Any]) -> Any:
    """The processor seconds of a row, measured or saved, or else its seconds."""
    processor = row.get("processor")
    return row["seconds"] if processor in (None, "-", "") else processor


if __name__ == "__main__":
    sys.exit(main())
