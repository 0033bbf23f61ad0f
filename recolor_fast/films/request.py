"""Whether what `colorize` was asked is a film, and whether it can be done. Needs nothing of PyAV."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from recolor_fast.coloring import folder
from recolor_fast.films.codecs import ANY, CONTAINERS
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import formats
from recolor_fast.settings import Settings

SUFFIXES = frozenset(  # of files that are films, whatever they begin with
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2v .vob .ts .mts .m2ts .wmv .asf .flv .ogv .3gp .mxf .dv .y4m".split()
)
KINDS = (folder.FILM, "an animation")  # what formats.kind calls them

# Settings that are photographs' alone: what is said of one that is not as it is by default.
PHOTOGRAPHS = {
    "format": "the suffix of OUT says what a film is written as",
    "in_place": "a film is compressed anew, so the old one is kept; give an OUT",
    "pages": "a film has no pages",
    "lossless_luma": "--codec ffv1 loses nothing",
    "keep_tone": "a film's own tint is not kept",
    "beside": "name the film to write, as OUT",
    "restore": "each frame would be stretched for itself, and flicker",
    "negative": "a film's luma stays as it is",
    "include": "a film is one file",
    "exclude": "a film is one file",
}


def is_film(path: str) -> bool:
    """Whether a file is a film, by its first bytes or its name."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb", opener=_unnoticed) as file:
            kind = formats.kind(file)
    except OSError:
        kind = None
    return kind.name.startswith(KINDS) if kind else Path(path).suffix.lower() in SUFFIXES


def _unnoticed(path: str, flags: int) -> int:
    """Open a file so that the time it was last read stays, which --keep-times gives to its output."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # of another user's file
        return os.open(path, flags)


def target(source: str, output: str) -> Path:
    """The file to write. UserError for one that is no film's, or is the source itself."""
    folder.check([source], output)
    name = Path(source).name
    if os.path.isdir(output) or output.endswith(("/", os.sep)):
        place = Path(output, name if Path(name).suffix.lower() in CONTAINERS else name + ANY)
        if place.exists() and place.samefile(source):
            raise UserError(f"input and output are both {place}: give another output, as the old film is kept")
        return place
    if Path(output).suffix.lower() not in CONTAINERS:
        raise UserError(f"output {output}: expected a name that ends with one of {', '.join(CONTAINERS)}")
    return Path(output)


def check(source: str, settings: Settings, refused: Mapping[str, object]) -> None:
    """Raise UserError for settings of photographs and for what `refused` says was asked."""
    default = Settings()
    names = [one.name for one in fields(Settings) if getattr(settings, one.name) != getattr(default, one.name)]
    if bad := next((name for name in names if name in PHOTOGRAPHS), ""):
        raise UserError(f"{bad} with the film {source}: {PHOTOGRAPHS[bad]}")
    if bad := next((name for name, given in refused.items() if given), ""):
        raise UserError(f"{bad} with the film {source}: that is for photographs")
