"""What the headers of a JPEG say (ITU-T T.81, annex B): read without its pixels."""

from typing import NamedTuple

from recolor_fast.photographs.opening import MAX_PIXELS
from recolor_fast.photographs.samples import UnreadableImage


class Jpeg(NamedTuple):
    """What the headers of a JPEG say."""

    width: int
    """Pixels, before EXIF orientation."""
    height: int
    """Pixels, before EXIF orientation; 0 where only the end of the data would tell."""
    plain: bool
    """8 bits, Huffman-coded, gray or YCbCr: what every decoder reads alike."""
    scan: int
    """Offset of the first scan, where the pixels begin."""


def read(data: bytes) -> Jpeg | None:
    """The headers of a JPEG (ITU-T T.81, annex B); None for other formats and for headers that are out of order."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    offset, frame, adobe = 2, None, None
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        segment = data[offset + 4 : offset + 2 + int.from_bytes(data[offset + 2 : offset + 4])]
        if marker == 0xDA and frame is not None:
            return _header(*frame, adobe, offset)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = (marker, segment)
        if marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or (frame and len(frame[1]) < 6):
            return None  # no segment that belongs here: let the full decoder judge
        offset += 4 + len(segment)
    return None


def plain(data: bytes, max_pixels: int = MAX_PIXELS) -> Jpeg | None:
    """The headers of a JPEG of up to `max_pixels` that every decoder reads alike; None for all other data.

    Raises UnreadableImage where such a JPEG has no end marker.
    """
    header = read(data)
    if header is None or not header.plain or header.width * header.height > max_pixels:
        return None
    if data.rfind(b"\xff\xd9", header.scan) < 0:  # no other FF D9 can follow: entropy-coded FF is stuffed
        raise UnreadableImage("truncated: the JPEG data stops before its end marker")
    return header


def _header(marker: int, frame: bytes, adobe: int | None, scan: int) -> Jpeg:
    """`frame` is the SOF segment; `adobe` the color transform of an APP14 segment (0: none, so RGB or CMYK)."""
    precision, count = frame[0], frame[5]
    rgb = frame[6::3][:count] == b"RGB" or adobe == 0
    plain = marker in (0xC0, 0xC1, 0xC2) and precision == 8 and (count == 1 or (count == 3 and not rgb))
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return Jpeg(width, height, plain and height > 0 and width > 0, scan)
