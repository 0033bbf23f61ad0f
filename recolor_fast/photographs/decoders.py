"""What decodes each format's pixels, and how what it gives is understood: any opened file becomes a Raster."""

import cv2
import numpy as np
from PIL import Image

from recolor_fast.photographs import avif, samples, tiff
from recolor_fast.photographs.samples import Raster, UnreadableImage

ERRORS = (Exception, SystemExit)  # what a decoder may raise over a file; the signals of a user are neither


def decode(data: bytes, image: Image.Image) -> Raster:
    """The pixels of a file that `image` has opened. Raises UnreadableImage and whatever the decoder runs into."""
    if isinstance(image, tiff.File):
        return tiff.read(data)
    image.load()
    deep = _deep_png(data, image) if image.format == "PNG" else None
    if image.format == "AVIF":
        deep = avif.decode(data)
    return deep or of_pillow(image)


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
        planes = np.asarray(image.convert("LA" if is_gray else "RGBA"))
        return Raster(np.ascontiguousarray(planes[..., 0] if is_gray else planes[..., :3]), planes[..., -1].copy())
    return Raster(np.array(image.convert("L" if is_gray else "RGB")))


def _deep_png(data: bytes, image: Image.Image) -> Raster | None:
    """A 16-bit PNG of RGB, gray with alpha or RGBA, of which Pillow holds 8 bits; None for others."""
    if data[24:25] != b"\x10" or data[25:26] not in (b"\2", b"\4", b"\6"):  # bit depth and color type
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise UnreadableImage("damaged or unsupported: OpenCV does not read this 16-bit PNG")
    alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    colors = pixels[..., 0].copy() if data[25:26] == b"\4" else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    clear = image.info.get("transparency")
    if isinstance(clear, tuple):  # one color of the file is transparent
        alpha = np.where((colors == clear).all(axis=-1), 0, 65535).astype(np.uint16)
    return Raster(colors, alpha)
