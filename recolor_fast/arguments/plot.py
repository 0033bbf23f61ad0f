"""What plot takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Draw what runs have logged: validation, speed and losses, a color for each run, smoothed over the raw values."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...", help_behavior_hint="")]
    """Run folders, as train printed them."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")] = Path("plot.png")
    """Picture to write."""
    by: Literal["photographs", "time"] = "photographs"
    """What the curves run over: photographs seen, or the time trained."""
    smoothing: float = 0.1
    """Share of a run's rows that each point of a smoothed curve is the mean of, 0 to 1; 3 rows at least."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write over a file that is there."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take.

    UserError for values of no use.
    """
    arguments = tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.plot"))
    if not arguments.runs:
        raise UserError("no run is given: expected run folders, as train printed them")
    if arguments.out.suffix.lower() != ".png":
        raise UserError(f"out {arguments.out}: expected a name that ends in .png")
    if not 0 <= arguments.smoothing <= 1:
        raise UserError(f"smoothing {arguments.smoothing:g}: expected a share of a run's rows, 0 to 1")
    return arguments
