"""Photographs in shards, the tar files of WebDataset: found by their headers, read where their bytes lie.

A photograph in a shard has a path like any other: the shard's, a colon, and its name there, `000000.tar:cat/001.jpg`.
So whatever takes paths (split, order, resuming, ranks, messages) takes shards as it takes folders, and the order is the
one of the same photographs in a folder. Nothing is unpacked, and there is no second loader: DALI's own reader of such
files shuffles within a buffer, which is another order, and one that depends on where it began.

Members of one sample share their name up to the first dot of its last part. Beside a photograph, `.json` may say its
`class` (or `label`) and its `filename`, `.cls` its class.
"""

import errno
import json
import os
import posixpath
import re
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO, NamedTuple

from recolor_fast.data import checked
from recolor_fast.machine import bars
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible
from recolor_fast.photographs import images, walk
from recolor_fast.photographs.samples import UnreadableImage

PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstandard", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}  # how they begin
PACKED_NAME = re.compile(r"\.(t(gz|bz2|xz|zst)|tar\.(gz|bz2|xz|zst))$", re.I)
NAME = re.compile(r"\.tar$", re.I)
_WITHIN = re.compile(r"\.tar:", re.I)
_SHARD = re.compile(r"[^/]*\.tar:", re.I)
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 1_000_000  # shards that braces may stand for


class Found(NamedTuple):
    """A photograph to train on or to measure with."""

    name: str
    """Its path below the folder that it is from, with slashes."""
    label: str
    """Its class: the folder of that name, unless a shard says another."""
    path: Path


class Member(NamedTuple):
    """A photograph in a shard."""

    offset: int
    """Of its first byte."""
    size: int
    """Bytes."""
    name: str
    label: str


class Shard(NamedTuple):
    """What a tar file holds."""

    members: dict[str, Member]
    """By their names there."""
    faults: list[str]
    """What is wrong with it."""


# --- which shards --------------------------------------------------------------------------------------------------


def given(data: str, option: str = "data") -> list[Path]:
    """The shards that a value of `option` names, in order: one tar file, or those that braces stand for. None where it
    names no shards. Raises UserError for braces of no use, for shards that are missing and for compressed ones.
    """
    if Path(data).is_dir():
        return []
    if "{" not in data or Path(data).is_file():
        names = [data]
        if not Path(data).is_file() or not (NAME.search(data) or PACKED_NAME.search(data)):
            return []
    else:
        try:
            names = list(dict.fromkeys(_expanded(data)))
        except ValueError as error:
            raise UserError(f"{option} {data}: {error}") from error
    for name in names:
        if PACKED_NAME.search(name):
            raise UserError(_refusal(option, Path(name), "compressed"))
        if not NAME.search(name):
            raise UserError(f"{option} {data}: {name} is no name of a shard, which ends in .tar")
    missing = [name for name in names if not Path(name).is_file()]
    if missing:
        raise UserError(f"{option} {data}: {len(missing)} of its {len(names)} shards are no files, first {missing[0]}")
    return [Path(name) for name in names]


def _expanded(text: str) -> list[str]:
    """All that a text with braces stands for: {000..009} numbers of as many digits, {a,b} one or the other. Raises
    ValueError, saying what is wrong."""
    found = _BRACES.search(text)
    if found is None:
        if "{" in text or "}" in text:
            raise ValueError("a brace without its other half")
        return [text]
    words = found[1].split(",")
    if numbers := _RANGE.fullmatch(found[1]):
        first, last = int(numbers[1]), int(numbers[2])
        if not first <= last < first + MOST:
            raise ValueError(f"{found[0]}: expected a first and a last number, {MOST:,} at most")
        width = (
            max(map(len, numbers.groups())) if any(len(one) > 1 and one[0] == "0" for one in numbers.groups()) else 0
        )
        words = [f"{number:0{width}}" for number in range(first, last + 1)]
    elif len(words) < 2:
        raise ValueError(f"{found[0]}: expected numbers, as in {{000000..000009}}, or words, {{a,b}}")
    return [one for word in words for one in _expanded(text[: found.start()] + word + text[found.end() :])]


def root(data: str) -> Path:
    """The folder that the names of a value's photographs are below: of shards, the one that they lie in."""
    if Path(data).is_dir():
        return Path(data)
    if "{" in data:
        return Path(f"{data.partition('{')[0]}x").parent
    return Path(data).parent if NAME.search(data) else Path(data)


def refuse_packed(folder: Path, paths: Iterable[Path]) -> None:
    """UserError for the first compressed shard of a folder."""
    for path in paths:
        if PACKED_NAME.search(path.name):
            raise UserError(_refusal("data", path, "compressed"))


def _refusal(option: str, tar: Path, how: str) -> str:
    return (
        f"{option} {tar}: the shard is {how}, so nothing can be read from the midst of it, and photographs are "
        "compressed already; give the plain .tar"
    )


# --- what is in them -----------------------------------------------------------------------------------------------


def photographs(tars: Sequence[Path]) -> list[Found]:
    """All photographs of shards. What is wrong with a shard is a warning, and the rest of it is used.

    Raises UserError for a compressed shard, and where there is no photograph in any.
    """
    found, faults = [], []
    with bars.bar(tars, "indexing shards", len(tars)) as all_tars:
        for tar in all_tars:
            try:
                one = shard(tar)
            except OSError as error:
                one = Shard({}, [f"it cannot be read: {images.why(error)}"])
            faults += [f"{tar}: {fault}" for fault in one.faults]
            found += [Found(member.name, member.label, path(tar, name)) for name, member in one.members.items()]
    if not found:
        reason = f"; {faults[0]}" if faults else ""
        raise UserError(
            f"data: no photographs in {len(tars)} shards, {tars[0]} and on; expected members such as key.jpg{reason}"
        )
    for fault in faults:
        print(f"warning: {legible(fault)}", file=sys.stderr)
    return found


def path(tar: Path, name: str) -> Path:
    """The path of a member."""
    return Path(f"{tar}:{name}")


def unpacked(path: Path) -> Path:
    """Where a photograph would lie if its shard were unpacked where that lies; of any other path the path itself."""
    return Path(_SHARD.sub("", str(path)))


_shards: dict[Path, tuple[tuple[int, ...], Shard]] = {}  # of this process, and the state that each was in
_lock = RLock()


def shard(tar: Path) -> Shard:
    """What a shard holds, from its headers or, where it has not changed since, from the cache. Safe to call from
    several threads. Raises OSError, and UserError for a compressed one."""
    state = walk.state(tar)
    with _lock:
        before, one = _shards.get(tar, ((), None))
        if one is None or before != state:
            one = _remembered(tar)
            _shards[tar] = state, one
        return one


def _remembered(tar: Path) -> Shard:
    with checked.memory([tar], "shard") as (known, fresh):
        key = tar, checked.state(tar)
        if text := known.get(key):
            members, faults = json.loads(text)
            return Shard({name: Member(*values) for name, values in members.items()}, faults)
        one = _scanned(tar)
        if key[1]:
            fresh[key] = json.dumps(one)
        return one


def _scanned(tar: Path) -> Shard:
    """What the headers of a shard say, up to the first one that makes no sense."""
    found: dict[str, tarfile.TarInfo] = {}
    faults = []
    with open(tar, "rb") as file:
        head = file.read(6)
        for start, how in PACKED.items():
            if head.startswith(start):
                raise UserError(_refusal("data", tar, f"compressed ({how})"))
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for info in archive:
                    if info.isreg() and not info.issparse():
                        found[_plain(info.name)] = info  # a later one takes the place of an earlier, as in unpacking
                end = archive.offset
            file.seek(end)
            rest = file.read(tarfile.BLOCKSIZE)
            if rest.strip(b"\0") or len(rest) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("a damaged header" if rest.strip(b"\0") else "no mark of its end")
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            what = f"cut off or damaged after {len(found)} members" if found else "not a tar file, or cut off"
            faults.append(f"the shard is {what} ({error}); what comes before is used")
        names = _photographs(found)
        said, odd = _said(file, found, {_key(name) for name in names})
    if odd:
        faults.append(f"{len(odd)} .json members are no JSON objects and say nothing, first {odd[0]}")
    members = {}
    for name in names:
        info, told = found[name], said.get(_key(name), {})
        said_name = told.get("filename")
        full = _plain(said_name) if isinstance(said_name, str) and said_name else name
        folder = posixpath.dirname(full)
        label = _label(told.get("class", told.get("label"))) or folder or _label(told.get(".cls")) or "."
        members[name] = Member(info.offset_data, info.size, full, label)
    return Shard(members, faults)


def _plain(name: str) -> str:
    """A member's name without a leading slash, . and double slashes."""
    return posixpath.normpath(name).lstrip("/")


def _key(name: str) -> str:
    """What the members of one sample share."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.partition(".")[0])


def _photographs(names: Iterable[str]) -> list[str]:
    """Which members are photographs: key.jpg; where a sample has none such, any image of it, as plain tar packs
    `Rome.2019.jpg`. So of key.jpg and key.mask.png the mask is left out. And so are hidden files."""
    images_of = [
        (name, _key(name))
        for name in names
        if posixpath.splitext(name)[1].lower() in images.SUFFIXES and not any(map(walk.left_behind, name.split("/")))
    ]
    plain = {key for name, key in images_of if posixpath.splitext(name)[0] == key}
    return [name for name, key in images_of if posixpath.splitext(name)[0] == key or key not in plain]


def _said(
    file: BinaryIO, found: dict[str, tarfile.TarInfo], keys: set[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """By key what its .json says, and what its .cls says as ".cls"; and the .json members that are no JSON objects."""
    said: dict[str, dict[str, Any]] = {}
    odd = []
    for name, info in found.items():
        key, suffix = posixpath.splitext(name)
        suffix = suffix.lower()
        if suffix not in (".json", ".cls") or key not in keys:
            continue
        file.seek(info.offset_data)
        data = file.read(info.size)
        if suffix == ".cls":
            said.setdefault(key, {})[".cls"] = data.decode(errors="replace").strip()
            continue
        try:
            values = json.loads(data)
        except ValueError:
            values = None
        if isinstance(values, dict):
            said.setdefault(key, {}).update(values)
        else:
            odd.append(name)
    return said, odd


def _label(value: Any) -> str:
    """A class as text; empty where there is none, or something that is no name or number."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


# --- reading -------------------------------------------------------------------------------------------------------


def read(path: Path) -> bytes:
    """A photograph's bytes, be it a file or a member of a shard. Raises OSError, and UnreadableImage for a member that
    its shard ends within. Safe to call from several threads."""
    place = _place(path)
    if place is None:
        return images.read(path)
    tar, member = place
    with open(tar, "rb") as file:
        file.seek(member.offset)
        data = file.read(member.size)
    if len(data) < member.size:
        raise UnreadableImage(f"truncated: its shard ends after {len(data):,} of its {member.size:,} bytes")
    return data


def state(path: Path) -> str:
    """As checked.state, of a file or of a member of a shard."""
    try:
        place = _place(path)
    except (OSError, UserError):
        return ""
    if place is None:
        return checked.state(path)
    tar, member = place
    of_all = checked.state(tar)
    return of_all and f"{of_all} {member.offset} {member.size}"


def _place(path: Path) -> tuple[Path, Member] | None:
    """The shard of a path and the member that it names; None for a path that names none. Raises OSError where there is
    no such member, or the shard cannot be read."""
    text = str(path)
    tars = [text[: at.end() - 1] for at in _WITHIN.finditer(text)]
    if not tars or os.path.lexists(path):  # a file may be called anything
        return None
    tar = Path(next(filter(os.path.isfile, tars), tars[0]))
    member = shard(tar).members.get(text[len(str(tar)) + 1 :])
    if member is None:
        raise FileNotFoundError(errno.ENOENT, "the shard has no such member any more", text)
    return tar, member
