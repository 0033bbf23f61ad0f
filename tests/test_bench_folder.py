"""The folder benchmark: every row writes the same files, and tells how far their luminance is."""

import pytest

from tests.benches import quick


@pytest.mark.slow
def test_the_folder_benchmark_prints_a_table_and_a_line_of_json():
    names = ["pillow no-op", "limit", "no-op", "judged", "film limit", "film no-op"]
    found, _ = quick("folder", "--rows", *names)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == names
    assert rows["film no-op"]["ratio"] == pytest.approx(rows["film limit"]["ms"] / rows["film no-op"]["ms"])
    for row in (rows.pop("film limit"), rows.pop("film no-op")):
        assert row["case"] == "film 640x480"
        assert 0 < row["luma"] < 1.5
    for row in rows.values():
        assert row["case"] == "500x375"
        assert row["images/s"] == pytest.approx(1e3 / row["ms"])
        assert row["ratio"] == pytest.approx(rows["pillow no-op"]["ms"] / row["ms"])
        assert 0 < row["luma"] < 1  # what encoding loses: the picture is the same
    assert rows["no-op"]["of_bound"] > 0
    assert rows["judged"]["of_bound"] > 0
    assert rows["limit"]["of_bound"] is None
