"""TIFF's directories of tags, wherever they lie in a file or block, BigTIFF's too: read without the pixels.

What raw photographs, EXIF and multi-page scans have in common (TIFF 6.0, section 2; BigTIFF's 64-bit offsets).
"""

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from recolor_fast.machine.files import legible_bytes

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, MAKE, SAMPLES, SUB_IFDS, SAMPLE_FORMAT = (
    254, 256, 257, 258, 259, 262, 271, 277, 330, 339
)  # fmt: skip
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type; those from 16 on are BigTIFF's alone."""
MOST = 10_000  # directories of a file, at most: a broken one may go in circles, or claim millions
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_LONGEST = 2**16  # values of a tag that are read: whoever needs longer ones looks for them


class Layout(NamedTuple):
    """How a TIFF structure writes numbers."""

    order: str
    """"<" or ">", as struct has it."""
    big: bool
    """Whether it is a BigTIFF, of 64-bit offsets."""

    @property
    def offset(self) -> str:
        """An offset in the file, for struct."""
        return self.order + ("Q" if self.big else "I")


LAYOUTS = {
    b"II*\0": Layout("<", False),
    b"MM\0*": Layout(">", False),
    b"II+\0": Layout("<", True),
    b"MM\0+": Layout(">", True),
}


class Entry(NamedTuple):
    """One entry of a directory."""

    tag: int
    kind: int
    """A key of SIZES."""
    start: int
    stop: int
    """Where its value lies."""


class Table(NamedTuple):
    """A directory's entries."""

    entries: list[Entry]
    unreadable: list[int]
    """Tags of an unknown type or whose value lies beyond the end."""
    next_at: int
    """Where the offset of the next directory is stored."""


class Directory(NamedTuple):
    """One picture's tags."""

    tags: dict[int, tuple[int, ...] | bytes]
    """Values of whole numbers and of texts; other types are left out, and what lies outside of the file."""
    at: int
    """Offset of the directory."""
    next_at: int
    """Where the offset of the next directory is written."""

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag of whole numbers."""
        value = self.tags.get(tag)
        return value[0] if isinstance(value, tuple) and value else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag of whole numbers."""
        value = self.tags.get(tag)
        return value if isinstance(value, tuple) else ()


def layout(head: bytes) -> Layout:
    """That of a TIFF structure by its first 4 bytes. Raises ValueError for what is none."""
    form = LAYOUTS.get(bytes(head[:4]))
    if form is None:
        raise ValueError(f"bytes that begin with {legible_bytes(bytes(head[:4]))}: expected a TIFF structure")
    return form


def first(file: IO[bytes]) -> tuple[Layout, int]:
    """The layout of a TIFF structure and the offset of its first directory. Raises ValueError or struct.error."""
    file.seek(0)
    form = layout(file.read(4))
    file.seek(8 if form.big else 4)
    return form, _unpack(file, form.offset)[0]


def chain(file: IO[bytes]) -> Iterator[Directory]:
    """The directories of a file's pages, in order; those that only SubIFDs point to are not among them.

    Ends with the last one that can be read. Raises ValueError or struct.error where the first cannot be.
    """
    form, at = first(file)
    seen = set[int]()
    while at and at not in seen and len(seen) < MOST:
        try:
            directory = read(file, form, at)
            file.seek(directory.next_at)
            following = _unpack(file, form.offset)[0]
        except (struct.error, ValueError, OverflowError):
            if not seen:
                raise
            return
        seen.add(at)
        yield directory
        at = following


def below(file: IO[bytes], form: Layout, directory: Directory) -> Iterator[Directory]:
    """The directories that a directory's SubIFDs point to; ends with the first that cannot be read."""
    for at in directory.numbers(SUB_IFDS)[:MOST]:
        try:
            yield read(file, form, at)
        except (struct.error, ValueError, OverflowError):
            return


def read(file: IO[bytes], form: Layout, at: int) -> Directory:
    """The directory at an offset. Raises struct.error where the file ends before it does."""
    entries, _, next_at = table(file, form, at)
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for tag, kind, start, stop in entries:
        count = (stop - start) // SIZES[kind]
        if kind in _TYPES and count <= _LONGEST:
            file.seek(start)
            value = struct.unpack(f"{form.order}{count}{_TYPES[kind]}", file.read(stop - start))
            tags[tag] = value[0] if _TYPES[kind] == "s" else value
    return Directory(tags, at, next_at)


def table(file: IO[bytes], form: Layout, at: int) -> Table:
    """The entries of the directory at an offset. Raises struct.error where the file ends before it does."""
    end = file.seek(0, os.SEEK_END)
    if at > end:
        raise struct.error(f"a directory at {at:,} of {end:,} bytes")
    file.seek(at)
    (count,) = _unpack(file, form.order + ("Q" if form.big else "H"))
    inline, step = (8, 20) if form.big else (4, 12)
    at += 8 if form.big else 2
    if at + step * count > end or count > _LONGEST:
        raise struct.error(f"a directory of {count:,} tags at {at:,} of {end:,} bytes")
    rows = file.read(step * count)
    result = Table([], [], at + step * count)
    for place in range(0, step * count, step):
        tag, kind, values = struct.unpack_from(form.order + ("HHQ" if form.big else "HHI"), rows, place)
        size, start = SIZES.get(kind, 0) * values, at + place + step - inline
        if size > inline:
            (start,) = struct.unpack_from(form.offset, rows, place + step - inline)
        if size and start + size <= end:
            result.entries.append(Entry(tag, kind, start, start + size))
        elif kind not in SIZES or values:
            result.unreadable.append(tag)
    return result


def _unpack(file: IO[bytes], code: str) -> tuple[int, ...]:
    return struct.unpack(code, file.read(struct.calcsize(code)))


def alone(data: bytes, directory: Directory) -> bytes:
    """A file with all its bytes, whose only page is that of a directory: what reads a first page so reads any."""
    form = layout(data[:4])
    page = bytearray(data)
    struct.pack_into(form.offset, page, 8 if form.big else 4, directory.at)
    struct.pack_into(form.offset, page, directory.next_at, 0)
    return bytes(page)


def pages(file: IO[bytes]) -> list[Directory]:
    """The pages of a TIFF: its directories but those of reduced copies and masks (NewSubfileType 1 and 4).
    The first always counts. Raises ValueError or struct.error where there is none."""
    directories = list(chain(file))
    return [page for number, page in enumerate(directories) if not number or not page.number(SUBFILE) & 0b101]
