"""What travels from an image file to its colored copy beside the pixels: EXIF, XMP, IPTC, comments, resolution, text.

Blocks stay as they were found and are patched in place, so that what nobody understands (a camera's notes with their
offsets) survives. Patched is only what the copy would make untrue: orientation, size, color space, thumbnails.
What nobody knows travels as it is within its format. What is never copied, and why, is photographs.parts' table.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from PIL import Image

from recolor_fast import jpeg
from recolor_fast.photographs import parts, tags, xmp

EXIF, XMP, XMP_MORE, IPTC, MPF, ICC = (
    b"Exif\0\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/extension/\0",
    b"Photoshop 3.0\0",
    b"MPF\0",
    b"ICC_PROFILE\0",
)  # how the payloads of a JPEG's APP1, APP1, APP1, APP13, APP2 and APP2 begin
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
RAW_PROFILES = ("exif", "APP1", "xmp", "icc", "icm")  # ImageMagick's; others are texts like any
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of a JPEG 2000's box
XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
OWN_TAGS = (XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG)  # those with a field of their own
DESCRIPTIVE = {  # tags of a TIFF's first directory that speak of the photograph, not of the file's pixels, by type
    # 2, text: names, maker, software, date, artist, copyright; 3 and 5, one number: orientation, resolution
    **dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), 2),
    **dict.fromkeys((tags.ORIENTATION, 296), 3),
    **dict.fromkeys((282, 283), 5),
    **dict.fromkeys(range(40091, 40096), 1),  # bytes: Windows' titles
}


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
    format: str = ""
    """Of the file that `parts` are from."""
    parts: tuple[tuple[Any, ...], ...] = ()
    """What travels as it is within a format: a JPEG's (marker, payload), a PNG's (type, content, whether it comes after
    the pixels), a TIFF's (tag, type, little-endian value), a JPEG 2000's (box, content)."""


HOLDS = {  # what `insert` and `settings` can put into which format
    "JPEG": {"exif", "xmp", "xmp_more", "iptc", "comments", "dpi"},
    "PNG": {"exif", "xmp", "comments", "texts", "dpi"},
    "TIFF": {"exif", "xmp", "iptc", "dpi"},
    "WEBP": {"exif", "xmp"},
    "AVIF": {"exif", "xmp"},
    "BMP": {"dpi"},
    "JPEG2000": {"xmp"},
}


# --- reading -------------------------------------------------------------------------------------------------------


def of_jpeg(segments: Iterable[jpeg.Segment]) -> Metadata:
    """Metadata of a JPEG's segments."""
    found = Metadata()
    unknown: list[tuple[Any, ...]] = []
    for marker, payload, _ in segments:
        if marker == jpeg.APP1 and payload.startswith(EXIF) and not found.exif:
            found = found._replace(exif=payload[len(EXIF) :])
        elif marker == jpeg.APP1 and payload.startswith(EXIF):
            continue  # the first is meant
        elif marker == jpeg.APP1 and payload.startswith(XMP):
            found = found if found.xmp else found._replace(xmp=payload[len(XMP) :])
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
        elif jpeg.APP0 <= marker <= jpeg.APP15 and parts.of_segment(marker, payload) is None:
            unknown.append((marker, payload))
    return _with(found._replace(iptc=_without_thumbnails(found.iptc)), "JPEG", unknown)


def _with(found: Metadata, format: str, more: list[tuple[Any, ...]]) -> Metadata:
    """With what travels as it is within a format, if there is anything."""
    return found._replace(format=format, parts=tuple(more)) if more else found


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
        return _of_png(data, found)
    if image.format == "JPEG2000":
        return of_boxes(data)
    comment = info.get("comment")
    return found._replace(comments=(_bytes(comment),)) if comment else found


def _of_png(data: bytes, found: Metadata) -> Metadata:
    """Its texts, and the chunks that are copied as they are."""
    texts: list[tuple[bytes, bytes]] = []
    more: list[tuple[Any, ...]] = []
    behind = False
    turned = orientation(found) != 1
    for kind, content in chunks(data):
        behind |= kind == b"IDAT"
        if kind in PNG_TEXTS:
            texts += [(kind, content)] if is_text(content) else []
        elif kind not in (b"eXIf", b"pHYs") and parts.of_chunk(kind) is None:
            more += [] if turned and kind in parts.GEOMETRIC_CHUNKS else [(kind, content, behind)]
    return _with(found._replace(texts=tuple(texts)), "PNG", more)


def of_boxes(data: bytes) -> Metadata:
    """Metadata of a JPEG 2000: XMP, and the boxes that are copied as they are."""
    found = b""
    more: list[tuple[Any, ...]] = []
    for kind, content, _ in boxes(data):
        if kind == b"uuid" and content.startswith(XMP_UUID):
            found = found or content[16:]
        elif kind in parts.COPIED_BOXES:
            more.append((kind, content))
    return _with(Metadata(xmp=found), "JPEG2000", more)


def orientation(found: Metadata) -> int:
    """How a JPEG's pixels are to be turned, 1..8, as EXIF or else XMP says; 1 where neither does or it is nonsense."""
    value = 0
    try:
        for entry in tags.directory(found.exif, tags.first(found.exif)).entries:
            if entry.tag == tags.ORIENTATION:
                value = next(iter(tags.numbers(found.exif, entry)), 0)
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
                for entry in tags.directory(block, tags.first(block)).entries:
                    if entry.tag == 45057:  # NumberOfImages
                        return tags.numbers(block, entry)[0]
            except (IndexError, ValueError, struct.error):
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


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of a PNG's chunks, to the last that is whole."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes, int]]:
    """Type, content and end of the boxes of a JPEG 2000, an AVIF or a HEIF, to the last that is whole."""
    while at + 8 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = at + length if length else len(data)
        if stop < at + head or stop > len(data):
            return
        yield data[at + 4 : at + 8], data[at + head : stop], stop
        at = stop


def is_text(content: bytes) -> bool:
    """Whether a text chunk is that, and not a block that has a field of its own or would be stale."""
    return not content.startswith(
        (b"XML:com.adobe.xmp\0", *(f"Raw profile type {kind}\0".encode() for kind in RAW_PROFILES))
    )


def resources(block: bytes) -> list[tuple[int, bytes]]:
    """Number of each of Photoshop's image resources, and its bytes, header and all. Raises ValueError."""
    found, at = [], 0
    while at < len(block):
        start = at
        if block[at : at + 4] != b"8BIM" or at + 12 > len(block):
            raise ValueError("damaged image resources")
        kind = int.from_bytes(block[at + 4 : at + 6], "big")
        at += 6 + (block[at + 6] | 1) + 1  # the name with its length byte, padded to even
        size = int.from_bytes(block[at : at + 4], "big")
        at += 4 + size + size % 2
        if at > len(block) + 1:
            raise ValueError("damaged image resources")
        found.append((kind, block[start:at]))
    return found


def _without_thumbnails(block: bytes) -> bytes:
    """Photoshop's image resources without thumbnails and color profile; as they are where they are damaged."""
    try:
        return b"".join(one for kind, one in resources(block) if kind not in parts.RESOURCES)
    except ValueError:
        return block


# --- patching ------------------------------------------------------------------------------------------------------

_xmp_orientation = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)(\d+)")


_orientation = orientation  # the argument of settled() hides its name


def settled(found: Metadata, height: int, width: int, orientation: int = 1) -> Metadata:
    """Metadata true of a picture of so many pixels in sRGB whose file says `orientation`; without EXIF that is damaged.

    An orientation other than 1 is written into EXIF, which is made if need be. Where the picture has been turned, so
    are its resolution and what EXIF says of places in it; XMP loses these.
    """
    by = _orientation(found) if _orientation(found) != orientation else 1
    dpi = found.dpi[::-1] if found.dpi and by > 4 else found.dpi
    sides = {256: width, 257: height, 40962: width, 40963: height}
    try:
        exif = found.exif and _patched(found.exif, {tags.ORIENTATION: orientation, 40961: 1} | sides)  # 1: sRGB
        exif = _places_turned(exif, by, width, height) if exif and by > 1 else exif
    except (ValueError, struct.error):
        exif = b""
    packet = turned(xmp.true(found.xmp, bool(found.xmp_more), by > 1), orientation)
    found = found._replace(exif=exif, xmp=packet, dpi=dpi)
    if orientation != 1 and _orientation(found) != orientation:
        tree = (tags.tree(exif) if exif else {}) | {tags.ORIENTATION: (3, struct.pack("<H", orientation))}
        found = found._replace(exif=tags.block(tree))
    return found


def turned(packet: bytes, orientation: int) -> bytes:
    """An XMP packet that says this orientation, if it says any."""
    return _xmp_orientation.sub(rb"\g<1>%d" % orientation, packet)


def _order(block: bytes) -> str:
    """The byte order of an EXIF block. Raises ValueError for what is none."""
    layout = tags.layout(block)
    if layout.big:
        raise ValueError("EXIF with 64-bit offsets, which there is not")
    return layout.order


def _patched(exif: bytes, values: dict[int, int]) -> bytes:
    """An EXIF block with other values of these tags, where it has them, and without its thumbnail's directory."""
    block, order = bytearray(exif), _order(exif)
    entries, _, next_at = tags.directory(exif, tags.first(exif))
    for pointer in (tags.EXIF_IFD, tags.INTEROPERABILITY_IFD):
        places = [struct.unpack_from(order + "I", exif, e.start)[0] for e in entries if e.tag == pointer]
        try:
            entries += [entry for place in places for entry in tags.directory(exif, place).entries]
        except (ValueError, struct.error):
            continue  # a directory cut off: the others still count
    for entry in entries:
        width = tags.SIZES[entry.kind]
        if entry.tag in values and entry.kind in (3, 4) and values[entry.tag] < 2 ** (8 * width):
            struct.pack_into(order + "HI"[width == 4], block, entry.start, values[entry.tag])
        elif entry.tag == 1 and block[entry.start : entry.stop] == b"R03\0":  # interoperability: colors of Adobe RGB
            block[entry.start : entry.stop] = b"R98\0"
    return _without_thumbnail(block, order, next_at)


ACROSS = ((282, 283), (41486, 41487))  # resolutions: of the picture, of the sensor
AREAS = (37396, 41492)  # where the subject is: its middle, and its sides or none


def _places_turned(exif: bytes, by: int, width: int, height: int) -> bytes:
    """An EXIF block whose picture has been turned `by` an orientation, to these sides: its resolutions and places too.

    Raises ValueError or struct.error where it is broken.
    """
    block, order = bytearray(exif), _order(exif)
    entries = tags.directory(exif, tags.first(exif)).entries
    for place in [tags.numbers(exif, entry)[0] for entry in entries if entry.tag == tags.EXIF_IFD]:
        entries = entries + tags.directory(exif, place).entries
    found = {entry.tag: entry for entry in entries}
    for pair in ACROSS if by > 4 else ():
        if all(tag in found and found[tag].stop - found[tag].start == 8 for tag in pair):
            one, other = (slice(found[tag].start, found[tag].stop) for tag in pair)
            block[one], block[other] = exif[other], exif[one]
    for tag in AREAS:
        if tag in found and found[tag].kind == 3 and len(values := tags.numbers(exif, found[tag])) > 1:
            (x, y), sides = values[:2], values[2:]
            x, y = (y, x) if by > 4 else (x, y)
            x = max(0, width - 1 - x) if by in (2, 3, 6, 7) else x
            y = max(0, height - 1 - y) if by in (3, 4, 7, 8) else y
            sides = sides[::-1] if by > 4 else sides
            struct.pack_into(f"{order}{len(values)}H", block, found[tag].start, x, y, *sides)
    return bytes(block)


def _without_thumbnail(block: bytearray, order: str, next_at: int) -> bytes:
    """The block with its second directory out of reach, the thumbnail's pixels zeroed or, at the end, cut off."""
    if next_at + 4 > len(block):
        return bytes(block)
    (second,) = struct.unpack_from(order + "I", block, next_at)
    struct.pack_into(order + "I", block, next_at, 0)
    try:
        entries = tags.directory(bytes(block), second).entries if second else []
    except (ValueError, struct.error):
        entries = []
    numbers = {
        entry.tag: struct.unpack_from(order + "HI"[entry.kind == 4], block, entry.start)[0]
        for entry in entries
        if entry.kind in (3, 4) and entry.stop - entry.start == tags.SIZES[entry.kind]
    }
    for where, size in ((513, 514), (273, 279)):  # a JPEG; one strip of plain pixels
        start, stop = numbers.get(where, 0), numbers.get(where, 0) + numbers.get(size, 0)
        if next_at + 4 <= start < stop <= len(block):
            block[start:stop] = bytes(stop - start) if stop < len(block) else b""
    return bytes(block)


# --- TIFF ----------------------------------------------------------------------------------------------------------


def _belongs(tag: int, field: Any) -> bool:
    """Whether a field of a first directory is in DESCRIPTIVE and of the right type, or an EXIF or GPS directory."""
    if isinstance(field, dict):
        return tag in (tags.EXIF_IFD, tags.GPS_IFD)
    kind, value = field
    return DESCRIPTIVE.get(tag) == kind and (kind < 3 or len(value) == tags.SIZES[kind])


def _descriptive(tree: tags.Tree) -> tags.Tree:
    return {tag: field for tag, field in tree.items() if _belongs(tag, field)}


def _of_tiff(data: bytes, found: Metadata) -> Metadata:
    """Metadata of a TIFF's first directory."""
    try:
        tree, iptc = tags.tree(data), resources_of_tiff(data)
    except (ValueError, struct.error):
        return found
    kept = _descriptive(tree)
    turned = int.from_bytes(tree.get(tags.ORIENTATION, (3, b"\1"))[1][:4], "little") > 1
    more: list[tuple[Any, ...]] = [
        (tag, *field)
        for tag, field in tree.items()
        if tag not in kept and tag not in parts.TAGS and tag not in OWN_TAGS and not isinstance(field, dict)
    ]
    found = found._replace(
        exif=tags.block(kept) if kept else b"",
        xmp=tree.get(XMP_TAG, (1, b""))[1],
        iptc=_without_thumbnails(iptc),
        dpi=found.dpi if 282 in tree else None,  # else Pillow says 1
    )
    return _with(found, "TIFF", [] if turned else more)  # what says where the pixels are is false of turned ones


def resources_of_tiff(data: bytes) -> bytes:
    """Photoshop's image resources of a TIFF, IPTC among them. Raises ValueError or struct.error."""
    raw = {entry.tag: data[entry.start : entry.stop] for entry in tags.directory(data, tags.first(data)).entries}
    iptc = raw.get(IPTC_TAG, b"")  # bytes, whatever its type says
    block = bytes(raw.get(PHOTOSHOP_TAG, b""))
    try:
        has = 1028 in (kind for kind, _ in resources(block))
    except ValueError:
        has = True  # nobody knows what: it stays as it is
    if iptc and not has:  # as Photoshop has it
        block = struct.pack(">4sHHI", b"8BIM", 1028, 0, len(iptc)) + iptc + bytes(len(iptc) % 2) + block
    return block


# --- writing -------------------------------------------------------------------------------------------------------


def settings(found: Metadata, format: str) -> dict[str, Any]:
    """What Pillow's save() needs to write the metadata into formats that `insert` leaves to it."""
    if format not in ("WEBP", "AVIF", "BMP"):
        return {}
    return {name: getattr(found, name) for name in HOLDS[format] if getattr(found, name)}


def insert(data: bytes, found: Metadata, format: str) -> tuple[bytes, tuple[str, ...]]:
    """A file that has just been written, with metadata, and notes on what did not fit; pixels stay as they are."""
    own = found.parts if found.format == format else ()
    if format == "JPEG":
        segments, notes = segments_of(found)
        return jpeg.splice(data, segments), notes
    if format == "PNG":
        early, late = ([_chunk(kind, content) for kind, content, behind in own if behind == where] for where in (0, 1))
        # behind the signature and IHDR; before IEND
        return b"".join([data[:33], *_png(found), *early, data[33:-12], *late, data[-12:]]), ()
    if format == "TIFF":
        return _tiff(data, found, own), ()
    if format == "JPEG2000":
        own = (*([(b"uuid", XMP_UUID + found.xmp)] if found.xmp else []), *own)
        return b"".join([data, *(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in own)]), ()
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
    result += [jpeg.Segment(*part) for part in found.parts if found.format == "JPEG"]
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


def _tiff(data: bytes, found: Metadata, more: Iterable[tuple[int, int, bytes]]) -> bytes:
    """A little-endian TIFF with its directory written anew behind it; its own tags, which point to the pixels, win."""
    own = tags.tree(data)
    extra: tags.Tree = {tag: (kind, value) for tag, kind, value in more}
    for tag, field in (tags.tree(found.exif) if found.exif else {}).items():
        if _belongs(tag, field) or not (isinstance(field, dict) or tag in {**DESCRIPTIVE, **parts.TAGS}):
            extra[tag] = field
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
    return b"II*\0" + struct.pack("<I", len(data)) + data[8:] + tags.emit(extra | own, len(data))
