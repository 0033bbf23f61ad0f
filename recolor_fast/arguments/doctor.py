"""What doctor takes."""

from dataclasses import dataclass

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Look at what works on this machine, and say what to type where something does not.

    Exit code: 0 all that is here works, 2 wrong usage, 3 something that is here does not.
    """

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print everything as JSON, for programs and for reports of faults; it names folders of this machine."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.doctor"))
