"""Several ranks on this machine, for tests: `python -m tests.ranked OUT NAME ...` is one, which keeps its gradients."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recolor_fast.losses.terms import build_terms
from recolor_fast.machine.ranks import ALONE, Ranks, joined
from recolor_fast.options import Command
from recolor_fast.presets import PAPERS, PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import guard
from recolor_fast.step.iteration import Step
from tests.test_golden import photographs

ROOT = Path(__file__).resolve().parents[1]
BATCH, ITERATIONS = 4, 3
CPU = torch.device("cpu")


def _allowed(options: Command) -> bool:
    """Whether a batch above 1 is."""
    return not (options.gradient_penalty and "batch" in (options.critic_norm, options.critic_first_norm))


CASES: dict[str, dict[str, Any]] = {name: {} for name, options in PAPERS.items() if _allowed(options)}
CASES |= {
    "pieces": {"preset": "pix2pix", "micro_batch": 2, "batch": 8},
    "pieces fused": {"preset": "wgan-gp", "micro_batch": 4, "batch": 8},
    "not fused": {"preset": "wgan-gp", "fused_critic": "off"},
    "not finite": {"preset": "wgan-gp", "skip_nonfinite": 1},
    "compiled": {"preset": "wgan-gp", "compile": "on", "compile_backend": "aot_eager", "generator_norm": "instance"},
    "hints": {
        **{"preset": "pix2pix-lab", "generator": "lite0", "encoder_weights": "random", "hints": 6, "critic": ""},
        **{"generator_norm": "batch", "init": "he", "dropout": 0.2},
    },
}

# Computed otherwise than in plain float32, so not compared as closely.
ROUNDED: dict[str, dict[str, Any]] = {
    "amp": {"preset": "wgan-gp", "amp": True},
    "winograd": {"preset": "wgan-gp", "winograd": "on", "width": 16, "batch": 8},
}


def chosen(name: str) -> Command:
    """The options of a case, at 64 pixels and width 4. A tenth of the learning rate: rounding grows with it."""
    changes = (CASES | ROUNDED)[name]
    small = {"size": 64, "width": 4, "batch": BATCH, "learning_rate": 2e-5, "feature_weights": "random"}
    options = replace(PRESETS[changes.get("preset", name)], **small | {"compile": "off"} | changes)
    return fastest(options, CPU)


def iterations(name: str, wide: bool, ranks: Ranks = ALONE) -> list[dict[str, torch.Tensor]]:
    """Of each iteration all losses, and both networks' gradients by their parameters' names, float64 if `wide`."""
    options = chosen(name)
    torch.manual_seed(0)  # of the loss networks
    step = Step(options, build_terms(options), CPU, ranks)
    if wide:
        widen(step)
    places, told = ranks.places(options.batch, options.micro_batch), []
    if options.skip_nonfinite:
        spoil(step, places)
    torch.set_default_dtype(torch.float64 if wide else torch.float32)
    try:
        for number in range(ITERATIONS):
            gray, rgb = photographs(number, options.batch)
            parts = step(gray[places], rgb[places], number * options.batch)
            gradients = {
                f"{player} {name}": parameter.grad.clone()
                for player in ("generator", "critic")
                if (network := getattr(step, player)) is not None
                for name, parameter in network.named_parameters()
            }
            told.append({f"loss {name}": part.double() for name, part in parts.items()} | gradients)
    finally:
        torch.set_default_dtype(torch.float32)
    return told


def spoil(step: Step, places: np.ndarray) -> None:
    """Let the second half of the second batch come out as NaN."""
    forward, bad, calls = step._forward, torch.from_numpy(places >= BATCH // 2)[:, None, None, None], count()
    step._forward = lambda source: forward(source).masked_fill(bad & (next(calls) == 1), torch.nan)


def widen(step: Step) -> None:
    """Let a step compute in float64, where the package computes in float32."""
    networks = [step.generator, *([step.critic] if step.critic else [])]
    for network in (*networks, *(term.loss for term in step.terms if isinstance(term.loss, torch.nn.Module))):
        network.double()
    for optimizer in step.optimizers.values():
        guard.begin(optimizer)
    if step.critic:
        step._parameters.update({name: value.detach() for name, value in step.critic.named_parameters()})
    narrow = torch.Tensor.float
    # A photograph's numbers; scalars stay, of which Adam's kernel takes none but float32.
    torch.Tensor.float = lambda self: self.double() if self.dim() else narrow(self)  # type: ignore[method-assign]


def port() -> int:
    """One that is free, and that the system gives nobody who asks for any: it is taken only seconds later."""
    for number in range(20_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", number))
            return number
    raise AssertionError("no port is free")


def start(number: int, words: Sequence[object], **environment: str) -> list[subprocess.Popen[str]]:
    """`python words...` as so many ranks, as torchrun starts them. Their output is text to be read."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "WORLD_SIZE": str(number)}
    common |= {"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(number), **environment}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(number)
    ]


def ended(ranks: Sequence[subprocess.Popen[str]], seconds: float = 900) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each rank. Those that are there after so many seconds are killed."""
    try:
        outputs = [rank.communicate(timeout=seconds) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, *output) for rank, output in zip(ranks, outputs)]


def gradients(
    folder: Path, number: int, names: Sequence[str], widths: Sequence[str]
) -> dict[str, dict[str, list[dict[str, torch.Tensor]]]]:
    """What `iterations` gives for each width, "narrow" before "wide", and case on the first of so many ranks."""
    file = folder / "gradients.pt"
    words = ["-m", "tests.ranked", file, ",".join(widths), *names]
    for code, _, errors in ended(start(number, words), seconds=1800):  # all cases, maybe beside other tests
        assert code == 0, errors
    return torch.load(file, weights_only=True)


if __name__ == "__main__":
    file, widths, *names = sys.argv[1:]
    torch.set_num_threads(1)
    with joined() as ranks:
        found = {
            width: {name: iterations(name, width == "wide", ranks) for name in names} for width in widths.split(",")
        }
        if ranks.first:
            torch.save(found, file)
    # One that lets go of a tensor as Python ends would abort it.
    threads = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in threads if "gloo" in name], threads
