"""Everything that a file holds beside its picture, by format, and what of it a copy does not have any more.

Nothing is taken for kept because it should be: the copy's own inventory has to have it, byte for byte.
"""

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from recolor_fast.photographs import boxed, containers, jpeg, metadata, parts, tags, things
from recolor_fast.photographs.things import Thing

LOSSES = ("metadata", "content")
NAMED = 12  # losses at most in one sentence


def of(data: bytes, format: str) -> tuple[Thing, ...]:
    """The inventory of a file by Pillow's name of its format; empty for formats whose structure is not known."""
    try:
        return tuple(READERS[format](bytes(data))) if format in READERS else ()
    except (ValueError, LookupError, OSError, RuntimeError, struct.error, zlib.error) as error:  # Pillow's, too
        return (
            Thing(
                f"parts that cannot be told apart ({type(error).__name__})", "unknown", things.digest(data), "content"
            ),
        )


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


def _jpeg(data: bytes) -> Iterator[Thing]:
    try:
        segments, behind = _jpeg_parts(data)
    except ValueError:
        segments, behind = jpeg.head(data), b""
        yield Thing("whatever follows damage between its segments", "unknown", things.digest(data), "content")
    exif, packet, resources = False, False, b""
    for marker, payload, _ in segments:
        if marker == jpeg.APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 12:
            unit, x, y = struct.unpack_from(">BHH", payload, 7)
            if x and y and (unit in (1, 2) or x != y):
                yield things.RESOLUTION if unit in (1, 2) else things.ASPECT
            yield from [Thing("thumbnail", "thumbnail", kind="stale")] if len(payload) > 14 else []
        elif marker == jpeg.APP1 and payload.startswith(metadata.EXIF) and not exif:
            exif = True
            yield from things.of_exif(payload[len(metadata.EXIF) :])
        elif marker == jpeg.APP1 and payload.startswith(metadata.XMP) and not packet:
            packet = True
            yield from things.of_xmp(payload[len(metadata.XMP) :])
        elif marker == jpeg.APP1 and payload.startswith(metadata.XMP_MORE):
            yield Thing("extended XMP", "extended XMP", things.digest(payload), group="extended XMP")
        elif marker == jpeg.APP13 and payload.startswith(metadata.IPTC):
            resources += payload[len(metadata.IPTC) :]
        elif marker == jpeg.COM:
            yield things.of_comment(payload)
        elif (row := parts.of_segment(marker, payload)) is not parts.PIXELS:
            name = f"APP{marker - jpeg.APP0}" if jpeg.APP0 <= marker <= jpeg.APP15 else f"segment {marker:#04x}"
            begins = re.match(rb"[ -~]{3,}", payload)
            yield from things.by_row(
                row,
                f"{name} {begins[0][:16].decode()}" if begins else name,
                f"{name} {payload[:16]!r}",
                payload,
            )
    yield from things.of_resources(resources)
    yield from things.behind(behind)


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
    for kind, content in containers.chunks(data):
        at += 12 + len(content)
        if kind == b"eXIf":
            yield from things.of_exif(content.removeprefix(metadata.EXIF))
        elif kind == b"pHYs" and len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            yield from [things.RESOLUTION] if unit == 1 and x and y else [things.ASPECT] if x != y else []
        elif kind in metadata.PNG_TEXTS:
            yield from _text(kind, content)
        elif kind == b"cICP" and content == b"\1\x0d\0\1":
            continue  # sRGB
        else:
            name = kind.decode("latin-1")
            yield from things.by_row(parts.of_chunk(kind), f"chunk {name}", f"chunk {name}", content)
        if kind == b"IEND":
            break
    yield from things.behind(data[at:])


def _text(kind: bytes, content: bytes) -> Iterator[Thing]:
    keyword, _, value = content.partition(b"\0")
    name = keyword.decode("latin-1")
    if keyword == b"XML:com.adobe.xmp" and kind == b"iTXt":
        packet = value[2:].split(b"\0", 2)[-1]
        if value[:1] == b"\1":
            packet = zlib.decompressobj().decompress(packet, 2**24)
        yield from things.of_xmp(packet)
    elif name.removeprefix("Raw profile type ") in ("icc", "icm"):
        yield Thing(parts.PROFILE.name, "profile", kind="stale")
    elif name == "Raw profile type exif":
        return  # read as EXIF
    elif kind == b"iTXt" and keyword == b"Comment" and value.startswith(b"\0\0\0\0"):
        yield things.of_comment(value[4:])
    else:
        yield Thing(f"text {name}", f"text {kind!r}", things.digest(content), group="text")


def _tiff(data: bytes) -> Iterator[Thing]:
    """Its first directory, with those of EXIF and GPS below it; pages are counted elsewhere."""
    try:
        table = tags.directory(data, tags.first(data))
        raw = {entry.tag: entry for entry in table.entries}
        packet, iptc, _ = (raw.get(tag) for tag in metadata.OWN_TAGS)
        yield from things.of_xmp(data[packet.start : packet.stop] if packet else b"")
        resources = metadata.resources_of_tiff(data)
        yield from things.of_resources(resources)
        if iptc and (value := data[iptc.start : iptc.stop].rstrip(b"\0")) not in resources:
            yield Thing("IPTC beside the one in Photoshop's resources", f"tag {iptc.tag}", things.digest(value))
        yield from [things.RESOLUTION] if 282 in raw and 283 in raw else []
        yield from things.of_tags(data, table, "")
        yield from things.behind(data[_tiff_end(data, table) :], "all that its tags speak of")
        try:
            (following,) = struct.unpack_from(tags.layout(data).offset, data, table.next_at)
            following and tags.directory(data, following)
        except (ValueError, struct.error):
            yield Thing("a page that cannot be read", "page", kind="content")
    except (ValueError, struct.error):
        yield Thing("tags, which are damaged", "tags", things.digest(data))


def _tiff_end(data: bytes, table: tags.Table, depth: int = 0) -> int:
    """Where ends what a TIFF's directories speak of; the file's end where that cannot be told."""
    at, size = table.next_at, 8 if tags.layout(data).big else 4
    values = {entry.tag: tags.numbers(data, entry) for entry in table.entries}
    known = all(len(values.get(a, ())) == len(values.get(b, ())) for a, b in ((273, 279), (324, 325)))
    if not depth and (any(data[at : at + size]) or not known or values.get(259) == (6,) or 330 in values):
        return len(data)
    ends = [at + size, *(entry.stop for entry in table.entries)]
    for where, length in ((273, 279), (324, 325)):
        ends += map(sum, zip(values.get(where, ()), values.get(length, ())))
    for pointer in tags.POINTERS:
        ends += [
            _tiff_end(data, tags.directory(data, place), depth + 1) for place in values.get(pointer, ()) if depth < 3
        ]
    return max(ends)


def _riff(data: bytes) -> Iterator[Thing]:
    """A WebP's chunks."""
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        content = data[at + 8 : at + 8 + length]
        if kind == b"EXIF":
            yield from things.of_exif(content.removeprefix(metadata.EXIF))
        elif kind == b"XMP ":
            yield from things.of_xmp(content)
        else:
            name = f"chunk {kind.decode('latin-1')}"
            yield from things.by_row(parts.RIFF.get(kind), name, name, content)
        at += 8 + length + length % 2
    yield from things.behind(data[end + end % 2 :])


def _gif(data: bytes) -> Iterator[Thing]:
    """A GIF's extensions."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10:11] and data[10] & 0x80 else 0)

    def blocks(at: int) -> tuple[bytes, int]:
        result = []
        while at < len(data) and data[at]:
            result.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        return b"".join(result), at + 1

    while at + 1 < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C and at + 10 <= len(data):
            at += 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
            _, at = blocks(at + 1)
        elif data[at] == 0x21:
            label = data[at + 1]
            content, at = blocks(at + 2)
            if label == 0xFE:
                yield things.of_comment(content)
            elif label == 0x01:
                yield Thing("plain text", "plain text", things.digest(content))
            elif label == 0xFF and content[:11] == b"XMP DataXMP":
                yield from things.of_xmp(content[11:-257])
            elif label == 0xFF and content[:11] == b"ICCRGBG1012":
                yield Thing(parts.PROFILE.name, "profile", kind="stale")
            elif label == 0xFF and content[:11] not in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
                name = content[:11].decode("latin-1")
                yield Thing(f"application data {name}", f"application {name}", things.digest(content))
        else:
            return
    yield from things.behind(data[at + 1 :])


def _bmp(data: bytes) -> Iterator[Thing]:
    _, at, header = struct.unpack_from("<I4xII", data, 2)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        yield from things.behind(data[at + height * ((width * bits + 31) // 32 * 4) :])
    elif header >= 40:
        width, height, _, bits, packed, length, x, y = struct.unpack_from("<iiHHIIii", data, 18)
        yield from [things.RESOLUTION] if x > 0 and y > 0 else []
        length = abs(height) * ((width * bits + 31) // 32 * 4) if packed in (0, 3) else length
        end = at + length
        if header >= 124:
            where, count = struct.unpack_from("<II", data, 14 + 112)
            if data[14 + 56 : 14 + 60] in (b"DEBM", b"KNIL") and count:
                yield Thing("color profile", "profile", things.digest(data[14 + where : 14 + where + count]))
                end = max(end, 14 + where + count)
        yield from things.behind(data[end:])


def _pnm(data: bytes) -> Iterator[Thing]:
    """Comments in a header, and what follows the pixels of a binary one."""
    at = 2
    values: list[int] = []
    while len(values) < (2 if data[1:2] in b"14" else 3) and (token := _pnm_token.match(data, at)):
        for content in re.findall(rb"#([^\r\n]*)", token[1]):
            yield things.of_comment(content)
        values.append(int(token[2]))
        at = token.end()
    if data[1:2] in b"456" and len(values) >= 2:
        width, height, most = values[0], values[1], values[2] if len(values) > 2 else 1
        row = (width + 7) // 8 if data[1:2] == b"4" else width * (1 + (most > 255)) * (3 if data[1:2] == b"6" else 1)
        yield from things.behind(data[at + 1 + row * height :])


_pnm_token = re.compile(rb"((?:\s|#[^\r\n]*[\r\n])+)(\d+)")


def _tga(data: bytes) -> Iterator[Thing]:
    if len(data) > 18 and data[0]:
        yield Thing("image ID", "image ID", things.digest(data[18 : 18 + data[0]]))
    if data[-18:-2] == b"TRUEVISION-XFILE" and any(data[-26:-18]):
        yield Thing("extension or developer area", "areas", things.digest(data[-26:-18]))


def _sgi(data: bytes) -> Iterator[Thing]:
    name = data[24:104].split(b"\0")[0]
    if name and name != b"no name":
        yield Thing("image name", "image name", things.digest(name))


def _psd(data: bytes) -> Iterator[Thing]:
    """A Photoshop file's resources, and that it has layers."""
    at, result = 26, []
    for _ in range(3):  # palette, resources, layers
        (length,) = struct.unpack_from(">I", data, at)
        result.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    yield from things.of_resources(result[1])
    if len(result[2]) > 2 and any(result[2]):
        yield Thing("layers", "layers", kind="content")


def _ico(data: bytes) -> Iterator[Thing]:
    (count,) = struct.unpack_from("<H", data, 4)
    yield from [Thing(f"{count - 1} further pictures", "sizes", kind="content")] if count > 1 else []


def _icns(data: bytes) -> Iterator[Thing]:
    at, count = 8, 0
    while at + 8 <= len(data) and (length := int.from_bytes(data[at + 4 : at + 8], "big")) >= 8:
        count += data[at : at + 4] not in (b"TOC ", b"icnV", b"name", b"info", b"s8mk", b"l8mk", b"h8mk", b"t8mk")
        at += length
    yield from [Thing(f"{count - 1} further pictures", "sizes", kind="content")] if count > 1 else []


def _fits(data: bytes) -> Iterator[Thing]:
    """A FITS file's cards but for those that say how its pixels are stored, and what follows these."""
    cards: dict[str, str] = {}
    for at in range(0, len(data) - 79, 80):
        name, _, value = data[at : at + 80].decode("latin-1").partition("=")
        name = (name if len(name) <= 8 else name[:8]).strip()
        if name == "END":
            break
        cards[name] = value.partition("/")[0]
    names = [name for name in cards if name and not re.fullmatch(r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|BSCALE|BZERO", name)]
    yield from [Thing(f"header cards ({', '.join(names[:6])})", "cards", things.digest(data[:at]))] if names else []
    size = abs(int(cards["BITPIX"])) // 8
    for axis in range(1, int(cards["NAXIS"]) + 1):
        size *= int(cards[f"NAXIS{axis}"])
    yield from things.behind(data[-(-(at + 80) // 2880) * 2880 + size :])


def _qoi(data: bytes) -> Iterator[Thing]:
    yield from things.behind(data[data.rfind(bytes(7) + b"\1") + 8 :])


READERS: dict[str, Callable[[bytes], Iterator[Thing]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
    "WEBP": _riff,
    "JPEG2000": boxed.of_jpeg2000,
    "AVIF": boxed.of_media,
    "HEIF": boxed.of_heif,
    "JXL": boxed.of_jxl,
    "GIF": _gif,
    "BMP": _bmp,
    "PPM": _pnm,
    "TGA": _tga,
    "SGI": _sgi,
    "QOI": _qoi,
    "PSD": _psd,
    "ICO": _ico,
    "CUR": _ico,
    "ICNS": _icns,
    "FITS": _fits,
}
