"""Which photographs a run trains and validates on: the usable ones, those without color left out."""

import sys
from pathlib import Path
from typing import Literal, NamedTuple

from recolor_fast.data import index, sources
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Data
from recolor_fast.photographs.gray_photographs import COLORLESS

VALIDATE = 150  # at most so many validation photographs


class Photographs(NamedTuple):
    """The usable files of a run."""

    train: list[Path]
    val: list[Path]
    unusable: dict[Path, str]
    """What is left out, and why."""


def choose(options: Data, check: Literal["header", "full"] = "header") -> Photographs:
    """The usable photographs to train and validate on, those without color left out or kept as the options say.

    Files are checked by their `check`, as the option of that name says. UserError where there is none to train on.
    """
    split = sources.photographs(options)
    looked = index.look(split.train, check)
    train, unusable = _in_color(looked, options)
    if not train:
        raise UserError(
            f"data {options.data}: none of its {len(looked.good)} photographs to train on holds color (mean Lab chroma "
            f"below {COLORLESS:g}); give photographs in color, or --gray-photographs keep to train on these"
        )
    gray = dict(looked.gray)
    try:
        looked = index.look(split.val, check)
        val, unusable_val = _in_color(looked, options)
        gray |= looked.gray
        reason = "" if val else f"none of the {len(looked.good)} photographs to validate on holds color"
    except index.NoneUsable as error:
        reason, val, unusable_val = str(error), [], error.reasons
    if not val:
        print(f"warning: validating on a photograph trained on: {reason}", file=sys.stderr)
        val = train[:1]
    if gray:
        what = {
            "leave-out": "and are left out; --gray-photographs keep trains on them",
            "keep": "and teach gray; --gray-photographs leave-out trains without them",
        }
        print(
            f"warning: {len(gray)} of {len({*split.train, *split.val})} photographs hold no color (mean Lab chroma "
            f"below {COLORLESS:g}) {what[options.gray_photographs]}",
            file=sys.stderr,
        )
    return Photographs(train, val[:VALIDATE], unusable | unusable_val)


def _in_color(looked: index.Looked, options: Data) -> tuple[list[Path], dict[Path, str]]:
    """The photographs that are used, and why others are not."""
    if options.gray_photographs == "keep":
        return looked.good, looked.unusable
    reasons = {path: f"no color: mean Lab chroma {chroma:.2f}" for path, chroma in looked.gray.items()}
    return [path for path in looked.good if path not in reasons], looked.unusable | reasons
