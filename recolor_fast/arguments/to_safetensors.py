"""What export/to_safetensors.py takes."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from recolor_fast.arguments import foreign
from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Write the generator of a run's newest or best checkpoint as a .safetensors file."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder, as train printed it; none: the newest under runs/."""
    best: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the checkpoint with the lowest ab error in validation.csv, not the newest."""
    out: Path | None = None
    """File to write; none set: RUN/<name>.safetensors."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace a file that exists."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    foreign.check(sys.argv[1:] if argv is None else argv, [field.name for field in fields(Arguments)], foreign.EXPORT)
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python export/to_safetensors.py"))
