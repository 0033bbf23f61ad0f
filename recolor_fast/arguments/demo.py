"""What demo takes."""

from dataclasses import dataclass

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Color, train, export and color again, at a small size, in the folder demo/."""

    color_only: tyro.conf.FlagCreatePairsOff[bool] = False
    """Color with what comes along and stop: needs no torch."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.demo"))
