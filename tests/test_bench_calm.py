"""What is painted where there is nothing to color: figures known in advance, and bounds for the shipped colorizer."""

import re

import cv2
import numpy as np
import pytest

from bench import calm
from recolor_fast.colorize import Colorizer

# Mean Lab chroma, a fifth or so above what bench/LOG.md has: bounds that no change may exceed unseen, not what is good.
BOUNDS = {
    "ramp, left to right": 3,
    "ramp, top to bottom": 3,
    "ramp, from the middle": 3,
    "noise of 10 levels": 3,
    "noise of 60 levels": 4,
    "stripes": 10,
    "printed page": 6,
    "printed page, inverted": 6,
    "headline": 2,
    "line drawing": 5,
    "map": 14,
    "X-ray": 7,
}


def gray(picture: np.ndarray) -> np.ndarray:
    return np.dstack([picture] * 3)


def test_no_color_is_no_strength_and_a_color_is_its_chroma():
    assert calm.strengths(gray(calm.x_ray()))["most"] < 0.2  # OpenCV's gray axis
    lab = np.full((40, 50, 3), (60, 0, -20), np.float32)
    lab[0, :15] = (60, 0, -30)  # 15 of 2,000 pixels: less than one in a hundred
    found = calm.strengths(np.rint(255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).astype(np.uint8))
    assert found == pytest.approx({"mean": 20, "most": 20, "hue": 270}, abs=0.7)


def test_every_even_gray_counts_and_the_worst_is_named():
    def color(picture: np.ndarray) -> np.ndarray:
        rgb = gray(picture)
        rgb[..., 2] += np.uint8(40 * (picture[0, 0] == 100))
        return rgb

    found = calm.of_levels(color)
    assert found["level"] == 100
    assert found["mean"] == pytest.approx(found["most"] / 256, abs=0.05)
    assert 15 < found["most"] < 40


def test_pictures_are_gray_and_the_same_each_time():
    names, pictures = zip(*calm.drawn())
    assert len(set(names)) == len(names)
    for picture, again in zip(pictures, (one for _, one in calm.drawn())):
        assert picture.dtype == np.uint8
        assert min(picture.shape) >= 256
        assert picture.std() > 5
        assert np.array_equal(picture, again)


def test_the_shipped_one_keeps_within_bounds():
    color = Colorizer(threads=1)
    found = {name: calm.strengths(color(picture))["mean"] for name, picture in calm.drawn()}
    assert {name: round(found[name], 1) for name, bound in BOUNDS.items() if found[name] > bound} == {}
    levels = [calm.strengths(color(calm.even(level)))["mean"] for level in range(0, 256, 15)]
    assert np.mean(levels) < 2
    assert max(levels) < 4


def test_the_command_prints_the_figures(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(calm, "Colorizer", lambda path, saturation: gray)
    monkeypatch.setattr(calm, "even", lambda level: np.full((8, 8), level, np.uint8))
    assert calm.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"even gray, most at \d+ +0", next(line for line in lines if line.startswith("even gray")))
    assert sum(line.startswith("scikit-image's") for line in lines) == len(calm.PICTURES)
    monkeypatch.undo()
    assert calm.main(["--saturation", "9"]) == 2
    assert "saturation 9.0" in capsys.readouterr().err
