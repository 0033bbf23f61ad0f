"""bench/scaling.py: its model by hand, and that it runs."""

import pytest

from bench import scaling
from tests.benches import quick


def test_a_sum_inside_a_machine_goes_over_nvlink_and_between_machines_over_the_network_too():
    assert scaling.all_reduce(10**9, 1) == 0
    within = 2 * 7 / 8 * 1e9 / (0.7 * 450e9) + 2 * 3 * 5e-6
    assert scaling.all_reduce(10**9, 8) == pytest.approx(within)
    between = 2 * 7 / 8 * 1e9 / 8 / (0.7 * 50e9) + 2 * 3 * 15e-6
    assert scaling.all_reduce(10**9, 64) == pytest.approx(within + between)


def test_more_gpus_do_more_and_each_less():
    rows = [scaling.predicted(count, [4 * 10**6] * 6, 500.0, 50) for count in (1, 8, 64, 1024)]
    assert (rows[0]["ratio"], rows[0]["share"], rows[0]["ms"]) == (1, 0, pytest.approx(100))
    assert rows[0]["images_per_s"] < rows[1]["images_per_s"] < rows[2]["images_per_s"] < rows[3]["images_per_s"]
    assert [row["ratio"] / row["ranks"] for row in rows] == sorted(row["ratio"] / row["ranks"] for row in rows)[::-1]


def test_the_model_is_drawn(tmp_path):
    scaling.draw(tmp_path / "plot.png", [scaling.predicted(count, [10**6], 500.0, 50) for count in (1, 8)])
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.slow
def test_it_measures_one_and_two_ranks():
    found, told = quick("scaling")
    measured = {row["ranks"]: row for row in found["rows"] if row["where"] == "measured"}
    assert set(measured) == {1, 2}
    assert measured[1]["share"] == 0 < measured[2]["share"] < 1
    assert measured[1]["ratio"] == 1
    assert "all-reduces an iteration" in told
