"""The generator's losses beside the adversary: a table of f(fake, real) -> scalar, and which image they compare."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from recolor_fast.errors import UserError
from recolor_fast.losses.features import FEATURES, LPIPS, build_feature_loss, build_lpips, missing
from recolor_fast.networks.layers import pick
from recolor_fast.options import System, Whole

Loss = Callable[[Tensor, Tensor], Tensor]


class Term(NamedTuple):
    """How a term is built; `image`: it compares RGB in [-1, 1], whatever the network space."""

    build: Callable[[System], Loss]
    image: bool


def _build_lpips(name: str, options: System) -> Loss:
    return build_lpips(name, _lpips_file(name, options))


def _lpips_file(name: str, options: System) -> str:
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


FALLBACK = "lpips_mini"
"""What takes the place of a preset's LPIPS term whose weights are missing."""


def build_terms(options: System) -> list[WeightedTerm]:
    """The terms of `options` with a weight other than 0. UserError for an unknown name or weights that do not fit."""
    terms = [(name, weight, pick(TERMS, name, "terms")) for name, weight in options.terms if weight]
    return [WeightedTerm(name, weight, term.build(options), term.image) for name, weight, term in terms]


def resolve_lpips(options: Whole, probe: Callable[[str, str], str] = missing) -> Whole:
    """`options` with `lpips` decided: the terms hold the LPIPS term that is used, and `lpips` its name or "off".

    "auto" keeps the preset's term if its weights are there; if not, `FALLBACK`, whose weights are in this package,
    takes its place at its weight, with one warning. A term's name takes the place of the preset's at its weight, and
    weights that are missing are then a UserError, as are a name where the terms have not exactly one to replace, and
    a weights file where no term takes it.
    """
    options = replace(options, terms=tuple(term for term in options.terms if term[0] not in LPIPS or term[1]))
    ours = [name for name, _ in options.terms if name in LPIPS]
    without = tuple(term for term in options.terms if term[0] not in LPIPS)
    if options.lpips == "off" or (options.lpips == "auto" and not ours):
        if options.lpips_weights:
            raise UserError(f"lpips_weights {options.lpips_weights}: no LPIPS term takes it; use a preset with one")
        return replace(options, lpips="off", terms=without)
    if options.lpips != "auto":
        pick({"auto": 0, "off": 0, **LPIPS}, options.lpips, "lpips")
    if len(ours) != 1:
        raise UserError(
            f"lpips {options.lpips}: expected one LPIPS term among the terms {options.terms}, found {len(ours)}; "
            "choose a preset with LPIPS, or give its weight: --terms l1 100 lpips_alex 50"
        )
    wanted = ours[0] if options.lpips == "auto" else options.lpips
    file = _lpips_file(wanted, options)
    reason = probe(wanted, file)
    if reason and (options.lpips != "auto" or file or wanted == FALLBACK):
        raise UserError(f"lpips {wanted}: {reason}; give the backbone's state_dict with --lpips-weights FILE")
    if reason:
        advice = 'see "What may be missing" in docs/training.md'
        print(f"warning: no weights of {wanted} here: {FALLBACK} takes its place; {advice}", file=sys.stderr)
        wanted = FALLBACK
    if file == "random":
        _warn_random(wanted)
    terms = tuple((wanted if name in LPIPS else name, weight) for name, weight in options.terms)
    return replace(options, lpips=wanted, terms=terms)


def check_features(options: System, probe: Callable[[str, str], str] = missing) -> None:
    """UserError for a loss network whose weights are missing, or a weights file that no term takes.

    Unlike LPIPS, none is replaced: a system with another loss network would be another system. Warns of random weights.
    """
    used = [name for name, weight in options.terms if weight and name in FEATURES]
    if options.feature_weights and not used and options.lpips == "off":
        raise UserError(f"feature_weights {options.feature_weights}: no loss network takes it; use a preset with one")
    for name in used:
        if reason := probe(name, options.feature_weights):
            raise UserError(
                f"terms {name}: its weights are missing: {reason}; put the file there, or give a state_dict with "
                "--feature-weights FILE (random: structure only, for tests)"
            )
        if options.feature_weights == "random":
            _warn_random(name)


def _warn_random(name: str) -> None:
    print(f"warning: {name} has random weights: structure only, not a perceptual distance", file=sys.stderr)
