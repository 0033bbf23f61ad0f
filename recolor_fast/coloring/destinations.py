"""What the words IN... OUT of colorize mean, and whether they can be used together. Nothing is read here."""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from recolor_fast.coloring import folder
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import claims, images, provenance
from recolor_fast.photographs.walk import Found
from recolor_fast.settings import Settings

BESIDE = ".colored"  # before the suffix of what --beside makes
_beside = re.compile(rf"\{BESIDE}(\.[^.]*){{0,2}}$", re.I)  # a.gif becomes a.colored.gif.png


def parted(paths: Sequence[str], no_out: str) -> tuple[Sequence[str], str | None]:
    """The inputs and the output of a command line; no output with the setting `no_out`, if it has a name.

    Raises UserError, with what to type instead, where OUT is missing.
    """
    if no_out:
        return paths, None
    if len(paths) > 1:
        return paths[:-1], meant(paths[:-1], paths[-1])
    source = Path(paths[0] if paths else "photos")
    suffix = source.suffix if os.path.isfile(source) else ""
    out = source.with_name(f"{source.name.removesuffix(suffix)}-colored{suffix}") if source.name else "colored"
    what = "OUT is missing, the folder or file to write to" if paths else "IN and OUT are missing"
    words = shlex.join(map(str, (source, out)))
    raise UserError(f"{what}; for example: python -m recolor_fast.colorize {words}")


def parted_list(paths: Sequence[str], no_out: str, name: str) -> str | None:
    """The output of a command line whose photographs a list names; None with the setting `no_out`. Raises UserError."""
    if "-" in paths:
        raise UserError(f"paths {' '.join(paths)!r} with files {name}: expected OUT alone, a folder to write to")
    if no_out and paths:
        what = "replaced" if no_out == "in_place" else "colored"
        raise UserError(f"{no_out} with files {name} and paths {' '.join(paths)!r}: the list names what is {what}")
    if not no_out and len(paths) != 1:
        given = f"paths {' '.join(paths)!r}" if paths else "no path"
        raise UserError(f"files {name} with {given}: expected OUT alone, the folder to write to")
    if no_out:
        return None
    if os.path.lexists(paths[0]) and not os.path.isdir(paths[0]):
        raise UserError(f"output {paths[0]} is a file and files {name} a list: give a folder to write to")
    folder.check([], paths[0])
    return os.path.join(paths[0], "")


def check_parts(settings: Settings, watch: bool, files: str | None, shard: str | None, streamed: bool) -> None:
    """Raise UserError for a list or a shard together with what knows no end, order or name."""
    given = {"watch": watch, "temporal": settings.temporal}
    if files is not None:
        why = {"watch": "a list has an end", "temporal": "frames have the order of their folder"}
        why |= {"include": "the list says which", "exclude": "the list says which"}
        given |= {"include": bool(settings.include), "exclude": bool(settings.exclude)}
        if bad := next((name for name in why if given[name]), ""):
            raise UserError(f"{bad} with files {files}: {why[bad]}; use one of the two")
    if shard is not None:
        why = {"watch": "a shard has an end", "temporal": "a film would be torn apart", "-": "one image has no parts"}
        given["-"] = streamed
        if bad := next((name for name in why if given[name]), ""):
            raise UserError(f"{bad} with shard {shard}: {why[bad]}; use one of the two")


def meant(inputs: Sequence[str], output: str) -> str:
    """The output, with a slash where it is a folder by its name: without a suffix, and no file yet."""
    suffix = Path(output).suffix
    alone = output != "-" and len(inputs) == 1 and inputs[0] != "-" and not os.path.isdir(inputs[0])
    return os.path.join(output, "") if alone and not suffix and not os.path.lexists(output) else output


def beside(found: Iterable[Found]) -> Iterator[Found]:
    """What is found, to be written beside itself; without what was, by its name, and the run's own notes."""
    for one in found:
        if one.source.name not in (claims.FILE, provenance.LIST) and not is_beside(str(one.source)):
            yield one._replace(target=one.source.with_name(f"{one.source.stem}{BESIDE}{one.source.suffix}"))


def is_beside(path: str) -> bool:
    """Whether a file's name is one that --beside gives; a folder may be called as it likes."""
    return bool(_beside.search(os.path.basename(path))) and not os.path.isdir(path)


def into(inputs: Sequence[str], output: str) -> bool:
    """Whether the output is a folder that exists or will."""
    several = len(inputs) != 1 or os.path.isdir(inputs[0])
    return several or os.path.isdir(output) or output.endswith(("/", os.sep))


def check(inputs: Sequence[str], output: str | None, settings: Settings, watch: bool) -> None:
    """Raise UserError where paths and settings cannot be used together."""
    if settings.no_out and output is not None:
        what = "they are replaced" if settings.in_place else "the colored ones are put beside them"
        raise UserError(f"{settings.no_out} with output {output}: give inputs alone, {what}")
    if not inputs or (output is None and not settings.no_out):
        raise UserError(f"paths {' '.join(inputs)!r}: expected one or more inputs, and where to write to")
    folder.check(inputs, output)
    if settings.beside and all(map(is_beside, inputs)):
        raise UserError(
            f"beside with {' '.join(inputs)!r}: so is called what it makes; give the photographs themselves"
        )
    if watch and settings.temporal:
        raise UserError("temporal with watch: frames that come late would be out of order; use one of the two")
    if watch and not any(map(os.path.isdir, inputs)):
        raise UserError(f"watch {' '.join(inputs)!r}: expected a folder to follow")
    if output is not None and not into(inputs, output):
        check_named(output, settings)


def check_named(output: str, settings: Settings) -> None:
    """Raise UserError where the suffix of a file to write is that of a format not written, or not of `format`."""
    suffix = Path(output).suffix.lower()
    if suffix in images.SUFFIXES and suffix not in folder.FORMATS:
        raise UserError(f"output {output}: {suffix} is not written; expected one of {', '.join(folder.FORMATS)}")
    if settings.format and folder.FORMATS.get(suffix) not in (None, settings.format):
        raise UserError(f"output {output} with format {settings.format}: give one or the other")


def shared_folder(inputs: Sequence[str], output: str | None) -> Path | None:
    """The folder that is written to, whose work several runs may share; None where one file is, or many places are."""
    if output is None:
        return Path(inputs[0]) if inputs and len(inputs) == 1 and os.path.isdir(inputs[0]) else None
    return Path(output) if into(inputs, output) else None
