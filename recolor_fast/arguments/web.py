"""What web takes."""

from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


class Arguments(NamedTuple):
    """Write the page that colors photographs as a folder of files for any static web host: it does all its work in the
    visitor's browser, and nothing is uploaded.

    Exit code: 0 done, 2 wrong usage, 4 a model or runtime that cannot be used.
    """

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Folder to write. One that is there must be empty, or written by this command, which then replaces it whole."""
    model: Annotated[
        tuple[Path, ...], tyro.conf.arg(metavar="FILE.onnx", help_behavior_hint=""), tyro.conf.UseAppendAction
    ] = ()
    """An exported model, with --graph hints or chroma, instead of the one that comes with the package. Repeatable:
    visitors then choose, by the names of the files."""
    onnxruntime_web: Annotated[Path | None, tyro.conf.arg(metavar="FILE.tgz", help_behavior_hint="")] = None
    """The npm package of onnxruntime-web, as `npm pack` gives it; npm fetches it if not given. Its version and SHA-512
    must be the ones that this package knows."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.web"))
