"""The folder benchmark: every row writes the same files, and tells how far their luminance is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_folder_benchmark_prints_a_table_and_a_line_of_json():
    names = ["pillow no-op", "limit", "no-op"]
    command = [sys.executable, str(ROOT / "bench" / "folder.py"), "--quick", "--rows", *names]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    found = json.loads(ended.stdout)
    assert found["bench"] == "folder"
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == names
    for row in rows.values():
        assert row["case"] == "500x375"
        assert row["images/s"] == pytest.approx(1e3 / row["ms"])
        assert row["ratio"] == pytest.approx(rows["pillow no-op"]["ms"] / row["ms"])
        assert 0 < row["luma"] < 1  # what encoding loses: the picture is the same
    assert rows["no-op"]["of_bound"] > 0
    assert rows["limit"]["of_bound"] is None
