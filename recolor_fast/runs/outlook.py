"""What a training says of itself: before it begins, of its photographs; after its first steps, of time and memory; at
its end, how it went and what to do next."""

import math
import shlex
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from recolor_fast.data.chosen import Photographs
from recolor_fast.machine import bars
from recolor_fast.options import Data
from recolor_fast.photographs import images
from recolor_fast.runs import checkpoint, csv_rows, validation

LOOKED = 500  # photographs whose headers are read for their sizes, at most
STEADY = 5.0  # seconds of training after which its pace says how long it will take


def photographs(options: Data, chosen: Photographs) -> list[str]:
    """How many photographs there are to train on, how many hold no color, their sizes, and what is cut off of them."""
    gray = sum(reason.startswith("no color") for reason in chosen.unusable.values())
    broken = len(chosen.unusable) - gray
    left_out = [f"{gray:,} without color"] * bool(gray) + [f"{broken:,} unusable"] * bool(broken)
    counts = f"{len(chosen.train):,} photographs to train on, {len(chosen.val):,} to validate on"
    return [counts + (f"; left out: {', '.join(left_out)}" if left_out else ""), _sizes(options, chosen.train)]


def _sizes(options: Data, paths: Sequence[Path]) -> str:
    every = math.ceil(len(paths) / LOOKED)
    sizes = [size for path in paths[::every] if (size := _size(path))]
    side = options.load_size or options.size
    text = f"each is squeezed to {side}x{side} pixels, whatever its shape"
    if options.load_size:
        lost = 1 - (options.size / options.load_size) ** 2
        text += f", and {lost:.0%} of that is cut off, at random: {options.size}x{options.size} are left"
    else:
        text += "; nothing is cut off"
    if not sizes:
        return text
    sizes.sort(key=lambda size: size[0] * size[1])
    (small, large), middle = (sizes[0], sizes[-1]), sizes[len(sizes) // 2]
    shape = statistics.median(max(size) / min(size) for size in sizes)
    enlarged = sum(min(size) < side for size in sizes)
    told = f"sizes from {small[0]}x{small[1]} to {large[0]}x{large[1]}, the median {middle[0]}x{middle[1]}"
    told += f" ({len(sizes):,} of them looked at)" if every > 1 else ""
    told += f", half of them {shape:.2f} times as long as wide or more"
    told += f", {enlarged:,} with a side below {side}, which are enlarged" if enlarged else ""
    return f"{told}; {text}"


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright photograph; None where its header does not tell."""
    try:
        with open(path, "rb") as file:
            header = images.header(file)
    except OSError:
        return None
    return (header.width, header.height) if header and header.width and header.height else None


class Pace:
    """Measures the first steps, and says once what follows from them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.since: tuple[float, int] | None = None
        self.said = False

    def seen(self, seen: int, memory: float, device: str) -> str:
        """So many photographs are seen, with so much memory (MiB) taken: the line to say now, else nothing.

        The first iteration, which may compile, does not count; what takes less than STEADY seconds says nothing.
        """
        if self.said:
            return ""
        now = time.monotonic()
        if self.since is None:
            self.since = now, seen
        began, before = self.since
        if now - began < STEADY or seen >= self.total:
            return ""
        self.said = True
        rate = (seen - before) / (now - began)
        left = bars.duration((self.total - seen) / rate)
        return (
            f"measured on the first steps: {rate:.3g} photographs/s on {device}, so {left} for the {self.total - seen:,} "
            f"to come, without validation and checkpoints; memory {gib(memory)} so far"
        )


def gib(mebibytes: float) -> str:
    """Memory as people read it: "812 MiB", "3.4 GiB"."""
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def summary(run: Path, preset: str) -> list[str]:
    """At the end: the best checkpoint, its numbers, and the commands that make sense next, with their real paths."""
    paths = {int(path.stem): path for path in checkpoint.list_checkpoints(run / "checkpoints")}
    best = csv_rows.best(run)
    rows = {int(row["images"]): row for row in csv_rows.validation(run)}
    lines = [f"curves: {run / 'results.png'}; samples: {run / 'samples'}"]
    if best is not None and best in paths:
        numbers = {name: float(value) if value else math.nan for name, value in rows[best].items()}
        newest = " (the newest, too)" if best == max(paths) else f"; the newest is {paths[max(paths)].name}"
        lines.append(f"best checkpoint by validation: {paths[best]}{newest}")
        lines.append(f"  {validation.told(numbers)}, PSNR {numbers.get('psnr', math.nan):.2f} dB")
    folder, flag = shlex.quote(str(run)), " --best" if paths and best not in (None, max(paths)) else ""
    model = shlex.quote(str(run / f"{preset}-chroma-fp32.onnx"))
    return [
        *lines,
        "next:",
        f"  recolor-fast export {folder}{flag}",
        f"  recolor-fast colorize --model {model} PHOTOGRAPHS COLORED",
        f"  recolor-fast evaluate {folder} --out {shlex.quote(str(run / 'evaluation'))}",
    ]
