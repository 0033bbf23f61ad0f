"""The training step of junyanz/pytorch-CycleGAN-and-pix2pix, timed in turns with ours: train_step.py --peer PATH.

PATH is a checkout that the user has: its own options, model and `optimize_parameters` run, nothing of it is copied or
changed. The system is the one that both have: pix2pix in Lab, U-Net and 70x70 PatchGAN with batch norm, cross entropy,
L1 of weight 100 (its `--model colorization --dataset_mode colorization`; here OPTIONS). Both start from the same
weights. Loading is not timed, and the batch is on the device already.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.common import Case
from bench.steps import (
    NOTHING,
    OURS,
    Batch,
    Row,
    build,
    critic_errors,
    critic_inputs,
    paper_gradients,
    peak_mb,
    relative_error,
    sample_batch,
    timed,
)
from recolor_fast import resolve
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.space import SPACES, to_lab, to_rgb01, to_unit
from recolor_fast.options import Options, System
from recolor_fast.presets import PRESETS
from recolor_fast.step.iteration import Step

OPTIONS = replace(PRESETS["pix2pix-lab"], terms=(("l1", 100.0),), batch=1)
"""The system both have; batch, size, width, learning rate, beta1 and L1's weight may be others."""
MAY_DIFFER = {"preset", "size", "width", "equalize", "blur", "terms", "smooth_l1_beta"}  # it has words for these, or
MAY_DIFFER |= {"init", "init_sigma", "lpips", "lpips_weights", "feature_weights"}  # they change no step from weights
SAME = [field.name for field in fields(System) if field.name not in MAY_DIFFER] + ["beta2", "weight_decay"]
GENERATORS = {128: "unet_128", 256: "unet_256", 512: "unet_256"}  # by size: its names count the halvings, 7 and 8
PACKAGES = ("data", "models", "options", "util")  # top-level names its modules take
FILES = (
    "data/colorization_dataset.py",
    "models/colorization_model.py",
    "models/pix2pix_model.py",
    "options/train_options.py",
)
INSTALLED_AS = {"skimage": "scikit-image", "PIL": "pillow", "cv2": "opencv-python-headless"}


class Peer(NamedTuple):
    """A model of the checkout, and whether it had cuDNN search for its fastest algorithms."""

    model: Any
    benchmark: bool


def build_peer(path: Path, options: Options, device: torch.device) -> Peer:
    """The checkout's colorization model, ready to train on `device`, with its own initial weights.

    UserError where `path` is no such checkout, where a package that it imports is missing (named), and for options of
    a system that it does not have.
    """
    _check(path, options)
    command = [
        *("train.py", "--model", "colorization", "--dataset_mode", "colorization"),
        *("--dataroot", str(path), "--name", "timed", "--batch_size", str(options.batch)),
        *("--netG", GENERATORS[options.size], "--netD", "basic", "--norm", "batch", "--gan_mode", "vanilla"),
        *("--ngf", str(options.width), "--ndf", str(options.width), "--lambda_L1", str(dict(options.terms)["l1"])),
        *("--lr", str(options.learning_rate), "--beta1", str(options.beta1)),
    ]
    # What it prints must not come between our lines of JSON.
    with _imported_from(path, command), redirect_stdout(sys.stderr):
        try:
            from models import create_model  # type: ignore[import-not-found]
            from options.train_options import TrainOptions  # type: ignore[import-not-found]

            settings = TrainOptions().gather_options()
        except ImportError as error:
            name = (error.name or "").partition(".")[0]
            if name in PACKAGES or not name:
                raise UserError(f"peer {path}: cannot be imported: {error}") from error
            package = INSTALLED_AS.get(name, name)
            raise UserError(f"peer {path}: needs the package {name}, pip install {package} ({error})") from error
        except SystemExit as error:
            raise UserError(f"peer {path}: does not take the options {' '.join(command[1:])}") from error
        settings.isTrain = True
        # Checkouts up to 2022 take numbers of GPUs, later ones a device.
        settings.gpu_ids = [device.index or 0] if device.type == "cuda" else []
        settings.device = device
        model = create_model(settings)
        model.setup(settings)
        return Peer(model, torch.backends.cudnn.benchmark)


def copy_weights(peer: Peer, step: Step) -> None:
    """Give the peer's networks the weights of ours, in place. ValueError where they are not the same networks.

    Same means: as many parameters (counted below), of equal shapes in the same order.
    """
    for name, target, ours in (
        ("generator", peer.model.netG, step.generator),
        ("critic", peer.model.netD, step.critic),
    ):
        assert isinstance(ours, nn.Module)
        pairs = list(zip(target.parameters(), ours.parameters()))
        counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (target, ours)]
        if counts[0] != counts[1] or any(a.shape != b.shape for a, b in pairs):
            raise UserError(f"peer: its {name} has {counts[0]} parameters, ours {counts[1]}: not the same network")
        with torch.no_grad():
            for theirs_one, ours_one in pairs:
                theirs_one.copy_(ours_one)


def peer_step(
    path: Path, options: Options, device: torch.device, batch: Batch, weights: Step | None = None
) -> Callable[[], None]:
    """The peer's iteration on `batch`, gray uint8 (N,1,S,S) and rgb uint8 (N,3,S,S), as a call without arguments.

    With `weights` it starts from the weights of that step. ValueError as of `build_peer` and `copy_weights`.
    """
    peer = build_peer(path, options, device)
    if weights is not None:
        copy_weights(peer, weights)
    return partial(_iterate, peer, lab_batch(batch))


def _iterate(peer: Peer, batch: dict[str, Any]) -> None:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = peer.benchmark
    try:
        peer.model.set_input(batch)
        peer.model.optimize_parameters()
    finally:
        torch.backends.cudnn.benchmark = before


def lab_batch(batch: Batch) -> dict[str, Any]:
    """A batch as its colorization dataset gives it: A (N,1,S,S) is L / 50 - 1, B (N,2,S,S) a and b / 110, float32."""
    lab = to_lab(to_rgb01(batch[1]))
    return _named(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)


def critic_gradients(peer: Peer, options: Options, batch: Batch) -> list[Tensor]:
    """The gradient of its critic, by parameter, in an iteration of its own on our source and target (seed 0).

    It updates the model. The source is our gray photograph instead of its L, so that our critic's gradient is the
    same function of the same numbers.
    """
    torch.manual_seed(0)
    _iterate(peer, _named(to_unit(batch[0]), SPACES[options.space].encode(to_rgb01(batch[1]))))
    return [parameter.grad for parameter in peer.model.netD.parameters()]


def measure(path: Path, options: Options, iterations: int, runs: int, threads: int | None = None) -> list[dict]:
    """Rows `peer`, `paper` and those of steps.OURS of one case, in turns; `options` are OPTIONS but for the scale.

    Columns as in train_step.py, so `ratio` is against `paper`; `peer_ratio` is the peer's ms over the row's own. The
    peer's `critic_error` is of its first iteration on our source, so a small one says that it trains the same networks
    on the same objective. ValueError as of `peer_step`.
    """
    device = torch.device(options.device)
    batch = sample_batch(options)
    start = Step(resolve.fastest(replace(options, **NOTHING), device), [], device)
    other = build_peer(path, options, device)
    copy_weights(other, start)
    exact = paper_gradients(start, critic_inputs(start, batch), torch.float64)
    error = relative_error(dict(zip(exact, critic_gradients(other, options, batch))), exact)

    rows = {"paper": Row()} | OURS
    cases: dict[str, Callable[[], Case]] = {"peer": partial(_case, path, options, iterations, threads)}
    cases |= {name: partial(build, row, options, iterations, threads) for name, row in rows.items()}
    found = timed(f"{options.preset} peer {options.size} b{options.batch}", cases, options, iterations, runs)
    errors = {"peer": {"critic_error": error}} | critic_errors(options, rows)
    for row in found:
        row |= {"peer_ratio": found[0]["ms"] / row["ms"], "critic_error": errors[row["name"]]["critic_error"]}
    return found


def _case(path: Path, options: Options, iterations: int, threads: int | None) -> Case:
    """The peer's iterations, in a process of their own."""
    if threads:
        torch.set_num_threads(threads)
    device = torch.device(options.device)
    start = Step(resolve.fastest(replace(options, **NOTHING), device), [], device)
    step = peer_step(path, options, device, sample_batch(options), start)
    del start
    gc.collect()  # the Step that the weights were taken from
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def run() -> None:
        for _ in range(iterations):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return Case(run, lambda: {"peak_mb": peak_mb(device), "flop": None, "dtype": torch.float32})


def _named(source: Tensor, target: Tensor) -> dict[str, Any]:
    names = [""] * len(source)
    return {"A": source, "B": target, "A_paths": names, "B_paths": names}


def _check(path: Path, options: Options) -> None:
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise UserError(
            f"peer {path}: lacks {', '.join(missing)}; expected a checkout of junyanz/pytorch-CycleGAN-and-pix2pix"
        )
    for name in SAME:
        value, expected = getattr(options, name), getattr(OPTIONS, name)
        if value != expected:
            raise UserError(f"{name} {value!r}: the peer trains with {expected!r} (bench.peer.OPTIONS)")
    if [name for name, _ in options.terms] != ["l1"]:
        raise UserError(f"terms {options.terms}: the peer has L1 and nothing else beside its adversary")
    if options.size not in GENERATORS:
        raise UserError(f"size {options.size}: the peer has U-Nets for {', '.join(map(str, GENERATORS))} pixels")


@contextmanager
def _imported_from(path: Path, command: list[str]) -> Iterator[None]:
    """In it, the checkout's packages can be imported and `command` is the command line; afterwards nothing is left."""

    def take() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in PACKAGES}

    hidden = take()
    before = sys.argv, sys.dont_write_bytecode, torch.backends.cudnn.benchmark
    entry = str(path.resolve())
    sys.path.insert(0, entry)
    sys.argv, sys.dont_write_bytecode = command, True  # no __pycache__ in a folder that is not ours
    try:
        yield
    finally:
        sys.argv, sys.dont_write_bytecode, torch.backends.cudnn.benchmark = before
        sys.path.remove(entry)
        take()
        sys.modules.update(hidden)
