"""Pixels as image files: which formats are written, and how."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from recolor_fast.machine.files import replacing
from recolor_fast.photographs import avif, heif, jxl, libraries

WRITABLE = {  # formats that hold every RGB photograph and their suffix; not GIF, which has 256 colors
    "JPEG": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "JXL": ".jxl",
    "JPEG2000": ".jp2",
    "PPM": ".ppm",
    "QOI": ".qoi",
    "SGI": ".sgi",
    "TGA": ".tga",
}
WITH_ALPHA = frozenset("PNG TIFF WEBP AVIF HEIF JXL JPEG2000 QOI SGI TGA".split())  # of WRITABLE
INSTEAD = {"RAW": "TIFF"}  # what is written for a format that is not WRITABLE: TIFF holds a sensor's depth; else PNG
BITS = {"PNG": 16, "TIFF": 16, "HEIF": 12, "AVIF": 12}  # of WRITABLE: those that hold more than 8 a channel
OPENCV: dict[str, list[int]] = {  # what OpenCV writes, and how: Pillow holds no colors of more than 8 bits
    "PNG": [],
    "TIFF": [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE],
}


def own(format: str) -> str:
    """The key of WRITABLE that a picture from a file of a format is written in, unless another one is asked for."""
    return format if format in WRITABLE else INSTEAD.get(format, "PNG")


def encode(
    rgb: np.ndarray,
    alpha: np.ndarray | None,
    format: str,
    quality: int,
    settings: Mapping[str, Any] | None = None,
    bits: int = 16,
) -> bytes:
    """(H,W,3), and alpha (H,W) of the same type where the format holds it, as the bytes of a file.

    uint8, or uint16 for the formats of BITS, which then hold `bits` a channel or as many as they can. `format` is a key
    of WRITABLE; `quality` 1..100 is for JPEG, WebP, AVIF, HEIF and JXL, the others are lossless; `settings` are more
    arguments for what is not JPEG, PNG or TIFF: what Pillow's save() takes. JPEG is 4:2:0: the chroma was predicted at
    a few hundred pixels and upsampled, so full resolution would only store more bytes of the same. Raises ValueError
    for another format, one whose library is not installed, or for sizes the format cannot hold.
    """
    if format not in WRITABLE:
        raise ValueError(f"format {format}: expected one of {', '.join(WRITABLE)}")
    if rgb.dtype != np.uint8 and format not in BITS:
        raise ValueError(f"{rgb.dtype} pixels cannot be written as {format}: expected uint8")
    if format in libraries.LIBRARIES and (lacks := libraries.missing(format)):
        raise ValueError(f"format {format} {lacks}")
    planes = np.dstack([rgb, alpha]) if alpha is not None and format in WITH_ALPHA else np.ascontiguousarray(rgb)
    try:
        return _encoded(planes, format, quality, dict(settings or {}), bits)
    except Exception as error:  # encoders refuse sizes with errors of many types
        raise ValueError(f"{rgb.shape[1]} x {rgb.shape[0]} pixels cannot be written as {format}: {error}") from error


def _encoded(planes: np.ndarray, format: str, quality: int, settings: dict[str, Any], bits: int) -> bytes:
    if format == "JPEG":
        return simplejpeg.encode_jpeg(planes, quality, "RGB", "420")
    if format in OPENCV:  # PNG six times faster than Pillow's default, a little larger
        order = cv2.COLOR_RGBA2BGRA if planes.shape[2] == 4 else cv2.COLOR_RGB2BGR
        return cv2.imencode(WRITABLE[format], cv2.cvtColor(planes, order), OPENCV[format])[1].tobytes()
    if format == "AVIF" and planes.dtype == np.uint16:
        return avif.encode(planes, quality, 10 if bits <= 10 else 12, settings)
    if format == "HEIF":
        return heif.encode(planes, quality, 10 if bits <= 10 else 12, settings)
    if format == "JXL":
        return jxl.encode(planes, quality, settings.pop("lossless", False), settings)
    file = io.BytesIO()
    lossy = {"quality": quality} if format in ("WEBP", "AVIF") else {}
    Image.fromarray(planes).save(file, format, **lossy, **settings)
    return file.getvalue()


def write(path: str | Path, rgb: np.ndarray, alpha: np.ndarray | None, format: str, quality: int) -> None:
    """Encode (see there) and replace `path` in one step: whatever fails, it is the old file or the new one.

    Raises ValueError from encode and OSError from the file system; the folder must exist.
    """
    data = encode(rgb, alpha, format, quality)
    with replacing(path) as file:
        file.write(data)
