"""Iterations as rows of a benchmark: how one is made, its time, memory and operations, and how exact it is."""

import copy
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.common import Case, alternate_apart, matmul_peak
from bench.paper import PaperStep, critic_loss, plain
from recolor_fast import resolve
from recolor_fast.data import loader, sources
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import memory
from recolor_fast.machine.environment import fastest_kernels
from recolor_fast.networks.space import SPACES, to_rgb01, to_unit
from recolor_fast.options import Options
from recolor_fast.step.iteration import Step

Batch = tuple[Tensor, Tensor]
Gradients = dict[str, Tensor]
DECIDED = "compile", "fused_critic", "winograd", "cuda_graph", "channels_last"
NOTHING: dict[str, Any] = dict.fromkeys(DECIDED, "off")
STEP = NOTHING | {"fused_critic": "auto"}
RANDOM: dict[str, Any] = {
    "lpips_weights": "random",
    "feature_weights": "random",
}  # all presets run


class Row(NamedTuple):
    """How an iteration is made: the paper's way with what is `ours` in it, or Step with what it `changes`."""

    changes: dict[str, Any] | None = None
    ours: tuple[str, ...] = ()
    keep_memory: bool = False


OURS = {
    "ours float32": Row({}, keep_memory=True),
    "ours": Row({"amp": True}, keep_memory=True),
}


def timed(
    case: str, cases: Mapping[str, Callable[[], Case]], options: Options, iterations: int, runs: int
) -> list[dict[str, Any]]:
    """Rows of these cases, timed in turns; `ratio` is against the one named paper."""
    timings = alternate_apart(cases, runs)
    count = iterations * options.batch
    peaks = {name: matmul_peak(torch.device(options.device), name) for name in (torch.float32, torch.bfloat16)}
    rows = []
    for name, (seconds, facts) in timings.items():
        rate = facts["flop"] * iterations / seconds / 1e9 if facts["flop"] else None
        rows.append(
            {
                "case": case,
                "name": name,
                "ms": 1000 * seconds / count,
                "images_per_s": count / seconds,
                "ratio": timings["paper"].seconds / seconds,
                "peak_mb": facts["peak_mb"],
                "gflops": rate,
                "of_peak": rate and rate / peaks[facts["dtype"]],
            }
        )
    return rows


def build(row: Row, options: Options, iterations: int, threads: int | None) -> Case:
    """A row's iterations on a batch of the sample photographs, and what there is to say about them."""
    if threads:
        torch.set_num_threads(threads)
    if row.keep_memory:
        memory.keep_freed()
    device = torch.device(options.device)
    fastest_kernels(device)  # of both ways
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
        return Step(resolve.fastest(replace(options, **row.changes), device), terms, device)
    return PaperStep(options, terms, Step(replace(options, **NOTHING), terms, device), row.ours)


def sample_batch(options: Options) -> Batch:
    """As many of the sample photographs as a batch has, again and again, on the options' device."""
    gray, rgb = loader.load(options, sources.sample())
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


def build_update(row: Row, options: Options, threads: int | None) -> Case:
    """The critic's update of a row alone, Adam's step left out, on a batch of the sample photographs."""
    if threads:
        torch.set_num_threads(threads)
    if row.keep_memory:
        memory.keep_freed()
    device = torch.device(options.device)
    fastest_kernels(device)
    step = Step(
        resolve.fastest(replace(options, **(NOTHING if row.changes is None else row.changes)), device), [], device
    )
    inputs = critic_inputs(step, sample_batch(options))
    paper = partial(paper_gradients, dtype=torch.float32)
    gradients = partial(paper if row.changes is None else our_gradients, step, inputs)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def run() -> None:
        next(iter(gradients().values())).sum().item()  # waits for the device

    return Case(run, lambda: {"peak_mb": peak_mb(device)})


class _Counter(TorchDispatchMode):
    """Sums torch's formulas over the operations that run in it. (Its own FlopCounterMode also follows modules, by hooks
    that autograd.grad does not take.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


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
            device = torch.device(options.device)
            step = Step(resolve.fastest(replace(measured, **changes), device), [], device)
            inputs = critic_inputs(step, batch)
            if exact is None:
                exact = paper_gradients(step, inputs, torch.float64)
            paper = row.changes is None
            gradients = paper_gradients(step, inputs, torch.float32) if paper else our_gradients(step, inputs)
            errors[name][column] = relative_error(gradients, exact)
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
        return step.critic_updates[True](parameters, *inputs)[1]


def relative_error(gradients: Gradients, exact: Gradients) -> float | None:
    """|found - exact| / |exact| over all parameters; None without any."""
    if not exact:
        return None
    difference = sum((gradients[name].double() - exact[name]).square().sum() for name in exact)
    return float((difference / sum(gradient.square().sum() for gradient in exact.values())) ** 0.5)
