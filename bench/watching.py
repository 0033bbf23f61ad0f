"""What shows a training beside it, and what it costs: python bench/watching.py [--rounds 3].

A round is 1,000 photographs: ten rows for a logger, a validation with a sample sheet, and results.png. Its processor
seconds by who spends them: the thread that trains (what it hands over, and the start of the process that draws), the
logger's thread and, where it has one, its process, and the process that draws, which takes what processor time is
left over.

Then what that does to a thread that trains on a GPU: a loop of small tensor operations, as an iteration in Python is,
for as long as 1,000 photographs take, with a round on its way and without, in turns. `asleep` is the share of its time
that the thread neither runs nor waits for a processor: it waits for Python's lock, which another thread has.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Watching as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported

import os
import statistics
import tempfile
import time
from contextlib import closing, suppress
from typing import Any

import numpy as np
import torch

from bench.common import report
from recolor_fast.evaluation import plots
from recolor_fast.machine import processors
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.files import say
from recolor_fast.options import Command, Log
from recolor_fast.runs import csv_rows
from recolor_fast.runs.watch import Watch

PARTS = "critic/real critic/fake critic/penalty generator/adversary generator/l1 generator/lpips_mini".split()
PARTS += "gradient/adversary gradient/l1 gradient/lpips_mini learning_rate images_per_s data_wait memory".split()
PHOTOGRAPHS, ROWS = 1000, 10  # of a round
PROCESS = "logger's process"


class Round:
    """1,000 photographs of a training that is watched, a tenth of it at a time."""

    def __init__(self, folder: Path, size: int, log: Log) -> None:
        self.watch = Watch(folder, Command(log=(log,)), 0, say)
        self.watch.begin()
        self.results = csv_rows.Rows(folder / "results.csv", 0)
        self.sheet = folder / "sheet.png"
        noise = np.random.default_rng(0).normal(128, 20, (8, size, size, 3)).clip(0, 255).astype(np.uint8)
        plots.grid(self.sheet, {name: list(noise) for name in ("gray", "colored", "truth")})
        self.images = 0
        self.spent = 0.0  # processor seconds of the thread that calls

    def tenth(self) -> None:
        """A row; with the last of a round a validation and a checkpoint."""
        self.images += PHOTOGRAPHS // ROWS
        row = {"images": self.images, "time": float(self.images)} | dict.fromkeys(PARTS, 0.5)
        self.results.add(row)
        begun = time.thread_time()
        self.watch.numbers(row)
        if not self.images % PHOTOGRAPHS:
            self.watch.numbers({"images": self.images, "ab_rmse": 15.0, "ab_rmse/gray": 16.0}, "validation/")
            self.watch.sheet(self.sheet, self.images)
            self.watch.saved()
        self.spent += time.thread_time() - begun

    def drawn(self) -> None:
        """Wait for results.png."""
        if self.watch.picture.process:
            self.watch.picture.process.wait()


def spent(size: int, log: Log, rounds: int, photographs_per_s: float) -> list[dict[str, Any]]:
    """Processor seconds of a round by who spends them, and as a share of the time that its photographs take."""
    import resource

    with tempfile.TemporaryDirectory() as folder:
        one = Round(Path(folder), size, log)
        with closing(one.watch):
            clock = time.pthread_getcpuclockid(one.watch.feeds[0].thread.ident or 0)
            found: dict[str, list[float]] = {what: [] for what in ("training", "logger", "results.png", PROCESS)}

            def now() -> tuple[float, ...]:
                drawing = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
                return one.spent, time.clock_gettime(clock), drawing, beside()

            for _ in range(rounds + 1):
                before = now()
                for _ in range(ROWS):
                    one.tenth()
                one.drawn()
                while not one.watch.feeds[0].jobs.empty():
                    time.sleep(0.05)
                time.sleep(1)  # the last job is at work
                for name, start, end in zip(found, before, now()):
                    found[name].append(end - start)
    # Of the first round the logger's import is no part of what each costs.
    seconds = {name: statistics.median(values[1:]) for name, values in found.items() if name != PROCESS or any(values)}
    return [
        {"what": name, "cpu_s": value, "share": value * photographs_per_s / PHOTOGRAPHS}
        for name, value in seconds.items()
    ]


def beside() -> float:
    """Processor seconds of the process that a logger has; 0 without one."""
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended
            words = (one / "cmdline").read_bytes().split(b"\0")
            after = (one / "stat").read_text().rpartition(")")[2].split()  # from the state on
            if b"recolor_fast.runs.beside" in words and int(after[1]) == os.getpid():
                return sum(map(int, after[11:13])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def held_up(size: int, log: Log, rounds: int, photographs_per_s: float) -> list[dict[str, Any]]:
    """The share of its time that a loop of small operations sleeps, by whether rounds are on their way."""
    ones = torch.ones(16)
    tenth = PHOTOGRAPHS / ROWS / photographs_per_s
    slept: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        one = Round(Path(folder), size, log)
        with closing(one.watch):
            for turn in range(rounds + 1):
                for watched, shares in slept.items():
                    asleep = 0.0
                    for _ in range(ROWS):
                        if watched:
                            one.tenth()
                        begun, ran, stood = time.perf_counter(), time.thread_time(), _stood()
                        while time.perf_counter() < begun + tenth:
                            for _ in range(100):
                                ones.add_(1.0).mul_(0.5)
                        asleep += time.perf_counter() - begun - (time.thread_time() - ran) - (_stood() - stood)
                    if turn:
                        shares.append(asleep * photographs_per_s / PHOTOGRAPHS)
                    one.drawn()
    names = {False: "small operations, not watched", True: "small operations, watched"}
    return [{"what": names[watched], "asleep": statistics.median(shares)} for watched, shares in slept.items()]


def _stood() -> float:
    """Seconds that this thread has waited for a processor; 0 where the system does not say."""
    return (processors.waited() or (0.0, 0.0))[1]


def main(argv: list[str] | None = None) -> int:
    arguments = parse(Arguments, argv)
    asked = arguments.size, arguments.log, arguments.rounds, arguments.photographs_per_s
    rows = [*spent(*asked), *held_up(*asked)]
    note = f"a round: {PHOTOGRAPHS} photographs, {ROWS} rows, a sheet and a checkpoint; share at "
    note += f"{arguments.photographs_per_s:g} photographs/s"
    report("watching", device_name(torch.device("cpu")), PHOTOGRAPHS, rows, note, arguments.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
