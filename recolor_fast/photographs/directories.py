"""TIFF's directories of tags, wherever they lie in a file, BigTIFF's too: read without the pixels.

What raw photographs, EXIF and multi-page scans have in common (TIFF 6.0, section 2; BigTIFF's 64-bit offsets).
"""

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, MAKE, SAMPLES, SUB_IFDS, SAMPLE_FORMAT = (
    254, 256, 257, 258, 259, 262, 271, 277, 330, 339
)  # fmt: skip
MOST = 10_000  # directories of a file, at most: a broken one may go in circles, or claim millions
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_LONGEST = 2**16  # values of a tag that are read: whoever needs longer ones looks for them


class Layout(NamedTuple):
    """How a TIFF file writes numbers."""

    order: str
    """"<" or ">", as struct has it."""
    big: bool
    """Whether it is a BigTIFF."""

    @property
    def offset(self) -> str:
        """An offset in the file, for struct."""
        return self.order + ("Q" if self.big else "I")


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
    """That of a file by its first 4 bytes. Raises ValueError where it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 4 else 0
    if order is None or version not in (42, 43):
        raise ValueError(f"a file that begins with {head[:4]!r}: expected a TIFF")
    return Layout(order, version == 43)


def chain(file: IO[bytes]) -> Iterator[Directory]:
    """The directories of a file's pages, in order; those that only SubIFDs point to are not among them.

    Ends with the last one that can be read. Raises ValueError or struct.error where the first cannot be.
    """
    file.seek(0)
    form = layout(file.read(4))
    file.seek(8 if form.big else 4)
    at, seen = _unpack(file, form.offset)[0], set[int]()
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
    file.seek(at)
    (count,) = _unpack(file, form.order + ("Q" if form.big else "H"))
    size, start = (20, at + 8) if form.big else (12, at + 2)
    table = file.read(size * min(count, 2**16))
    if len(table) < size * count:
        raise struct.error("the directory is cut off")
    entries = [struct.unpack_from(form.order + ("HHQ" if form.big else "HHI"), table, size * i) for i in range(count)]
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for index, (tag, kind, values) in enumerate(entries):
        if kind not in _TYPES or values > _LONGEST:
            continue
        code = f"{form.order}{values}{_TYPES[kind]}"
        inside = size * index + (12 if form.big else 8)
        raw = table[inside : inside + (8 if form.big else 4)]
        if struct.calcsize(code) > len(raw):
            file.seek(struct.unpack(form.offset, raw)[0])
            raw = file.read(struct.calcsize(code))
        if len(raw) >= struct.calcsize(code):
            value = struct.unpack_from(code, raw)
            tags[tag] = value[0] if _TYPES[kind] == "s" else value
    return Directory(tags, at, start + size * count)


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
    found = list(chain(file))
    return [page for number, page in enumerate(found) if not number or not page.number(SUBFILE) & 0b101]
