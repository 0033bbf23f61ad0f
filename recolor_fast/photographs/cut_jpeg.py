"""JPEG files without their end, from recovered disks and broken transfers: how many of their rows are there."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from recolor_fast.photographs import jpeg

JUNK = 512  # bytes: so far into a file a JPEG is looked for that something has been put before
TAILS = (b"\x55" * 64, b"\xaa" * 64, bytes(64), b"\x2d\xd2" * 32)  # entropy-coded data that go on in some other way


class Mended(NamedTuple):
    """A file that decoders read to its end."""

    data: bytes
    share: float
    """How much of the picture the file holds: 1 where only its end marker is missing."""
    before: int
    """Bytes before the JPEG, which are not in `data`."""


def start(head: bytes) -> int:
    """Where in the first JUNK bytes of a file a JPEG begins; -1: nowhere."""
    return head[:JUNK].find(b"\xff\xd8\xff")


def mended(data: bytes) -> Mended | None:
    """What can be read of a JPEG that is cut off, is filled up with zeros or has something before it.

    None for other files, for one without a scan, and for a progressive one in which part of what makes up luminance has
    not even begun. Raises what Pillow runs into.
    """
    before = start(data)
    if before < 0:
        return None
    data = data[before:]
    sound = _parsed(data)
    if not sound[1]:  # the file goes to its end
        return Mended(data, 1, before) if before else None
    data = data.rstrip(b"\0").rstrip(b"\xff")
    segments, broken = _parsed(data + jpeg.EOI)
    scans = [segment for segment in segments if segment.marker == jpeg.SOS]
    if not scans:
        return None
    whole = jpeg.write(segments)  # without what may be the beginning of a further segment
    done, last = (scans, None) if broken else (scans[:-1], scans[-1])
    luma = jpeg.frame(segments).components[0][0]
    begun = {number for scan in scans for number in _coefficients(scan, luma)}
    if begun < set(range(64)):
        return None
    finished = {number for scan in done for number in _coefficients(scan, luma)}
    if last is None or not set(_coefficients(last, luma)) - finished:
        return Mended(whole, 1, before)
    return Mended(whole, _share(whole), before)


def _parsed(data: bytes) -> tuple[list[jpeg.Segment], bool]:
    """The segments before the first that is broken, and whether there is such a one."""
    segments = []
    try:
        for segment in jpeg.parse(data):
            segments.append(segment)
    except ValueError:
        return segments, True
    return segments, False


def _coefficients(scan: jpeg.Segment, component: int) -> range:
    """Which coefficients of a component a scan tells first, not more exactly; all 64 in a sequential JPEG."""
    count, *rest = scan.payload
    first, last, approximation = rest[2 * count :][:3]
    return range(first, last + 1) if component in rest[: 2 * count : 2] and not approximation >> 4 else range(0)


def _share(whole: bytes) -> float:
    """How much of the picture the last scan of a JPEG with an end marker fills: where it makes a difference how the
    data go on, there is nothing."""
    luminance = _luminance(whole)
    height, width = luminance.shape[:2]
    share = 1.0
    for tail in TAILS:
        other = _luminance(whole[: -len(jpeg.EOI)] + tail + jpeg.EOI)
        changed = (luminance != other).reshape(height, width, -1).any(axis=2)
        if changed.any():
            row = int(changed.any(axis=1).argmax())
            column = int(changed[row : row + 8].any(axis=0).argmax())  # blocks are 8 rows high, or more
            share = min(share, (row + min(8, height - row) * column / width) / height)
    return share


def _luminance(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        image.draft("L", None)
        image.load()
        return np.asarray(image)
