"""TIFF directories of tags, which EXIF has too: read where they lie, in any byte order, and written anew."""

import io
import struct
from typing import Any

import numpy as np

from recolor_fast.photographs import directories
from recolor_fast.photographs.directories import SIZES, Entry, Layout, Table

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 274, 34665, 34853, 40965
POINTERS = {EXIF_IFD: "EXIF", GPS_IFD: "GPS", INTEROPERABILITY_IFD: "interoperability"}
CLASSIC = frozenset(range(1, 14))  # types that a TIFF of 32-bit offsets has
WORDS = SIZES | {5: 4, 10: 4}  # bytes that a byte order turns around: rationals are two numbers
INTEGERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

Tree = dict[int, Any]
"""Tag to (type, little-endian value), or to the Tree of the directory that the tag points to."""


def layout(block: bytes) -> Layout:
    """Raises ValueError for what is no TIFF structure."""
    return directories.layout(block[:4])


def first(block: bytes) -> int:
    """Offset of the first directory. Raises ValueError or struct.error."""
    return directories.first(io.BytesIO(block))[1]


def directory(block: bytes, at: int) -> Table:
    """The directory at an offset. Raises ValueError or struct.error where the block is broken."""
    return directories.table(io.BytesIO(block), layout(block), at)


def numbers(block: bytes, entry: Entry) -> tuple[int, ...]:
    """The integers of an entry; none where its type is another. Raises ValueError for no TIFF structure."""
    if entry.kind not in INTEGERS:
        return ()
    count = (entry.stop - entry.start) // SIZES[entry.kind]
    return struct.unpack_from(f"{layout(block).order}{count}{INTEGERS[entry.kind]}", block, entry.start)


def tree(block: bytes, at: int = 0, depth: int = 0) -> Tree:
    """The directory at an offset (0: the first) with the EXIF, GPS and interoperability directories below it.

    Raises ValueError or struct.error where the block is broken.
    """
    result: Tree = {}
    for entry in directory(block, at or first(block)).entries:
        if entry.tag in POINTERS and depth < 2:
            try:
                result[entry.tag] = tree(block, numbers(block, entry)[0], depth + 1)
            except (IndexError, ValueError, struct.error):
                continue
        elif entry.kind in CLASSIC and entry.kind != 13:  # not what points to a directory that nobody knows
            result[entry.tag] = (entry.kind, little(block, entry))
    return result


def little(block: bytes, entry: Entry) -> bytes:
    """An entry's value in little-endian order."""
    value, word = bytes(block[entry.start : entry.stop]), WORDS[entry.kind]
    if word == 1 or layout(block).order == "<":
        return value
    return np.frombuffer(value, f"u{word}").byteswap().tobytes()


def emit(tree: Tree, at: int) -> bytes:
    """A tree as little-endian directories that will lie at an even offset of a file."""
    head, tail = struct.pack("<H", len(tree)), b""
    after = at + 2 + 12 * len(tree) + 4
    for tag, field in sorted(tree.items()):
        if isinstance(field, dict):
            kind, count, value = 4, 1, struct.pack("<I", after + len(tail))
            tail += emit(field, after + len(tail))
        else:
            kind, value = field
            count = len(value) // SIZES[kind]
            if len(value) > 4:
                place, tail = after + len(tail), tail + value
                value = struct.pack("<I", place)
        tail += bytes(len(tail) % 2)
        head += struct.pack("<HHI4s", tag, kind, count, value)
    return head + bytes(4) + tail


def block(tree: Tree) -> bytes:
    """A tree as a block of its own, as EXIF is."""
    return b"II*\0" + struct.pack("<I", 8) + emit(tree, 8)
