"""Time of one training iteration: python bench/train_step.py [--quick].

Rows of a case such as `wgan-gp-lpips 256 b1`, all on the same preset, networks, initial weights and batches:

paper     float32, eager, nn.LeakyReLU, the fake computed once, a critic forward each for real, fake and penalty points,
          autograd's double-backward, torch.optim.Adam's defaults (bench/paper.py).
ours      recolor_fast.step in float32: the same numbers up to rounding; compiled on CUDA.
ours+amp  the same with bfloat16 convolutions (--amp): other numbers, the quality figure says how far.

`ratio` is the paper row's ms over the row's own: more than 1 is faster. `critic_error` is the relative error of the
critic's gradient at its first step, penalty included, against float64 autograd; `ms` is per photograph.
LPIPS backbones have random weights here: structure only, nothing is downloaded.
`--peer PATH` adds the rows of bench/peer.py.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.common import alternate, report
from bench.paper import PaperStep, critic_loss, with_plain_activations
from recolor_fast.color import SPACES, to_rgb01, to_unit
from recolor_fast.data import loader, sources
from recolor_fast.environment import device_name
from recolor_fast.losses.terms import build_terms
from recolor_fast.options import Options
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.step import Step, critic_update

Batch = tuple[Tensor, Tensor]
Gradients = dict[str, Tensor]


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, time every row of every case, and report."""
    parser = argparse.ArgumentParser(description="Milliseconds per photograph of one training iteration.")
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=[DEFAULT, "pix2pix"], help="presets to time")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--width", type=int, default=64, help="filters of the first layers")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="photographs per iteration")
    parser.add_argument("--iterations", type=int, default=1, help="iterations of a timed run")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each row")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--peer", type=Path, help="a checkout of junyanz/pytorch-CycleGAN-and-pix2pix to time as well")
    parser.add_argument("--quick", action="store_true", help="64 pixels, width 8, 2 runs: to see that it works")
    parser.add_argument("--save", action="store_true", help="write the rows to bench/results")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.size, arguments.width, arguments.runs = 64, 8, 2
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    name: Literal["cpu", "cuda"] = (
        arguments.device if arguments.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    )
    device = torch.device(name)
    rows = []
    if arguments.peer:
        from bench import peer  # it imports this module

        fast: Literal["on", "off"] = "on" if name == "cuda" else "off"
        for batch in arguments.batch:
            options = replace(peer.OPTIONS, size=arguments.size, width=arguments.width, batch=batch, device=name)
            options = replace(options, compile=fast, channels_last=fast)
            try:
                rows += peer.measure(arguments.peer, options, device, arguments.iterations, arguments.runs)
            except ValueError as error:
                parser.error(str(error))
    for preset in arguments.preset:
        for batch in arguments.batch:
            options = replace(
                PRESETS[preset],
                size=arguments.size,
                width=arguments.width,
                batch=batch,
                device=name,
                lpips_weights="random",
                compile="on" if name == "cuda" else "off",
                channels_last="on" if name == "cuda" else "off",
            )
            rows += measure(options, device, arguments.iterations, arguments.runs)
    note = (
        f"{arguments.iterations} iterations a run, medians of {arguments.runs} runs in turn; ratio = ms of paper / ms"
    )
    report("train_step", device_name(device), arguments.iterations * arguments.runs, rows, note, arguments.save)


def measure(options: Options, device: torch.device, iterations: int, runs: int) -> list[dict]:
    """The rows of one case."""
    gray, rgb = loader.load(replace(options, loader="host"), sources.sample())
    chosen = torch.arange(options.batch) % len(gray)
    batch = gray[chosen].to(device), rgb[chosen].to(device)
    torch.manual_seed(0)
    terms = build_terms(options)
    ours = {"ours": Step(options, terms, device), "ours+amp": Step(replace(options, amp=True), terms, device)}
    exact = paper_gradients(ours["ours"], batch, torch.float64)
    errors = {"paper": relative_error(paper_gradients(ours["ours"], batch, torch.float32), exact)}
    errors |= {name: relative_error(our_gradients(step, batch), exact) for name, step in ours.items()}
    steps: dict[str, Callable] = {"paper": PaperStep(options, terms, ours["ours"]), **ours}

    def repeat(step: Callable) -> None:
        for _ in range(iterations):
            parts = step(*batch, 0)
        next(iter(parts.values())).item()  # waits for the device

    seconds = alternate({name: partial(repeat, step) for name, step in steps.items()}, runs)
    count = iterations * options.batch
    return [
        {
            "case": f"{options.preset} {options.size} b{options.batch}",
            "name": name,
            "ms": 1000 * seconds[name] / count,
            "images_per_s": count / seconds[name],
            "ratio": seconds["paper"] / seconds[name],
            "critic_error": errors[name],
        }
        for name in steps
    ]


def _inputs(step: Step, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """source, real, fake and mix of a batch, for the step's networks as they are."""
    source, real = to_unit(batch[0]), SPACES[step.options.space].encode(to_rgb01(batch[1]))
    mix = torch.full((len(source), 1, 1, 1), 0.5, device=source.device)
    torch.manual_seed(0)
    with torch.no_grad():
        return source, real, copy.deepcopy(step.generator)(source), mix


def paper_gradients(step: Step, batch: Batch, dtype: torch.dtype) -> Gradients:
    """The critic's gradient by plain autograd."""
    if step.critic is None:
        return {}
    critic = with_plain_activations(step.critic).to(dtype)
    loss, _ = critic_loss(critic, step.options, *(tensor.to(dtype) for tensor in _inputs(step, batch)))
    names, parameters = zip(*critic.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, parameters)))


def our_gradients(step: Step, batch: Batch) -> Gradients:
    """The critic's gradient as the step computes it."""
    if step.critic is None:
        return {}
    parameters = {name: parameter.detach() for name, parameter in step.critic.named_parameters()}
    inputs = _inputs(step, batch)
    with torch.no_grad(), torch.autocast(step.device.type, torch.bfloat16, step.options.amp, cache_enabled=False):
        return critic_update(step.critic, step.options, parameters, *inputs)[1]


def relative_error(found: Gradients, exact: Gradients) -> float | None:
    """|found - exact| / |exact| over all parameters; None without any."""
    if not exact:
        return None
    difference = sum((found[name].double() - exact[name]).square().sum() for name in exact)
    return float((difference / sum(gradient.square().sum() for gradient in exact.values())) ** 0.5)


if __name__ == "__main__":
    main()
