"""What the optional readers of photographs (HEIF, JPEG XL, camera RAW) hand over."""

from collections.abc import Callable
from typing import NamedTuple

from recolor_fast.photographs.samples import Raster


class Decoded(NamedTuple):
    """A picture with what its file says of it."""

    raster: Raster
    """Its pixels; an orientation of None is 1: upright."""
    profile: bytes = b""
    """An ICC profile of the pixels; empty: sRGB."""
    exif: bytes = b""
    """A TIFF structure."""
    xmp: bytes = b""
    carrier: bytes = b""
    """A JPEG or TIFF file that has the metadata instead of `exif` and `xmp`."""
    losses: tuple[str, ...] = ()
    """What of the file is not in here: "depth map dropped"."""
    lossless: bool = False
    """Whether the file stores these very pixels."""
    format: str = ""
    """A key of libraries.LIBRARIES."""
    bits: int = 16
    """Of a channel of the file."""


class Opened(NamedTuple):
    """A picture of which only the header has been read."""

    width: int
    """Pixels, upright."""
    height: int
    """Pixels."""
    bits: int
    """Of a channel."""
    frames: int
    """Pictures in the file; 1 where it does not say."""
    decode: Callable[[], Decoded]
    stored: int = 0
    """Pixels that decoding takes memory for, where they are more than the picture's."""
