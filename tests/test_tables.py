"""The short table at the end of an evaluation."""

from types import SimpleNamespace

import numpy as np
import pytest

from recolor_fast.evaluation import metrics, tables


def results(of_gray: list[float], of_own: list[float], lpips: bool = False) -> tables.Results:
    """Of systems gray and own whose squared errors of a and b these are, by photograph."""
    columns = {name: {"ab_square": np.array(values)} for name, values in (("gray", of_gray), ("own", of_own))}
    missing: dict = {name: {"missing": "not measured"} for name in metrics.METRICS}
    known = {"psnr_rgb": {"mean": 24.123456, "low": 23.0, "high": 25.0}}
    if lpips:
        known["lpips"] = {"mean": 0.25, "low": 0.2, "high": 0.3}
    found = {"gray": missing | known, "own": missing | {"psnr_rgb": known["psnr_rgb"]}}
    return tables.Results({}, "", columns, found)


SYSTEMS = [SimpleNamespace(name=name, options=None) for name in ("gray", "own")]


def test_the_short_table_says_how_far_below_gray_with_its_interval():
    lines = tables.brief(results([100.0, 100.0, 100.0, 100.0], [64.0, 64.0, 64.0, 64.0]), SYSTEMS, 0).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["system", "gray", "own"]
    assert "0.0 % [0.0, 0.0]" in lines[1]
    assert "20.0 % [20.0, 20.0]" in lines[2]  # sqrt(64 / 100)
    assert lines[2].endswith("24.12 [23, 25]")
    assert "LPIPS" not in lines[0]  # no system has it


def test_a_metric_that_some_system_has_is_a_column():
    lines = tables.brief(results([1.0, 2.0], [1.0, 2.0], lpips=True), SYSTEMS, 0).splitlines()
    assert lines[0].endswith("LPIPS (AlexNet)")
    assert lines[1].endswith("0.25 [0.2, 0.3]")
    assert lines[2].endswith("-")


def test_the_interval_is_that_of_the_same_photographs_for_both():
    """Photographs differ a thousandfold, the ratio hardly: unpaired, the interval would be wide."""
    gray = list(np.geomspace(1, 1000, 50))
    said = tables.below_gray(results(gray, [0.81 * value for value in gray]), "own", 0)
    assert said == "10.0 % [10.0, 10.0]"


def test_above_gray_is_negative_and_without_color_there_is_no_share():
    assert tables.below_gray(results([1.0, 1.0], [4.0, 4.0]), "own", 0) == "-100.0 % [-100.0, -100.0]"
    assert tables.below_gray(results([0.0, 0.0], [4.0, 4.0]), "own", 0) == "-"


@pytest.mark.parametrize("name", tables.BRIEF)
def test_its_columns_are_metrics(name):
    assert name in metrics.METRICS
