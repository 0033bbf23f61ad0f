"""What travels from an image file to its colored copy beside the pixels: EXIF, XMP, IPTC, comments, resolution, text.

Blocks stay as they were found and are patched in place, so that what nobody understands (a camera's notes with their
offsets) survives. Patched is only what the copy would make untrue: orientation, size, color space, thumbnails.
What nobody knows travels as it is within its format. What is never copied, and why, is photographs.parts' table.
"""

import math
import re
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from PIL import Image

from recolor_fast.photographs import containers, exif, jpeg, parts, tags, xmp

EXIF, XMP, XMP_MORE, IPTC, MPF, ICC = (
    b"Exif\0\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/extension/\0",
    b"Photoshop 3.0\0",
    b"MPF\0",
    b"ICC_PROFILE\0",
)  # how the payloads of a JPEG's APP1, APP1, APP1, APP13, APP2 and APP2 begin
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
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
    "HEIF": {"exif", "xmp"},
    "JXL": {"exif", "xmp"},
    "BMP": {"dpi"},
    "JPEG2000": {"xmp"},
}


# --- reading -------------------------------------------------------------------------------------------------------


def of_jpeg(segments: Iterable[jpeg.Segment]) -> Metadata:
    """Metadata of a JPEG's segments."""
    metadata = Metadata()
    unknown: list[tuple[Any, ...]] = []
    for marker, payload, _ in segments:
        if marker == jpeg.APP1 and payload.startswith(EXIF) and not metadata.exif:
            metadata = metadata._replace(exif=payload[len(EXIF) :])
        elif marker == jpeg.APP1 and payload.startswith(EXIF):
            continue  # the first is meant
        elif marker == jpeg.APP1 and payload.startswith(XMP):
            metadata = metadata if metadata.xmp else metadata._replace(xmp=payload[len(XMP) :])
        elif marker == jpeg.APP1 and payload.startswith(XMP_MORE):
            metadata = metadata._replace(xmp_more=(*metadata.xmp_more, payload))
        elif marker == jpeg.APP13 and payload.startswith(IPTC):
            metadata = metadata._replace(iptc=metadata.iptc + payload[len(IPTC) :])
        elif marker == jpeg.COM:
            metadata = metadata._replace(comments=(*metadata.comments, payload))
        elif marker == jpeg.APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 12 and payload[7] in (1, 2):
            scale = 1 if payload[7] == 1 else 2.54  # of dots a centimeter
            x, y = struct.unpack_from(">HH", payload, 8)
            metadata = metadata._replace(dpi=_dpi((x * scale, y * scale)))
        elif jpeg.APP0 <= marker <= jpeg.APP15 and parts.of_segment(marker, payload) is None:
            unknown.append((marker, payload))
    return _with(metadata._replace(iptc=_without_thumbnails(metadata.iptc)), "JPEG", unknown)


def _with(metadata: Metadata, format: str, more: list[tuple[Any, ...]]) -> Metadata:
    """With what travels as it is within a format, if there is anything."""
    return metadata._replace(format=format, parts=tuple(more)) if more else metadata


def of_image(data: bytes, image: Image.Image) -> Metadata:
    """Metadata of a file that Pillow has loaded."""
    if image.format in ("JPEG", "MPO"):
        return of_jpeg(jpeg.head(data))
    info = image.info
    metadata = Metadata(
        exif=_bytes(info.get("exif")).removeprefix(EXIF) or _raw_profile(info, "exif"),
        xmp=_bytes(info.get("xmp")),
        dpi=_dpi(info.get("dpi")),
    )
    if image.format == "TIFF":
        return _of_tiff(data, metadata)
    if image.format == "PNG":
        return _of_png(data, metadata)
    if image.format == "JPEG2000":
        return of_boxes(data)
    comment = info.get("comment")
    return metadata._replace(comments=(_bytes(comment),)) if comment else metadata


def _of_png(data: bytes, metadata: Metadata) -> Metadata:
    """Its texts, and the chunks that are copied as they are."""
    texts: list[tuple[bytes, bytes]] = []
    more: list[tuple[Any, ...]] = []
    behind = False
    turned = orientation(metadata) != 1
    for kind, content in containers.chunks(data):
        behind |= kind == b"IDAT"
        if kind in PNG_TEXTS:
            texts += [(kind, content)] if containers.is_text(content) else []
        elif kind not in (b"eXIf", b"pHYs") and parts.of_chunk(kind) is None:
            more += [] if turned and kind in parts.GEOMETRIC_CHUNKS else [(kind, content, behind)]
    return _with(metadata._replace(texts=tuple(texts)), "PNG", more)


def of_boxes(data: bytes) -> Metadata:
    """Metadata of a JPEG 2000: XMP, and the boxes that are copied as they are."""
    packet = b""
    more: list[tuple[Any, ...]] = []
    for kind, content, _ in containers.boxes(data):
        if kind == b"uuid" and content.startswith(XMP_UUID):
            packet = packet or content[16:]
        elif kind in parts.COPIED_BOXES:
            more.append((kind, content))
    return _with(Metadata(xmp=packet), "JPEG2000", more)


def of_file(data: bytes) -> Metadata:
    """Metadata of a JPEG's or TIFF's bytes, none of other files."""
    if data.startswith(jpeg.SOI):
        return of_jpeg(jpeg.head(data))
    return _of_tiff(data, Metadata())


def orientation(metadata: Metadata) -> int:
    """How a JPEG's pixels are to be turned, 1..8, as EXIF or else XMP says; 1 where neither does or it is nonsense."""
    value = 0
    try:
        for entry in tags.directory(metadata.exif, tags.first(metadata.exif)).entries:
            if entry.tag == tags.ORIENTATION:
                value = next(iter(tags.numbers(metadata.exif, entry)), 0)
    except (ValueError, struct.error):
        pass  # a broken EXIF block is no reason to refuse the pixels
    if not value and (match := _xmp_orientation.search(metadata.xmp)):
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


def _without_thumbnails(block: bytes) -> bytes:
    """Photoshop's image resources without thumbnails and color profile; as they are where they are damaged."""
    try:
        return b"".join(one for kind, one in containers.resources(block) if kind not in parts.RESOURCES)
    except ValueError:
        return block


# --- patching ------------------------------------------------------------------------------------------------------

_xmp_orientation = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)(\d+)")


_orientation = orientation  # the argument of settled() hides its name


def settled(metadata: Metadata, height: int, width: int, orientation: int = 1) -> Metadata:
    """Metadata true of a picture of so many pixels in sRGB whose file says `orientation`; without EXIF that is damaged.

    An orientation other than 1 is written into EXIF, which is made if need be. Where the picture has been turned, so
    are its resolution and what EXIF says of places in it; XMP loses these.
    """
    by = _orientation(metadata) if _orientation(metadata) != orientation else 1
    dpi = metadata.dpi[::-1] if metadata.dpi and by > 4 else metadata.dpi
    said = {256: width, 257: height, 40962: width, 40963: height, tags.ORIENTATION: orientation, 40961: 1}  # 1: sRGB
    try:
        block = metadata.exif and exif.patched(metadata.exif, said)
        block = exif.places_turned(block, by, width, height) if block and by > 1 else block
    except (ValueError, struct.error):
        block = b""
    packet = turned(xmp.true(metadata.xmp, bool(metadata.xmp_more), by > 1), orientation)
    metadata = metadata._replace(exif=block, xmp=packet, dpi=dpi)
    if orientation != 1 and _orientation(metadata) != orientation:
        tree = (tags.tree(block) if block else {}) | {tags.ORIENTATION: (3, struct.pack("<H", orientation))}
        metadata = metadata._replace(exif=tags.block(tree))
    return metadata


def turned(packet: bytes, orientation: int) -> bytes:
    """An XMP packet that says this orientation, if it says any."""
    return _xmp_orientation.sub(rb"\g<1>%d" % orientation, packet)


# --- TIFF ----------------------------------------------------------------------------------------------------------


def _belongs(tag: int, field: Any) -> bool:
    """Whether a field of a first directory is in DESCRIPTIVE and of the right type, or an EXIF or GPS directory."""
    if isinstance(field, dict):
        return tag in (tags.EXIF_IFD, tags.GPS_IFD)
    kind, value = field
    return DESCRIPTIVE.get(tag) == kind and (kind < 3 or len(value) == tags.SIZES[kind])


def _descriptive(tree: tags.Tree) -> tags.Tree:
    return {tag: field for tag, field in tree.items() if _belongs(tag, field)}


def _of_tiff(data: bytes, metadata: Metadata) -> Metadata:
    """Metadata of a TIFF's first directory."""
    try:
        tree, iptc = tags.tree(data), resources_of_tiff(data)
    except (ValueError, struct.error):
        return metadata
    kept = _descriptive(tree)
    turned = int.from_bytes(tree.get(tags.ORIENTATION, (3, b"\1"))[1][:4], "little") > 1
    more: list[tuple[Any, ...]] = [
        (tag, *field)
        for tag, field in tree.items()
        if tag not in kept and tag not in parts.TAGS and tag not in OWN_TAGS and not isinstance(field, dict)
    ]
    metadata = metadata._replace(
        exif=tags.block(kept) if kept else b"",
        xmp=tree.get(XMP_TAG, (1, b""))[1],
        iptc=_without_thumbnails(iptc),
        dpi=metadata.dpi if 282 in tree else None,  # else Pillow says 1
    )
    return _with(metadata, "TIFF", [] if turned else more)  # what says where the pixels are is false of turned ones


def resources_of_tiff(data: bytes) -> bytes:
    """Photoshop's image resources of a TIFF, IPTC among them. Raises ValueError or struct.error."""
    raw = {entry.tag: data[entry.start : entry.stop] for entry in tags.directory(data, tags.first(data)).entries}
    iptc = raw.get(IPTC_TAG, b"")  # bytes, whatever its type says
    block = bytes(raw.get(PHOTOSHOP_TAG, b""))
    try:
        has = 1028 in (kind for kind, _ in containers.resources(block))
    except ValueError:
        has = True  # nobody knows what: it stays as it is
    if iptc and not has:  # as Photoshop has it
        block = struct.pack(">4sHHI", b"8BIM", 1028, 0, len(iptc)) + iptc + bytes(len(iptc) % 2) + block
    return block


# --- writing -------------------------------------------------------------------------------------------------------


def settings(metadata: Metadata, format: str) -> dict[str, Any]:
    """What Pillow's save() needs to write the metadata into formats that `insert` leaves to it."""
    if format not in ("WEBP", "AVIF", "HEIF", "JXL", "BMP"):
        return {}
    if format == "BMP":
        return {"dpi": metadata.dpi or (0, 0)}  # else Pillow says 96
    return {name: getattr(metadata, name) for name in sorted(HOLDS[format]) if getattr(metadata, name)}


def insert(data: bytes, metadata: Metadata, format: str) -> tuple[bytes, tuple[str, ...]]:
    """A file that has just been written, with metadata, and notes on what did not fit; pixels stay as they are."""
    own = metadata.parts if metadata.format == format else ()
    if format == "JPEG":
        segments, notes = segments_of(metadata)
        return jpeg.splice(data, segments), notes
    if format == "PNG":
        early, late = (
            [containers.chunk(kind, content) for kind, content, behind in own if behind == where] for where in (0, 1)
        )
        held = memoryview(data)  # of which slices are no copies
        # behind the signature and IHDR; before IEND
        return b"".join([held[:33], *_png(metadata), *early, held[33:-12], *late, held[-12:]]), ()
    if format == "TIFF":
        return _tiff(data, metadata, own), ()
    if format == "JPEG2000":
        own = (*([(b"uuid", XMP_UUID + metadata.xmp)] if metadata.xmp else []), *own)
        return b"".join([data, *(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in own)]), ()
    return data, ()


def segments_of(metadata: Metadata) -> tuple[list[jpeg.Segment], tuple[str, ...]]:
    """The segments of a JPEG with this metadata, JFIF first, and notes on what is too long for one."""
    unit, x, y = (1, *(min(max(round(v), 1), 65535) for v in metadata.dpi)) if metadata.dpi else (0, 1, 1)
    result = [jpeg.Segment(jpeg.APP0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, x, y, 0, 0))]
    if metadata.exif:
        result.append(jpeg.Segment(jpeg.APP1, EXIF + metadata.exif))
    if metadata.xmp:
        result.append(jpeg.Segment(jpeg.APP1, XMP + metadata.xmp))
    result += [jpeg.Segment(jpeg.APP1, payload) for payload in metadata.xmp_more]
    room = jpeg.MAX_PAYLOAD - len(IPTC)
    parts = [metadata.iptc[at : at + room] for at in range(0, len(metadata.iptc), room)]
    result += [jpeg.Segment(jpeg.APP13, IPTC + part) for part in parts]
    result += [jpeg.Segment(jpeg.COM, comment) for comment in metadata.comments]
    result += [jpeg.Segment(*part) for part in metadata.parts if metadata.format == "JPEG"]
    long = [segment for segment in result if len(segment.payload) > jpeg.MAX_PAYLOAD]
    notes = tuple(f"loss: dropped metadata of {len(s.payload):,} bytes, a JPEG segment holds 65,533" for s in long)
    return [segment for segment in result if segment not in long], notes


def _png(metadata: Metadata) -> Iterator[bytes]:
    if metadata.dpi:
        x, y = (min(round(value / 0.0254), 2**31 - 1) for value in metadata.dpi)
        yield containers.chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        yield containers.chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield containers.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    for kind, content in metadata.texts:
        yield containers.chunk(kind, content)
    for comment in metadata.comments:
        yield containers.chunk(
            b"iTXt", b"Comment\0\0\0\0\0" + comment.decode(errors="replace").replace("\0", "").encode()
        )


def _tiff(data: bytes, metadata: Metadata, more: Iterable[tuple[int, int, bytes]]) -> bytes:
    """A little-endian TIFF with its directory written anew behind it; its own tags, which point to the pixels, win."""
    own = tags.tree(data)
    extra: tags.Tree = {tag: (kind, value) for tag, kind, value in more}
    for tag, field in (tags.tree(metadata.exif) if metadata.exif else {}).items():
        if _belongs(tag, field) or not (isinstance(field, dict) or tag in {**DESCRIPTIVE, **parts.TAGS}):
            extra[tag] = field
    if metadata.dpi:
        x, y = (struct.pack("<II", min(round(value * 1000), 2**32 - 1), 1000) for value in metadata.dpi)
        extra |= {282: (5, x), 283: (5, y), 296: (3, struct.pack("<H", 2))}
    if metadata.xmp:
        extra[XMP_TAG] = (1, metadata.xmp)
    if metadata.iptc:
        extra[PHOTOSHOP_TAG] = (7, metadata.iptc)
    if (
        own.get(277, (3, b""))[1] == b"\4\0"
    ):  # SamplesPerPixel: the fourth is alpha that has not been multiplied into the colors
        extra[338] = (3, struct.pack("<H", 2))
    data += bytes(len(data) % 2)
    return b"II*\0" + struct.pack("<I", len(data)) + data[8:] + tags.emit(extra | own, len(data))
