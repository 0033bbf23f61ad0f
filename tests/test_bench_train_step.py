import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_training_benchmark_prints_a_table_and_a_line_of_json():
    command = [sys.executable, str(ROOT / "bench" / "train_step.py"), "--quick", "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    found = json.loads(ended.stdout)
    assert set(found) == {"bench", "device", "versions", "n", "rows"}
    assert found["bench"] == "train_step"
    assert {row["case"] for row in found["rows"]} == {"wgan-gp-lpips 64 b1", "pix2pix 64 b1"}
    for case in ("wgan-gp-lpips 64 b1", "pix2pix 64 b1"):
        rows = {row["name"]: row for row in found["rows"] if row["case"] == case}
        assert set(rows) == {"paper", "ours", "ours+amp"}
        for row in rows.values():
            assert row["ms"] > 0
            assert row["ratio"] == pytest.approx(rows["paper"]["ms"] / row["ms"])
            assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
            assert f"{row['ms']:.4g}" in ended.stderr
        assert rows["ours"]["critic_error"] < 1e-5 < rows["ours+amp"]["critic_error"] < 0.2
