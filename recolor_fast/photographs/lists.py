"""Photographs by a list of paths, as `find` or a database writes one; and the part of them that is one shard's.

Both are lazy: of millions of paths a few are in memory.
"""

import codecs
import hashlib
import os
import re
import select
import stat
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from recolor_fast.machine.errors import UserError
from recolor_fast.photographs.walk import Found

BLOCK = 2**16  # bytes read at a time
SECONDS = 0.2  # between two looks whether more is wanted, while a pipe is silent
LONGEST = 2**16  # bytes of a path, far more than systems take: what has no end this early is no list


# --- a list --------------------------------------------------------------------------------------------------------


def find(name: str, output: str | None, enough: threading.Event) -> Iterator[Found]:
    """The photographs that a list names, `-` being stdin, in its order, until `enough` is set: sub/a.jpg goes to
    OUT/sub/a.jpg, /b/c.jpg to OUT/b/c.jpg. `output` None: targets are the sources themselves.

    What is no regular file, lies in OUT or would go beside it is found with a fault, what is missing as it is: opening
    it will tell. Raises UserError for what is no list.
    """
    try:
        with open(0 if name == "-" else name, "rb", buffering=0, closefd=name != "-") as file:
            yield from (_found(path, output) for path in paths(_blocks(file, enough), name))
    except OSError as error:
        raise UserError(f"files {name}: cannot be read ({error.strerror}); give a list of paths, one a line") from error


def check(name: str) -> None:
    """Raise UserError where there is no list. It is not opened: a pipe can be read but once."""
    if name != "-" and (os.path.isdir(name) or not os.path.exists(name)):
        what = "a folder" if os.path.isdir(name) else "not there"
        raise UserError(f"files {name}: it is {what}; give a list of paths, one a line")


def _blocks(file: FileIO, enough: threading.Event) -> Iterator[bytes]:
    """What a file holds, as it comes."""
    while not enough.is_set():
        if select.select([file], [], [], SECONDS)[0]:
            if not (block := os.read(file.fileno(), BLOCK)):
                return
            yield block


def paths(blocks: Iterable[bytes], name: str = "-") -> Iterator[str]:
    """The paths of a list: lines, or, where its beginning has NULs, what lies between these. Empty ones are passed
    over, a line may end with CR LF and a list begin with UTF-8's mark. Raises UserError, naming it, for what is none.
    """
    rest, end = b"", b""
    for block in blocks:
        block = rest + block
        if not end and (b"\0" in block or b"\n" in block):
            end = b"\0" if b"\0" in block else b"\n"
            block = block.removeprefix(codecs.BOM_UTF8)
        *whole, rest = block.split(end) if end else [block]
        yield from filter(None, (_path(one, end) for one in whole))
        if len(rest) > LONGEST:
            raise UserError(f"files {name}: {LONGEST:,} bytes without an end of line: expected a list of paths")
    if last := _path(rest if end else rest.removeprefix(codecs.BOM_UTF8), end):
        yield last


def _path(line: bytes, end: bytes) -> str:
    return os.fsdecode(line if end == b"\0" else line.removesuffix(b"\r"))


def _found(path: str, output: str | None) -> Found:
    source = Path(path)
    if output is None:
        return Found(source, source, source_named=True, fault=_irregular(path))
    below = os.path.normpath(path).lstrip(os.sep)
    fault = _irregular(path)
    if below.split(os.sep)[0] == os.pardir:
        fault = "its path leads out of OUT: give one without .., or an absolute one"
    elif _real(os.path.dirname(os.path.abspath(path))).is_relative_to(_real(os.path.abspath(output))):
        fault = f"it lies in the output {output}: give another output"
    return Found(source, Path(output, below), source_named=True, fault=fault)


def _irregular(path: str) -> str:
    """Why a path is no file to open: opening a FIFO may wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder: a list names files"
    return "" if stat.S_ISREG(mode) else "no regular file"


@lru_cache(maxsize=1024)
def _real(folder: str) -> Path:
    return Path(os.path.realpath(folder))


# --- a shard -------------------------------------------------------------------------------------------------------


class Shard(NamedTuple):
    """A part of the photographs: number `number`, from 0, of `parts`."""

    number: int
    parts: int

    def has(self, below: str) -> bool:
        """Whether a photograph is this shard's, by its POSIX path below IN: the same on any machine, at any time."""
        digest = hashlib.blake2b(os.fsencode(below), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.parts == self.number


def shard(text: str) -> Shard:
    """The shard that I/N names. Raises UserError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not match or not int(match[1]) < int(match[2]):
        raise UserError(f"shard {text}: expected I/N with I from 0 to N-1, as 0/4, 1/4, 2/4 and 3/4")
    return Shard(int(match[1]), int(match[2]))


def below(found: Found, inputs: tuple[str, ...], output: str | None) -> str:
    """The POSIX path of what was found below IN, with IN's own name where there are several; of a list, as it goes
    below OUT; of a file that was given alone, its name."""
    if output is not None and found.target.is_relative_to(output) and found.target != Path(output):
        return found.target.relative_to(output).as_posix()
    over = next((one for one in inputs if found.source != Path(one) and found.source.is_relative_to(one)), None)
    if over is not None:
        return found.source.relative_to(over).as_posix()
    return found.source.name if inputs else os.path.normpath(found.source).lstrip(os.sep)
