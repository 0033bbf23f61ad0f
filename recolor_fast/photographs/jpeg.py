"""JPEG files as marker segments (ITU-T T.81, annex B), without decoding a coefficient.

A JPEG is SOI, then segments (marker, length, payload), then EOI; entropy-coded data follow a start of scan (SOS).
"""

import struct
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from recolor_fast.machine.files import legible_bytes

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DHT, SOS, DQT, DRI = 0xC4, 0xDA, 0xDB, 0xDD
APP0, APP1, APP2, APP13, APP15, COM = 0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE
MAX_PAYLOAD = 65_533  # bytes: the length field counts itself
FRAMES = {  # start of frame (table B.1): how the picture is coded
    0xC0: "baseline",
    0xC1: "extended",
    0xC2: "progressive",
    0xC3: "lossless",
    0xC5: "differential",
    0xC6: "differential progressive",
    0xC7: "differential lossless",
    0xC9: "arithmetic coding",
    0xCA: "progressive, arithmetic coding",
    0xCB: "lossless, arithmetic coding",
    0xCD: "differential, arithmetic coding",
    0xCE: "differential progressive, arithmetic coding",
    0xCF: "differential lossless, arithmetic coding",
}
JOINABLE, PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2

WINDOW = 2**20  # bytes of entropy-coded data looked at a time


class Segment(NamedTuple):
    """One marker segment."""

    marker: int
    """Second byte of the marker: 0xE1 is APP1."""
    payload: bytes
    """What follows the length field."""
    scan: bytes = b""
    """After SOS: the entropy-coded data with their restart markers."""


class Frame(NamedTuple):
    """What a start of frame (SOF) says."""

    marker: int
    """A key of FRAMES."""
    precision: int
    """Bits a sample."""
    height: int
    width: int
    """Pixels."""
    components: tuple[tuple[int, int, int], ...]
    """Identifier, sampling factors (horizontal * 16 + vertical) and quantization table of each."""


class Mark(NamedTuple):
    """A marker between the segments of a JPEG."""

    code: int
    """Its second byte."""
    payload: bytes | None
    """What its segment holds; None where it stands alone (SOI, EOI, TEM, restarts)."""
    at: int
    """Where its first byte lies, behind fill bytes."""
    end: int
    """Where what follows it begins."""


def mark(data: bytes, at: int) -> Mark:
    """The marker that begins at a place, or after fill bytes there. Raises ValueError where there is none."""
    begin = at
    while data[at : at + 2] == b"\xff\xff":  # fill bytes
        at += 1
    if at + 2 > len(data):
        raise ValueError("truncated: the JPEG data stop before their end marker")
    if data[at] != 0xFF:
        raise ValueError(f"stray byte {data[at]:#04x} between the segments of a JPEG, at {begin:,}")
    code = data[at + 1]
    if code == 0x01 or 0xD0 <= code <= 0xD9:
        return Mark(code, None, at, at + 2)
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if length < 2 or at + 2 + length > len(data):
        raise ValueError(f"segment {code:#04x} of a JPEG says {length} bytes, more or less than there can be")
    return Mark(code, data[at + 4 : at + 2 + length], at, at + 2 + length)


def parse(data: bytes, scans: bool = True) -> Generator[Segment, None, int]:
    """The segments between SOI and EOI; without `scans` only those before the first SOS, which cost no search.

    What follows EOI (further pictures of an MPO) is not looked at; where it begins is the generator's return value.
    Raises ValueError where the structure is broken.
    """
    if data[:2] != SOI:
        raise ValueError(f"no JPEG: it begins with {legible_bytes(data[:2])}, expected FF D8")
    at = 2
    while True:
        code, payload, begin, at = mark(data, at)
        if code == EOI[1] or (code == SOS and not scans):
            return begin + 2
        if payload is not None:
            start = at
            if code == SOS:
                at = _scan_end(data, at)
            yield Segment(code, payload, data[start:at])


def _scan_end(data: bytes, start: int) -> int:
    """Where a scan's entropy-coded data end: at a marker other than a restart (FF 00 is data), with its fill bytes.

    Raises ValueError where there is none.
    """
    for at in range(start, len(data) - 1, WINDOW):
        window = np.frombuffer(data, np.uint8, min(WINDOW + 1, len(data) - at), at)
        places = np.flatnonzero(window[:-1] == 0xFF)
        after = window[places + 1]
        ends = places[(after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7))]
        if ends.size:
            end = at + int(ends[0])
            while end > start and data[end - 1] == 0xFF:
                end -= 1
            return end
    raise ValueError("truncated: the JPEG data stop before their end marker")


def whole(data: bytes) -> tuple[list[Segment], bytes]:
    """Every segment of a JPEG, and what follows its end marker. Raises ValueError where the structure is broken."""
    result, segments = [], parse(data)
    while True:
        try:
            result.append(next(segments))
        except StopIteration as end:
            return result, data[end.value :]


def head(data: bytes) -> list[Segment]:
    """The segments before the first scan, as many as can be read: whether the rest is sound, decoding tells."""
    result = []
    try:
        for segment in parse(data, scans=False):
            result.append(segment)
    except ValueError:
        pass
    return result


def frame(segments: Iterable[Segment]) -> Frame:
    """The picture's frame. Raises ValueError where there is none."""
    for marker, payload, _ in segments:
        if marker in FRAMES and len(payload) >= 6 and len(payload) == 6 + 3 * payload[5]:
            precision, height, width, _ = struct.unpack_from(">BHHB", payload)
            components = tuple((payload[at], payload[at + 1], payload[at + 2]) for at in range(6, len(payload), 3))
            return Frame(marker, precision, height, width, components)
    raise ValueError("a JPEG without a valid frame header")


def write(segments: Iterable[Segment]) -> bytes:
    """The file of these segments. Raises ValueError for a payload of more than MAX_PAYLOAD bytes."""
    parts = [SOI]
    for marker, payload, scan in segments:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a JPEG segment of {len(payload):,} bytes: expected at most {MAX_PAYLOAD:,}")
        parts += [bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2, "big"), payload, scan]
    return b"".join([*parts, EOI])


def splice(data: bytes, segments: Iterable[Segment]) -> bytes:
    """A JPEG with further segments directly behind SOI; of a leading APP0 (JFIF) it keeps the one in `segments`.

    Everything else stays as it is, byte for byte. Raises ValueError as `write` does.
    """
    segments = list(segments)
    rest = 2
    if data[2:4] == bytes((0xFF, APP0)) and any(segment.marker == APP0 for segment in segments):
        rest = mark(data, 2).end
    return b"".join([write(segments)[: -len(EOI)], data[rest:]])


def cropped(data: bytes, height: int, width: int) -> bytes:
    """A JPEG that ends a few pixels earlier, within its last row and column of coded units, which stay as they are.

    Raises ValueError where the size is not of that kind.
    """
    start = mark(data, 2)
    while start.code not in FRAMES:
        start = mark(data, start.end)
    header = frame([Segment(start.code, start.payload or b"")])
    units = [
        8 * max(part(factors) for _, factors, _ in header.components) for part in (lambda f: f & 15, lambda f: f >> 4)
    ]
    for old, new, unit in zip((header.height, header.width), (height, width), units):
        if not old - unit < new <= old or -(-new // unit) != -(-old // unit):
            raise ValueError(f"{header.height} x {header.width} pixels cannot be cropped to {height} x {width}")
    at = start.at + 5  # marker, length, precision
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def gray_frame(data: bytes) -> Frame:
    """The frame of a gray JPEG whose scans `join` can take over. Raises ValueError saying why there is none."""
    header = frame(parse(data, scans=False))
    if header.marker not in JOINABLE:
        expected = f"{FRAMES[0xC0]} or {FRAMES[PROGRESSIVE]}"
        raise ValueError(f"the JPEG is coded as {FRAMES[header.marker]}: expected {expected}")
    if len(header.components) != 1 or header.precision != 8:
        raise ValueError(
            f"the JPEG has {len(header.components)} components of {header.precision} bits: expected one of 8 bits"
        )
    return header


def join(luma: bytes, cb: bytes, cr: bytes, segments: Iterable[Segment] = ()) -> bytes:
    """Three gray JPEGs as one 4:2:0 color JPEG with the luma file's own coefficients, bit for bit.

    `luma` is H x W pixels, `cb` and `cr` are ceil(H/2) x ceil(W/2), progressive if `luma` is and with one quantization
    table for both; `segments` are what else the file shall hold, first (JFIF, metadata). Nothing of the kind is taken
    from the three. Raises ValueError where they do not fit.

    It works as T.81 (A.2.2) codes a scan of one component the same way whether the frame has one or three: blocks in
    raster order, as many as cover the component's own size. So each file's scans, with the tables that precede them,
    are those of one component here. Only its identifier in the scan headers is new.
    """
    files = [list(parse(data)) for data in (luma, cb, cr)]
    main, *chroma = (gray_frame(data) for data in (luma, cb, cr))
    half = (-(-main.height // 2), -(-main.width // 2))
    for other in chroma:
        if (other.height, other.width) != half:
            raise ValueError(f"chroma of {other.height} x {other.width} samples: expected {half[0]} x {half[1]}")
        if (other.marker == PROGRESSIVE) != (main.marker == PROGRESSIVE):
            raise ValueError(f"{FRAMES[other.marker]} chroma for a luma that is {FRAMES[main.marker]}")
    tables = [_quantization(segments)[frame.components[0][2]] for segments, frame in zip(files[1:], chroma)]
    if tables[0] != tables[1]:
        raise ValueError("chroma with two different quantization tables: expected one")
    if tables[0][0] >> 4:
        raise ValueError("chroma with a 16-bit quantization table: expected 8 bits")
    slot = main.components[0][2]
    other_slot = 0 if slot else 1
    header = struct.pack(">BHHB", 8, main.height, main.width, 3)
    header += bytes((1, 0x22, slot, 2, 0x11, other_slot, 3, 0x11, other_slot))
    own = [Segment(DQT, table) for table in _quantization(files[0]).values()]
    return write(
        chain(
            segments,
            [*own, Segment(DQT, bytes((other_slot,)) + tables[0][1:]), Segment(main.marker, header)],
            *(_scans(file, component) for component, file in enumerate(files, 1)),
        )
    )


def _quantization(segments: Iterable[Segment]) -> dict[int, bytes]:
    """Each quantization table before the first scan by its slot: precision and slot (one byte), then its values."""
    tables = {}
    for marker, payload, _ in segments:
        if marker == SOS:
            break
        at = 0
        while marker == DQT and at < len(payload):
            size = 1 + 64 * (1 + (payload[at] >> 4))
            tables[payload[at] & 15] = payload[at : at + size]
            at += size
    return tables


def _scans(segments: Iterable[Segment], component: int) -> Iterator[Segment]:
    """The scans of a gray file as those of a component, with their Huffman tables and restart intervals."""
    yield Segment(DRI, b"\0\0")  # none, unless the file says so: the component before may have had one
    for segment in segments:
        if segment.marker in (DHT, DRI):
            yield segment
        if segment.marker == SOS:
            count, _, *rest = segment.payload
            if count != 1 or len(rest) != 4:
                raise ValueError(f"a scan of {count} components in a gray JPEG: expected 1")
            yield segment._replace(payload=bytes((1, component, *rest)))
