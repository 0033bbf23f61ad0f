"""A print's own tone: what paper, toner and years have made of its grays."""

import cv2
import numpy as np

from recolor_fast.machine import processors
from recolor_fast.photographs import images
from recolor_fast.photographs.in_color import by_lightness, in_color, reduced

NEUTRAL = 1.5  # levels of chroma on average: a weaker tone is none, it may be noise or a scanner's
EVEN = 12.0  # levels of luminance, standard deviation of the Gaussian that smooths a tone's curve


def judged(pixels: np.ndarray, alpha: np.ndarray | None = None) -> tuple[bool, np.ndarray | None]:
    """Whether uint8 or uint16 pixels, gray (H,W) or RGB (H,W,3), are in color (see in_color), and, if not, their tone.

    The tone is the print's Cb and Cr (T.871, around 0, levels of 255) at each luminance from 0 to 255, float32 (2,256):
    medians by luminance, smoothed. None where there is none, or NEUTRAL at most. What `alpha` hides does not count.
    """
    if pixels.ndim == 2:
        return False, None
    if alpha is not None:
        pixels = np.where((alpha == 0)[..., None], images.gray(pixels)[..., None], pixels)
    small = reduced(pixels)
    if (small == small[..., :1]).all():  # gray that was written as RGB
        return False, None
    with processors.one_by_one:
        return _judged(small)


def _judged(small: np.ndarray) -> tuple[bool, np.ndarray | None]:
    if in_color(small):
        return True, None
    planes = 255 * np.stack(cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)))
    luma, cr, cb = by_lightness(planes)
    curve = np.stack([np.interp(np.arange(256), luma, part - 127.5) for part in (cb, cr)]).astype(np.float32)
    sides = 2 * round(3 * EVEN) + 1, 1
    tone = cv2.GaussianBlur(curve, sides, EVEN, borderType=cv2.BORDER_REPLICATE)
    there = np.hypot(*tone)[planes[0].round().astype(int).clip(0, 255)]
    return False, tone if there.mean() > NEUTRAL else None
