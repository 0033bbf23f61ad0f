"""Time of one training iteration: python bench/train_step.py [--quick] [--waterfall] [--peer PATH].

Rows of a case such as `wgan-gp-lpips 256 b1`, all on the same preset, networks, initial weights and batches, each in a
process of its own, in turns:

paper         float32, eager, nn.LeakyReLU, the fake computed once, a critic forward each for real, fake and penalty
              points, autograd's double-backward, torch.optim.Adam's defaults (bench/paper.py).
ours          the whole system as `python -m recolor_fast.train --amp` runs it on this device.
ours float32  the same without --amp.

`--waterfall` adds the steps in between, each one with those before it (`+adam`, ...: WATERFALL says what each is), and
`ours lazy`, the penalty in every 4th critic step: another objective, so not a part of `ours`.

`ratio` is the paper row's ms over the row's own: more than 1 is faster. `ms` is per photograph. `peak_mb` is the most
memory, of the process on a CPU, of tensors on a GPU. `gflops` is what an iteration computes, in 10^9 floating-point
operations a second (counted by torch, a multiply-add is two), `of_peak` its share of the fastest matrix product found
here in the row's precision. `critic_error` is the relative error of the critic's gradient at its first step, penalty
included, against float64 autograd; `penalty_error` that of the penalty alone (of a gradient with a million times its
weight). LPIPS backbones have random weights here: structure only, nothing is
downloaded. Parts of an iteration of `ours` are a case of their own, `... parts`, with their share of the iteration.
"""

import argparse
import copy
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.common import Case, alternate_apart, matmul_peak, report
from bench.paper import PaperStep, critic_loss, plain
from recolor_fast import fused, memory
from recolor_fast.color import SPACES, to_rgb01, to_unit
from recolor_fast.data import loader, sources
from recolor_fast.environment import device_name
from recolor_fast.losses.terms import build_terms
from recolor_fast.options import Options
from recolor_fast.presets import DEFAULT, PAPERS
from recolor_fast.step import Step

Batch = tuple[Tensor, Tensor]
Gradients = dict[str, Tensor]
NOTHING: dict[str, Any] = {"compile": "off", "fused_critic": "off", "cuda_graph": "off", "channels_last": "off"}
STEP = NOTHING | {"fused_critic": "auto"}

RANDOM: dict[str, Any] = {
    "lpips_weights": "random",
    "feature_weights": "random",
}  # every preset runs, and costs what it costs


class Row(NamedTuple):
    """How an iteration is made: the paper's way with what is `ours` in it, or Step with what it `changes`."""

    changes: dict[str, Any] | None = None
    ours: tuple[str, ...] = ()
    keep_memory: bool = False


OURS = {
    "ours float32": Row({}, keep_memory=True),
    "ours": Row({"amp": True}, keep_memory=True),
}
WATERFALL = {
    "+adam": Row(ours=("adam",)),  # Adam's fused kernel
    "+slope": Row(ours=("adam", "activations")),  # no double-backward through zeros
    "+products": Row(ours=("adam", "activations", "convolutions")),  # small maps as matrix products (CPU)
    "+step": Row(STEP),  # our step in float32: the critic's update fused by hand, or by torch.func
    "+amp": Row(STEP | {"amp": True}),
    "+layout": Row(STEP | {"amp": True, "channels_last": "auto"}),
    "+compile": Row(STEP | {"amp": True, "channels_last": "auto", "compile": "auto"}),
    # ... and `ours`: on a CPU, freed memory is kept; with CUDA, the iteration is one graph
    "ours lazy": Row({"amp": True, "penalty_every": 4}, keep_memory=True),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, time every row of every case, and report."""
    parser = argparse.ArgumentParser(description="Milliseconds per photograph of one training iteration.")
    parser.add_argument("--preset", nargs="+", choices=[*PAPERS, "all"], default=[DEFAULT, "pix2pix"], help="to time")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--width", type=int, default=64, help="filters of the first layers")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="photographs per iteration")
    parser.add_argument("--iterations", type=int, default=1, help="iterations of a timed run")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each row")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--waterfall", action="store_true", help="also the steps from the paper's way to ours, and parts"
    )
    parser.add_argument("--peer", type=Path, help="checkout of junyanz/pytorch-CycleGAN-and-pix2pix, timed beside ours")
    parser.add_argument("--quick", action="store_true", help="64 pixels (--peer: 128), width 8, 2 runs: does it work?")
    parser.add_argument("--save", action="store_true", help="write the rows to bench/results")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.size, arguments.width, arguments.runs = 128 if arguments.peer else 64, 8, 2
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    name: Literal["cpu", "cuda"] = (
        arguments.device if arguments.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    )
    scale: dict[str, Any] = {"size": arguments.size, "width": arguments.width, "device": name}
    times = arguments.iterations, arguments.runs, arguments.threads
    rows = []
    if arguments.peer:  # first: a path that is no checkout is told at once
        from bench import peer  # it needs this module

        for batch in arguments.batch:
            try:
                rows += peer.measure(arguments.peer, replace(peer.OPTIONS, **scale, batch=batch), *times)
            except ValueError as error:
                parser.error(str(error))
    for preset in PAPERS if "all" in arguments.preset else arguments.preset:
        for batch in arguments.batch:
            mixes = PAPERS[preset].gradient_penalty and PAPERS[preset].critic_norm == "batch"
            if batch > 1 and mixes:
                print(f"{preset}: no penalty with batch norm at batch {batch}, left out", file=sys.stderr)
                continue
            options = replace(PAPERS[preset], **scale, batch=batch, **RANDOM)
            rows += measure(options, *times, arguments.waterfall)
    note = (
        f"{arguments.iterations} iterations a run, medians of {arguments.runs} runs in turn; ratio = ms of paper / ms"
    )
    device = torch.device(name)
    report("train_step", device_name(device), arguments.iterations * arguments.runs, rows, note, arguments.save)


def measure(options: Options, iterations: int, runs: int, threads: int | None, waterfall: bool) -> list[dict]:
    """The rows of one case; `options` name the device."""
    chosen = {"paper": Row()} | (differing(options) if waterfall else {}) | OURS
    cases = {name: partial(build, row, options, iterations, threads) for name, row in chosen.items()}
    rows = timed(f"{options.preset} {options.size} b{options.batch}", cases, options, iterations, runs)
    errors = critic_errors(options, chosen)
    for row in rows:
        row |= errors[row["name"]]
    if waterfall:
        rows += parts(options, iterations * runs, threads)
    return rows


def timed(
    case: str, cases: Mapping[str, Callable[[], Case]], options: Options, iterations: int, runs: int
) -> list[dict[str, Any]]:
    """Rows of these cases, timed in turns; `ratio` is against the one named paper."""
    found = alternate_apart(cases, runs)
    count = iterations * options.batch
    peaks = {name: matmul_peak(torch.device(options.device), name) for name in (torch.float32, torch.bfloat16)}
    rows = []
    for name, (seconds, facts) in found.items():
        rate = facts["flop"] * iterations / seconds / 1e9 if facts["flop"] else None
        rows.append(
            {
                "case": case,
                "name": name,
                "ms": 1000 * seconds / count,
                "images_per_s": count / seconds,
                "ratio": found["paper"].seconds / seconds,
                "peak_mb": facts["peak_mb"],
                "gflops": rate,
                "of_peak": rate and rate / peaks[facts["dtype"]],
            }
        )
    return rows


def differing(options: Options) -> dict[str, Row]:
    """The rows of WATERFALL that differ from the ones before them for this preset on this device."""
    cuda, penalty = options.device == "cuda", bool(options.gradient_penalty)
    off = {
        "+slope": not penalty,
        "+products": cuda,
        "+layout": not cuda and bool(fused.hindrance(options)),
        "+compile": not cuda,
        "ours lazy": not penalty,
    }
    return {name: row for name, row in WATERFALL.items() if not off.get(name)}


# --- what a process does -------------------------------------------------------------------------------------------


def build(row: Row, options: Options, iterations: int, threads: int | None) -> Case:
    """A row's iterations on a batch of the sample photographs, and what there is to say about them."""
    if threads:
        torch.set_num_threads(threads)
    if row.keep_memory:
        memory.keep_freed()
    device = torch.device(options.device)
    batch = sample_batch(options)
    step = build_step(row, options)
    gc.collect()  # the Step that the paper's way took its weights from
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    cycle = (row.changes or {}).get("penalty_every", 1)  # after so many iterations, each has had its share of penalties

    def run() -> None:
        for index in range(iterations * cycle):
            loss = step(*batch, index * options.batch)
        next(iter(loss.values())).item()  # waits for the device

    def facts() -> dict[str, Any]:
        amp = row.changes is not None and row.changes.get("amp")
        peak = peak_mb(device)  # before the operations are counted, by another step
        return {"peak_mb": peak, "flop": operations(row, options), "dtype": torch.bfloat16 if amp else torch.float32}

    return Case(run, facts, cycle)


def peak_mb(device: torch.device) -> float | None:
    """The most memory so far, MiB: of tensors on a GPU, of this process, libraries included, on a CPU (Linux alone)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:  # not getrusage's, which begins with what the parent process had
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def build_step(row: Row, options: Options) -> PaperStep | Step:
    """The iteration of a row, from the weights that all rows start with."""
    torch.manual_seed(0)
    terms, device = build_terms(options), torch.device(options.device)
    if row.changes is not None:
        return Step(replace(options, **row.changes), terms, device)
    return PaperStep(options, terms, Step(replace(options, **NOTHING), terms, device), row.ours)


def sample_batch(options: Options) -> Batch:
    """As many of the sample photographs as a batch has, again and again, on the options' device."""
    gray, rgb = loader.load(replace(options, loader="host"), sources.sample())
    chosen = torch.arange(options.batch) % len(gray)
    return gray[chosen].to(options.device), rgb[chosen].to(options.device)


def operations(row: Row, options: Options) -> int:
    """Floating-point operations of an iteration, on average, counted while it runs eagerly."""
    eager = row if row.changes is None else row._replace(changes=row.changes | {"compile": "off", "cuda_graph": "off"})
    step, batch = build_step(eager, options), sample_batch(options)
    cycle = (row.changes or {}).get("penalty_every", 1)
    with _Counter() as counter:
        for index in range(cycle):
            step(*batch, index * options.batch)
    return counter.total // cycle


class _Counter(TorchDispatchMode):
    """Sums torch's formulas over the operations that run in it. (Its own FlopCounterMode also follows modules, by hooks
    that autograd.grad does not take.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def parts(options: Options, runs: int, threads: int | None) -> list[dict[str, Any]]:
    """Rows of the parts of an eager iteration of `ours`: median ms per photograph, and share of all parts."""
    if threads:
        torch.set_num_threads(threads)
    memory.keep_freed()
    row = OURS["ours"]._replace(changes={"amp": True, "compile": "off", "cuda_graph": "off"})
    step, batch = build_step(row, options), sample_batch(options)
    assert isinstance(step, Step)
    found: list[dict[str, float]] = []

    def watch(name: str, piece: Callable) -> Callable:
        def run(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = piece(*arguments, **named)
            if options.device == "cuda":
                torch.cuda.synchronize()
            found[-1][name] = found[-1].get(name, 0.0) + time.perf_counter() - started
            return result

        return run

    whole = watch("whole", step)
    step._forward = watch("generator forward", step._forward)
    step._critic_updates = {k: watch("critic updates", update) for k, update in step._critic_updates.items()}
    step._generator_update = watch("losses of the generator", step._generator_update)
    for name, optimizer in step.optimizers.items():
        optimizer.step = watch(f"Adam of the {name}", optimizer.step)  # type: ignore[method-assign]
    for index in range(runs + 3):
        found.append({})
        whole(*batch, index * options.batch)
    middle = {name: statistics.median(one[name] for one in found[3:]) for name in found[0]}
    total = middle.pop("whole")
    middle["generator backward and the rest"] = total - sum(middle.values())
    case = f"{options.preset} {options.size} b{options.batch} parts"
    return [
        {"case": case, "name": name, "ms": 1000 * seconds / options.batch, "share": seconds / total}
        for name, seconds in sorted(middle.items(), key=lambda part: -part[1])
    ]


# --- how exact the rows are ----------------------------------------------------------------------------------------


def critic_errors(options: Options, rows: Mapping[str, Row]) -> dict[str, dict[str, float | None]]:
    """`critic_error` and `penalty_error` of each row, at initial weights; None where there is no critic or penalty."""
    batch = sample_batch(options)
    errors: dict[str, dict[str, float | None]] = {name: {} for name in rows}
    # So much of the penalty that nothing else is seen in the gradient.
    alone = replace(options, gradient_penalty=1e6 * options.gradient_penalty)
    for column, measured in (("critic_error", options), ("penalty_error", alone)):
        exact: Gradients | None = None
        for name, row in rows.items():
            changes = NOTHING if row.changes is None else row.changes | {"compile": "off", "cuda_graph": "off"}
            lazy = "penalty_every" in changes  # another gradient, right on average
            if lazy or (column == "penalty_error" and not options.gradient_penalty):
                errors[name][column] = None
                continue
            step = Step(replace(measured, **changes), [], torch.device(options.device))
            inputs = critic_inputs(step, batch)
            if exact is None:
                exact = paper_gradients(step, inputs, torch.float64)
            paper = row.changes is None
            found = paper_gradients(step, inputs, torch.float32) if paper else our_gradients(step, inputs)
            errors[name][column] = relative_error(found, exact)
            del step
            gc.collect()  # a step and its compiled pieces refer to each other
    return errors


def critic_inputs(step: Step, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """source, real, fake and mix of a batch, for the step's networks as they are."""
    source, real = to_unit(batch[0]), SPACES[step.options.space].encode(to_rgb01(batch[1]))
    mix = torch.full((len(source), 1, 1, 1), 0.5, device=source.device)
    torch.manual_seed(0)
    with torch.no_grad():
        fake = copy.deepcopy(step.generator)(source)
    source = source.expand(-1, step.options.source_channels, -1, -1)
    return source, real, fake, mix


def paper_gradients(step: Step, inputs: Sequence[Tensor], dtype: torch.dtype) -> Gradients:
    """The critic's gradient by plain autograd."""
    if step.critic is None:
        return {}
    critic = plain(step.critic).to(dtype)
    loss, _ = critic_loss(critic, step.options, *(tensor.to(dtype) for tensor in inputs))
    names, parameters = zip(*critic.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, parameters)))


def our_gradients(step: Step, inputs: Sequence[Tensor]) -> Gradients:
    """The critic's gradient as the step computes it."""
    if step.critic is None:
        return {}
    parameters = {name: parameter.detach() for name, parameter in step.critic.named_parameters()}
    with torch.no_grad():
        return step._critic_updates[True](parameters, *inputs)[1]


def relative_error(found: Gradients, exact: Gradients) -> float | None:
    """|found - exact| / |exact| over all parameters; None without any."""
    if not exact:
        return None
    difference = sum((found[name].double() - exact[name]).square().sum() for name in exact)
    return float((difference / sum(gradient.square().sum() for gradient in exact.values())) ** 0.5)


if __name__ == "__main__":
    main()
