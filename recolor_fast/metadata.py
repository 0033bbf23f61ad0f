"""What travels from an image file to its colored copy beside the pixels: EXIF, XMP, IPTC, comments, resolution, text.

Blocks stay as they were found and are patched in place, so that what nobody understands (a camera's notes with their
offsets) survives. Patched is only what the copy would make untrue: orientation, size, color space, thumbnails.
Never copied: color profiles and other descriptions of the old pixels' colors, indexes of further pictures in the file,
signatures of its content.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from PIL import Image

from recolor_fast import jpeg

EXIF, XMP, XMP_MORE, IPTC, MPF, ICC = (
    b"Exif\0\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/extension/\0",
    b"Photoshop 3.0\0",
    b"MPF\0",
    b"ICC_PROFILE\0",
)  # how the payloads of a JPEG's APP1, APP1, APP1, APP13, APP2 and APP2 begin
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
ORIENTATION, EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 274, 34665, 34853, 40965
XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
DESCRIPTIVE = {  # tags of a TIFF's first directory that speak of the photograph, not of the file's pixels, by type
    # 2, text: names, maker, software, date, artist, copyright; 3 and 5, one number: orientation, resolution
    **dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), 2),
    **dict.fromkeys((ORIENTATION, 296), 3),
    **dict.fromkeys((282, 283), 5),
    **dict.fromkeys(range(40091, 40096), 1),  # bytes: Windows' titles
}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of a TIFF value by type
WORDS = SIZES | {5: 4, 10: 4}  # bytes that a byte order turns around: rationals are two numbers


class Metadata(NamedTuple):
    """Blocks of a file; empty where it has none."""

    exif: bytes = b""
    """A TIFF structure, as EXIF is: begins with its byte order."""
    xmp: bytes = b""
    """An XML packet."""
    xmp_more: tuple[bytes, ...] = ()
    """Extended XMP: payloads of a JPEG's segments."""
    iptc: bytes = b""
    """Photoshop's image resources ("8BIM..."), of which IPTC is one."""
    comments: tuple[bytes, ...] = ()
    texts: tuple[tuple[bytes, bytes], ...] = ()
    """A PNG's text chunks: type and content."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, horizontally and vertically, where the file says so outside of `exif`."""


HOLDS = {  # what `insert` and `settings` can put into which format
    "JPEG": {"exif", "xmp", "xmp_more", "iptc", "comments", "dpi"},
    "PNG": {"exif", "xmp", "comments", "texts", "dpi"},
    "TIFF": {"exif", "xmp", "iptc", "dpi"},
    "WEBP": {"exif", "xmp"},
    "AVIF": {"exif", "xmp"},
    "BMP": {"dpi"},
}
NAMES = {"exif": "EXIF", "xmp": "XMP", "xmp_more": "extended XMP", "iptc": "IPTC", "texts": "text", "dpi": "resolution"}


# --- reading -------------------------------------------------------------------------------------------------------


def of_jpeg(segments: Iterable[jpeg.Segment]) -> Metadata:
    """Metadata of a JPEG's segments."""
    found = Metadata()
    for marker, payload, _ in segments:
        if marker == jpeg.APP1 and payload.startswith(EXIF) and not found.exif:
            found = found._replace(exif=payload[len(EXIF) :])
        elif marker == jpeg.APP1 and payload.startswith(XMP) and not found.xmp:
            found = found._replace(xmp=payload[len(XMP) :])
        elif marker == jpeg.APP1 and payload.startswith(XMP_MORE):
            found = found._replace(xmp_more=(*found.xmp_more, payload))
        elif marker == jpeg.APP13 and payload.startswith(IPTC):
            found = found._replace(iptc=found.iptc + payload[len(IPTC) :])
        elif marker == jpeg.COM:
            found = found._replace(comments=(*found.comments, payload))
        elif marker == jpeg.APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 12 and payload[7] in (1, 2):
            scale = 1 if payload[7] == 1 else 2.54  # of dots a centimeter
            x, y = struct.unpack_from(">HH", payload, 8)
            found = found._replace(dpi=_dpi((x * scale, y * scale)))
    return found._replace(iptc=_without_thumbnails(found.iptc))


def of_image(data: bytes, image: Image.Image) -> Metadata:
    """Metadata of a file that Pillow has loaded."""
    if image.format in ("JPEG", "MPO"):
        return of_jpeg(jpeg.head(data))
    info = image.info
    found = Metadata(
        exif=_bytes(info.get("exif")).removeprefix(EXIF) or _raw_profile(info, "exif"),
        xmp=_bytes(info.get("xmp")),
        dpi=_dpi(info.get("dpi")),
    )
    if image.format == "TIFF":
        return _of_tiff(data, found)
    if image.format == "PNG":
        return found._replace(
            texts=tuple((kind, content) for kind, content in _chunks(data) if kind in PNG_TEXTS and _is_text(content))
        )
    comment = info.get("comment") if image.format != "JPEG2000" else None  # there it names the encoder
    return found._replace(comments=(_bytes(comment),)) if comment else found


def orientation(found: Metadata) -> int:
    """How a JPEG's pixels are to be turned, 1..8, as EXIF or else XMP says; 1 where neither does or it is nonsense."""
    value = 0
    try:
        order = _order(found.exif)
        for entry in _directory(found.exif, _first(found.exif))[0]:
            if entry.tag == ORIENTATION and entry.kind in (3, 4) and entry.stop > entry.start:
                value = struct.unpack_from(order + "HI"[entry.kind == 4], found.exif, entry.start)[0]
    except (ValueError, struct.error):
        pass  # a broken EXIF block is no reason to refuse the pixels
    if not value and (match := _xmp_orientation.search(found.xmp)):
        value = int(match[2])
    return value if 1 <= value <= 8 else 1


def profile(segments: Iterable[jpeg.Segment]) -> bytes:
    """The color profile in a JPEG's segments, empty where there is none."""
    parts = [s.payload for s in segments if s.marker == jpeg.APP2 and s.payload.startswith(ICC)]
    return b"".join(part[len(ICC) + 2 :] for part in sorted(parts, key=lambda part: part[len(ICC) : len(ICC) + 1]))


def pictures(segments: Iterable[jpeg.Segment]) -> int:
    """How many pictures a JPEG says it holds: more than 1 in a file of the Multi-Picture Format."""
    for segment in segments:
        if segment.marker == jpeg.APP2 and segment.payload.startswith(MPF):
            try:
                block = segment.payload[len(MPF) :]
                for entry in _directory(block, _first(block))[0]:
                    if entry.tag == 45057 and entry.kind == 4:  # NumberOfImages
                        return int(struct.unpack_from(_order(block) + "I", block, entry.start)[0])
            except (ValueError, struct.error):
                return 1
    return 1


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else b""


def _dpi(value: Any) -> tuple[float, float] | None:
    """A resolution, None for what is none: Pillow hands on what files say, 0 and infinity too."""
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < math.inf and 0 < y < math.inf else None


def _raw_profile(info: dict[Any, Any], name: str) -> bytes:
    """A block that ImageMagick wrote into a PNG's text as lines of hexadecimal digits."""
    try:
        block = bytes.fromhex("".join(str(info.get(f"Raw profile type {name}", "")).split("\n")[3:]))
    except ValueError:
        return b""
    return block.removeprefix(EXIF)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _is_text(content: bytes) -> bool:
    """Whether a text chunk is that, and not a block that has a field of its own or would be stale."""
    return not content.startswith((b"XML:com.adobe.xmp\0", b"Raw profile type "))


def _without_thumbnails(resources: bytes) -> bytes:
    """Photoshop's image resources without thumbnails and color profile; as they are where they are damaged."""
    kept, at = [], 0
    while at < len(resources):
        start = at
        if resources[at : at + 4] != b"8BIM" or at + 12 > len(resources):
            return resources
        kind = int.from_bytes(resources[at + 4 : at + 6], "big")
        at += 6 + (resources[at + 6] | 1) + 1  # the name with its length byte, padded to even
        size = int.from_bytes(resources[at : at + 4], "big")
        at += 4 + size + size % 2
        if at > len(resources) + 1:
            return resources
        if kind not in (1033, 1036, 1039):
            kept.append(resources[start:at])
    return b"".join(kept)


# --- patching ------------------------------------------------------------------------------------------------------

_xmp_orientation = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)(\d+)")


_orientation = orientation  # the argument of settled() hides its name


def settled(found: Metadata, height: int, width: int, orientation: int = 1) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata true of a picture of so many pixels in sRGB whose file says `orientation`, and notes on what was lost.

    An orientation other than 1 is written into EXIF, which is made if need be.
    """
    exif, notes = found.exif, []
    if exif:
        try:
            exif = _patched(exif, {ORIENTATION: orientation, 40961: 1, 40962: width, 40963: height})  # 1: sRGB
        except (ValueError, struct.error):
            exif, notes = b"", ["EXIF is damaged, dropped"]
    xmp = _xmp_orientation.sub(rb"\g<1>%d" % orientation, found.xmp)
    found = found._replace(exif=exif, xmp=xmp)
    if orientation != 1 and _orientation(found) != orientation:
        block = _emit((_tree(exif) if exif else {}) | {ORIENTATION: (3, struct.pack("<H", orientation))}, 8)
        found = found._replace(exif=b"II*\0" + struct.pack("<I", 8) + block)
    return found, tuple(notes)


class _Entry(NamedTuple):
    """One entry of a TIFF directory."""

    tag: int
    kind: int
    """A key of SIZES."""
    start: int
    stop: int
    """Where its value lies in the block."""


def _order(block: bytes) -> str:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        raise ValueError(f"a block that begins with {bytes(block[:4])!r}: expected a TIFF structure")
    return order


def _first(block: bytes) -> int:
    return int(struct.unpack_from(_order(block) + "I", block, 4)[0])


def _directory(block: bytes, at: int) -> tuple[list[_Entry], int]:
    """The readable entries of the directory at an offset, and where the offset of the next one is stored.

    Raises ValueError or struct.error where the block is broken.
    """
    order, entries = _order(block), []
    (count,) = struct.unpack_from(order + "H", block, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", block, place)
        size = SIZES.get(kind, 0) * values
        start = place + 8 if size <= 4 else struct.unpack_from(order + "I", block, place + 8)[0]
        if size and start + size <= len(block):
            entries.append(_Entry(tag, kind, start, start + size))
    return entries, at + 2 + 12 * count


def _patched(exif: bytes, values: dict[int, int]) -> bytes:
    """An EXIF block with other values of these tags, where it has them, and without its thumbnail's directory."""
    block, order = bytearray(exif), _order(exif)
    entries, next_at = _directory(exif, _first(exif))
    for pointer in (EXIF_IFD, INTEROPERABILITY_IFD):
        places = [struct.unpack_from(order + "I", exif, e.start)[0] for e in entries if e.tag == pointer]
        try:
            entries += [entry for place in places for entry in _directory(exif, place)[0]]
        except struct.error:
            continue  # a directory cut off: the others still count
    for entry in entries:
        width = SIZES[entry.kind]
        if entry.tag in values and entry.kind in (3, 4) and values[entry.tag] < 2 ** (8 * width):
            struct.pack_into(order + "HI"[width == 4], block, entry.start, values[entry.tag])
        elif entry.tag == 1 and block[entry.start : entry.stop] == b"R03\0":  # interoperability: colors of Adobe RGB
            block[entry.start : entry.stop] = b"R98\0"
    return _without_thumbnail(block, order, next_at)


def _without_thumbnail(block: bytearray, order: str, next_at: int) -> bytes:
    """The block with its second directory out of reach, the thumbnail's pixels zeroed or, at the end, cut off."""
    if next_at + 4 > len(block):
        return bytes(block)
    (second,) = struct.unpack_from(order + "I", block, next_at)
    struct.pack_into(order + "I", block, next_at, 0)
    try:
        entries = _directory(bytes(block), second)[0] if second else []
    except struct.error:
        entries = []
    numbers = {
        entry.tag: struct.unpack_from(order + "HI"[entry.kind == 4], block, entry.start)[0]
        for entry in entries
        if entry.kind in (3, 4) and entry.stop - entry.start == SIZES[entry.kind]
    }
    for where, size in ((513, 514), (273, 279)):  # a JPEG; one strip of plain pixels
        start, stop = numbers.get(where, 0), numbers.get(where, 0) + numbers.get(size, 0)
        if next_at + 4 <= start < stop <= len(block):
            block[start:stop] = bytes(stop - start) if stop < len(block) else b""
    return bytes(block)


# --- TIFF ----------------------------------------------------------------------------------------------------------

Tree = dict[int, Any]  # tag -> (type, little-endian value), or the Tree of the directory that the tag points to


def _tree(block: bytes, at: int = 0, depth: int = 0) -> Tree:
    """The directory at an offset (0: the first) with the EXIF, GPS and interoperability directories below it."""
    order = _order(block)
    tree: Tree = {}
    for tag, kind, start, stop in _directory(block, at or _first(block))[0]:
        if tag in (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD) and depth < 2:
            try:
                tree[tag] = _tree(block, struct.unpack_from(order + "I", block, start)[0], depth + 1)
            except struct.error:
                continue
        else:
            value = bytes(block[start:stop])
            if order == ">":
                word = WORDS[kind]
                value = b"".join(value[i : i + word][::-1] for i in range(0, len(value), word))
            tree[tag] = (kind, value)
    return tree


def _emit(tree: Tree, at: int) -> bytes:
    """A tree as little-endian directories that will lie at an even offset of a file."""
    head, tail = struct.pack("<H", len(tree)), b""
    after = at + 2 + 12 * len(tree) + 4
    for tag, field in sorted(tree.items()):
        if isinstance(field, dict):
            kind, count, value = 4, 1, struct.pack("<I", after + len(tail))
            tail += _emit(field, after + len(tail))
        else:
            kind, value = field
            count = len(value) // SIZES[kind]
            if len(value) > 4:
                place, tail = after + len(tail), tail + value
                value = struct.pack("<I", place)
        tail += bytes(len(tail) % 2)
        head += struct.pack("<HHI4s", tag, kind, count, value)
    return head + bytes(4) + tail


def _descriptive(tree: Tree) -> Tree:
    """What of a first directory is in DESCRIPTIVE and of the right type, and its EXIF and GPS directories."""

    def belongs(tag: int, field: Any) -> bool:
        if isinstance(field, dict):
            return tag in (EXIF_IFD, GPS_IFD)
        kind, value = field
        return DESCRIPTIVE.get(tag) == kind and (kind < 3 or len(value) == SIZES[kind])

    return {tag: field for tag, field in tree.items() if belongs(tag, field)}


def _of_tiff(data: bytes, found: Metadata) -> Metadata:
    """Metadata of a TIFF's first directory; none of a BigTIFF's."""
    try:
        tree = _tree(data)
    except (ValueError, struct.error):
        return found
    kept = _descriptive(tree)
    iptc = tree.get(PHOTOSHOP_TAG, (1, b""))[1]
    if IPTC_TAG in tree and not iptc:  # IPTC alone, as a resource
        raw = tree[IPTC_TAG][1]
        iptc = struct.pack(">4sHHI", b"8BIM", 1028, 0, len(raw)) + raw + bytes(len(raw) % 2)
    return found._replace(
        exif=b"II*\0" + struct.pack("<I", 8) + _emit(kept, 8) if kept else b"",
        xmp=tree.get(XMP_TAG, (1, b""))[1],
        iptc=_without_thumbnails(iptc),
        dpi=found.dpi if 282 in tree else None,  # else Pillow says 1
    )


# --- writing -------------------------------------------------------------------------------------------------------


def lost(found: Metadata, format: str) -> tuple[str, ...]:
    """A note naming what a format has no place for, if there is anything."""
    missing = [
        NAMES.get(name, name) for name, value in found._asdict().items() if value and name not in HOLDS.get(format, ())
    ]
    return (f"loss: dropped {', '.join(missing)}, {format} has no place for it here",) if missing else ()


def settings(found: Metadata, format: str) -> dict[str, Any]:
    """What Pillow's save() needs to write the metadata into formats that `insert` leaves to it."""
    if format not in ("WEBP", "AVIF", "BMP"):
        return {}
    return {name: getattr(found, name) for name in HOLDS[format] if getattr(found, name)}


def insert(data: bytes, found: Metadata, format: str) -> tuple[bytes, tuple[str, ...]]:
    """A file that has just been written, with metadata, and notes on what did not fit; pixels stay as they are."""
    if format == "JPEG":
        segments, notes = segments_of(found)
        return jpeg.splice(data, segments), notes
    if format == "PNG":
        return b"".join([data[:33], *_png(found), data[33:]]), ()  # behind the signature and IHDR
    if format == "TIFF":
        return _tiff(data, found), ()
    return data, ()


def segments_of(found: Metadata) -> tuple[list[jpeg.Segment], tuple[str, ...]]:
    """The segments of a JPEG with this metadata, JFIF first, and notes on what is too long for one."""
    unit, x, y = (1, *(min(max(round(v), 1), 65535) for v in found.dpi)) if found.dpi else (0, 1, 1)
    result = [jpeg.Segment(jpeg.APP0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, x, y, 0, 0))]
    if found.exif:
        result.append(jpeg.Segment(jpeg.APP1, EXIF + found.exif))
    if found.xmp:
        result.append(jpeg.Segment(jpeg.APP1, XMP + found.xmp))
    result += [jpeg.Segment(jpeg.APP1, payload) for payload in found.xmp_more]
    room = jpeg.MAX_PAYLOAD - len(IPTC)
    parts = [found.iptc[at : at + room] for at in range(0, len(found.iptc), room)]
    result += [jpeg.Segment(jpeg.APP13, IPTC + part) for part in parts]
    result += [jpeg.Segment(jpeg.COM, comment) for comment in found.comments]
    long = [segment for segment in result if len(segment.payload) > jpeg.MAX_PAYLOAD]
    notes = tuple(f"loss: dropped metadata of {len(s.payload):,} bytes, a JPEG segment holds 65,533" for s in long)
    return [segment for segment in result if segment not in long], notes


def _png(found: Metadata) -> Iterator[bytes]:
    if found.dpi:
        x, y = (min(round(value / 0.0254), 2**31 - 1) for value in found.dpi)
        yield _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if found.exif:
        yield _chunk(b"eXIf", found.exif)
    if found.xmp:
        yield _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + found.xmp)
    for kind, content in found.texts:
        yield _chunk(kind, content)
    for comment in found.comments:
        yield _chunk(b"iTXt", b"Comment\0\0\0\0\0" + comment.decode(errors="replace").replace("\0", "").encode())


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _tiff(data: bytes, found: Metadata) -> bytes:
    """A little-endian TIFF with its directory written anew behind it; its own tags, which point to the pixels, win."""
    own = _tree(data)
    extra = _descriptive(_tree(found.exif)) if found.exif else {}
    if found.dpi:
        x, y = (struct.pack("<II", min(round(value * 1000), 2**32 - 1), 1000) for value in found.dpi)
        extra |= {282: (5, x), 283: (5, y), 296: (3, struct.pack("<H", 2))}
    if found.xmp:
        extra[XMP_TAG] = (1, found.xmp)
    if found.iptc:
        extra[PHOTOSHOP_TAG] = (7, found.iptc)
    if (
        own.get(277, (3, b""))[1] == b"\4\0"
    ):  # SamplesPerPixel: the fourth is alpha that has not been multiplied into the colors
        extra[338] = (3, struct.pack("<H", 2))
    data += bytes(len(data) % 2)
    return b"II*\0" + struct.pack("<I", len(data)) + data[8:] + _emit(extra | own, len(data))
