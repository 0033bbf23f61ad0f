"""The generator's losses beside the adversary: a table of f(fake, real) -> scalar, and which image they compare."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from recolor_fast.losses.features import LPIPS, build_lpips, missing
from recolor_fast.networks.layers import pick
from recolor_fast.options import Options

Loss = Callable[[Tensor, Tensor], Tensor]


class Term(NamedTuple):
    """How a term is built; `image`: it compares RGB in [-1, 1], whatever the network space."""

    build: Callable[[Options], Loss]
    image: bool


def _build_lpips(name: str, options: Options) -> Loss:
    return build_lpips(name, options.lpips_weights)


TERMS = {
    "l1": Term(lambda options: F.l1_loss, False),
    **{name: Term(partial(_build_lpips, name), True) for name in LPIPS},
}


class WeightedTerm(NamedTuple):
    """A built term of a run."""

    name: str
    weight: float
    loss: Loss
    image: bool


def build_terms(options: Options) -> list[WeightedTerm]:
    """The terms of `options` with a weight other than 0. ValueError for an unknown name or weights that do not fit."""
    terms = [(name, weight, pick(TERMS, name, "terms")) for name, weight in options.terms if weight]
    return [WeightedTerm(name, weight, term.build(options), term.image) for name, weight, term in terms]


def resolve_lpips(options: Options, probe: Callable[[str, str], str] = missing) -> Options:
    """`options` with `lpips` decided: the terms hold the LPIPS term that is used, and `lpips` its name or "off".

    "auto" keeps the preset's term if its weights can be had and drops it with one warning if not; a term's name takes
    the place of the preset's at its weight, and weights that cannot be had are then a ValueError, as are a name where
    the terms have not exactly one to replace, and a weights file where no term takes it.
    """
    ours = [name for name, weight in options.terms if name in LPIPS and weight]
    without = tuple(term for term in options.terms if term[0] not in LPIPS)
    if options.lpips == "off" or (options.lpips == "auto" and not ours):
        if options.lpips_weights:
            raise ValueError(f"lpips_weights {options.lpips_weights}: no LPIPS term takes it; use a preset with one")
        return replace(options, lpips="off", terms=without)
    if options.lpips != "auto":
        pick({"auto": 0, "off": 0, **LPIPS}, options.lpips, "lpips")
    if len(ours) != 1:
        raise ValueError(
            f"lpips {options.lpips}: expected one LPIPS term among the terms {options.terms}, found {len(ours)}; "
            "choose a preset with LPIPS, or give its weight: --terms l1 100 lpips_alex 50"
        )
    wanted = ours[0] if options.lpips == "auto" else options.lpips
    reason = probe(wanted, options.lpips_weights)
    if reason and (options.lpips != "auto" or options.lpips_weights):
        raise ValueError(f"lpips {wanted}: {reason}; give the backbone's state_dict with --lpips-weights FILE")
    if reason:
        advice = "--lpips-weights FILE takes a backbone, --lpips off is quiet"
        print(f"warning: training without {wanted}: {reason}; {advice}", file=sys.stderr)
        return replace(options, lpips="off", terms=without)
    if options.lpips_weights == "random":
        print(f"warning: {wanted} has random weights: structure only, not a perceptual distance", file=sys.stderr)
    terms = tuple((wanted if name in LPIPS else name, weight) for name, weight in options.terms)
    return replace(options, lpips=wanted, terms=terms)
