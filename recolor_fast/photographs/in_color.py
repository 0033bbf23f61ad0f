"""Is a picture in color, or a black-and-white photograph, whatever its paper, its tone and the years made of it?

A print's color follows from its luminance: paper and toner have one curve from black to white. Fading, stains and the
light over a scanner's glass change that curve slowly over the picture. What is left when both are subtracted is noise,
in one direction at most; a color photograph leaves more. tests/test_in_color.py measures it on photographs.
"""

from functools import lru_cache

import cv2
import numpy as np

SIDE = 64  # pixels, geometric mean of the sides that a picture is averaged to: noise and fringes go
MARGIN = 0.13  # of each side is also left out on trial: mounts and frames have colors of their own
BLUR = 1.0  # pixels; what is finer is noise and chroma that a JPEG blurred across edges
TONES = 16  # parts of the picture by luminance, equally many pixels each, that have a tone each
SLOW = 0.25  # of a side: what changes over more than that is fading and light, not a thing in the picture
LONG = 256  # pixels of the longest side that a matrix is made for, that of 16:1
STRONG = 7.6  # Lab units off the tone in the strongest hundredth of the pixels; prints had up to 7.0
SPREAD = 0.9  # Lab units, standard deviation in the direction of least color; prints had up to 0.82


def is_color(rgb: np.ndarray) -> bool:
    """Whether uint8 or uint16 (H,W,3) of any size shows colors.

    Not color are black-and-white photographs that are toned (sepia, cyanotype, selenium), yellowed, unevenly faded,
    stained, written on, mounted or noisy. A color photograph whose color follows from its luminance, a gray thing on a
    lawn or birds in the sky, cannot be told from a toned print and passes for one.
    """
    return in_color(reduced(rgb))


def in_color(small: np.ndarray) -> bool:
    """The same of a picture that is `reduced`."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    top, left = round(MARGIN * height), round(MARGIN * width)
    return shows_color(lab) and shows_color(lab[top : height - top, left : width - left])


def shows_color(lab: np.ndarray) -> bool:
    """The judgement on float32 CIELAB (H,W,3) of about SIDE pixels a side: too much color off the tone, or in too many
    directions."""
    strength, spread = off_tone(lab)
    return strength > STRONG or spread > SPREAD


def off_tone(lab: np.ndarray) -> tuple[float, float]:
    """Of float32 CIELAB (H,W,3) without what follows from luminance or changes slowly: the distance from the tone that
    a hundredth of the pixels exceeds, and the standard deviation in the direction of least color. Lab units."""
    height, width = lab.shape[:2]
    lab = cv2.GaussianBlur(cv2.medianBlur(lab, 3), (0, 0), BLUR)  # the median takes handwriting and scratches away
    planes = np.stack(cv2.split(lab))
    a, b = planes[1:] - _tone(planes)
    a, b = (plane - _mean_around(plane, round(SLOW * np.sqrt(height * width), 3)) for plane in (a, b))
    strengths = cv2.magnitude(a, b).ravel()
    beyond = len(strengths) - 1 - len(strengths) // 100
    a, b = a - a.mean(), b - b.mean()
    aa, bb, ab = (float(np.vdot(*pair)) / a.size for pair in ((a, a), (b, b), (a, b)))
    least = (aa + bb - np.hypot(aa - bb, 2 * ab)) / 2  # the lesser eigenvalue of their covariance
    return float(np.partition(strengths, beyond)[beyond]), float(np.sqrt(max(least, 0)))


def _mean_around(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian means of float32 (H,W), as OpenCV's filter makes them.

    Products with matrices are many times as fast as the filter, which has more taps here than there are pixels. In a
    long strip that turns around, and the matrices would grow with the square of its length: there it is the filter.
    """
    if max(plane.shape) > LONG:
        return cv2.GaussianBlur(plane, (_taps(sigma), _taps(sigma)), sigma)
    down, across = (_means(side, sigma) for side in plane.shape)
    return down @ plane @ across.T


@lru_cache(16)
def _means(side: int, sigma: float) -> np.ndarray:
    """The filter of a row of `side` pixels as a matrix (side,side): what it makes of each pixel alone."""
    return cv2.GaussianBlur(np.eye(side, dtype=np.float32), (_taps(sigma), 1), sigma).T.copy()


def _taps(sigma: float) -> int:
    return 2 * round(4 * sigma) + 1  # about as many as GaussianBlur takes for floats by itself


def reduced(rgb: np.ndarray) -> np.ndarray:
    """float32 RGB, 0 to 1, of uint8 or uint16 (H,W,3), averaged to about SIDE x SIDE pixels where it has more."""
    height, width = rgb.shape[:2]
    scale = SIDE / np.sqrt(height * width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    white = np.float32(255 if rgb.dtype == np.uint8 else 65535)
    return rgb / white


def _tone(planes: np.ndarray) -> np.ndarray:
    """The tone (2,H,W) of each pixel of (3,H,W): that of the pixels as light as it, interpolated between parts."""
    lightness, a, b = by_lightness(planes)
    both = np.interp(planes[0], lightness, a + 1j * b)
    return np.stack([both.real, both.imag], dtype=np.float32, casting="same_kind")


def by_lightness(planes: np.ndarray) -> np.ndarray:
    """Medians (3,P) of lightness and two chromas, (3,H,W), of up to TONES parts of equal size, dark to light."""
    by_plane = planes.reshape(3, -1)
    pixels = by_plane.shape[1]
    count = min(TONES, max(1, pixels // 16))
    each = pixels // count
    light = by_plane[0] - by_plane[0].min()
    levels = (light * (65535 / max(light.max(), 1e-6))).astype(np.uint16)  # which sort many times as fast as floats
    order = np.argsort(levels, kind="stable")[pixels % count // 2 :][: each * count]
    parts = np.sort(np.take(by_plane, order, axis=1).reshape(3, count, each))
    return (parts[..., (each - 1) // 2] + parts[..., each // 2]) / 2
