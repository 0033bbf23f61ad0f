"""What decodes each format's pixels, and how what it gives is understood: any opened file becomes a Raster."""

import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from recolor_fast.photographs import avif, jpeg2000, pam, samples, tiff
from recolor_fast.photographs.samples import Raster, UnreadableImage

BAND = 2**20  # pixels taken out of a Pillow image at a time: all at once are held three to four times over
ERRORS = (Exception, SystemExit)  # what a decoder may raise over a file; the signals of a user are neither


def decode(data: bytes, image: Image.Image) -> Raster:
    """The pixels of a file that `image` has opened. Raises UnreadableImage and whatever the decoder runs into."""
    if isinstance(image, tiff.File):
        return tiff.read(data)
    if isinstance(image, pam.File):
        return pam.read(data)
    if image.format == "JPEG2000":
        return _jpeg2000(data, image)
    if image.format == "PNG":
        _check_sums(data)
        image.load()
        return _deep_png(data, image) or of_pillow(_with_clear_gray(data, image))
    image.load()
    raster = (avif.decode(data) if image.format == "AVIF" else None) or of_pillow(image)
    if image.format == "TGA" and not data[17] & 15 and raster.alpha is not None and not raster.alpha.any():
        return raster._replace(alpha=None)  # it says that no bits are alpha, and there is nothing in them
    return raster


def of_pillow(image: Image.Image) -> Raster:
    """The pixels of a loaded Pillow image of any mode."""
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        gray, notes = samples.levels(values)
        clear = image.info.get("transparency")
        alpha = np.where(values == clear, 0, np.iinfo(gray.dtype).max).astype(gray.dtype)
        return Raster(gray, alpha if isinstance(clear, int) else None, notes=notes)
    if image.mode == "LAB":
        return Raster(samples.lab_to_rgb(image), converted=True)
    if image.mode == "CMYK":
        return Raster(np.array(image))
    is_gray = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        planes = _as(image, "LA" if is_gray else "RGBA")
        return Raster(np.ascontiguousarray(planes[..., 0] if is_gray else planes[..., :3]), planes[..., -1].copy())
    return Raster(_as(image, "L" if is_gray else "RGB"))


def _as(image: Image.Image, mode: str) -> np.ndarray:
    """The pixels of a loaded image, converted to L (H,W), LA, RGB or RGBA (H,W,C)."""
    pixels = np.empty((image.height, image.width, *([len(mode)] if len(mode) > 1 else [])), np.uint8)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)).convert(mode))
    return pixels


def _jpeg2000(data: bytes, image: Image.Image) -> Raster:
    jpeg2000.check(data)
    deep = jpeg2000.deep(data)
    if deep is not None:
        return deep
    image.load()
    if image.mode == "P":
        colors = jpeg2000.palette(data)[np.asarray(image)]
        return Raster(np.ascontiguousarray(colors[..., :3]), colors[..., 3].copy() if colors.shape[2] == 4 else None)
    return jpeg2000.widened(of_pillow(image), data)


def _check_sums(png: bytes) -> None:
    """Raises UnreadableImage where the checksum of coded pixels is wrong, which Pillow leaves out of account."""
    for kind, start, end in _chunks(png):
        if kind == b"IDAT" and zlib.crc32(png[start + 4 : end - 4]) != int.from_bytes(png[end - 4 : end]):
            raise UnreadableImage("damaged: the checksum of its pixels is wrong")


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and end of each whole chunk of a PNG."""
    at = 8
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        if end <= len(png):
            yield png[at + 4 : at + 8], at, end
        at = end


def _with_clear_gray(data: bytes, image: Image.Image) -> Image.Image:
    """A PNG's image whose transparent gray is as deep as its pixels: Pillow spreads those of 2 and 4 bits alone."""
    clear, bits = image.info.get("transparency"), data[24]
    if data[25] == 0 and bits in (2, 4) and isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * 255 // (2**bits - 1)
    return image


def _deep_png(data: bytes, image: Image.Image) -> Raster | None:
    """A 16-bit PNG of RGB, gray with alpha or RGBA, of which Pillow holds 8 bits; None for others."""
    if data[24:25] != b"\x10" or data[25:26] not in (b"\2", b"\4", b"\6"):  # bit depth and color type
        return None
    pixels = cv2.imdecode(np.frombuffer(_unmoved(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise UnreadableImage("damaged or unsupported: OpenCV does not read this 16-bit PNG")
    alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    colors = pixels[..., 0].copy() if data[25:26] == b"\4" else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    clear = image.info.get("transparency")
    if isinstance(clear, tuple):  # one color of the file is transparent
        alpha = np.where((colors == clear).all(axis=-1), 0, 65535).astype(np.uint16)
    return Raster(colors, alpha)


def _unmoved(png: bytes) -> bytes:
    """A PNG without its animation, of which OpenCV would give a frame as it is blended into nothing."""
    if not any(kind == b"acTL" for kind, _, _ in _chunks(png)):
        return png
    kept = [png[start:end] for kind, start, end in _chunks(png) if kind not in (b"acTL", b"fcTL", b"fdAT")]
    return b"".join([png[:8], *kept])
