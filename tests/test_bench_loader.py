import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from bench import loader
from bench.common import alternate, report
from recolor_fast.data import dali

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--quick", "--count", "2", "--runs", "1"]
NAMES = {"paper", "torchvision", "host", "cache", "decode"} | ({"dali-cpu"} if dali.available() else set())


def run() -> tuple[dict, str]:
    command = [sys.executable, str(ROOT / "bench" / "loader.py"), *QUICK]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    return json.loads(ended.stdout), ended.stderr


def assert_rows(found: list[dict], case: str, photographs: int, table: str, large: bool = False) -> None:
    rows = {row["name"]: row for row in found if row["case"] == case}
    assert set(rows) - {"dali-gpu"} == NAMES
    levels = {name: (row.get("max_levels"), row.get("mean_levels")) for name, row in rows.items()}
    assert levels["host"] == levels["cache"]
    assert levels["decode"] == (None, None)
    # large ones are decoded at 1/4 by our loaders, which must show
    assert 0 < levels["host"][1] < 2 if large else levels["host"] == (0, 0)
    for name, row in rows.items():
        assert row["ms"] > 0
        assert row["ratio"] == pytest.approx(rows["paper"]["ms"] / row["ms"])
        assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
        assert row["photographs"] == photographs
        if name == "paper" or (name.startswith("dali") and not large):
            assert row["max_levels"] <= (8 if name == "dali-gpu" else 2)
        if name != "decode":
            assert row["max_levels"] <= (30 if large else 8)
            assert row["mean_levels"] <= min(2, row["max_levels"])
        assert f"{row['ms']:.4g}" in table


@pytest.mark.slow
def test_the_loader_benchmark_prints_a_table_and_a_line_of_json():
    found, table = run()
    assert set(found) == {"bench", "device", "versions", "n", "rows"}
    assert (found["bench"], found["n"]) == ("loader", 2)
    assert {"python", "torch", "torchvision", "numpy"} <= set(found["versions"])
    cases = [f"{case} {size}" for size in ("500x375", "4000x3000") for case in ("plain", "equalize+blur")]
    assert list(dict.fromkeys(row["case"] for row in found["rows"])) == cases
    for case in cases:
        large = case.endswith("4000x3000")
        assert_rows(found["rows"], case, 1 if large else 2, table, large)
    assert "ratio = ms of paper / ms" in table


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
def test_the_loader_benchmark_takes_a_folder(tmp_path, capsys):
    loader.make_photographs(tmp_path / "photographs", 5, 500, 375)
    threads = cv2.getNumThreads()
    try:
        assert loader.main([*QUICK, "--photographs", str(tmp_path / "photographs")]) == 0
    finally:
        cv2.setNumThreads(threads)
    out, table = capsys.readouterr()
    found = json.loads(out)
    assert (found["bench"], found["n"]) == ("loader", 2)
    assert {row["case"] for row in found["rows"]} == {"plain", "equalize+blur"}
    for case in ("plain", "equalize+blur"):
        assert_rows(found["rows"], case, 2, table)
    assert "ratio = ms of paper / ms" in table


def test_alternate_takes_turns_and_does_not_time_the_first(monkeypatch):
    calls, clock = [], [0.0]

    def case(name: str, *seconds: float):
        left = iter(seconds)

        def call() -> None:
            calls.append(name)
            clock[0] += next(left)

        return call

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    medians = alternate({"a": case("a", 100, 1, 2, 30), "b": case("b", 100, 5, 5, 6)}, 3)
    assert calls == ["a", "b"] * 4
    assert medians == {"a": 2, "b": 5}


def test_report_aligns_columns_and_keeps_rows(capsys):
    rows = [{"name": "one", "ms": 1.23456}, {"name": "three", "levels": 3}]
    report("some", "a device", 4, rows, "a note")
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == rows
    assert err.splitlines() == ["name   ms     levels", "one    1.235  -", "three  -      3", "a note"]
