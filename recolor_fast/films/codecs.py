"""What a film is written as: codecs, what files hold them, and what `--quality` means to each. Data; needs no PyAV."""

from typing import Literal, NamedTuple

import numpy as np

from recolor_fast.machine.errors import UserError


class Codec(NamedTuple):
    """How pictures are compressed."""

    encoder: str
    """As FFmpeg calls it."""
    depths: tuple[int, ...]
    """Bits of a sample that it writes, rising."""
    odd: Literal["420", "444", ""]
    """How a picture of odd sides is written: with chroma for every second pixel, for every pixel, or not at all."""
    scale: tuple[tuple[float, float], ...]
    """Points (--quality, the encoder's own scale, where less is better), straight lines between; empty: lossless."""
    options: dict[str, str]
    """Of the encoder."""
    tag: str = ""
    """What MP4 and QuickTime call it, where FFmpeg's own choice is one that some players do not know."""


CODECS = {
    # At 80 each is as its own default has it; at 95 luma comes back within 0.7 to 1.5 levels (bench/LOG.md).
    "h264": Codec("libx264", (8, 10), "444", ((1, 51), (80, 23), (95, 17), (100, 8)), {}),
    "h265": Codec(
        "libx265",
        (8, 10, 12),
        "444",
        ((1, 51), (80, 28), (95, 20), (100, 10)),
        {"x265-params": "log-level=none:info=0"},
        "hvc1",
    ),
    "av1": Codec("libsvtav1", (8, 10), "", ((1, 63), (80, 35), (95, 22), (100, 8)), {"preset": "8"}),
    "ffv1": Codec("ffv1", (8, 10, 12, 16), "420", (), {"level": "3", "slicecrc": "1", "g": "1"}),
}


class Container(NamedTuple):
    """A kind of file."""

    format: str
    """As FFmpeg calls it."""
    codecs: tuple[str, ...]
    """Keys of CODECS that it holds; auto is the first that this PyAV has."""
    options: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed
    """Of the writer."""


_MP4 = Container("mp4", ("h264", "h265", "av1"), {"movflags": "+faststart"})
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", ("h264", "h265"), {"movflags": "+faststart"}),
    ".mkv": Container("matroska", ("h264", "h265", "av1", "ffv1")),
    ".webm": Container("webm", ("av1",)),
}
ANY = ".mkv"  # of what none of them is: it holds nearly every kind of sound and subtitles


def setting(codec: Codec, quality: int) -> dict[str, str]:
    """The encoder's options for a quality from 1 to 100."""
    if not codec.scale:
        return codec.options
    ours, theirs = zip(*codec.scale)
    return codec.options | {"crf": f"{np.interp(quality, np.array(ours), np.array(theirs)):.4g}"}


def depth(codec: Codec, bits: int) -> int:
    """Bits of a sample that a film of `bits` is written with: as many, or the next that there are."""
    return next((one for one in codec.depths if one >= bits), codec.depths[-1])


def layout(name: str, bits: int, width: int, height: int) -> tuple[str, int]:
    """FFmpeg's name for the samples that are written, and the pixels to one of chroma. UserError for odd sides that the
    codec does not write."""
    odd = width % 2 or height % 2
    sampling = CODECS[name].odd if odd else "420"
    if not sampling:
        raise UserError(
            f"codec {name} writes no film of {width} x {height} pixels, as a side is odd: give --codec h265"
        )
    return f"yuv{sampling}p" + (f"{bits}le" if bits > 8 else ""), 1 if sampling == "444" else 2


def chosen(name: str, suffix: str, has: list[str]) -> str:
    """The key of CODECS for a file of this suffix, of those that this PyAV `has`. UserError where there is none."""
    held = CONTAINERS[suffix].codecs
    if name != "auto" and name not in held:
        raise UserError(f"codec {name} with an output called {suffix}: expected one of auto, {', '.join(held)}")
    able = [one for one in (held if name == "auto" else [name]) if one in has]
    if not able:
        wanted = ", ".join(CODECS[one].encoder for one in (held if name == "auto" else [name]))
        raise UserError(
            f"codec {name}: this PyAV has no encoder for it ({wanted}); give another --codec, or another OUT"
        )
    return able[0]
