"""A frame's samples: its luma taken as it is, and written again with new chroma. ITU-R BT.601, 709, 2020; numpy."""

import re
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from recolor_fast.coloring.folder import Verdict
from recolor_fast.photographs import chroma, images

# What of red and of blue is in luma, by the matrix's number in ITU-T H.273.
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
REC709, UNSAID, REC601 = 1, 2, 6
HIGH = 720  # rows from which on players take an unsaid matrix for Rec. 709's
LIMITED, FULL = 1, 2  # FFmpeg's numbers of the range
_DIRECT = re.compile(r"yuva?j?4\d\dp(\d+le)?|gray(\d+le)?|nv\d\d")  # the first plane is luma, in the lowest bits
REPACKED = {  # other samples, and what FFmpeg lays out as planes of the same values
    **dict.fromkeys(("yuyv422", "uyvy422", "yvyu422"), "yuv422p"),
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p210le": "yuv422p10le",
    "y210le": "yuv422p10le",
}


class Samples(NamedTuple):
    """How a film's luma is stored."""

    format: str
    """FFmpeg's name of the frames' format."""
    bits: int
    """Of luma: uint8 up to 8, else uint16."""
    limited: bool
    """Black is 16 and white 235, of 8 bits; else 0 and the highest value."""
    matrix: int
    """A key of WEIGHTS: the file's own, else what players take it for."""
    rgb: bool
    """Luma is not stored, but made of red, green and blue."""


def told(frame: Any, codec: str) -> Samples:
    """What a frame says of its samples, and where it says nothing what its format means. Verdict where that is unknown
    here."""
    format, name = frame.format, frame.format.name
    gray, bits = name.startswith("gray"), format.components[0].bits
    rgb = bool(format.is_rgb or format.has_palette or name in ("monow", "monob"))
    known = rgb or name in REPACKED or _DIRECT.fullmatch(_little(name))
    if not known or bits > 16:
        raise Verdict("failed", f"its samples ({name}) are of a kind that is not read: convert it to yuv420p first")
    # Gray without a word on it is full range, but for what H.264 and H.265 say of that.
    full_by_default = name.startswith("yuvj") or (gray and codec not in ("h264", "hevc"))
    limited = not rgb and (frame.color_range == LIMITED or (frame.color_range != FULL and not full_by_default))
    matrix = int(frame.colorspace)
    if rgb:
        matrix = REC601
    elif matrix not in WEIGHTS:
        if matrix != UNSAID and not gray:
            raise Verdict("failed", f"its color matrix (number {matrix} of H.273) is not known here: convert it first")
        matrix = REC709 if frame.height >= HIGH else REC601
    return Samples(name, max(8, bits), limited, matrix, rgb)


def _little(name: str) -> str:
    return f"{name[:-2]}le" if name.endswith("be") else name


def luma(frame: Any, samples: Samples) -> np.ndarray:
    """A frame's luma, (H,W): the file's own samples, or of RGB Rec. 601's, full range."""
    if samples.rgb and samples.bits == 8:
        return images.gray(frame.to_ndarray(format="rgb24"))
    if samples.rgb:
        rgb = frame.to_ndarray(format="rgb48le").astype(np.float32) / np.float32(65535 / (2**samples.bits - 1))
        return np.rint(rgb @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint16)
    name = frame.format.name
    wanted = REPACKED.get(name, _little(name))
    if wanted != name:
        frame = frame.reformat(format=wanted, src_color_range=frame.color_range, dst_color_range=frame.color_range)
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8 if samples.bits == 8 else "<u2").reshape(plane.height, -1)
    return rows[:, : plane.width]


def grays(samples: Samples) -> np.ndarray:
    """What each value of luma is as gray from 0 to 255: uint8 (2^bits)."""
    unit = 2 ** (samples.bits - 8)
    codes = np.arange(256 * unit, dtype=np.float64)
    scaled = (codes - 16 * unit) / (219 * unit) if samples.limited else codes / (256 * unit - 1)
    return np.rint(scaled * 255).clip(0, 255).astype(np.uint8)


def gray(luma: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Luma as uint8 gray (H,W), by the table of `grays`."""
    return cv2.LUT(luma, table) if luma.dtype == np.uint8 else table[np.minimum(luma, len(table) - 1)]


def chroma_samples(samples: Samples, bits: int, step: int) -> chroma.Samples:
    """How chroma of a film is written."""
    return chroma.Samples(WEIGHTS[samples.matrix], samples.limited, bits, step)


def deepened(luma: np.ndarray, samples: Samples, bits: int) -> np.ndarray:
    """Luma with another number of bits: as it is where that is the same, rounded where they are fewer."""
    if bits == samples.bits:
        return luma
    scale = 2.0 ** (bits - samples.bits) if samples.limited else (2**bits - 1) / (2**samples.bits - 1)
    levels = np.rint(luma.astype(np.float64) * scale).clip(0, 2**bits - 1)
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


def frame(format: str, luma: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> Any:
    """A frame of these planes, in a format of PyAV's that has three of them."""
    made = av.VideoFrame(luma.shape[1], luma.shape[0], format)
    for plane, samples in zip(made.planes, (luma, cb, cr)):
        rows = np.frombuffer(memoryview(plane), samples.dtype).reshape(plane.height, -1)
        rows[:, : samples.shape[1]] = samples
    return made
