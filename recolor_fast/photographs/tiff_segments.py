"""Strips and tiles of TIFF files: decompressed, and put together as samples of the type the file has."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from recolor_fast.photographs import samples
from recolor_fast.photographs.samples import UnreadableImage

PACKED = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, Deflate, PackBits, Deflate, LZMA, Zstandard: of bytes
DEFLATE = {8, 32946}
PREDICTED = PACKED - {1, 32773}  # with these two, libtiff leaves a predictor out of account and others do not
BILEVEL = {2, 3, 4}  # CCITT: of black and white rows
JPEGS, WEBP = {6, 7}, 50001  # of pictures of 8 bits, which a file of its own would hold; 6 is old-style JPEG
BEYOND = 2**16  # bytes that a segment may hold too many and its checksum is still looked for
BLOCK = 2**26  # bytes that are decompressed at once


class Layout(NamedTuple):
    """How a page's samples lie in the file."""

    width: int
    """Pixels, as stored."""
    height: int
    photometric: int
    samples: int
    """A pixel's."""
    bits: int
    """A sample's; 0 where they differ."""
    kind: str
    """ "u", "i" or "f": unsigned, signed, float; empty for another."""
    order: str
    """ "<" or ">": the byte order."""
    compression: int
    predictor: int
    """1: none, 2: differences, 3: those of a float's bytes."""
    planar: bool
    """Whether each sample has segments of its own."""
    tile: tuple[int, int] | None
    """Height and width of a segment that is a tile."""
    rows: int
    """Of a segment that is a strip."""
    segments: tuple[tuple[int, int], ...]
    """Offset and length of each."""
    extra: tuple[int, ...] | None
    """What the samples beyond the colors are (1, 2: alpha, multiplied into the colors or not); None where not told."""
    fill: int
    """2: the lowest bit of a byte comes first."""
    options: dict[int, int]
    """Tags that CCITT compression needs."""


def stored_samples(data: bytes, where: Layout, planes: Sequence[int]) -> np.ndarray:
    """The wanted samples of each pixel (H,W,N) as the file has them, of native byte order."""
    if not where.planar:
        pixels = _plane(data, where, where.segments, where.samples)
        return pixels if len(planes) == where.samples else pixels[..., list(planes)]
    each = -(-len(where.segments) // where.samples)
    return np.dstack([_plane(data, where, where.segments[each * n : each * (n + 1)], 1) for n in planes])


def _plane(data: bytes, where: Layout, segments: Sequence[tuple[int, int]], count: int) -> np.ndarray:
    """Samples (H,W,count) of segments that hold `count` of each pixel."""
    height, width = where.tile or (where.rows, where.width)
    if not (0 < height <= 2**16 or where.tile is None) or height < 1 or width < 1:
        raise UnreadableImage(f"damaged: segments of {height} x {width} pixels")
    down, across = -(-where.height // height), -(-where.width // width) if where.tile else 1
    if len(segments) < down * across:
        raise UnreadableImage(f"truncated: {len(segments)} of the {down * across} segments of a TIFF")
    segments = segments[: down * across]
    row = -(-width * count * where.bits // 8)
    total = down * across * height if where.tile else where.height
    packed = _decompressed(data, where, segments, row, height, total, width)
    pixels = _differences_undone(packed, where, width, count)
    if where.tile:
        pixels = pixels.reshape(down, across, height, width, count).swapaxes(1, 2)
        pixels = pixels.reshape(down * height, across * width, count)[: where.height, : where.width]
    return pixels


def _differences_undone(packed: np.ndarray, where: Layout, width: int, count: int) -> np.ndarray:
    """Rows of bytes (R,B) as samples (R,width,count), without the predictor."""
    if where.bits % 8:
        bits = samples.unpacked(packed, where.bits, width * count)
        return bits.reshape(len(packed), width, count)
    size = where.bits // 8
    packed = packed[:, : width * count * size]
    if where.predictor == 3:  # of floats: all highest bytes of a row first, then the next, each a difference of bytes
        apart = np.cumsum(packed.reshape(len(packed), -1, count), axis=1, dtype=np.uint8)
        turned = apart.reshape(len(packed), size, width * count).swapaxes(1, 2)
        values = np.ascontiguousarray(turned).view(f">f{size}")
    elif size == 3:
        parts = packed.reshape(len(packed), -1, 3).astype(np.uint32)
        values = parts[..., 2] | parts[..., 1] << 8 | parts[..., 0] << 16
    else:
        values = np.ascontiguousarray(packed).view(f"{where.order}u{size}")
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if where.predictor == 2:  # of floats too it is the difference of their bits
            values = np.cumsum(values.reshape(len(packed), width, count), axis=1, dtype=values.dtype)
        values = values.view(f"{where.kind}{size}")
    return values.astype(values.dtype.newbyteorder("="), copy=False).reshape(len(packed), width, count)


def _decompressed(
    data: bytes,
    where: Layout,
    segments: Sequence[tuple[int, int]],
    row: int,
    height: int,
    total: int,
    width: int,
) -> np.ndarray:
    """The bytes of segments, each `height` rows of `row` bytes, the last one maybe fewer: (total, row) uint8."""
    if where.compression == 1:
        rows = [min(height, total - number * height) for number in range(len(segments))]
        parts = [data[start : start + min(length, row * n)] for (start, length), n in zip(segments, rows)]
        short = next((number for number, part in enumerate(parts) if len(part) < row * rows[number]), None)
        if short is not None:
            raise UnreadableImage(f"truncated: segment {short + 1} of {len(segments)} of a TIFF is too short")
        joined = np.frombuffer(b"".join(parts) if len(parts) > 1 else parts[0], np.uint8).reshape(total, row)
        return REVERSED[joined] if where.fill == 2 else joined
    if where.compression == WEBP:
        pictures = [_picture(data[start : start + length], width, row) for start, length in segments]
        return np.concatenate(pictures)[:total]
    if where.compression in DEFLATE:
        rows = [min(height, total - number * height) for number in range(len(segments))]
        order = REVERSED.tobytes() if where.fill == 2 else None
        parts = [
            _inflated(data[start : start + length].translate(order), row * n)
            for (start, length), n in zip(segments, rows)
        ]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(total, row)
    some = max(1, BLOCK // (row * height))
    blocks = []
    for first in range(0, len(segments), some):
        count = min(total - first * height, some * height)
        parts = [data[start : start + length] for start, length in segments[first : first + some]]
        blocks.append(_through_libtiff(parts, where, row, height, count, width))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _inflated(data: bytes, size: int) -> bytes:
    """The first `size` bytes of a Deflate stream, whose checksum holds: libtiff stops before it gets there."""
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(data, size)
        stream.decompress(stream.unconsumed_tail, BEYOND)
    except zlib.error as error:
        raise UnreadableImage(f"damaged: {error}") from None
    if len(result) < size:
        raise UnreadableImage(f"truncated: {len(result):,} of the {size:,} bytes of a TIFF's segment")
    return result


def _picture(data: bytes, width: int, row: int) -> np.ndarray:
    """The bytes (rows, row) of a segment that is a WebP file."""
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        if image.width != width or row % width or row // width not in (3, 4):
            raise UnreadableImage(f"damaged: a WebP {image.width} pixels wide in a TIFF, expected {width}")
        return np.asarray(image.convert("RGB" if row == 3 * width else "RGBA")).reshape(image.height, row)


REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1).ravel()


def _through_libtiff(parts: Sequence[bytes], where: Layout, row: int, height: int, rows: int, width: int) -> np.ndarray:
    """Compressed segments as bytes (rows, row): libtiff is told that they are the strips of a plain gray picture."""
    bilevel = where.compression in BILEVEL
    tags: dict[int, Sequence[int]] = {
        256: [width if bilevel else row],
        257: [rows],
        258: [1 if bilevel else 8],
        259: [where.compression],
        262: [1],
        266: [where.fill],
        277: [1],
        278: [height],
        279: [len(part) for part in parts],
        **{tag: [value] for tag, value in where.options.items() if bilevel},
    }
    at = 8 + 2 + 12 * (len(tags) + 1) + 4
    tags[273] = [0] * len(parts)
    lists = 4 * len(parts) if len(parts) > 1 else 0
    begin = at + 2 * lists
    starts = np.cumsum([begin, *tags[279]][:-1]).tolist()
    tags[273] = starts
    head, tail = b"II*\0" + struct.pack("<IH", 8, len(tags)), b""
    for tag, values in sorted(tags.items()):
        field = struct.pack(f"<{len(values)}I", *values)
        if len(field) > 4:
            field, tail = struct.pack("<I", at + len(tail)), tail + field
        head += struct.pack("<HHI", tag, 4, len(values)) + field
    plain = b"".join([head, bytes(4), tail, *parts])
    with Image.open(io.BytesIO(plain), formats=["TIFF"]) as image:
        image.load()
        pixels = np.asarray(image)
    return np.packbits(pixels, axis=1) if bilevel else pixels
