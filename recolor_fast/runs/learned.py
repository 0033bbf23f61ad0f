"""What runs have trained: their networks, and the weights that another run starts from."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import SHIPPED
from recolor_fast.networks.critics import build_critic
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import FILE, Options, from_dict, marked, only
from recolor_fast.presets import STARTS
from recolor_fast.runs import checkpoint, csv_rows

OWN = "shipped"  # as a start: the weights of the colorizer that comes with the package (./shipped is a folder)
WEIGHTS = SHIPPED / "colorizer.safetensors"
PREFIX = "recolor_fast."  # of the metadata of a .safetensors file, as of an artefact's


class Weights(NamedTuple):
    """What a run has trained, as it is stored."""

    path: Path
    """The checkpoint, or the .safetensors file."""
    options: Options
    generator: dict[str, Tensor]
    critic: dict[str, Tensor]
    """Of a checkpoint of options that have one; else empty."""
    images: int
    """Photographs seen."""


class Trained(NamedTuple):
    """The networks of a checkpoint, on the CPU, the generator in eval mode."""

    options: Options
    generator: nn.Module
    critic: nn.Module | None
    images: int
    """Photographs seen."""


def stored(path: Path, best: bool = False) -> Weights:
    """What a run has trained: of its newest checkpoint, or of its `best`, the lowest ab_rmse in validation.csv.

    Or what is in a .safetensors file that export/to_safetensors.py wrote. UserError where there is no such run,
    checkpoint or file. Checkpoints that do not verify are skipped, which is said on stderr.
    """
    if path.suffix == ".safetensors" and path.is_file():
        if best:
            raise UserError(f"{path}: it holds one checkpoint; the best is chosen among those of a run folder")
        return _released(path)
    folder = path / "checkpoints"
    newest = checkpoint.first(csv_rows.by_error(path)) if best else checkpoint.newest(folder)
    if not newest:
        raise UserError(
            f"{path}: no usable checkpoint of it has an ab_rmse in validation.csv, so none is known to be the best; "
            "take the newest"
        )
    path, state = newest
    with _understood(path):
        options = only(Options, from_dict(json.loads(state["options"])))
        critic = state["step"]["critic"] if options.critic else {}
        return Weights(path, options, state["step"]["generator"], critic, state["images"])


def _released(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from error
    if f"{PREFIX}options" not in metadata:
        raise UserError(
            f"{path}: its metadata has no {PREFIX}options; expected a file that export/to_safetensors.py wrote"
        )
    with _understood(path):
        options = only(Options, from_dict(json.loads(metadata[f"{PREFIX}options"])))
        return Weights(path, options, weights, {}, int(metadata[f"{PREFIX}images"]))


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """UserError where what a checkpoint or .safetensors file holds is not what the block expects."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        what = "generator" if path.suffix == ".safetensors" else "checkpoint"
        raise UserError(f"{path}: not a {what} of this version of recolor_fast ({error})") from error


def trained(path: Path, best: bool = False) -> Trained:
    """The networks of what a run has trained, or of a .safetensors file. UserError as `stored`."""
    weights = stored(path, best)
    options = weights.options
    with _understood(weights.path):
        with torch.device("meta"):  # so that a file that says its network is huge does not take all memory
            plain = build_generator(replace(options, spectral_norm=False))
        said, held = (sum(t.numel() for t in ts) for ts in (plain.parameters(), weights.generator.values()))
        if said > held:
            raise UserError(f"its options say {said} weights and more, it holds {held} numbers")
        generator = build_generator(options)
        generator.load_state_dict(weights.generator)
        critic = build_critic(options) if weights.critic else None
        if critic:
            critic.load_state_dict(weights.critic)
        return Trained(options, generator.eval(), critic, weights.images)


def load_run(run: str | Path, best: bool = False) -> Trained:
    """The networks of a run, on the CPU, the generator in eval mode; with its options and the photographs it has seen.

    `run`: a run folder, or a .safetensors file that export/to_safetensors.py wrote. `best`: of the checkpoint with the
    lowest ab error in validation.csv, not of the newest. The generator takes gray float32 (N,1,S,S), -1 to 1, and gives
    color in the space of `options.space`; `Colorizer` is what colors photographs. Raises UserError, a ValueError.
    """
    return trained(Path(run), best)


def start(options: Options, own: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The weights that a run of these options starts from: of the generator that `options.start` has trained.

    They are to fit `own`, the state of the generator of these options (None: one is built for its shapes). UserError
    where there is none there, or its weights are others.
    """
    expected = f"expected a run folder, a .safetensors file of export/to_safetensors.py, or {OWN}"
    try:
        weights = stored(WEIGHTS if options.start == OWN else Path(options.start)).generator
    except UserError as error:
        raise UserError(f"start {options.start}: {error}; {expected}") from error
    if own is None:
        with torch.device("meta"):
            own = build_generator(options).state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (own, weights)]
    new = {name for name in own if name.startswith("hinted.")} - {*weights}  # a start without hints can learn them
    misfits = [name for name in {**own, **weights} if shapes[0].get(name) != shapes[1].get(name) and name not in new]
    if misfits:
        raise UserError(
            f"start {options.start}: {misfits[0]} is {list(shapes[1].get(misfits[0], ()))} there and "
            f"{list(shapes[0].get(misfits[0], ()))} by the options: {expected}, of the same generator, width, "
            "norms and space, and but for residual and lite the same size"
            + (f"; --preset {STARTS[options.start]} has those of {options.start}" if options.start in STARTS else "")
        )
    return weights


def named(path: Path) -> tuple[Path, str]:
    """The folder that what is made of a run (or of a .safetensors file) goes to by default, and what it is called."""
    return (path.parent, path.stem) if path.is_file() else (path, path.resolve().name)


def public(options: Options) -> Options:
    """Options without the verb's own and without the paths of the machine that a run was trained on."""
    files = {name: Path(getattr(options, name)).name for name in marked(FILE)}
    return replace(only(Options, options), **files)  # type: ignore[arg-type]
