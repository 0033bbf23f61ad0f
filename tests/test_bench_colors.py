"""The script that scores colors: figures that can be told in advance."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import colors
from recolor_fast.artefact import runtime
from recolor_fast.photographs import images


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


def test_the_best_tone_is_better_than_its_neighbors_and_its_interval_holds_it():
    these = [square(180, 120, 110), square(90, 110, 80), square(120, 100, 60)]
    best = colors.best_tone(iter(these))
    assert best == pytest.approx(tuple(np.mean([colors.lab(one)[:, 0, 0] for one in these], 0)))

    def error(ab: tuple[float, float]) -> tuple[float, float, float]:
        rows = [colors.measured(one, colors.toned(ab)(images.gray(one))) for one in these]
        return colors.intervals({key: np.array([row[key] for row in rows]) for key in rows[0]})["ab error"]

    value, low, high = error(best)
    assert low < value < high
    for step in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        assert error((best[0] + step[0], best[1] + step[1]))[0] > value


def test_a_row_says_what_of_set_says():
    """The truth, half of its color: ab error half of gray's, so 50 % below it, on however drawn photographs."""
    these = [square(180, 120, 110), square(90, 110, 80)]
    pair = [(one, colors.toned(tuple(colors.lab(one)[:, 0, 0] / 2))(images.gray(one))) for one in these]
    rows = [colors.measured(*one) for one in pair]
    found = colors.intervals({key: np.array([row[key] for row in rows]) for key in rows[0]})
    whole = colors.of_set(iter(pair))
    assert found["ab error"][0] == pytest.approx(whole["ab_error"])
    assert found["% below gray"][0] == pytest.approx(whole["below_gray"])
    assert found["colorfulness"][0] == pytest.approx(whole["colorfulness"])
    assert found["% below gray"] == pytest.approx((50, 50, 50), abs=5)  # L of Y is not quite the truth's


def test_a_report_has_every_system_and_keeps_what_is_written_below(tmp_path: Path, capsys):
    (tmp_path / "set").mkdir()
    draw = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "set" / f"{name}.png")
    out = tmp_path / "report.md"
    out.write_text(f"old\n\n{colors.KEPT}\nby hand\n")
    flags = [str(tmp_path / "set"), "--report", str(out), "--against", f"other={runtime.shipped()}"]
    assert colors.main(flags) == 0
    text = out.read_text()
    assert text.endswith(f"{colors.KEPT}\nby hand\n")
    assert "old\n" not in text
    rows = dict(re.findall(r"^\| set, 2 \| ([^|]+) \| (.+) \|$", text, re.M))
    assert list(rows) == ["gray", "sepia", "best single tone", "other", colors.THIS]
    assert rows["other"] == rows[colors.THIS]
    assert re.fullmatch(r"\S+ \[.+\] \| 0 \[0, 0\] \| 0 \[0, 0\]", rows["gray"])
    curve = re.findall(r"^\| ([\d.]+) \| ([\d.]+) at ([\d.]+) \|$", text, re.M)
    assert [float(strength) for strength, *_ in curve] == list(colors.STRENGTHS)
    lively = [float(one) for *_, one in curve]
    assert lively == sorted(lively)
    assert colors.main([str(tmp_path / "none"), "--report", str(out)]) == 2
    assert "none" in capsys.readouterr().err
    assert out.read_text() == text
