"""What files made of boxes hold beside their picture: JPEG 2000, AVIF, HEIF."""

import io
import re
import struct
from collections.abc import Iterator

from PIL import Image

from recolor_fast.machine.files import legible_bytes
from recolor_fast.photographs import containers, heif, jxl, metadata, parts, things
from recolor_fast.photographs.things import Thing

PICTURES = tuple(f"an item {kind}" for kind in "hvc1 hev1 avc1 av01 jpeg unci grid iovl iden tmap".split())
JXL = frozenset(
    b"JXL |ftyp|jxlc|jxlp|jxll|jxli|Exif|xml |brob|jbrd|jumb|jhgm".split(b"|")
)  # known or told of elsewhere


def of_jpeg2000(data: bytes) -> Iterator[Thing]:
    if data[:4] == b"\xff\x4f\xff\x51":
        yield from _codestream(data)
        return
    end = 0
    for kind, content, stop in containers.boxes(data):
        end = stop
        yield from _box(kind, content)
        if kind == b"jp2h":
            for inner, value, _ in containers.boxes(content):
                if inner == b"colr" and value[:1] == b"\1":
                    continue  # a number, no profile
                yield from things.by_row(
                    parts.BOXES.get(inner), f"box {inner.decode('latin-1')}", f"box {inner!r}", value
                )
        if kind == b"jp2c":
            yield from _codestream(content)
    yield from things.behind(data[end:])


def _box(kind: bytes, content: bytes) -> Iterator[Thing]:
    """A box at the top of a JPEG 2000, an AVIF or a HEIF."""
    if kind == b"uuid" and content.startswith(metadata.XMP_UUID):
        yield from things.of_xmp(content[16:])
        return
    name = f"box {kind.decode('latin-1')}"
    which = f" {legible_bytes(content[:16])}" if kind == b"uuid" else ""
    yield from things.by_row(parts.BOXES.get(kind), f"{name}{which}", f"{name}{which}", content)


_encoder = re.compile(rb"openjpeg|kakadu|jasper|grok|created by|version|ojph|lead", re.IGNORECASE)


def _codestream(data: bytes) -> Iterator[Thing]:
    """The comments in a JPEG 2000 codestream's main header, but for the encoder's name, and what follows its end."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\x90", b"\xd9", b""):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return
        content = data[at + 6 : at + 2 + length]
        if data[at + 1] == 0x64 and not _encoder.search(content):
            yield Thing("comments", "comment of the codestream", things.digest(content))
        at += 2 + length
    end = data.rfind(b"\xff\xd9")
    yield from things.behind(data[end + 2 :]) if end >= 0 else []


def of_media(data: bytes) -> Iterator[Thing]:
    """An AVIF's boxes and items; EXIF and XMP as Pillow reads them."""
    end = 0
    for kind, content, stop in containers.boxes(data):
        end = stop
        yield from _box(kind, content)
        yield from items_of(content) if kind == b"meta" else []
    yield from things.behind(data[end:])
    with Image.open(io.BytesIO(data)) as image:
        exif, packet = image.info.get("exif"), image.info.get("xmp")
    yield from things.of_exif((exif or b"").removeprefix(metadata.EXIF))
    yield from things.of_xmp(packet or b"")


def of_heif(data: bytes) -> Iterator[Thing]:
    """A HEIF's EXIF and XMP, items that are no pictures and what is behind; heif.opened tells of the other pictures."""
    end = 0
    for kind, content, stop in containers.boxes(data):
        end = stop
        if kind == b"meta":
            yield from (thing for thing in items_of(content) if not thing.name.startswith(PICTURES))
        elif kind != b"mpvd":
            yield from _box(kind, content)
    yield from things.behind(data[end:])
    exif, packet = heif.blocks(data)
    yield from things.of_exif(exif)
    yield from things.of_xmp(packet)


def of_jxl(data: bytes) -> Iterator[Thing]:
    """A JPEG XL's EXIF, XMP and boxes, and what is behind them; jxl.opened tells what else there is."""
    if data.startswith(jxl.CONTAINER):
        end, seen = 0, set()
        for kind, content, stop in containers.boxes(data):
            end = stop
            if kind not in JXL or (kind in (b"Exif", b"xml ") and kind in seen):
                yield from _box(kind, content)
            seen.add(kind)
        yield from things.behind(data[end:])
    exif, packet, _ = jxl.blocks(data)
    yield from things.of_exif(exif)
    yield from things.of_xmp(packet)


def items_of(content: bytes) -> Iterator[Thing]:
    """Items of a meta box that are no part of its first picture (ISO 14496-12, 8.11; ISO 23008-12)."""
    inner = {kind: value for kind, value, _ in containers.boxes(content, 4)}
    try:
        (first,) = struct.unpack_from(">I" if inner[b"pitm"][0] else ">H", inner[b"pitm"], 4)
        items = dict(_infe(inner[b"iinf"]))
        links = list(_iref(inner.get(b"iref", bytes(4))))
    except (KeyError, IndexError, struct.error):
        yield Thing("items, which are damaged", "items", things.digest(content), "content")
        return
    tiles: dict[int, set[int]] = {item: set() for item in items}
    for kind, source, targets in links:
        if kind == b"dimg" and items.get(source, b"")[:4] in (b"grid", b"iovl", b"iden"):
            tiles[source] |= set(targets)
    inside = {first} | {tile for some in tiles.values() for tile in some}  # a tile is named by what it is a tile of
    transparent = b":auxiliary:alpha" in content or b"auxid:1\0" in content
    seen: set[bytes] = set()
    for item, what in items.items():
        of = {kind for kind, source, targets in links if source == item and first in targets}
        kind = what[:4]
        if item in inside:
            continue
        if b"thmb" in of:
            yield Thing("thumbnail", "thumbnail", kind="stale")
        elif kind == b"Exif" or what == b"mime application/rdf+xml":
            yield from [Thing(f"a second {what.decode()}", "item", kind="content")] if what in seen else []
        elif b"auxl" in of and transparent:
            transparent = False  # one such picture is the transparency, which is kept or named elsewhere
        else:
            yield Thing(f"an item {what.decode('latin-1')} beside the picture", f"item {what!r}", kind="content")
        seen.add(what)


def _infe(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and type of each item; "mime" with its media type."""
    for kind, entry, _ in containers.boxes(content, 6 if content[0] == 0 else 8):
        if kind == b"infe" and entry[0] in (2, 3):
            wide = entry[0] == 3
            (number,) = struct.unpack_from(">I" if wide else ">H", entry, 4)
            at = 10 if wide else 8
            media = entry[at + 4 :].split(b"\0")[1:2]
            yield (
                number,
                b" ".join([entry[at : at + 4], *media]) if entry[at : at + 4] == b"mime" else entry[at : at + 4],
            )


def _iref(content: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    """Kind, source and targets of each reference between items."""
    letter, size = ("I", 4) if content[0] else ("H", 2)
    for kind, entry, _ in containers.boxes(content, 4):
        source, count = struct.unpack_from(f">{letter}H", entry)
        yield kind, source, struct.unpack_from(f">{count}{letter}", entry, size + 2)
