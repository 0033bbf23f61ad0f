"""What study takes."""

from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


class Serve(NamedTuple):
    """Serve a study to browsers until Ctrl-C; makes it first where STUDY.sqlite does not exist.

    The page's address is the last line on stdout. Exit code: 2 wrong usage, 130 interrupted.
    """

    study: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY.sqlite")]
    """The study's file. An existing one is resumed; whatever else is given must then be what it was made of."""
    truth: Path | None = None
    """Folder of photographs with their own colors; only needed to make a study."""
    systems: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=FOLDER ...", help_behavior_hint="")] = ()
    """Folders of the same photographs as colored by each system, matched by relative path without suffix."""
    images: int | None = None
    """Photographs a participant judges; a new study's default is 50."""
    size: int | None = None
    """Longest side as shown, in pixels, 32 to 1024; less where any version is smaller. A new study's default is 256."""
    seed: int | None = None
    """Of the draw; a new study's default is 0."""
    port: int = 8000
    """Port to listen on; 0: any free one."""
    host: str = "127.0.0.1"
    """IPv4 address or name to listen on; for phones in the same network, this machine's address there."""


class Report(NamedTuple):
    """Print each system's naturalness, the share of its pictures that was judged real, as Markdown on stdout.

    Exit code: 0 done, 2 wrong usage.
    """

    study: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY.sqlite")]
    """The study's file; it may be in use."""
    complete_only: tyro.conf.FlagCreatePairsOff[bool] = False
    """Count only participants who judged all their photographs."""
    csv: Path | None = None
    """File to write every answer to, a row each."""
    json: Path | None = None
    """File to write the report's numbers to."""


Verbs = Annotated[Serve, tyro.conf.subcommand("serve")] | Annotated[Report, tyro.conf.subcommand("report")]


def parse(argv: list[str] | None = None) -> Serve | Report:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    explained(Serve, Report)
    arguments: Serve | Report = tyro.cli(Verbs, args=argv, prog=starting.usage("python -m recolor_fast.study"))
    return arguments
