"""Which photographs hold no color: by the mean chroma of CIE Lab; numpy and OpenCV, no torch."""

import cv2
import numpy as np
import simplejpeg

from recolor_fast.photographs import images, jpeg_headers

COLORLESS = 2.0
"""Mean Lab chroma below which a photograph holds no color: noise and JPEG's rounding stay under 1, a tint is above."""
SIDE = 64  # pixels: what a JPEG is judged by keeps this much of its shorter side at least
NEAR = (1.0, 4.0)  # mean chroma that a small decode leaves open: it is up to a unit off there


def mean_chroma(rgb: np.ndarray) -> float:
    """Mean over the pixels of uint8 RGB (H,W,3) of the chroma of CIE Lab (D65), sqrt(a^2 + b^2): 0 is gray."""
    step = max(1, min(rgb.shape[:2]) // 128)  # chroma is of a pixel, so some of them do for all
    lab = cv2.cvtColor(rgb[::step, ::step].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(cv2.magnitude(lab[..., 1], lab[..., 2]).mean())


def judged(data: bytes, pixels: np.ndarray | None = None) -> float:
    """The mean chroma of a file's bytes, or of its `pixels` where they are decoded already.

    A plain JPEG is decoded at a fraction of its sides, which takes a fifth of the time; near COLORLESS, where averaging
    might decide, it is decoded whole. Raises images.UnreadableImage.
    """
    if pixels is None and jpeg_headers.plain(data):
        try:
            chroma = mean_chroma(simplejpeg.decode_jpeg(data, "RGB", min_height=SIDE, min_width=SIDE, min_factor=1))
            if not NEAR[0] <= chroma <= NEAR[1]:
                return chroma
        except ValueError:  # libjpeg warns of something: the full decoder judges
            pass
    return mean_chroma(images.read_rgb(data) if pixels is None else pixels)
