"""The pages of a TIFF: one file for each, and one file of them all."""

import io
import struct
from collections.abc import Sequence
from typing import BinaryIO

from recolor_fast.photographs import directories, tags
from recolor_fast.photographs.things import Thing

SEGMENTS = (273, 324)  # where strips and tiles lie
LARGEST = 2**32 - 2**16  # bytes of a TIFF of 32-bit offsets


def split(data: bytes) -> list[bytes]:
    """A TIFF's pages, each as a file of its own; reduced copies and masks of pages are none. A file alone where it has
    one page, or is no TIFF, or is broken.

    Each has all bytes of the file, and a first directory that is that page's: whoever reads one reads any.
    """
    try:
        listed = directories.pages(io.BytesIO(data))
    except (ValueError, struct.error):
        return [data]
    return [data] if len(listed) < 2 else [directories.alone(data, page) for page in listed]


def count(file: BinaryIO) -> int:
    """How many `split` would give; goes back to the start."""
    try:
        return max(1, len(directories.pages(file)))
    except (ValueError, struct.error):
        return 1
    finally:
        file.seek(0)


def joined(files: Sequence[bytes]) -> bytes:
    """One TIFF of little-endian TIFFs of 32-bit offsets and one page each, as they are written here. Raises ValueError
    where it would be too large for these."""
    result = bytearray(files[0])
    next_at = tags.directory(files[0], tags.first(files[0])).next_at
    for file in files[1:]:
        result += bytes(len(result) % 2)
        base = len(result)
        if base + len(file) > LARGEST:
            raise ValueError(f"{len(files)} pages of more than 4 GiB cannot be written as TIFF")
        page = bytearray(file)
        ends = _move(page, tags.first(file), base)
        struct.pack_into("<I", result, next_at, tags.first(file) + base)
        result += page
        next_at = ends + base
    return bytes(result)


def _move(page: bytearray, at: int, by: int) -> int:
    """Add to every offset of a directory and of those below it; returns where the offset of the next one lies."""
    table = tags.directory(bytes(page), at)
    if table.unreadable:
        raise ValueError(f"tags {table.unreadable} cannot be read")
    for number, entry in enumerate(table.entries):
        values = tags.numbers(bytes(page), entry)
        if entry.tag in tags.POINTERS:
            _move(page, values[0], by)
        if entry.tag in (*SEGMENTS, *tags.POINTERS):
            code = "<" + {3: "H", 4: "I", 13: "I"}[entry.kind]
            if max(values) + by >= 2 ** (16 if entry.kind == 3 else 32):
                raise ValueError(f"tag {entry.tag} has no room for an offset of {max(values) + by:,}")
            for place, value in enumerate(values):
                struct.pack_into(code, page, entry.start + place * struct.calcsize(code), value + by)
        if entry.stop - entry.start > 4:
            struct.pack_into("<I", page, at + 2 + 12 * number + 8, entry.start + by)
    return table.next_at


def held(things: Sequence[tuple[Thing, ...]]) -> list[tuple[Thing, ...]]:
    """What each page of `split` holds, without the other pages: to a page, they are bytes behind the picture. What is
    behind every page is behind the file's last."""
    if len(things) == 1 or all(any(thing.key == "behind" for thing in page) for page in things):
        return list(things)
    return [tuple(thing for thing in page if thing.key != "behind") for page in things]
