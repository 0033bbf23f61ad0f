"""Samples of any type and depth as levels of gray, RGB or CMYK, whatever format they come from."""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms

from recolor_fast.machine.errors import UserError

MOSTLY = 0.99  # share of floats that have to lie in a range for it to be taken as theirs


class UnreadableImage(UserError):
    """Bytes that are no usable picture; the text is one sentence saying why."""


class TooManyPixels(UnreadableImage):
    """A picture that is larger than the caller allows."""


class Raster(NamedTuple):
    """The pixels of a file as they are stored: not upright, no color profile applied."""

    pixels: np.ndarray
    """uint8 or uint16: (H,W) gray, (H,W,3) RGB or (H,W,4) CMYK, 0 black; of CMYK, 0 is no ink."""
    alpha: np.ndarray | None = None
    """(H,W) of the same type, not multiplied into the pixels; highest is opaque."""
    orientation: int | None = None
    """How it is still to be turned, 1..8 as in EXIF; None: as the file says."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the samples were understood."""
    converted: bool = False
    """Whether the pixels are sRGB by a conversion of their own, so that no color profile is to be applied."""


def levels(samples: np.ndarray, bits: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """Samples of any shape as levels, 0 black, and notes on what had to be assumed.

    uint8 of unsigned samples of up to 8 bits, else uint16; white is the highest value. `bits`: how many of an unsigned
    sample's are used; 0: all. Integers of more than 16 bits that keep to 0..65535 have their white there. Floats are
    0..1 or 0..255, if all but 1 in 100 keep to that; the others are clipped. What says no white (signed samples with
    negative ones or beyond 65535, other floats) is stretched from its lowest to its highest value. NaN is black;
    infinities are the nearest finite extreme. A note also says where 16 bits hold less than the samples did.
    """
    kind, bits = samples.dtype.kind, bits or 8 * samples.dtype.itemsize
    if kind == "b":
        return samples.astype(np.uint8) * np.uint8(255), ()
    if kind == "u" and bits in (8, 16):
        return samples.astype(samples.dtype.newbyteorder("="), copy=False), ()
    if kind == "u" and bits <= 16:
        top = 255 if bits < 8 else 65535
        table = np.rint(np.arange(2**bits) * (top / (2**bits - 1))).astype(np.min_scalar_type(top))
        return table[samples], ()
    sure = samples[np.isfinite(samples)] if kind == "f" else samples
    low, high = (float(sure.min()), float(sure.max())) if sure.size else (0.0, 0.0)
    black, white, note = _range(sure, low, high, kind, bits)
    result = np.empty(samples.shape, np.uint16)
    rows = max(1, 2**20 // max(1, samples[:1].size))
    for at in range(0, len(samples), rows):  # some at a time: they take 8 bytes for a moment
        values = samples[at : at + rows].astype(np.float64)  # float32 is off by a level of 32-bit integers
        np.nan_to_num(values, copy=False, nan=black, posinf=high, neginf=low)
        values -= black
        values *= 65535 / (white - black)
        result[at : at + rows] = np.rint(np.clip(values, 0, 65535, out=values), out=values)
    whole = kind != "f" and not note and (bits <= 16 or high <= 65535)
    name = "float" if kind == "f" else "integer"
    lost = () if whole else (f"loss: {name} samples of {bits} bits became integers of 16",)
    return result, note + lost


def _range(values: np.ndarray, low: float, high: float, kind: str, bits: int) -> tuple[float, float, tuple[str, ...]]:
    """The values that are black and white, and a note where they are the lowest and highest."""
    if kind != "f" and low >= 0 and bits > 16 and high <= 65535:
        return 0.0, 65535.0, ()
    if kind == "u" or (kind == "i" and low >= 0 and bits <= 16):
        return 0.0, float(2 ** (bits - (kind == "i")) - 1), ()
    if kind == "f" and np.count_nonzero(values >= 0) >= MOSTLY * values.size:
        for white in (1.0, 255.0):
            if np.count_nonzero(values <= white) >= MOSTLY * values.size:
                return 0.0, white, ()
        low = max(low, 0.0)
    name = "signed" if kind == "i" else "float"
    return low, max(high, np.nextafter(low, np.inf)), (f"{name} samples: black is {low:g}, white {high:g}",)


def shallow(deep: np.ndarray) -> np.ndarray:
    """uint8 or uint16 levels as uint8, rounded."""
    return deep if deep.dtype == np.uint8 else cv2.convertScaleAbs(deep, alpha=1 / 257).reshape(deep.shape)


def unpacked(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The first `count` samples of `bits` bits, 1 to 32, of each row of bytes (R,B), the highest bit first:
    (R,count), the smallest unsigned type that holds them."""
    width = next(width for width in (8, 16, 32) if bits <= width)
    result = np.empty((len(rows), count), f"u{width // 8}")
    block = max(1, 2**22 // max(1, count * width))  # rows at a time: a bit takes a byte for a moment
    for at in range(0, len(rows), block):
        flat = np.unpackbits(rows[at : at + block], axis=1, count=count * bits).reshape(-1, count, bits)
        padded = np.zeros((*flat.shape[:2], width), np.uint8)
        padded[..., width - bits :] = flat
        result[at : at + block] = np.packbits(padded, axis=-1).view(f">u{width // 8}")[..., 0]
    return result


def unmultiplied(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Levels (H,W) or (H,W,3) that alpha (H,W) of their type has been multiplied into, without it; 0 where alpha is."""
    top = np.iinfo(colors.dtype).max
    by = np.divide(float(top), alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0)
    values = colors * (by if colors.ndim == 2 else by[..., None])
    return np.rint(np.minimum(values, top, out=values), out=values).astype(colors.dtype)


def ink_to_rgb(cmyk: np.ndarray) -> np.ndarray:
    """uint8 or uint16 (H,W,4), 0 no ink, as RGB (H,W,3) of the same type, by plain subtraction: no profile."""
    top = np.float32(np.iinfo(cmyk.dtype).max)
    left = top - cmyk.astype(np.float32)
    return np.rint(left[..., :3] * left[..., 3:] / top).astype(cmyk.dtype)


def lab_to_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow image of mode LAB, 8 bits and white D50, as uint8 sRGB (H,W,3)."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return np.array(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))


def color(raster: Raster) -> np.ndarray:
    """A raster's pixels as gray (H,W) or RGB (H,W,3), uint8 or uint16."""
    return ink_to_rgb(raster.pixels) if raster.pixels.shape[2:] == (4,) else raster.pixels
