"""What the benchmarks share: versions and device beside every number, alternating runs, a table and a line of JSON."""

import csv
import json
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recolor_fast.machine.versions import versions


def alternate(cases: Mapping[str, Callable[[], None]], runs: int) -> dict[str, float]:
    """Median seconds of each case over `runs` rounds A B C A B C ..., after one untimed round.

    In turns, so that a machine that grows slower or busier does so for all of them. A case on a GPU waits for it.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(runs + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def jpegs(folder: Path, option: str) -> list[Path]:
    """The JPEGs of a folder and those below, in sorted order. SystemExit naming the option where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"{option} {folder}: no photographs; expected JPEGs in it or below")
    return paths


class Case(NamedTuple):
    """What a row times, and what else there is to say about it."""

    run: Callable[[], None]
    """Waits for the device."""
    facts: Callable[[], dict[str, Any]]
    """Other columns, asked for once all is timed."""
    times: int = 1
    """How many times over a run does what the other cases' runs do once: its seconds are divided by it."""


class Timed(NamedTuple):
    """A row's median seconds and its facts."""

    seconds: float
    facts: dict[str, Any]


def alternate_apart(cases: Mapping[str, Callable[[], Case]], runs: int, warm_up: int = 3) -> dict[str, Timed]:
    """As `alternate`, every case in a process of its own, which builds it: allocator, threads and memory are its alone.

    The cases must be picklable. `warm_up` untimed rounds: a process finds its memory in the first few. Only one process
    computes at a time. What building a case raises, this raises.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    with ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for name in cases}
        for built in [pool.submit(_build, cases[name]) for name, pool in pools.items()]:
            built.result()
        for turn in range(runs + warm_up):
            for name, pool in pools.items():
                seconds = pool.submit(_run).result()
                if turn >= warm_up:
                    times[name].append(seconds)
        facts = {name: pool.submit(_facts).result() for name, pool in pools.items()}
    return {name: Timed(statistics.median(values), facts[name]) for name, values in times.items()}


_built: list[Case] = []  # of a process of `alternate_apart`, the one case it has


def _build(case: Callable[[], Case]) -> None:
    _built.append(case())


def _run() -> float:
    started = time.perf_counter()
    _built[0].run()
    return (time.perf_counter() - started) / _built[0].times


def _facts() -> dict[str, Any]:
    return _built[0].facts()


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """The fastest matrix product of a side of 2048 (8192 on a GPU) found in ten, 10^9 operations a second.

    With TF32 where convolutions in float32 have it, by torch's default, on a GPU.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        (left @ right)[0, 0].item()
        best = max(best, 2 * side**3 / (time.perf_counter() - started) / 1e9)
    return best


def report(
    bench: str, device: str, n: int, rows: Sequence[Mapping[str, Any]], note: str = "", save: bool = False
) -> None:
    """Print `rows` as a table and `note` on stderr, and everything as one line of JSON on stdout.

    `n`: how many images or steps each timed run had. The columns are the keys of all rows, in order. With `save` they
    also become bench/results/<bench>-<device>-pt<torch version>.csv, each row with n, device, command and versions.
    """
    print(table(rows), file=sys.stderr)
    if note:
        print(note, file=sys.stderr)
    stack = versions()
    print(json.dumps({"bench": bench, "device": device, "versions": stack, "n": n, "rows": [*map(dict, rows)]}))
    if save:
        path = Path(__file__).parent / "results" / file_name(bench, device)
        save_rows(path, bench, device, n, rows)
        print(f"saved as bench/results/{path.name}", file=sys.stderr)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in columns of text: the keys of all rows, in order, over their values."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, *([_text(row.get(key)) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def file_name(bench: str, device: str) -> str:
    """<bench>-<device>-pt<torch version>.csv"""
    return f"{bench}-{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}-pt{versions()['torch']}.csv"


def save_rows(path: Path, bench: str, device: str, n: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows as CSV, each with n, device, command and versions."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:] if word != "--save"]
    command = " ".join(["python", f"bench/{bench}.py", *words])  # without where on this machine things lie
    said = " ".join(f"{name}={version}" for name, version in versions().items())
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "n", "device", "command", "versions"])
        writer.writerows([_text(row.get(key)) for key in columns] + [n, device, command, said] for row in rows)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
