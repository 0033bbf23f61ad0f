"""Metrics and pictures on photographs whose numbers are known."""

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from recolor_fast import images, metrics, plots


@pytest.fixture
def photographs() -> list[np.ndarray]:
    return [np.ascontiguousarray(p[:128, :128]) for p in (data.astronaut(), data.coffee(), data.cat())]


def test_the_truth_has_no_error_and_full_chroma(photographs):
    found = metrics.compare(photographs, photographs)
    assert found["ab_rmse"] == 0
    assert found["chroma"] == 1
    assert found["psnr"] == pytest.approx(100)


def test_gray_is_its_own_baseline(photographs):
    grays = [np.repeat(images.gray(p)[..., None], 3, 2) for p in photographs]
    found = metrics.compare(grays, photographs)
    assert found["ab_rmse"] == pytest.approx(found["ab_rmse/gray"], rel=1e-3)
    assert found["chroma"] < 1e-3


def test_numbers_equal_scikit_image(photographs):
    rng = np.random.default_rng(0)
    colored = [np.clip(p + rng.normal(0, 20, p.shape), 0, 255).astype(np.uint8) for p in photographs]
    found = metrics.compare(colored, photographs)
    ours, theirs = (np.stack([rgb2lab(p)[..., 1:] for p in part]) for part in (colored, photographs))
    assert found["ab_rmse"] == pytest.approx(np.sqrt(((ours - theirs) ** 2).mean()), rel=1e-3)
    chroma = np.linalg.norm(ours, axis=-1).mean() / np.linalg.norm(theirs, axis=-1).mean()
    assert found["chroma"] == pytest.approx(chroma, rel=1e-3)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(np.stack(photographs), np.stack(colored)), rel=1e-4)


def test_nothing_and_unequal_numbers_are_errors(photographs):
    with pytest.raises(ValueError, match="no photographs"):
        metrics.compare([], [])
    with pytest.raises(ValueError, match="longer"):
        metrics.compare(photographs[:1], photographs)


def test_a_grid_shows_each_photograph_at_its_place(tmp_path, photographs):
    path = tmp_path / "deep" / "grid.png"
    plots.grid(path, {"gray": [images.gray(p) for p in photographs], "truth": photographs})
    sheet = np.asarray(Image.open(path))
    gap, top = plots.GAP, sheet.shape[0] - 3 * (128 + plots.GAP)
    for row, photograph in enumerate(photographs):
        y = top + row * (128 + gap)
        assert (sheet[y : y + 128, 128 + gap : 256 + gap] == photograph).all()
        assert (sheet[y : y + 128, :128, 0] == images.gray(photograph)).all()
