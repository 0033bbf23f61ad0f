"""The inference benchmark: a row of every runtime for the same work, with how far its colors are."""

import pytest

from tests.benches import quick


@pytest.mark.slow
def test_the_inference_benchmark_prints_a_table_and_a_line_of_json():
    names = ["torch eager", "ort fp32", "ort int8"]
    found, printed = quick("inference", "--batch", "1", "--threads", "1", "--rows", *names)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == names
    for row in rows.values():
        assert row["case"] == "unet64 b1 1 thread"
        assert row["ratio"] == pytest.approx(rows["torch eager"]["ms"] / row["ms"])
        assert row["to_ort"] == pytest.approx(rows["ort fp32"]["ms"] / row["ms"])
        assert row["images/s"] == pytest.approx(1e3 / row["ms"])
        assert row["of_peak"] > 0
        assert f"{row['ms']:.4g}" in printed
    assert rows["torch eager"]["levels"] == 0
    assert rows["ort fp32"]["levels"] <= 1
    assert rows["ort int8"]["ciede2000"] < 1
