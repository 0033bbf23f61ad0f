"""What artefacts compute: each operation against the folder tool's, and the rewritten generator against the trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recolor_fast.artefact import runtime
from recolor_fast.artefact.graphs import (
    GRAPHS,
    Chroma,
    Half,
    Image,
    Subpixel,
    blurred,
    deployed,
    equalized,
    guided,
    luminance,
    merged,
)
from recolor_fast.networks.generators import build_generator
from recolor_fast.networks.layers import NORMS
from recolor_fast.options import Options
from recolor_fast.photographs import chroma, images
from recolor_fast.presets import PRESETS
from tests.photographs import pixels

SIZES = [(1, 1), (1, 9), (2, 3), (3, 1), (40, 61), (64, 64), (150, 211)]


def batch(height: int, width: int) -> np.ndarray:
    """A photograph, and noise in few levels: uint8 (2,H,W,3)."""
    noise = np.random.default_rng(0).integers(60, 90, (height, width, 3), dtype=np.uint8)
    return np.stack([pixels(1, height, width), noise])


def test_the_tables_of_exporter_and_runtime_agree():
    assert set(GRAPHS) == set(runtime.GRAPHS)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_luminance_and_equalization_are_opencvs_to_the_level(height, width):
    rgb = batch(height, width)
    rgb[0, 0, 0] = 255
    gray = luminance(torch.from_numpy(rgb))
    assert gray.shape == (2, 1, height, width)
    for ours, photograph in zip(gray[:, 0].numpy(), rgb):
        np.testing.assert_array_equal(ours, images.gray(photograph))
    for ours, photograph in zip(equalized(gray)[:, 0].numpy(), rgb):
        np.testing.assert_array_equal(ours, images.equalize(images.gray(photograph)))


def test_one_level_stays_what_it_is_when_equalized():
    gray = torch.full((2, 1, 5, 4), 77.0)
    gray[1] = 0
    assert torch.equal(equalized(gray), gray)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_blur_is_opencvs_but_for_its_rounding(height, width):
    gray = luminance(torch.from_numpy(batch(height, width)))
    for ours, plane in zip(blurred(gray)[:, 0].numpy(), gray[:, 0].numpy()):
        theirs = images.blur(plane.astype(np.uint8))
        assert np.abs(ours - theirs).max() < 1.5  # OpenCV rounds twice, and its weights to 1/256
        assert np.abs(ours - theirs).mean() < 0.5


def test_merging_is_the_folder_tools():
    random = np.random.default_rng(0)
    gray = random.integers(0, 256, (37, 53), dtype=np.uint8)
    cbcr = random.integers(0, 256, (2, 37, 53), dtype=np.uint8)
    ours = merged(torch.from_numpy(gray)[None, None].float(), torch.from_numpy(cbcr)[None].float() - 128)[0].numpy()
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - chroma.merge(gray, cbcr)).max() <= 1
    assert np.abs(images.gray(ours).astype(int) - gray).max() <= 1


@pytest.mark.parametrize("preset", ["pix2pix", "pix2pix-lab"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 61), (300, 201)])
def test_the_image_graph_is_the_steps_of_the_folder_tool(preset, height, width):
    options = replace(PRESETS[preset], size=64, width=8)
    torch.manual_seed(0)
    generator = build_generator(options).eval()
    rgb = batch(height, width)
    with torch.no_grad():
        ours = Image(generator, options)(torch.from_numpy(rgb)).numpy()
        for found, photograph in zip(ours, rgb):
            gray = images.gray(photograph)
            seen = images.source(gray, options)
            cbcr = Chroma(generator, options.space)(torch.from_numpy(seen)[None, None]).numpy()[0]
            expected = chroma.merge(gray, cbcr).astype(int)
            assert np.abs(found - expected).max() <= 4  # chroma is rounded there, which blue takes 1.8 times
            assert np.abs(found - expected).mean() < 1
            assert np.abs(images.gray(found).astype(int) - gray).max() <= 1


# --- the deployed generator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (5, 3)])
def test_a_transposed_convolution_is_exactly_a_convolution_and_depth_to_space(bias, height, width):
    torch.manual_seed(0)
    transposed = nn.ConvTranspose2d(3, 5, 4, 2, 1, bias=bias).double()
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(Subpixel(transposed, nn.Identity())(x), transposed(x), rtol=0, atol=1e-14)


def test_another_transposed_convolution_is_refused():
    with pytest.raises(ValueError, match="kernel of 4"):
        Subpixel(nn.ConvTranspose2d(3, 5, 3, 2, 1), nn.Identity())


@pytest.mark.parametrize("kind", ["unet", "nearest", "residual", "lite0"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("spectral", [False, True])
def test_the_deployed_generator_computes_the_same_with_less(kind, norm, spectral):
    init = "he" if kind == "lite0" else "normal"  # 16 blocks without norm
    options = Options(generator=kind, size=64, width=4, generator_norm=norm, spectral_norm=spectral, init=init)
    torch.manual_seed(0)
    generator = build_generator(options)
    with torch.no_grad():
        for _ in range(3):  # statistics that are not the initial ones
            generator(torch.randn(2, 1, 64, 64))
    generator.double().eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    ours = deployed(options, generator)
    x = torch.randn(3, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = generator(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-10)
    kinds = {type(module) for module in ours.modules()}
    assert not kinds & {nn.ConvTranspose2d, nn.BatchNorm2d}
    assert not any("parametrizations" in name for name in ours.state_dict())
    after = generator.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_half_precision_is_of_the_network_alone():
    torch.manual_seed(0)
    options = Options(size=64, width=4)
    generator = build_generator(options).eval()
    x = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        expected, found = generator(x), Half(deployed(options, generator))(x)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.01
    assert {parameter.dtype for parameter in generator.parameters()} == {torch.float32}


@pytest.mark.parametrize(("height", "width"), [(256, 256), (150, 211), (301, 200)])
def test_chroma_of_a_photograph_is_guided_as_in_the_folder_tool(height, width):
    """Real chroma, unlike a random generator's; windows and borders are averaged a little differently."""
    rgb = pixels(2, height, width)
    gray = images.gray(rgb)
    cbcr = runtime.cbcr(images.resize(rgb, 64, 64))
    luma = torch.from_numpy(gray)[None, None].float()
    ours = merged(luma, guided(luma, torch.from_numpy(cbcr)[None].float() - 128))[0].numpy().astype(int)
    expected = chroma.merge(gray, cbcr).astype(int)
    smooth = chroma.merge(gray, cbcr, chroma.Look("bilinear")).astype(int)
    assert cbcr.std() > 3
    assert np.abs(ours - expected).mean() < 0.4 * np.abs(smooth - expected).mean()
    assert np.abs(ours - expected).mean() < 0.6
