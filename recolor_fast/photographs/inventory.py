"""Everything that a file holds beside its picture, by format, and what of it a copy does not have any more.

Nothing is taken for kept because it should be: the copy's own inventory has to have it, byte for byte.
"""

import io
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Literal, NamedTuple

from PIL import ExifTags, Image

from recolor_fast import jpeg, metadata
from recolor_fast.photographs import parts, tags, xmp

LOSSES = ("metadata", "content")
NAMED = 12  # losses at most in one sentence


class Thing(NamedTuple):
    """Something in a file that is not how its picture is stored."""

    name: str
    """What users call it."""
    key: str
    """The same in every format that can hold it."""
    digest: bytes = b""
    """Of its content; empty where any content will do."""
    kind: Literal["metadata", "content", "stale"] = "metadata"
    """Content: further pictures, videos, bytes behind the picture. Stale: true of the gray picture alone."""
    group: str = ""
    """What it is a part of, which is named alone where all of it is lost."""


def of(data: bytes, format: str) -> tuple[Thing, ...]:
    """The inventory of a file by Pillow's name of its format; empty for formats whose structure is not known."""
    return tuple(READERS[format](bytes(data))) if format in READERS else ()


def lost(before: Iterable[Thing], after: Iterable[Thing], kinds: Iterable[str] = LOSSES) -> list[str]:
    """Names of what the file had and its copy has not, of these kinds."""
    has = list(after)
    left = Counter((thing.key, thing.digest) for thing in has)
    gone = []
    for thing in before:
        place = thing.key, thing.digest
        if left[place]:
            left[place] -= 1
        elif thing.kind in kinds:
            gone.append(thing)
    groups = {thing.group for thing in has}
    whole = [thing.group if thing.group and thing.group not in groups else thing.name for thing in gone]
    names = list(dict.fromkeys(whole))
    return names if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]


def stale(before: Iterable[Thing]) -> list[str]:
    """Names of what is left out because it shows or describes the gray picture alone."""
    return list(dict.fromkeys(thing.name for thing in before if thing.kind == "stale"))


# --- parts that several formats have -------------------------------------------------------------------------------


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _by(row: parts.Row | None, name: str, key: str, content: bytes, group: str = "") -> Iterator[Thing]:
    """A part by its row in the table, None where there is none."""
    if row is None:
        yield Thing(name, key, _digest(content), group=group)
    elif row.role == "stale":
        yield Thing(row.name, key, kind="stale")
    elif row.role == "gone":
        yield Thing(row.name, f"gone: {key}")
    elif row.role == "content":
        yield Thing(row.name, f"gone: {key}", kind="content")


def _behind(content: bytes, what: str = "the picture") -> Iterator[Thing]:
    """What follows a picture's end; zeros are padding."""
    content = content.lstrip(b"\0")
    if not content:
        return
    kinds = {b"\xff\xd8\xff": "a picture", b"\x89PNG": "a picture", b"PK\3\4": "an archive"}
    kind = next((name for begins, name in kinds.items() if content.startswith(begins)), "")
    kind = kind or ("a video" if content[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") else "data")
    yield Thing(f"{kind} behind {what} ({len(content):,} bytes)", "behind", _digest(content), "content")


def _exif(block: bytes) -> Iterator[Thing]:
    """EXIF's tags, of every directory but the thumbnail's."""
    if not block:
        return
    try:
        found = tags.directory(block, tags.first(block))
        yield from _tags(block, found, "EXIF")
        (second,) = struct.unpack_from(tags.layout(block).order + "I", block, found.next_at)
        if second:
            yield Thing("thumbnail", "thumbnail", kind="stale")
    except (ValueError, struct.error):
        yield Thing("EXIF, which is damaged", "EXIF", _digest(block))


def _tags(block: bytes, found: tags.Directory, group: str, depth: int = 0, where: str = "") -> Iterator[Thing]:
    """The tags of a directory that lies in a block, and of those below it."""
    for tag in found.unreadable:
        yield Thing(f"tag {tag}, which cannot be read", f"tag {where}{tag}", b"unreadable", group=group)
    for entry in found.entries:
        tag, name = entry.tag, tag_name(entry.tag)
        if tag in metadata.OWN_TAGS and not where:
            continue
        if tag in tags.POINTERS and depth < 2:
            below = tags.POINTERS[tag]
            try:
                inner = tags.directory(block, tags.numbers(block, entry)[0])
                rewritten = parts.REWRITTEN[below]
                entries = [one for one in inner.entries if one.tag not in rewritten]
                yield from _tags(block, inner._replace(entries=entries), "EXIF", depth + 1, f"{below} ")
            except (IndexError, ValueError, struct.error):
                yield Thing(f"{below} directory, which is damaged", below, b"damaged", group=group)
            continue
        content = struct.pack("B", entry.kind) + tags.little(block, entry)
        if tag == 37500:  # full of offsets, in a file or a block: true where it was
            content += struct.pack("Q", entry.start)
            name = "the place of its maker's notes, which hold offsets"
        row = None if where else parts.TAGS.get(tag)
        yield from _by(row, name, f"tag {where}{tag}", content, "EXIF" if tag in metadata.DESCRIPTIVE else group)


def tag_name(tag: int) -> str:
    """A tag by number and name, where it has one."""
    name = parts.TAG_NAMES.get(tag) or ExifTags.TAGS.get(tag, "")
    return f"tag {tag}{name and f' ({name})'}"


def _xmp(packet: bytes) -> Iterator[Thing]:
    """The properties of an XMP packet that are true of a copy."""
    if not packet:
        return
    true = xmp.true(packet)
    try:
        properties = xmp.properties(true) if true else []
    except ValueError:
        yield Thing("XMP, which cannot be read", "XMP", _digest(metadata.turned(packet, 1)), group="XMP")
        return
    if not true:
        yield Thing("XMP, which is damaged and speaks of a video or pictures behind the picture", "XMP")
    for name, content in properties:
        short = name.rpartition("}")[2]
        if not name.endswith("tiff/1.0/}Orientation"):
            yield Thing(f"XMP {short}", f"XMP {name}", _digest(content), group="XMP")


def _resources(block: bytes) -> Iterator[Thing]:
    """Photoshop's image resources, of which IPTC is one."""
    try:
        found = metadata.resources(block)
    except ValueError:
        yield Thing("image resources, which are damaged", "resources", _digest(block), group="IPTC")
        return
    for kind, content in found:
        name = "IPTC" if kind == 1028 else f"Photoshop's resource {kind}"
        yield from _by(parts.RESOURCES.get(kind), name, f"resource {kind}", content, "IPTC")


def _comment(content: bytes) -> Thing:
    return Thing("comments", "comment", _digest(content), group="comments")


RESOLUTION = Thing("resolution", "resolution")
ASPECT = Thing("shape of its pixels", "aspect")


# --- formats -------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Iterator[Thing]:
    try:
        segments, behind = _jpeg_parts(data)
    except ValueError:
        segments, behind = jpeg.head(data), b""
        yield Thing("whatever follows damage between its segments", "unknown", kind="content")
    exif, packet, resources = False, False, b""
    for marker, payload, _ in segments:
        if marker == jpeg.APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 12:
            unit, x, y = struct.unpack_from(">BHH", payload, 7)
            yield from [RESOLUTION] if unit in (1, 2) and x and y else [ASPECT] if x != y and x and y else []
            yield from [Thing("thumbnail", "thumbnail", kind="stale")] if len(payload) > 14 else []
        elif marker == jpeg.APP1 and payload.startswith(metadata.EXIF) and not exif:
            exif = True
            yield from _exif(payload[len(metadata.EXIF) :])
        elif marker == jpeg.APP1 and payload.startswith(metadata.XMP) and not packet:
            packet = True
            yield from _xmp(payload[len(metadata.XMP) :])
        elif marker == jpeg.APP1 and payload.startswith(metadata.XMP_MORE):
            yield Thing("extended XMP", "extended XMP", _digest(payload), group="extended XMP")
        elif marker == jpeg.APP13 and payload.startswith(metadata.IPTC):
            resources += payload[len(metadata.IPTC) :]
        elif marker == jpeg.COM:
            yield _comment(payload)
        else:
            name = f"APP{marker - jpeg.APP0}" if jpeg.APP0 <= marker <= jpeg.APP15 else f"segment {marker:#04x}"
            begins = re.match(rb"[ -~]{3,}", payload)
            yield from _by(
                parts.of_segment(marker, payload),
                f"{name}{begins and f' {begins[0][:16].decode()}' or ''}",
                f"{name} {payload[:16]!r}",
                payload,
            )
    yield from _resources(resources)
    yield from _behind(behind)


def _jpeg_parts(data: bytes) -> tuple[list[jpeg.Segment], bytes]:
    """Every segment, and what follows the end marker; one that is missing is no fault. Raises ValueError."""
    try:
        return jpeg.whole(data)
    except ValueError as error:
        if "truncated" in str(error):
            return jpeg.head(data), b""
        raise


def _png(data: bytes) -> Iterator[Thing]:
    at = 8
    for kind, content in metadata.chunks(data):
        at += 12 + len(content)
        if kind == b"eXIf":
            yield from _exif(content.removeprefix(metadata.EXIF))
        elif kind == b"pHYs" and len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            yield from [RESOLUTION] if unit == 1 and x and y else [ASPECT] if x != y else []
        elif kind in metadata.PNG_TEXTS:
            yield from _text(kind, content)
        elif kind == b"cICP" and content == b"\1\x0d\0\1":
            continue  # sRGB
        else:
            name = kind.decode("latin-1")
            yield from _by(parts.of_chunk(kind), f"chunk {name}", f"chunk {name}", content)
        if kind == b"IEND":
            break
    yield from _behind(data[at:])


def _text(kind: bytes, content: bytes) -> Iterator[Thing]:
    keyword, _, value = content.partition(b"\0")
    name = keyword.decode("latin-1")
    if keyword == b"XML:com.adobe.xmp" and kind == b"iTXt":
        flags, rest = value[:2], value[2:].split(b"\0", 2)[-1]
        yield from _xmp(rest) if flags[:1] == b"\0" else [Thing("XMP, compressed", "XMP", _digest(rest), group="XMP")]
    elif name.removeprefix("Raw profile type ") in ("icc", "icm"):
        yield Thing(parts.PROFILE.name, "profile", kind="stale")
    elif name == "Raw profile type exif":
        return  # read as EXIF
    elif kind == b"iTXt" and keyword == b"Comment" and value.startswith(b"\0\0\0\0"):
        yield _comment(value[4:])
    else:
        yield Thing(f"text {name}", f"text {kind!r}", _digest(content), group="text")


def _tiff(data: bytes) -> Iterator[Thing]:
    """Its first directory, with those of EXIF and GPS below it; pages are counted elsewhere."""
    try:
        found = tags.directory(data, tags.first(data))
        raw = {entry.tag: entry for entry in found.entries}
        packet, iptc, resources = (raw.get(tag) for tag in metadata.OWN_TAGS)
        yield from _xmp(data[packet.start : packet.stop] if packet else b"")
        yield from _resources(metadata.resources_of_tiff(data))
        if iptc and resources:
            value = data[iptc.start : iptc.stop].rstrip(b"\0")
            if value not in data[resources.start : resources.stop]:
                yield Thing("IPTC", f"tag {iptc.tag}", _digest(value))
        yield from [RESOLUTION] if 282 in raw and 283 in raw else []
        yield from _tags(data, found, "")
        yield from _behind(data[_tiff_end(data, found) :], "all that its tags speak of")
    except (ValueError, struct.error):
        yield Thing("tags, which are damaged", "tags", _digest(data))


def _tiff_end(data: bytes, found: tags.Directory, depth: int = 0) -> int:
    """Where ends what a TIFF's directories speak of; the file's end where that cannot be told."""
    at, size = found.next_at, 8 if tags.layout(data).big else 4
    values = {entry.tag: tags.numbers(data, entry) for entry in found.entries}
    known = all(len(values.get(a, ())) == len(values.get(b, ())) for a, b in ((273, 279), (324, 325)))
    if not depth and (any(data[at : at + size]) or not known or values.get(259) == (6,) or 330 in values):
        return len(data)
    ends = [at + size, *(entry.stop for entry in found.entries)]
    for where, length in ((273, 279), (324, 325)):
        ends += map(sum, zip(values.get(where, ()), values.get(length, ())))
    for pointer in tags.POINTERS:
        ends += [_tiff_end(data, tags.directory(data, place), depth + 1) for place in values.get(pointer, ()) if depth < 3]
    return max(ends)


def _riff(data: bytes) -> Iterator[Thing]:
    """A WebP's chunks."""
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        content = data[at + 8 : at + 8 + length]
        if kind == b"EXIF":
            yield from _exif(content.removeprefix(metadata.EXIF))
        elif kind == b"XMP ":
            yield from _xmp(content)
        else:
            name = f"chunk {kind.decode('latin-1')}"
            yield from _by(parts.RIFF.get(kind), name, name, content)
        at += 8 + length + length % 2
    yield from _behind(data[end + end % 2 :])


def _jpeg2000(data: bytes) -> Iterator[Thing]:
    if data[:4] == b"\xff\x4f\xff\x51":
        yield from _codestream(data)
        return
    at = 0
    for kind, content, at in metadata.boxes(data):
        yield from _box(kind, content)
        if kind == b"jp2h":
            for inner, value, _ in metadata.boxes(content):
                if inner == b"colr" and value[:1] == b"\1":
                    continue  # a number, no profile
                yield from _by(parts.BOXES.get(inner), f"box {inner.decode('latin-1')}", f"box {inner!r}", value)
        if kind == b"jp2c":
            yield from _codestream(content)
    yield from _behind(data[at:])


def _box(kind: bytes, content: bytes) -> Iterator[Thing]:
    """A box at the top of a JPEG 2000, an AVIF or a HEIF."""
    if kind == b"uuid" and content.startswith(metadata.XMP_UUID):
        yield from _xmp(content[16:])
        return
    name = f"box {kind.decode('latin-1')}"
    which = f" {content[:16]!r}" if kind == b"uuid" else ""
    yield from _by(parts.BOXES.get(kind), f"{name}{which}", f"{name}{which}", content)


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
            yield Thing("comments", "comment of the codestream", _digest(content))
        at += 2 + length
    end = data.rfind(b"\xff\xd9")
    yield from _behind(data[end + 2 :]) if end >= 0 else []


def _media(data: bytes) -> Iterator[Thing]:
    """An AVIF's or a HEIF's boxes and items; EXIF and XMP as Pillow reads them."""
    at = 0
    for kind, content, at in metadata.boxes(data):
        yield from _box(kind, content)
        yield from _items(content) if kind == b"meta" else []
    yield from _behind(data[at:])
    with Image.open(io.BytesIO(data)) as image:
        exif, packet = image.info.get("exif"), image.info.get("xmp")
    yield from _exif((exif or b"").removeprefix(metadata.EXIF))
    yield from _xmp(packet or b"")


def _items(content: bytes) -> Iterator[Thing]:
    """Items of a meta box that are no part of its first picture (ISO 14496-12, 8.11; ISO 23008-12)."""
    inner = {kind: value for kind, value, _ in metadata.boxes(content, 4)}
    try:
        (first,) = struct.unpack_from(">I" if inner[b"pitm"][0] else ">H", inner[b"pitm"], 4)
        items = dict(_infe(inner[b"iinf"]))
        links = list(_iref(inner.get(b"iref", bytes(4))))
    except (KeyError, IndexError, struct.error):
        yield Thing("items, which are damaged", "items", _digest(content), "content")
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
    for kind, entry, _ in metadata.boxes(content, 6 if content[0] == 0 else 8):
        if kind == b"infe" and entry[0] in (2, 3):
            wide = entry[0] == 3
            (number,) = struct.unpack_from(">I" if wide else ">H", entry, 4)
            at = 10 if wide else 8
            media = entry[at + 4 :].split(b"\0")[1:2]
            yield number, b" ".join([entry[at : at + 4], *media]) if entry[at : at + 4] == b"mime" else entry[at : at + 4]


def _iref(content: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    """Kind, source and targets of each reference between items."""
    letter, size = ("I", 4) if content[0] else ("H", 2)
    for kind, entry, _ in metadata.boxes(content, 4):
        source, count = struct.unpack_from(f">{letter}H", entry)
        yield kind, source, struct.unpack_from(f">{count}{letter}", entry, size + 2)


def _gif(data: bytes) -> Iterator[Thing]:
    """A GIF's extensions."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10:11] and data[10] & 0x80 else 0)

    def blocks(at: int) -> tuple[bytes, int]:
        found = b""
        while at < len(data) and data[at]:
            found += data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
        return found, at + 1

    while at + 1 < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C and at + 10 <= len(data):
            at += 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
            _, at = blocks(at + 1)
        elif data[at] == 0x21:
            label = data[at + 1]
            content, at = blocks(at + 2)
            if label == 0xFE:
                yield _comment(content)
            elif label == 0x01:
                yield Thing("plain text", "plain text", _digest(content))
            elif label == 0xFF and content[:11] == b"XMP DataXMP":
                yield from _xmp(content[11:-257])
            elif label == 0xFF and content[:11] == b"ICCRGBG1012":
                yield Thing(parts.PROFILE.name, "profile", kind="stale")
            elif label == 0xFF and content[:11] not in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
                name = content[:11].decode("latin-1")
                yield Thing(f"application data {name}", f"application {name}", _digest(content))
        else:
            return
    yield from _behind(data[at + 1 :])


def _bmp(data: bytes) -> Iterator[Thing]:
    size, at, header = struct.unpack_from("<I4xII", data, 2)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        yield from _behind(data[at + height * ((width * bits + 31) // 32 * 4) :])
    elif header >= 40:
        width, height, _, bits, packed, length, x, y = struct.unpack_from("<iiHHIIii", data, 18)
        yield from [RESOLUTION] if x > 0 and y > 0 else []
        length = abs(height) * ((width * bits + 31) // 32 * 4) if packed in (0, 3) else length
        end = at + length
        if header >= 124:
            where, count = struct.unpack_from("<II", data, 14 + 112)
            if data[14 + 56 : 14 + 60] in (b"DEBM", b"KNIL") and count:
                yield Thing("color profile", "profile", _digest(data[14 + where : 14 + where + count]))
                end = max(end, 14 + where + count)
        yield from _behind(data[end:])


def _pnm(data: bytes) -> Iterator[Thing]:
    """Comments in a header, and what follows the pixels of a binary one."""
    at, values = 2, []
    while len(values) < (2 if data[1:2] in b"14" else 3) and (token := _pnm_token.match(data, at)):
        for content in re.findall(rb"#([^\r\n]*)", token[1]):
            yield _comment(content)
        values.append(int(token[2]))
        at = token.end()
    if data[1:2] in b"456" and len(values) >= 2:
        width, height, most = values[0], values[1], values[2] if len(values) > 2 else 1
        row = (width + 7) // 8 if data[1:2] == b"4" else width * (1 + (most > 255)) * (3 if data[1:2] == b"6" else 1)
        yield from _behind(data[at + 1 + row * height :])


_pnm_token = re.compile(rb"((?:\s|#[^\r\n]*[\r\n])+)(\d+)")


def _tga(data: bytes) -> Iterator[Thing]:
    if len(data) > 18 and data[0]:
        yield Thing("image ID", "image ID", _digest(data[18 : 18 + data[0]]))
    if data[-18:-2] == b"TRUEVISION-XFILE" and any(data[-26:-18]):
        yield Thing("extension or developer area", "areas", _digest(data[-26:-18]))


def _sgi(data: bytes) -> Iterator[Thing]:
    name = data[24:104].split(b"\0")[0]
    if name and name != b"no name":
        yield Thing("image name", "image name", _digest(name))


def _qoi(data: bytes) -> Iterator[Thing]:
    yield from _behind(data[data.rfind(bytes(7) + b"\1") + 8 :])


READERS: dict[str, Callable[[bytes], Iterator[Thing]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
    "WEBP": _riff,
    "JPEG2000": _jpeg2000,
    "AVIF": _media,
    "HEIF": _media,
    "GIF": _gif,
    "BMP": _bmp,
    "PPM": _pnm,
    "TGA": _tga,
    "SGI": _sgi,
    "QOI": _qoi,
}
