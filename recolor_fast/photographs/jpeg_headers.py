"""What the headers of a JPEG say (ITU-T T.81, annex B): read without its pixels."""

from typing import NamedTuple

from recolor_fast.photographs import jpeg
from recolor_fast.photographs.opening import MAX_PIXELS
from recolor_fast.photographs.samples import UnreadableImage

APP14, DAC = 0xEE, 0xCC
OTHERS = frozenset((jpeg.DHT, DAC, jpeg.DQT, jpeg.DRI, jpeg.COM, *range(jpeg.APP0, jpeg.APP15 + 1)))  # than the frame


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
    end, frame, adobe = 2, None, None
    try:
        while True:
            marker, segment, offset, end = jpeg.mark(data, end)
            if segment is None:
                return None
            if marker == jpeg.SOS:
                return _header(*frame, adobe, offset) if frame else None
            if marker in jpeg.FRAMES and not frame and len(segment) >= 6 and len(segment) == 6 + 3 * segment[5]:
                frame = (marker, segment)
            elif marker not in OTHERS or (marker == jpeg.DQT and not _whole_tables(segment)):
                return None  # nothing that belongs here, or a second frame: let the full decoder judge
            if marker == APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
                adobe = segment[11]
    except ValueError:
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


def _whole_tables(segment: bytes) -> bool:
    """Whether a DQT segment ends with a table: 64 numbers of 8 or 16 bits, as the byte before them says."""
    at = 0
    while at < len(segment):
        at += 65 if segment[at] < 16 else 129
    return at == len(segment)


def _header(marker: int, frame: bytes, adobe: int | None, scan: int) -> Jpeg:
    """`frame` is the SOF segment; `adobe` the color transform of an APP14 segment (0: none, so RGB or CMYK)."""
    precision, count = frame[0], frame[5]
    rgb = frame[6::3][:count] == b"RGB" or adobe == 0
    plain = marker in jpeg.JOINABLE and precision == 8 and (count == 1 or (count == 3 and not rgb))
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return Jpeg(width, height, plain and height > 0 and width > 0, scan)
