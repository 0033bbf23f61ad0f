"""Color arithmetic against scikit-image and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from recolor_fast.networks.space import SPACES, from_lab, to_cbcr, to_lab, to_rgb01, to_unit


def random_rgb(seed: int, count: int = 2, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("seed", range(3))
def test_lab_equals_scikit_image(seed):
    rgb = random_rgb(seed)
    theirs = rgb2lab(rgb.permute(0, 2, 3, 1).numpy())
    ours = to_lab(to_rgb01(rgb).double()).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - theirs).max() < 0.05  # scikit-image rounds its matrix and white point to six digits


def test_lab_and_back_is_the_identity_inside_the_gamut():
    rgb01 = to_rgb01(random_rgb(3))
    assert (from_lab(to_lab(rgb01)) - rgb01).abs().max() < 1e-4


def test_gray_has_no_chroma_in_lab():
    gray = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert to_lab(gray)[:, 1:].abs().max() < 1e-2


@pytest.mark.parametrize("lab", [(0.0, 0.0, 0.0), (100.0, 0.0, 0.0), (50.0, 200.0, -200.0), (0.0, -128.0, 128.0)])
def test_gradients_are_finite_off_gamut_and_at_the_corners(lab):
    value = torch.tensor(lab).view(1, 3, 1, 1).requires_grad_()
    from_lab(value).sum().backward()
    assert torch.isfinite(value.grad).all()
    rgb01 = torch.zeros(1, 3, 1, 1, requires_grad=True)
    to_lab(rgb01).sum().backward()
    assert torch.isfinite(rgb01.grad).all()


def test_cbcr_equals_opencv_within_a_level():
    rgb = random_rgb(4)
    ours = to_cbcr(to_rgb01(rgb)).permute(0, 2, 3, 1).numpy()
    for mine, image in zip(ours, rgb.permute(0, 2, 3, 1).numpy()):
        crcb = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(float)
        assert np.abs(mine - crcb[..., ::-1]).max() <= 1.0


@pytest.mark.parametrize("space", SPACES)
def test_a_space_decodes_what_it_encodes(space):
    """The rgb space returns any photograph; lab returns one whose L is that of the gray source, so a gray one."""
    gray = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    rgb01 = to_rgb01(gray.expand(1, 3, 16, 16))
    real = SPACES[space].encode(rgb01)
    assert real.shape[1] == SPACES[space].channels
    assert real.abs().max() <= 1
    assert (SPACES[space].decode(real, to_unit(gray)) - rgb01).abs().max() < 1e-3


def test_the_lab_space_keeps_the_hue_of_a_photograph():
    rgb01 = to_rgb01(random_rgb(5)) * 0.5 + 0.25
    lab = to_lab(rgb01)
    luminance = from_lab(torch.cat((lab[:, :1], torch.zeros_like(lab[:, 1:])), 1))[:, :1]
    back = SPACES["lab"].decode(SPACES["lab"].encode(rgb01), luminance * 2 - 1)
    assert (back - rgb01).abs().max() < 2e-3


def test_unit_range():
    assert to_unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_autocast_does_not_round_colors():
    """bfloat16 has 8 bits: an L of 50 would be 0.2 off."""
    rgb01 = torch.rand(1, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = to_lab(rgb01), from_lab(to_lab(rgb01)), to_cbcr(rgb01)
    for ours, exact in zip(rounded, (to_lab(rgb01), from_lab(to_lab(rgb01)), to_cbcr(rgb01))):
        assert torch.equal(ours, exact)
