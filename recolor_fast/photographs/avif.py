"""AVIF of more than 8 bits a channel, by OpenCV: Pillow makes 8 bits of it."""

from typing import Any

import cv2
import numpy as np

from recolor_fast.photographs.samples import Raster, levels

_KEYS = {"exif": cv2.IMAGE_METADATA_EXIF, "xmp": cv2.IMAGE_METADATA_XMP}


def bits(data: bytes) -> int:
    """Bits a channel of a file's pictures, by its first av1C property (AV1 in ISOBMFF, 2.3.3); 8 where it has none."""
    at = data.find(b"av1C")
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def decode(data: bytes) -> Raster | None:
    """The first picture of a file of more than 8 bits, as it is stored, uint16; None for one of 8 bits and for what
    OpenCV cannot read."""
    depth = bits(data)
    if depth == 8:
        return None
    try:
        planes = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if planes is None or planes.dtype != np.uint16:
        return None
    pixels, _ = levels(planes, depth)
    if pixels.ndim == 2:
        return Raster(pixels)
    alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    return Raster(cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB), alpha)


def encode(planes: np.ndarray, quality: int, bits: int, settings: dict[str, Any]) -> bytes:
    """uint16 (H,W,3) or, with alpha, (H,W,4) as a file of 10 or 12 bits a channel. `settings`: exif and xmp, bytes.
    Raises ValueError and cv2.error for what cannot be written."""
    order = cv2.COLOR_RGBA2BGRA if planes.shape[2] == 4 else cv2.COLOR_RGB2BGR
    samples = np.rint(np.arange(65536) * ((2**bits - 1) / 65535)).astype(np.uint16)[planes]
    blocks = [np.frombuffer(value, np.uint8) for value in settings.values()]
    how = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, quality]
    done, data = cv2.imencodeWithMetadata(
        ".avif", cv2.cvtColor(samples, order), [_KEYS[name] for name in settings], blocks, how
    )
    if not done:
        raise ValueError("OpenCV does not write it")
    return data.tobytes()
