"""JPEG 2000 (ISO 15444-1): which decoder reads a file's components right.

Pillow makes 8 bits of deeper colors, and those run over: white becomes black. Of fewer bits it leaves the lowest ones
empty: white becomes gray. OpenCV gives deep components as they are, but reads no signed ones and no gray with alpha.
"""

import struct
from typing import NamedTuple

import cv2
import numpy as np

from recolor_fast.photographs import samples
from recolor_fast.photographs.samples import Raster, UnreadableImage

OTHER_SPACES = {12: "CMYK", 18: "YCbCr", 24: "YCbCr"}  # of a JP2's colr box; the rest is gray or RGB


class Component(NamedTuple):
    """What the SIZ marker (A.5.1) says of a component."""

    bits: int
    signed: bool
    across: int
    down: int
    """Pixels of the picture for one of its samples."""


def components(data: bytes) -> list[Component]:
    """The components of a file's codestream; none where there is no header of one."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 42:
        return []
    (count,) = struct.unpack_from(">H", data, at + 40)
    sizes = data[at + 42 : at + 42 + 3 * count]
    return [Component((a & 127) + 1, a > 127, x, y) for a, x, y in zip(sizes[::3], sizes[1::3], sizes[2::3])]


def check(data: bytes) -> None:
    """Raise UnreadableImage for a kind that none of the decoders reads right."""
    parts = components(data)
    bits = sorted({part.bits for part in parts})
    sampling = [(part.across, part.down) for part in parts]
    chroma = len(parts) == 3 and sampling[0] == (1, 1) and sampling[1] == sampling[2] and max(sampling[1]) <= 2
    deep, space = max(bits, default=0) > 8, _space(data)
    reason = ""
    if set(sampling) - {(1, 1)} and not (chroma and bits == [8]):
        reason = "components of other sizes than the picture"
    elif len({(part.bits, part.signed) for part in parts}) != 1 or bits[0] > 16:
        reason = f"components of {', '.join(map(str, bits))} bits"
    elif deep and len(parts) > 1 and (parts[0].signed or len(parts) not in (3, 4) or space in OTHER_SPACES):
        kind = "signed " if parts[0].signed else ""
        reason = f"{len(parts)} {kind}components of {bits[0]} bits{', ' * (space in OTHER_SPACES)}"
        reason += OTHER_SPACES.get(space, "")
    elif _reordered(data):
        reason = "components in another order"
    elif bits[0] < 8 and _box(data, b"pclr"):
        reason = f"a palette with indexes of {bits[0]} bits"
    if reason:
        raise UnreadableImage(f"a JPEG 2000 of a kind that cannot be read: {reason}")


def _box(data: bytes, name: bytes) -> bytes:
    """The content of a box of a JP2's header (I.4); empty where it has none."""
    head = data[: max(0, data.find(b"jp2c"))]
    at = head.find(name)
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")] if at >= 4 else b""


def _space(data: bytes) -> int:
    """The enumerated color space of a JP2; 0 where it has none."""
    content = _box(data, b"colr")
    return int.from_bytes(content[3:7], "big") if content[:1] == b"\1" else 0


def profile(data: bytes) -> bytes:
    """The color profile of a JP2, empty where it has none."""
    content = _box(data, b"colr")
    return content[3:] if content[:1] in (b"\2", b"\3") else b""


def palette(data: bytes) -> np.ndarray:
    """The palette of a JP2, uint8 (N,colors): Pillow leaves out a color that comes twice, so all later ones are wrong.
    Raises UnreadableImage where it is not of 8 bits."""
    content = _box(data, b"pclr")
    count, columns = struct.unpack_from(">HB", content)
    if set(content[3 : 3 + columns]) != {7} or columns not in (3, 4) or len(content) < 3 + columns * (count + 1):
        raise UnreadableImage("a JPEG 2000 of a kind that cannot be read: a palette that is not RGB of 8 bits")
    return np.frombuffer(content, np.uint8, count * columns, 3 + columns).reshape(count, columns)


def _reordered(data: bytes) -> bool:
    """Whether a JP2 says that its components are in another order than the colors of its space."""
    content = _box(data, b"cdef")[2:]
    entries = [struct.unpack_from(">3H", content, at) for at in range(0, len(content) - 5, 6)]
    return any(kind == 0 and color not in (0, 65535, channel + 1) for channel, kind, color in entries)


def deep(data: bytes) -> Raster | None:
    """The pixels of a file of more than 8 bits that OpenCV reads; None for others. Raises UnreadableImage."""
    parts = components(data)
    if not parts or parts[0].bits <= 8 or parts[0].signed:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[2:] != ((len(parts),) if len(parts) > 1 else ()):
        raise UnreadableImage(f"damaged or unsupported: no JPEG 2000 of {len(parts)} x {parts[0].bits} bits to OpenCV")
    pixels, _ = samples.levels(pixels, parts[0].bits)
    if pixels.ndim == 2:
        return Raster(pixels)
    alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    return Raster(np.ascontiguousarray(pixels[..., 2::-1]), alpha)


def widened(raster: Raster, data: bytes) -> Raster:
    """What Pillow has read of a file, white where that has its highest value."""
    bits = components(data)[0].bits
    depth = 8 * raster.pixels.dtype.itemsize
    if bits == depth or bits > 16:
        return raster

    def levels(values: np.ndarray) -> np.ndarray:
        return samples.levels(values >> (depth - bits), bits)[0]

    return raster._replace(pixels=levels(raster.pixels), alpha=None if raster.alpha is None else levels(raster.alpha))
