"""What colorize takes."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from recolor_fast.arguments import foreign
from recolor_fast.arguments.texts import explained
from recolor_fast.artefact.signatures import Provider
from recolor_fast.machine import starting
from recolor_fast.settings import Codec, Settings


class Arguments(NamedTuple):
    """Color gray photographs, files or folders of them, or a film: IN... OUT is all it needs.

    A folder is mirrored: IN/sub/a.jpg becomes OUT/sub/a.jpg, in the same format; with several IN, IN1/a.jpg becomes
    OUT/IN1/a.jpg. Links to folders are not followed. With - for IN, OUT or both, one image goes from stdin, to stdout.
    What was done before is skipped, so the same command resumes where it was stopped.
    Photographs in color are left alone, see --color.
    Exit code: 0 done (also where there was nothing to do), 1 the disk fails or a bug, 2 wrong usage, 3 some images
    could not be read or written (the others are done) or the only file given is in color and was left alone, 4 no
    usable model or provider, 128 and a signal's number where one stopped it (130, 143).
    """

    paths: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="IN... OUT", help_behavior_hint="")]
    """Image files and folders of images of any size and format, then the folder to write to, made where missing; for
    one image a file, or a folder if it exists or its name has no suffix."""
    model: Path | None = None
    """Exported generator, an .onnx file; none: the colorizer that comes with recolor_fast."""
    provider: Provider = "auto"
    """What computes; auto: cuda where it works, else cpu. Which it is is told on stderr."""
    hints: Path | None = None
    """Colors at some places, a JSON file {"a.jpg": [{"x": 120, "y": 80, "color": "#c08040", "radius": 5}]}: pixels of
    the upright photograph. The model is then, unless one is given, the package's own that follows hints."""
    require_provider: tyro.conf.FlagCreatePairsOff[bool] = False
    """With provider auto: fail with exit code 4 rather than compute on the cpu. Any other one is required anyway."""
    threads: int | None = None
    """Processors to use; none: all that this process may use."""
    files: str | None = None
    """Color what this list names instead of folders, --files LIST OUT: a path a line, or with NULs between them; - is
    stdin. sub/a.jpg becomes OUT/sub/a.jpg, /b/c.jpg OUT/b/c.jpg. Lists may be of any length."""
    shard: str | None = None
    """Color one part of N, I/N with I from 0 to N-1, which the path below IN decides: the N parts are the whole, each
    photograph is in one of them, and all may have the same OUT."""
    engine: Literal["alone", "ray"] = "alone"
    """alone: this process. ray: workers of a Ray cluster (extra scale), also from and to URLs, s3://, gs://, hdfs://."""
    cluster: str | None = None
    """Address of the Ray cluster, host:port; none: RAY_ADDRESS, else one of this machine's own while it runs."""
    settings: Annotated[
        Settings, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.UseAppendAction
    ] = Settings()
    watch: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on until interrupted: color what is new in the folders, once it is complete (unchanged for a second)."""
    codec: Codec = "auto"
    """What a film is compressed with: h264, h265, av1, or ffv1, which loses nothing (.mkv); auto: the first of these
    that the suffix of OUT allows."""
    no_temporal: tyro.conf.FlagCreatePairsOff[bool] = False
    """A film's frames are colored each for itself: their colors are not steadied."""
    sheet: Path | None = None
    """Write a contact sheet to this file (.jpg, .png): up to 12 photographs of this run as they were and colored."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """A line of JSON on stdout for every file as soon as it is done, images or not: input, output, status (ok, skipped,
    failed), reason, width, height, notes, seconds, cpu_seconds by stage, restored. On stderr where OUT is -."""


def parse(argv: Sequence[str]) -> Arguments:
    """A command line as arguments. SystemExit for --help and unknown words, UserError for options that other programs
    call so."""
    foreign.check(argv, [*Arguments._fields, *(one.name for one in fields(Settings))], foreign.COLORIZE)
    return _parsed(tuple(argv))


@cache  # asked before what takes time is imported, and again after it
def _parsed(words: tuple[str, ...]) -> Arguments:
    kind = explained(Arguments, *Settings.__mro__[:-1])
    return tyro.cli(kind, prog=starting.usage("python -m recolor_fast.colorize"), args=words)
