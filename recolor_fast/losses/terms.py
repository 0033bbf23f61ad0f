"""The generator's losses beside the adversary: a table of builders of f(fake, real) -> scalar, and what it compares."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from recolor_fast.losses.features import FEATURES, LPIPS, build_feature_loss, build_lpips
from recolor_fast.networks.layers import pick
from recolor_fast.options import System

Loss = Callable[[Tensor, Tensor], Tensor]


class Term(NamedTuple):
    """How a term is built; `image`: it compares RGB in [-1, 1], whatever the network space."""

    build: Callable[[System], Loss]
    image: bool


def _build_lpips(name: str, options: System) -> Loss:
    return build_lpips(name, lpips_file(name, options))


def lpips_file(name: str, options: System) -> str:
    """The file the options give for an LPIPS network; feature_weights are not meant for one of this package."""
    own = isinstance(LPIPS[name].weights, Path)
    return options.lpips_weights or ("" if own else options.feature_weights)


def _build_feature_loss(name: str, options: System) -> Loss:
    return build_feature_loss(name, options.feature_weights)


TERMS = {
    "l1": Term(lambda options: F.l1_loss, False),
    "smooth_l1": Term(lambda options: partial(F.smooth_l1_loss, beta=options.smooth_l1_beta), False),
    **{name: Term(partial(_build_lpips, name), True) for name in LPIPS},
    **{name: Term(partial(_build_feature_loss, name), True) for name in FEATURES},
}


class WeightedTerm(NamedTuple):
    """A built term of a run."""

    name: str
    weight: float
    loss: Loss
    image: bool


def build_terms(options: System) -> list[WeightedTerm]:
    """The terms of `options` with a weight other than 0. UserError for an unknown name or weights that do not fit."""
    terms = [(name, weight, pick(TERMS, name, "terms")) for name, weight in options.terms if weight]
    return [WeightedTerm(name, weight, term.build(options), term.image) for name, weight, term in terms]
