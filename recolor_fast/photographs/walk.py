"""Which files of a user's folders there are to look at, in order: what systems leave beside photographs is left out."""

import os
import re
import threading
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase, translate
from pathlib import Path
from typing import NamedTuple

from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError

HIDDEN, SYSTEM, LINK = "hidden", "thumbnails, trash or notes of a system", "a link to a folder, not followed"
EXCLUDED, NOT_INCLUDED = "excluded", "not included"  # why a file or folder is left out

SYSTEMS = (  # names of files and folders that no person made, beside hidden ones; globs, in letters of either case
    *("@eaDir", "@tmp", "#recycle", "#snapshot", "SYNO*[_:]THUMB_*", "SYNOFILE_ORIG_*", "*@SynoResource"),  # Synology
    *("@Recycle", "@Recently-Snapshot", "@__thumb"),  # QNAP; .@__thumb is hidden
    *("trashbox", "_gsdata_"),  # Buffalo, GoodSync
    *("$RECYCLE.BIN", "RECYCLER", "System Volume Information", "FOUND.[0-9][0-9][0-9]", "desktop.ini"),  # Windows
    *("Thumbs.db", "Thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db"),
    *("__MACOSX", "Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder", "Icon\r"),  # macOS
    *("Desktop DB", "Desktop DF", "iPod Photo Cache"),
    *("lost+found", "aquota.user", "aquota.group"),  # Linux
)
_systems = re.compile("|".join(translate(name.casefold()) for name in SYSTEMS))
_WILD = "*?["

State = tuple[int, ...]
"""What changes when a file is changed or replaced; empty where there is none."""


class Found(NamedTuple):
    """A file to look at, and where it would go if its format can be written."""

    source: Path
    target: Path
    source_named: bool = False
    """Whether the user named this file, which therefore should be an image."""
    named: bool = False
    """Whether the user named the target, whose suffix then says the format."""
    fault: str = ""
    """Why it cannot be looked at, a folder that cannot be listed, say."""
    left: str = ""
    """Why it is left out, and all that is in it where it is a folder."""


class Globs(NamedTuple):
    """What of a folder to look at. A pattern is that of a name, of a file or folder, or, with a slash, of a path below
    the folder; letters of either case; * stands for any characters, slashes too."""

    include: tuple[str, ...] = ()
    """Only what matches one of these or is in a folder that does; empty: everything. Hidden files and what else is left
    out is looked at where a pattern says its name without beginning it with a wildcard: ".picasaoriginals", "@eaDir".
    """
    exclude: tuple[str, ...] = ()
    """Not what matches one of these, whatever `include` says."""


def globs(include: Sequence[str] | str, exclude: Sequence[str] | str) -> Globs:
    """Patterns as a user gave them, one or several. Raises ValueError for an empty one."""
    both = {}
    for name, patterns in (("include", include), ("exclude", exclude)):
        several = [patterns] if isinstance(patterns, str) else patterns
        both[name] = tuple(plain(one.removeprefix("./").rstrip("/")) for one in several)
        if "" in both[name]:
            raise UserError(f"{name} {list(several)}: expected patterns of names or paths, none of them empty")
    return Globs(**both)


EVERYTHING = Globs()


def find(inputs: Sequence[str], output: str | None, globs: Globs = EVERYTHING) -> Iterator[Found]:
    """Every regular file of the inputs, a folder's in natural order ("frame 9" before "frame 10").

    One folder's content goes to OUT itself; of several inputs, IN1 becomes OUT/IN1, as cp -r does it. One image goes to
    the file OUT, or into the folder OUT, if it exists or ends with a slash. Links to files are followed. FIFOs, sockets
    and devices are left alone, and so is the output where it lies in an input. A link that leads nowhere is found:
    opening it will tell. Below an input, not of its own name, hidden files and folders, SYSTEMS, links to folders and
    what `globs` leave out are found as such (`Found.left`), once, without what is in them. `output` None: targets are
    the sources themselves.
    """
    into = output is None or len(inputs) > 1 or output.endswith(("/", os.sep)) or os.path.isdir(output)
    for source in map(Path, inputs):
        if not os.path.exists(source):
            continue  # gone since it was checked: a followed folder may come back
        if not os.path.isdir(source):
            named = output is not None and not into
            yield Found(source, source if output is None else Path(output, source.name if into else ""), True, named)
        else:
            below = Path(os.path.abspath(source)).name if len(inputs) > 1 else ""  # of "." and ".." too
            yield from _walk(source, source if output is None else Path(output, below), output, globs)


def _walk(source: Path, target: Path, output: str | None, globs: Globs) -> Iterator[Found]:
    outside = output and identity(Path(os.path.realpath(output)))  # also of a path through what is no folder yet
    waiting = [(source, target, "", not globs.include)]  # and its path below IN, and whether that is included
    while waiting:  # not by recursion: trees may be deeper than Python's stack
        here, there, below, included = waiting.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: natural(entry.name))
        except OSError as error:
            yield Found(here, there, fault=error.strerror or str(error))
            continue
        folders = []
        for entry in listed:
            path, is_folder = here / entry.name, _is_folder(entry)
            if is_folder is None or (is_folder and outside and identity(path) == outside):
                continue
            line = f"{below}/{plain(entry.name)}".removeprefix("/")
            left, taken = judged(entry.name, line, included, globs, is_folder)
            if is_folder and not left and entry.is_symlink():
                left = LINK
            if left or not is_folder:
                yield Found(path, there / entry.name, left=left)
            else:
                folders.append((path, there / entry.name, line, taken))
        waiting += reversed(folders)


def judged(name: str, line: str, included: bool, globs: Globs, is_folder: bool) -> tuple[str, bool]:
    """Why a file or folder is left out, and whether what is in it is included, by its name, its `plain` path below IN
    and whether its folder is included. What an interrupted run left behind is told of."""
    if files.is_part(name):
        return "" if included or is_folder else NOT_INCLUDED, included
    taken = included or _matches(globs.include, plain(name), line)
    left = _left_out(plain(name), line, globs)
    return left or ("" if taken or is_folder else NOT_INCLUDED), taken


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """Whether an entry is a folder, or leads to one; a file or a link to nowhere is none.

    None for FIFOs, sockets and devices: opening one may wait for ever.
    """
    if not entry.is_symlink():
        try:
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
                return entry.is_dir(follow_symlinks=False)
        except OSError:  # gone since, or its kind is neither in the list nor known
            pass
    is_folder = os.path.isdir(entry.path)  # where methods of entries and paths may raise
    return is_folder if is_folder or os.path.isfile(entry.path) or not os.path.exists(entry.path) else None


def _left_out(name: str, line: str, globs: Globs) -> str:
    """Why a file or folder is left out whatever it is, by its plain name and path below IN; empty where it is not."""
    if _matches(globs.exclude, name, line):
        return EXCLUDED
    reason = left_behind(name)
    return "" if reason and any(_says(pattern, name, line) for pattern in globs.include) else reason


def left_behind(name: str) -> str:
    """Why a file or folder of this name is no person's photograph or folder of them; empty where it may be."""
    return HIDDEN if name.startswith(".") else SYSTEM if _systems.match(plain(name)) else ""


def plain(name: str) -> str:
    """A name or pattern as it is compared: letters of either case and both ways to write an umlaut are one."""
    return unicodedata.normalize("NFC", name).casefold()


def _matches(patterns: Iterable[str], name: str, line: str) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(line, pattern) for pattern in patterns)


def _says(pattern: str, name: str, line: str) -> bool:
    """Whether a pattern, or the part of it that is as deep, has this name and does not begin with a wildcard."""
    parts, names = (pattern.split("/"), line.split("/")) if "/" in pattern else ([pattern], [name])
    return len(names) <= len(parts) and all(map(fnmatchcase, names, parts)) and parts[len(names) - 1][:1] not in _WILD


def natural(name: str) -> tuple[list[str | int], str]:
    """Key that sorts numbers inside names by their value: a2 before a10."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def identities(candidates: Iterable[Found]) -> set[tuple[int, int]]:
    """What two names of one file (links, another case, a detour) have in common, of each file that exists."""
    return {one for each in candidates if (one := identity(each.source))}


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def watch(
    look: Callable[[], Iterable[Found]],
    stopped: threading.Event,
    seconds: float = 1.0,
    again: set[Hashable] | None = None,
) -> Iterator[Found]:
    """What `look` finds, again and again until `stopped`: each file once its size and times were the same in two looks,
    `seconds` apart, and again when they have changed since. A file being copied is so left until it is whole; one whose
    copying rests for longer fails, and is tried again when it goes on. The first look's files are waited for as well.
    What is left out comes once. Sources that are put into `again` are taken out and come again.
    """
    again = set() if again is None else again
    before: dict[Path, State] = {}
    yielded: dict[Path, State] = {}
    while True:
        now: dict[Path, State] = {}
        for candidate in look():
            current = now[candidate.source] = () if candidate.left else state(candidate.source)
            known = None if candidate.source in again else yielded.get(candidate.source)
            if before.get(candidate.source) == current != known:
                again.discard(candidate.source)
                yielded[candidate.source] = current
                yield candidate
        before = now
        yielded = {path: state for path, state in yielded.items() if path in now}
        if stopped.wait(seconds):
            return


def state(path: Path) -> State:
    """A file's, as of now."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
