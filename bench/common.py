"""What the benchmarks share: versions and device beside every number, alternating runs, a table and a line of JSON."""

import csv
import json
import multiprocessing
import re
import statistics
import subprocess
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


class Ended(NamedTuple):
    """What a command took."""

    seconds: float
    processor: float
    """Seconds of all its threads, and of what it started and waited for."""
    memory: float
    """Its peak (resident), MiB."""


_START = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds, code = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def ended(module: str, *words: str | Path) -> Ended:
    """What `python -m recolor_fast.MODULE WORDS` of this checkout takes, its start included, by wait4.

    A small process starts it: the system has a command's peak begin with that of the process that starts it.
    RuntimeError with the end of its stderr where it fails.
    """
    command = [sys.executable, "-m", f"recolor_fast.{module}", *map(str, words)]
    started = [sys.executable, "-S", "-c", _START, *command]
    done = subprocess.run(started, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    code, seconds, processor, peak = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"{module} ended with {code}: {done.stderr[-2000:]}")
    return Ended(seconds, processor, peak / (2**20 if sys.platform == "darwin" else 2**10))


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
    bench: str,
    device: str,
    n: int,
    rows: Sequence[Mapping[str, Any]],
    note: str = "",
    save: bool = False,
    same: Sequence[str] = (),
) -> None:
    """Print `rows` as a table and `note` on stderr, and everything as one line of JSON on stdout.

    `n`: how many images or steps each timed run had. The columns are the keys of all rows, in order. With `save` they
    also become bench/results/<bench>-<device>-pt<torch version>.csv, each row with n, device, command and versions;
    with `same` in place of the rows there that these columns say are the same, and beside the others.
    """
    print(table(rows), file=sys.stderr)
    if note:
        print(note, file=sys.stderr)
    stack = versions()
    print(json.dumps({"bench": bench, "device": device, "versions": stack, "n": n, "rows": [*map(dict, rows)]}))
    if save:
        path = results(bench, device)
        save_rows(path, bench, device, n, rows, same)
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


def results(bench: str, device: str) -> Path:
    """Where `report` saves rows."""
    return Path(__file__).parent / "results" / file_name(bench, device)


def saved_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none where there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def save_rows(
    path: Path, bench: str, device: str, n: int, rows: Sequence[Mapping[str, Any]], same: Sequence[str] = ()
) -> None:
    """The rows as CSV, each with n, device, command and versions; see `report` for `same`."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:] if word != "--save"]
    command = " ".join(["python", f"bench/{bench}.py", *words])  # without where on this machine things lie
    said = " ".join(f"{name}={version}" for name, version in versions().items())
    last = {"n": str(n), "device": device, "command": command, "versions": said}
    new = [{name: _text(value) for name, value in row.items()} | last for row in rows]
    known = {tuple(row.get(name) for name in same): row for row in new}
    kept = [known.pop(tuple(row.get(name) for name in same), row) for row in (saved_rows(path) if same else [])]
    every = [*kept, *(known.values() if same else new)]
    columns = [*dict.fromkeys(name for row in every for name in row if name not in last), *last]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="-")
        writer.writeheader()
        writer.writerows(every)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
