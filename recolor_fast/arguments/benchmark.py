"""What benchmark takes."""

from dataclasses import dataclass

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Measure how many photographs a second this machine trains on, loads and colors, beside known machines.

    Exit code: 0 measured, 2 wrong usage, 3 a part of it failed.
    """

    seconds: float = 3.0
    """How long each part is measured, seconds, beside what prepares it."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """Train small networks, which says whether it works and nothing of how fast."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print everything as JSON."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.doctor.benchmark"))
