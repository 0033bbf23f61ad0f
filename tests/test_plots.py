"""Pictures: what is drawn stands where it should, and the files open."""

import numpy as np
import pytest
from PIL import Image

from recolor_fast.evaluation import plots
from recolor_fast.photographs import images
from tests.photographs import pixels


@pytest.fixture
def photographs() -> list[np.ndarray]:
    return [pixels(number, 128, 128) for number in range(3)]


def test_a_grid_shows_each_photograph_at_its_place(tmp_path, photographs):
    path = tmp_path / "deep" / "grid.png"
    plots.grid(path, {"gray": [images.gray(p) for p in photographs], "truth": photographs})
    sheet = np.asarray(Image.open(path))
    gap, top = plots.GAP, sheet.shape[0] - 3 * (128 + plots.GAP)
    for row, photograph in enumerate(photographs):
        y = top + row * (128 + gap)
        assert (sheet[y : y + 128, 128 + gap : 256 + gap] == photograph).all()
        assert (sheet[y : y + 128, :128, 0] == images.gray(photograph)).all()


def test_a_sheet_shows_pictures_enlarged_with_its_caption(tmp_path):
    path = tmp_path / "sheet.png"
    truth = pixels(0, 64, 64)
    rows = [[plots.Cell(truth, "a label"), plots.Cell(images.gray(truth))]] * 2
    plots.sheet(path, ["truth", "gray"], rows, "what it is made of: ümlaut", ["first", "second"])
    with Image.open(path) as picture:
        assert picture.text["Description"] == "what it is made of: ümlaut"
        sheet = np.asarray(picture)
    large = truth.repeat(3, 0).repeat(3, 1)
    found = [
        (y, x)
        for y in range(sheet.shape[0] - 192)
        for x in np.flatnonzero((sheet[y, : sheet.shape[1] - 192] == large[0, 0]).all(1))
        if (sheet[y : y + 192, x : x + 192] == large).all()
    ]
    assert len(found) == 2
    assert len({x for _, x in found}) == 1


def test_a_long_name_is_written_smaller_not_cut(tmp_path):
    narrow = plots.fitting("a-rather-long-name-of-a-system", 18, 192)
    assert narrow.getlength("a-rather-long-name-of-a-system") <= 192
    assert plots.fitting("short", 18, 192).getlength("short") > narrow.getlength("short")


def test_smoothing_keeps_a_constant_and_the_length():
    assert plots.smoothed(np.full(50, 2.0)) == pytest.approx(2)
    for length in (1, 2, 3, 7, 100):
        assert len(plots.smoothed(np.arange(float(length)))) == length
    assert plots.smoothed(np.array([0.0, 3.0, 0.0])) == pytest.approx([1.5, 1, 1.5])


def test_figures_open_and_carry_their_caption(tmp_path):
    curve = plots.Curve(np.arange(10.0), np.arange(10.0) ** 2)
    plots.losses(tmp_path / "losses.png", {f"run {n}": curve for n in range(3)}, "loss", "a caption")
    edges = np.arange(-3.0, 4.0)
    counts = {f"system {n}": (np.arange(6.0), np.ones(6)) for n in range(12)}
    plots.histograms(tmp_path / "histograms.png", edges, counts, "system 0", "a caption")
    for name in ("losses.png", "histograms.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.text["Description"] == "a caption"
            assert picture.width > 1000
    assert not list(tmp_path.glob(".*"))
