"""Image files opened by Pillow, up to their headers: quietly, within limits, and with one kind of error."""

import ast
import io
import logging
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from recolor_fast.machine.files import legible_bytes
from recolor_fast.photographs import decoders, formats, pam, tiff
from recolor_fast.photographs.formats import SIGNED, UNSIGNED
from recolor_fast.photographs.samples import TooManyPixels, UnreadableImage
from recolor_fast.settings import MAX_PIXELS

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs as an error it also raises


def image(file: BinaryIO, formats: list[str]) -> Image.Image:
    """A file's image, of which only the header has been read. Raises whatever Pillow runs into."""
    head = file.read(4)
    file.seek(0)
    try:
        if tiff.is_tiff(head):
            return tiff.File(file)
        return pam.File(file) if head[:2] in pam.STARTS else Image.open(file, formats=formats)
    except SyntaxError as error:  # what a plugin of Pillow raises for a file that is not of its format
        raise UnidentifiedImageError(str(error)) from error


@contextmanager
def opened(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """A file's image, of which only the header has been read. At most MAX_PIXELS are possible, whatever `max_pixels`.

    Raises UnreadableImage and nothing else, also for what is raised inside the block.
    """
    if not data:
        raise UnreadableImage(unidentified(data))
    try:
        with quiet(), image(io.BytesIO(data), SIGNED + UNSIGNED) as result:
            check_size(result.width, result.height, max_pixels)
            yield result
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(unidentified(data)) from None
    except Image.DecompressionBombError:
        raise TooManyPixels(f"too many pixels: expected at most {min(max_pixels, MAX_PIXELS):,} in all") from None
    except decoders.ERRORS as error:  # Pillow's plugins raise whatever their parsing runs into
        raise unreadable(error) from error


_LITERAL = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")  # of bytes, in a text of Pillow's


def unreadable(error: BaseException, name: str = "") -> UnreadableImage:
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = _LITERAL.sub(lambda found: legible_bytes(ast.literal_eval(found[0])), reason)
    if re.fullmatch(r"decoder error -\d+", reason):  # Pillow's text for whatever its C code ran into
        reason = "its coded data make no sense"
    kind = "" if reason.startswith("truncated: ") else "truncated: " if "truncated" in reason.lower() else None
    return UnreadableImage(f"{name}{'damaged or unsupported: ' if kind is None else kind}{reason}")


def unidentified(data: bytes) -> str:
    """Why Pillow could make nothing of a file, for people."""
    if not data:
        return "the file is empty"
    kind = formats.kind(io.BytesIO(data))
    if kind is None:
        what = "not an image but a text" if formats.is_text(data) else "not an image, or cut off in its header"
        return f"{what}: it begins with {legible_bytes(data[:8])}"
    try:
        return f"{kind.name} of a kind that is not read: {formats.layout(kind, data)}"
    except (ValueError, struct.error):
        return f"{kind.name} that is damaged or cut off in its header"


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooManyPixels for more pixels than `max_pixels`."""
    if width * height > max_pixels:
        raise TooManyPixels(f"too many pixels: {width} x {height}, expected at most {max_pixels:,} in all")


def frames(image: Image.Image) -> int:
    """How many pictures an image's file holds; 1 where it cannot tell."""
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # Pillow's plugins raise whatever they run into; the first picture is there
        return 1


def file_format(image: Image.Image) -> str:
    """Pillow's name of an image's file format."""
    return "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG with more JPEGs behind it


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings inside: Pillow warns of what we judge ourselves (large images, odd metadata).

    `catch_warnings` alone is not safe with threads, which would restore each other's filters: here the first thread
    in sets the filters and the last one out restores them.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            _quiet_filters = warnings.catch_warnings(action="ignore")
            _quiet_filters.__enter__()
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)
