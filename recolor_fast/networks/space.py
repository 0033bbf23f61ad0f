"""Network space <-> RGB <-> CbCr in torch, shared by losses, metrics and export. All arithmetic is float32.

`rgb01` is RGB in [0, 1]; `source` is the gray photograph in [-1, 1]; `real` and `fake` are colors in network space.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# sRGB (IEC 61966-2-1) primaries, D65 white: linear RGB -> XYZ divided by the white point, so gray maps to (Y, Y, Y).
_XYZ = [[0.433953, 0.376219, 0.189828], [0.212671, 0.715160, 0.072169], [0.017758, 0.109477, 0.872765]]
_RGB = torch.linalg.inv(torch.tensor(_XYZ, dtype=torch.float64)).tolist()
_CBCR = [[-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]  # JFIF 1.02, from Rec. 601
AB = 110.0  # units of a and b that are 1 in network space "lab"
_EPSILON = (6 / 29) ** 3  # where Lab's cube root becomes linear (CIE 15:2004)


def to_unit(image: Tensor) -> Tensor:
    """uint8 (N,C,H,W) -> float32 in [-1, 1]: a gray batch to `source`, or RGB to the "rgb" network space."""
    return image.float() / 127.5 - 1


def to_rgb01(rgb: Tensor) -> Tensor:
    """uint8 RGB (N,3,H,W) -> float32 in [0, 1]."""
    return rgb.float() / 255


def to_cbcr(rgb01: Tensor) -> Tensor:
    """RGB (N,3,H,W) in [0, 1] -> JFIF Cb and Cr (N,2,H,W) in levels, 128 is neutral."""
    return _mix(rgb01, _CBCR) * 255 + 128


def to_lab(rgb01: Tensor) -> Tensor:
    """sRGB (N,3,H,W) in [0, 1] -> CIE L*a*b* (D65): L 0..100, a and b about -110..110."""
    linear = torch.where(rgb01 > 0.04045, _power((rgb01.clamp_min(0.04045) + 0.055) / 1.055, 2.4), rgb01 / 12.92)
    xyz = _mix(linear, _XYZ)
    f = torch.where(xyz > _EPSILON, _power(xyz.clamp_min(_EPSILON), 1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)


def from_lab(lab: Tensor) -> Tensor:
    """Inverse of `to_lab`, clamped to [0, 1]. Values are clamped before each power: no NaN gradient off gamut."""
    y = (lab[:, 0] + 16) / 116
    f = torch.stack((y + lab[:, 1] / 500, y, y - lab[:, 2] / 200), 1)
    xyz = torch.where(f > 6 / 29, f.clamp_min(6 / 29) ** 3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = _mix(xyz, _RGB)
    curved = 1.055 * _power(linear.clamp_min(0.0031308), 1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curved, 12.92 * linear).clamp(0, 1)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Base > 0 to a power. By exp and log: onnxruntime's Pow on a processor takes half as long again."""
    return torch.exp(exponent * torch.log(base))


def _mix(image: Tensor, matrix: list[list[float]]) -> Tensor:
    """Apply a color matrix to the channels of (N,C,H,W).

    By numbers, not by a tensor of them: autocast would multiply those in half precision, and copying one to a GPU keeps
    an iteration from being recorded.
    """
    red, green, blue = image.unbind(1)
    return torch.stack([r * red + g * green + b * blue for r, g, b in matrix], 1)


class Space(NamedTuple):
    """A network space: its channels, rgb01 -> real, and (fake, source) -> rgb01."""

    channels: int
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, Tensor], Tensor]


def _lab_decode(fake: Tensor, source: Tensor) -> Tensor:
    """ab / 110 beside the L of the gray source (a gray pixel's L depends on its Y' alone)."""
    gray = (source.float() + 1) / 2
    return from_lab(torch.cat((to_lab(gray.expand(-1, 3, -1, -1))[:, :1], fake.float() * AB), 1))


def tone(ab: tuple[float, float]) -> np.ndarray:
    """Cb and Cr of every gray level in one CIE Lab a and b, as `chroma.merge` takes them: uint8 (2,256)."""
    gray = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, -1)
    fake = (torch.tensor(ab) / 110).reshape(1, 2, 1, 1).expand(-1, -1, 1, 256)
    return to_cbcr(_lab_decode(fake, to_unit(gray)))[0, :, 0].round().to(torch.uint8).numpy()


SPACES = {
    "rgb": Space(3, lambda rgb01: rgb01 * 2 - 1, lambda fake, source: (fake.float() + 1) / 2),
    "lab": Space(2, lambda rgb01: to_lab(rgb01)[:, 1:] / AB, _lab_decode),
}
