"""What a training says of itself: before it begins, of its photographs; after its first steps, of time and memory; at
its end, how it went and what to do next."""

import io
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from recolor_fast.data import shards
from recolor_fast.data.chosen import Photographs
from recolor_fast.machine import bars
from recolor_fast.machine.environment import device_name, peak_memory
from recolor_fast.options import Command, Data
from recolor_fast.photographs import images
from recolor_fast.runs import checkpoint, csv_rows, learned, validation
from recolor_fast.runs.console import gib

LOOKED = 500  # photographs whose headers are read for their sizes, at most
STEADY = 5.0  # seconds of training after which its pace says how long it will take


def counts(chosen: Photographs) -> str:
    """How many photographs there are to train and to validate on, and how many are left out, and why."""
    text = f"{len(chosen.train):,} photographs, {len(chosen.val):,} to validate on"
    return text + (f" ({left_out(chosen.unusable)})" if chosen.unusable else "")


def left_out(unusable: Mapping[Path, str]) -> str:
    """How many files a training leaves out, by their reasons, and which kind: gray ones are no faults."""
    gray = sum(reason.startswith("no color") for reason in unusable.values())
    broken = len(unusable) - gray
    kinds = [f"{gray:,} without color"] * bool(gray) + [f"{broken:,} unusable"] * bool(broken)
    return f"{' and '.join(kinds)} left out"


def sizes(options: Data, paths: Sequence[Path]) -> str:
    """The sizes of photographs, by their headers, and what becomes of them: what is cut off, which are enlarged."""
    every = math.ceil(len(paths) / LOOKED)
    found = sorted(filter(None, map(_size, paths[::every])), key=math.prod)
    side = options.load_size or options.size
    kept = "nothing is cut off"
    if options.load_size:
        lost = 1 - (options.size / options.load_size) ** 2
        kept = f"{lost:.0%} of that is cut off, another part each time: {options.size}x{options.size} are left"
    text = f"each is squeezed to {side}x{side} pixels, whatever its shape; {kept}"
    if not found:
        return text
    small, middle, large = ("x".join(map(str, found[place])) for place in (0, len(found) // 2, -1))
    enlarged = sum(min(size) < side for size in found)
    told = f"sizes: {small} to {large}, half of them {middle} or more"
    told += f", {enlarged:,} of {len(found):,} enlarged for a side below {side}" if enlarged else ""
    told += f" (by {len(found):,} of them)" if every > 1 else ""
    return f"{told}; {text}"


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright photograph; None where its header does not tell."""
    try:
        with open(path, "rb") if path.is_file() else io.BytesIO(shards.read(path)) as file:
            header = images.header(file)
    except (OSError, ValueError):
        return None
    return (header.width, header.height) if header and header.width and header.height else None


class Pace:
    """Measures the first steps, and says once what follows from them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.since: tuple[float, int] | None = None
        self.said = False

    def seen(self, seen: int, now: float, device: torch.device) -> str:
        """So many photographs are seen `now`, in seconds trained without pauses: the line to say, else nothing.

        The first iteration, which may compile, does not count; what takes less than STEADY seconds says nothing.
        """
        if self.said:
            return ""
        if self.since is None:
            self.since = now, seen
        began, before = self.since
        if now - began < STEADY or seen >= self.total:
            return ""
        self.said = True
        rate = (seen - before) / (now - began)
        left = bars.duration((self.total - seen) / rate)
        return (
            f"measured on the first steps: {rate:.3g} photographs/s, so {left} for the other {self.total - seen:,}, "
            f"validation aside; {gib(peak_memory(device))} of memory ({device_name(device)})"
        )


def summary(run: Path, options: Command) -> list[str]:
    """At the end: the best checkpoint, its numbers, and the commands that make sense next, with their real paths."""
    lines = [f"curves: {run / 'results.png'}; samples: {run / 'samples'}"]
    paths = checkpoint.list_checkpoints(run / "checkpoints")
    best, last = csv_rows.best(run), paths[-1]
    if best is not None:
        row = next(row for row in csv_rows.validation(run) if int(row["images"]) == best)
        numbers = {name: float(value or math.nan) for name, value in row.items()}
        place = run / "checkpoints" / f"{best:09d}.pt"
        lines.append(f"best checkpoint: {place}{', the newest' if place == last else f'; the newest is {last.name}'}")
        lines.append(f"  {validation.told(numbers)}, PSNR {numbers.get('psnr', math.nan):.2f} dB")
    folder, flag = shlex.quote(str(run)), "" if best in (None, int(last.stem)) else " --best"
    model = shlex.quote(str(run / f"{learned.named(run)[1]}-chroma-fp32.onnx"))
    where = f"--runs {shlex.quote(str(run.parent))} --name {shlex.quote(run.name)}"
    longer = f"train --resume {where} --images {2 * options.images}"
    if options.decay:  # whose end is at this length
        longer = f"evaluate {folder} --data OTHER_PHOTOGRAPHS --out {shlex.quote(str(run / 'evaluation'))}"
    commands = (f"export {folder}{flag}", f"colorize --model {model} PHOTOGRAPHS COLORED", longer)
    return [*lines, "what you may do next:", *(f"  recolor-fast {command}" for command in commands)]
