"""Time of one training iteration: python bench/train_step.py [--quick] [--waterfall] [--peer PATH].

Rows of a case such as `wgan-gp-lpips 256 b1`, all on the same preset, networks, initial weights and batches, each in a
process of its own, in turns:

paper         float32, eager, nn.LeakyReLU, the fake computed once, a critic forward each for real, fake and penalty
              points, autograd's double-backward, torch.optim.Adam's defaults (bench/paper.py).
ours          the whole system as `python -m recolor_fast.train --amp` runs it on this device.
ours float32  the same without --amp.

`--waterfall` adds the steps in between, each one with those before it (`+adam`, ...: WATERFALL says what each is), and
`ours lazy`, the penalty in every 4th critic step: another objective, so not a part of `ours`.

At most `--at-once` rows take turns, since each waits in memory; the rest follow in turns with a paper row of their own.

`ratio` is the paper row's ms over the row's own: more than 1 is faster. `ms` is per photograph. `peak_mb` is the most
memory, of the process on a CPU, of tensors on a GPU. `gflops` is what an iteration computes, in 10^9 floating-point
operations a second (counted by torch, a multiply-add is two), `of_peak` its share of the fastest matrix product found
here in the row's precision. `critic_error` is the relative error of the critic's gradient at its first step, penalty
included, against float64 autograd; `penalty_error` that of the penalty alone (of a gradient with a million times its
weight). LPIPS backbones have random weights here: structure only, nothing is
downloaded. Parts of an iteration of `ours` are a case of their own, `... parts`, with their share of the iteration.
`--critic` adds one row a case, `... critic update`: the critic's gradient alone, penalty included, by `paper` (plain
double-backward), `ours float32` and `ours` side by side, with what each takes and how wrong it is.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import TrainStep as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from bench import peer
from bench.common import alternate_apart, report
from bench.steps import OURS, RANDOM, STEP, Row, build, build_step, build_update, critic_errors, sample_batch, timed
from recolor_fast.machine import memory, starting
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.critics import by_winograd
from recolor_fast.networks.layers import pick
from recolor_fast.networks.winograd import STRIDES
from recolor_fast.options import Options
from recolor_fast.presets import PAPERS
from recolor_fast.step import fused
from recolor_fast.step.iteration import Step

WATERFALL = {
    "+adam": Row(ours=("adam",)),  # Adam's fused kernel
    "+slope": Row(ours=("adam", "activations")),  # no double-backward through zeros
    "+products": Row(ours=("adam", "activations", "convolutions")),  # small maps as matrix products (CPU)
    "+step": Row(STEP),  # our step in float32: the critic's update fused by hand, or by torch.func
    "+amp": Row(STEP | {"amp": True}),
    "+layout": Row(STEP | {"amp": True, "channels_last": "auto"}),
    "+winograd": Row(STEP | {"amp": True, "channels_last": "auto", "winograd": "auto"}),  # large layers' products (CPU)
    "+compile": Row(STEP | {"amp": True, "channels_last": "auto", "winograd": "auto", "compile": "auto"}),
    # ... and `ours`: on a CPU, freed memory is kept; with CUDA, the iteration is one graph
    "ours lazy": Row({"amp": True, "penalty_every": 4}, keep_memory=True),
}


@starting.verb()
def main(argv: list[str]) -> int:
    """Parse the command line, time every row of every case, and report."""
    arguments = parse(Arguments, argv)
    if arguments.quick:
        arguments = replace(arguments, size=128 if arguments.peer else 64, width=8, runs=2)
    if arguments.at_once < 2:
        raise UserError(f"at-once {arguments.at_once}: expected 2 or more, the paper's row is one of them")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    name: Literal["cpu", "cuda"] = (
        arguments.device if arguments.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    )
    scale: dict[str, Any] = {"size": arguments.size, "width": arguments.width, "device": name}
    times = arguments.iterations, arguments.runs, arguments.threads
    rows = []
    if arguments.peer:  # first: a path that is no checkout is told at once
        for batch in arguments.batch:
            rows += peer.measure(arguments.peer, replace(peer.OPTIONS, **scale, batch=batch), *times)
    for preset in PAPERS if "all" in arguments.preset else arguments.preset:
        paper = pick(PAPERS, preset, "preset")
        for batch in arguments.batch:
            mixes = paper.gradient_penalty and paper.critic_norm == "batch"
            if batch > 1 and mixes:
                print(f"{preset}: no penalty with batch norm at batch {batch}, left out", file=sys.stderr)
                continue
            options = replace(paper, **scale, batch=batch, **RANDOM)
            rows += measure(options, *times, arguments.waterfall, arguments.at_once)
            if arguments.critic and options.gradient_penalty:
                rows.append(updates(options, arguments.runs, arguments.threads))
    note = (
        f"{arguments.iterations} iterations a run, medians of {arguments.runs} runs in turn; ratio = ms of paper / ms"
    )
    device = torch.device(name)
    report("train_step", device_name(device), arguments.iterations * arguments.runs, rows, note, arguments.save)
    return 0


def measure(
    options: Options, iterations: int, runs: int, threads: int | None, waterfall: bool, at_once: int
) -> list[dict]:
    """The rows of one case; `options` name the device. At most `at_once` wait in memory, the paper's among them."""
    chosen = {"paper": Row()} | (differing(options) if waterfall else {}) | OURS
    cases = {name: partial(build, row, options, iterations, threads) for name, row in chosen.items()}
    paper, others = {"paper": cases.pop("paper")}, list(cases.items())
    rows: list[dict] = []
    for first in range(0, len(others), at_once - 1):
        group = paper | dict(others[first : first + at_once - 1])
        more = timed(f"{options.preset} {options.size} b{options.batch}", group, options, iterations, runs)
        rows += more[1:] if rows else more  # the first paper row stands for all; each ratio is of its own turns
    errors = critic_errors(options, chosen)
    for row in rows:
        row |= errors[row["name"]]
    if waterfall:
        rows += parts(options, iterations * runs, threads)
    return rows


def updates(options: Options, runs: int, threads: int | None) -> dict[str, Any]:
    """One row: the critic's update by autograd's double-backward and by ours, their time, memory and errors."""
    chosen = {"paper": Row()} | OURS
    timings = alternate_apart(
        {name: partial(build_update, row, options, threads) for name, row in chosen.items()}, runs
    )
    errors = critic_errors(options, chosen)
    row: dict[str, Any] = {"case": f"{options.preset} {options.size} b{options.batch} critic update"}
    for name, (seconds, facts) in timings.items():
        row |= {f"{name} ms": 1000 * seconds / options.batch, f"{name} mb": facts["peak_mb"]}
        row |= {f"{name} {column}": error for column, error in errors[name].items()}
        row[f"{name} ratio"] = timings["paper"].seconds / seconds
    return row


def differing(options: Options) -> dict[str, Row]:
    """The rows of WATERFALL that differ from the ones before them for this preset on this device."""
    cuda, penalty = options.device == "cuda", bool(options.gradient_penalty)
    off = {
        "+slope": not penalty,
        "+products": cuda,
        "+layout": not cuda and bool(fused.hindrance(options)),
        "+winograd": cuda or not by_winograd(replace(options, amp=True), not fused.hindrance(options), STRIDES["on"]),
        "+compile": not cuda,
        "ours lazy": not penalty,
    }
    return {name: row for name, row in WATERFALL.items() if not off.get(name)}


def parts(options: Options, runs: int, threads: int | None) -> list[dict[str, Any]]:
    """Rows of the parts of an eager iteration of `ours`: median ms per photograph, and share of all parts."""
    if threads:
        torch.set_num_threads(threads)
    memory.keep_freed()
    row = OURS["ours"]._replace(changes={"amp": True, "compile": "off", "cuda_graph": "off"})
    step, batch = build_step(row, options), sample_batch(options)
    assert isinstance(step, Step)
    times: list[dict[str, float]] = []

    def watch(name: str, piece: Callable) -> Callable:
        def run(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = piece(*arguments, **named)
            if options.device == "cuda":
                torch.cuda.synchronize()
            times[-1][name] = times[-1].get(name, 0.0) + time.perf_counter() - started
            return result

        return run

    whole = watch("whole", step)
    step._forward = watch("generator forward", step._forward)
    step.critic_updates = {k: watch("critic updates", update) for k, update in step.critic_updates.items()}
    step._generator_update = watch("losses of the generator", step._generator_update)
    for name, optimizer in step.optimizers.items():
        optimizer.step = watch(f"Adam of the {name}", optimizer.step)  # type: ignore[method-assign]
    for index in range(runs + 3):
        times.append({})
        whole(*batch, index * options.batch)
    middle = {name: statistics.median(one[name] for one in times[3:]) for name in times[0]}
    total = middle.pop("whole")
    middle["generator backward and the rest"] = total - sum(middle.values())
    case = f"{options.preset} {options.size} b{options.batch} parts"
    return [
        {"case": case, "name": name, "ms": 1000 * seconds / options.batch, "share": seconds / total}
        for name, seconds in sorted(middle.items(), key=lambda part: -part[1])
    ]


if __name__ == "__main__":
    sys.exit(main())
