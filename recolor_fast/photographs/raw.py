"""Cameras' raw photographs (DNG, CR2, CR3, NEF, ARW, RAF, ORF, RW2, ...) by rawpy (LibRaw), an optional library.

A sensor's samples become a picture by a development, which is a choice: LibRaw's own, with the white balance that the
camera noted, brightened until one pixel in a hundred is white, in sRGB at 16 bits.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from recolor_fast.photographs.opened import Decoded, Opened
from recolor_fast.photographs.samples import Raster

SRGB_CURVE = (2.4, 12.92)  # exponent and slope at black
FEWEST = 8  # pixels a bit: no raw file has as many; lossy ones have two
DEVELOPED = "developed from the camera's raw data by LibRaw"


def opened(data: bytes) -> Opened:
    """A file's picture, not yet developed. Raises ImportError without rawpy, and what that raises."""
    import rawpy

    raw = rawpy.RawPy()
    with _saying_why():
        raw.open_buffer(io.BytesIO(data))
    sizes = raw.sizes
    sides = (sizes.iwidth or sizes.width, sizes.iheight or sizes.height)
    width, height = sides[::-1] if sizes.flip in (5, 6) else sides
    stored = sizes.raw_width * sizes.raw_height
    if FEWEST * 8 * len(data) < stored:  # LibRaw fills some makers' missing samples in without a word
        raise ValueError(f"truncated: {len(data):,} bytes for {stored:,} pixels")

    def decode() -> Decoded:
        with raw, _saying_why():
            carrier = data if data[:2] in (b"II", b"MM") else _preview(raw)
            pixels = raw.postprocess(
                use_camera_wb=True, output_color=rawpy.ColorSpace.sRGB, output_bps=16, gamma=SRGB_CURVE
            )
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        if pixels.shape[0] * pixels.shape[1] > max(width * height, stored):
            raise ValueError(f"its pixels are {pixels.shape[1]} x {pixels.shape[0]}, not as its header says")
        return Decoded(Raster(np.ascontiguousarray(pixels), notes=(DEVELOPED,)), carrier=carrier)

    return Opened(width, height, 16, 1, decode, stored)


@contextmanager
def _saying_why() -> Iterator[None]:
    """LibRaw's errors, whose texts are bytes, as ValueError."""
    import rawpy

    try:
        yield
    except rawpy.LibRawError as error:
        text = error.args[0] if error.args else ""
        raise ValueError(f"LibRaw: {text.decode() if isinstance(text, bytes) else text}") from error


def _preview(raw: "rawpy.RawPy") -> bytes:  # type: ignore[name-defined] # noqa: F821
    """The JPEG inside, which has the metadata where the file itself is no TIFF; empty where there is none."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawError, OSError, ValueError):
        return b""
    return bytes(preview.data) if preview.format == rawpy.ThumbFormat.JPEG else b""
