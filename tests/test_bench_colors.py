"""The script that scores colors: figures that can be told in advance."""

import numpy as np
import pytest

from bench import colors
from recolor_fast import images


def square(*rgb: int) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (colors.SIDE, colors.SIDE, 3)).copy()


def halves(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate((one[:, : colors.SIDE // 2], other[:, colors.SIDE // 2 :]), 1)


def test_the_truth_has_no_error_and_gray_is_no_gain():
    truth = halves(square(200, 40, 40), square(30, 160, 90))
    perfect, gray = (colors.of_set(iter([(truth, one)])) for one in (truth, np.full_like(truth, 90)))
    assert perfect["ab_error"] == 0
    assert perfect["below_gray"] == pytest.approx(100)
    assert perfect["colorfulness"] == perfect["chroma"] == 1
    assert gray["below_gray"] == pytest.approx(0, abs=1e-3)
    assert gray["colorfulness"] == pytest.approx(0, abs=1e-3)


def test_the_best_constant_is_the_sets_mean():
    one, other = square(200, 120, 120), square(200, 120, 60)
    mean = (colors.lab(one) + colors.lab(other)).mean((1, 2)) / 2
    spread = [np.square(colors.lab(some) - mean[:, None, None]).sum(0).mean() for some in (one, other)]
    size = [np.square(colors.lab(some)).sum(0).mean() for some in (one, other)]
    row = colors.of_set(iter([(one, one), (other, other)]))
    assert row["constant"] == pytest.approx(100 * (1 - (sum(spread) / sum(size)) ** 0.5))


def test_errors_at_edges_are_told_from_others():
    truth = halves(square(20, 20, 20), square(220, 220, 220))
    edge = colors.near_edges(images.gray(truth))
    assert 2 <= edge[0].sum() <= 2 * colors.NEAR + 4
    assert edge[0, colors.SIDE // 2]
    tint = np.array((10, 0, 0), np.uint8)
    tinted, fringed = truth + tint, np.where(edge[..., None], truth + 3 * tint, truth + tint)
    even, worse = (colors.of_set(iter([(truth, one)]))["fringes"] for one in (tinted, fringed))
    assert 0.5 < even < 1.5
    assert worse > 2 * even


def test_faces_are_judged_by_their_skin_alone():
    skin, blue = square(224, 172, 140), square(140, 160, 224)
    good, bad = (colors.of_faces(iter([(skin, one)])) for one in (skin, blue))
    assert good == {"faces": 1, "hue": 0.0, "pale": 0.0, "blue": 0.0}
    assert bad["hue"] > 90
    assert bad["blue"] == 1
    faint = np.full_like(skin, 180)
    assert colors.of_faces(iter([(skin, faint), (skin, skin)]))["pale"] == 0.5
