"""What shards takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Pack the photographs of a folder into shards, tar files to train on, which WebDataset and tar read as well."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Photographs, with all below it. It stays as it is."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder for 000000.tar and so on and index.json; made where missing. The same command goes on where one ended."""
    shard_size: int = 256
    """Largest size of a shard, MB (1,000,000 bytes); what is larger by itself has a shard of its own."""
    seed: int = 0
    """Seed of the order in which photographs are packed; 0 or more."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.shards"))
