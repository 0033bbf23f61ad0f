"""What Pillow does not read of Netpbm's formats: PAM (any samples, also with alpha) and PFM of three colors."""

import re
from typing import NamedTuple

import numpy as np
from PIL import ImageFile

from recolor_fast.photographs import samples
from recolor_fast.photographs.samples import Raster, UnreadableImage

STARTS = (b"P7", b"PF")
LONGEST = 4096  # bytes of a header
_float = re.compile(rb"PF\s+(\d+)\s+(\d+)\s+(-?)[\d.eE+-]+\s")


class Header(NamedTuple):
    """What a file says before its samples."""

    width: int
    height: int
    samples: int
    """A pixel's."""
    top: int
    """The highest value, 1..65535; 0 for floats."""
    order: str
    """The byte order, "<" or ">"."""
    start: int
    """Where the samples begin, in bytes."""


class File(ImageFile.ImageFile):
    """A file as Pillow's image class: its size, no pixels; for those see `read`."""

    def _open(self) -> None:
        assert self.fp is not None
        head = self.fp.read(LONGEST)
        self.format = {b"P7": "PAM", b"PF": "PFM"}[head[:2]]
        layout = header(head)
        self._size = layout.width, layout.height
        self._mode = "RGB" if layout.samples > 2 else "L"


def header(head: bytes) -> Header:
    """What the first bytes of a file say. Raises SyntaxError where they are of another kind, or broken."""
    if match := _float.match(head):
        result = Header(int(match[1]), int(match[2]), 3, 0, "<" if match[3] else ">", match.end())
    else:
        lines, end, _ = head.partition(b"\nENDHDR\n")
        words = [line.split() for line in lines.split(b"\n")[1:] if line.strip() and line[:1] != b"#"]
        told = {words[0]: words[1] for words in words if len(words) > 1}
        if head[:3] != b"P7\n" or not end:
            raise SyntaxError("no PAM")
        try:
            width, height, count, top = (int(told[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        except (KeyError, ValueError):
            raise SyntaxError("a PAM without its size or depth") from None
        result = Header(width, height, count, top, ">", len(lines) + len(end))
    if result.width < 1 or result.height < 1 or result.samples < 1 or not 0 <= result.top <= 65535:
        raise SyntaxError("a PAM or PFM of no size")
    return result


def read(data: bytes) -> Raster:
    """The pixels of a file. Raises UnreadableImage for a kind that is not read or data that end early."""
    layout = header(data[:LONGEST])
    count = layout.width * layout.height * layout.samples
    kind = np.dtype(layout.order + ("f4" if not layout.top else "u2" if layout.top > 255 else "u1"))
    if len(data) < layout.start + count * kind.itemsize:
        raise UnreadableImage("truncated: fewer samples than the header says")
    if layout.samples > 4:
        raise UnreadableImage(f"a PAM of a kind that cannot be read: {layout.samples} samples")
    values = np.frombuffer(data, kind, count, layout.start).reshape(layout.height, layout.width, layout.samples)
    if not layout.top:  # the lowest row comes first
        levels, notes = samples.levels(values[::-1])
        return Raster(levels, notes=notes)
    if values.max() > layout.top:
        raise UnreadableImage(f"damaged: a sample of {values.max()}, expected at most {layout.top}")
    top = 255 if layout.top <= 255 else 65535
    table = np.rint(np.arange(layout.top + 1) * (top / layout.top)).astype(np.min_scalar_type(top))
    levels = table[values]
    colors = levels[..., 0] if layout.samples < 3 else np.ascontiguousarray(levels[..., :3])
    return Raster(colors, levels[..., -1].copy() if layout.samples in (2, 4) else None)
