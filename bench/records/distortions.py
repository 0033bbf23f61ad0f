"""Ways to distort a photograph, each at several strengths: what perceptual distances are taught with and judged by."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


class Family(NamedTuple):
    """A kind of distortion."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    """RGB (H,W,3) float32, 0 to 255, and a strength -> the same shape; may leave the range."""
    strengths: tuple[float, ...]
    """From hardly to plainly seen."""


def blur(rgb: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    """Gaussian; pixels."""
    return cv2.GaussianBlur(rgb, (0, 0), sigma)


def noise(rgb: np.ndarray, sigma: float, chance: np.random.Generator) -> np.ndarray:
    """Gaussian in every channel; levels."""
    return rgb + chance.normal(0, sigma, rgb.shape).astype(np.float32)


def desaturation(rgb: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    """So far to gray."""
    return rgb + share * (rgb @ GRAY - rgb.transpose(2, 0, 1)).transpose(1, 2, 0)


def hue(rgb: np.ndarray, degrees: float, chance: np.random.Generator) -> np.ndarray:
    """Chroma turned one way or the other, luminance kept."""
    turn = np.deg2rad(degrees * chance.choice([-1, 1]))
    y, cb, cr = np.moveaxis(_ycc(rgb), 2, 0)
    return _rgb(np.stack([y, np.cos(turn) * cb - np.sin(turn) * cr, np.sin(turn) * cb + np.cos(turn) * cr], 2))


def jpeg(rgb: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    """Compressed at a quality of 1 to 100, chroma at half size."""
    data = simplejpeg.encode_jpeg(levels(rgb), round(quality), "RGB", "420")
    return simplejpeg.decode_jpeg(data, "RGB").astype(np.float32)


def warp(rgb: np.ndarray, pixels: float, chance: np.random.Generator) -> np.ndarray:
    """Bent by a smooth field; its standard deviation in pixels."""
    height, width = rgb.shape[:2]
    across, down = (_field(height, width, pixels, chance) for _ in range(2))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(rgb, columns + across, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def gains(rgb: np.ndarray, spread: float, chance: np.random.Generator) -> np.ndarray:
    """Every channel brighter or darker; the factor's standard deviation."""
    return rgb * np.exp(chance.normal(0, spread, 3)).astype(np.float32)


def gamma(rgb: np.ndarray, exponent: float, chance: np.random.Generator) -> np.ndarray:
    """Darker by a power, or brighter by its inverse."""
    return 255 * np.clip(rgb / 255, 0, 1) ** np.float32(exponent ** chance.choice([-1, 1]))


def bleeding(rgb: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    """Chroma alone is blurred; pixels."""
    ycc = _ycc(rgb)
    return _rgb(np.concatenate([ycc[..., :1], cv2.GaussianBlur(ycc[..., 1:], (0, 0), sigma)], 2))


def blotches(rgb: np.ndarray, spread: float, chance: np.random.Generator) -> np.ndarray:
    """Patches of wrong color, luminance kept; standard deviation of Cb and Cr in levels."""
    height, width = rgb.shape[:2]
    fields = [_field(height, width, spread, chance) for _ in range(2)]
    return _rgb(_ycc(rgb) + np.stack([np.zeros_like(fields[0]), *fields], 2))


def pixels(rgb: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    """Reduced by a factor and enlarged again."""
    height, width = rgb.shape[:2]
    small = cv2.resize(
        rgb, (max(1, round(width / factor)), max(1, round(height / factor))), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


JUDGED = {
    "blur": Family(blur, (0.5, 1.0, 2.0, 4.0)),
    "noise": Family(noise, (4.0, 10.0, 25.0, 60.0)),
    "desaturation": Family(desaturation, (0.15, 0.3, 0.6, 1.0)),
    "hue": Family(hue, (10.0, 25.0, 60.0, 180.0)),
    "jpeg": Family(jpeg, (80.0, 40.0, 15.0, 5.0)),
    "warp": Family(warp, (0.5, 1.0, 2.0, 5.0)),
}
"""What perceptual.py judges distances by."""
HELD_OUT = ("jpeg", "warp")
"""Of these, what train_lpips_mini.py never shows: how a distance generalizes."""
TAUGHT = {name: family for name, family in JUDGED.items() if name not in HELD_OUT} | {
    "gains": Family(gains, (0.03, 0.5)),
    "gamma": Family(gamma, (1.05, 2.5)),
    "bleeding": Family(bleeding, (0.7, 12.0)),
    "blotches": Family(blotches, (4.0, 50.0)),
    "pixels": Family(pixels, (1.2, 6.0)),
}
"""What train_lpips_mini.py teaches with, at strengths between the first and the last."""


def levels(rgb: np.ndarray) -> np.ndarray:
    """RGB of any range as uint8."""
    return np.clip(rgb, 0, 255).round().astype(np.uint8)


def _field(height: int, width: int, spread: float, chance: np.random.Generator) -> np.ndarray:
    """A smooth random map (H,W) of this standard deviation."""
    coarse = chance.normal(0, 1, (6, 6)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return spread * smooth / smooth.std()


def _ycc(rgb: np.ndarray) -> np.ndarray:
    """RGB -> Y', B' - Y', R' - Y'."""
    y = rgb @ GRAY
    return np.stack([y, rgb[..., 2] - y, rgb[..., 0] - y], 2)


def _rgb(ycc: np.ndarray) -> np.ndarray:
    y, blue, red = np.moveaxis(ycc, 2, 0)
    green = -(GRAY[2] * blue + GRAY[0] * red) / GRAY[1]
    return np.stack([y + red, y + green, y + blue], 2)
