import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import steps, train_step
from bench.common import Timed
from recolor_fast.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
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
        assert set(rows) == {"paper", "ours float32", "ours"}
        for row in rows.values():
            assert row["ms"] > 0
            assert row["ratio"] == pytest.approx(rows["paper"]["ms"] / row["ms"])
            assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
            assert f"{row['ms']:.4g}" in ended.stderr
            assert row["peak_mb"] > 100
            assert row["of_peak"] > 0
        assert rows["ours float32"]["critic_error"] < 1e-5 < rows["ours"]["critic_error"] < 0.2
        penalty = case.startswith("wgan")
        assert all((row["penalty_error"] is not None) == penalty for row in rows.values())
        assert not penalty or rows["ours float32"]["penalty_error"] < 1e-5


def test_the_waterfall_has_what_makes_a_difference_on_this_device():
    names = {name: list(train_step.differing(replace(PRESETS[name], device="cpu"))) for name in PRESETS}
    assert names["wgan-gp"] == ["+adam", "+slope", "+products", "+step", "+amp", "+layout", "+winograd", "ours lazy"]
    assert names["pix2pix"] == ["+adam", "+products", "+step", "+amp", "+winograd"]
    assert "+compile" in train_step.differing(replace(PRESETS["wgan-gp"], device="cuda"))


def test_rows_that_do_not_fit_in_memory_take_turns_with_a_paper_row_of_their_own(monkeypatch):
    turns: list[list[str]] = []

    def timed(case, cases, *rest):
        turns.append(list(cases))
        return [{"name": name, "ms": len(turns)} for name in cases]

    monkeypatch.setattr(train_step, "timed", timed)
    monkeypatch.setattr(train_step, "critic_errors", lambda options, chosen: {name: {} for name in chosen})
    monkeypatch.setattr(train_step, "parts", lambda *rest: [])
    rows = train_step.measure(replace(PRESETS["pix2pix"], size=128, device="cpu"), 1, 1, None, True, 4)
    assert turns == [["paper", "+adam", "+products", "+step"], ["paper", "+amp", "ours float32", "ours"]]
    assert [(row["name"], row["ms"]) for row in rows if row["name"] in ("paper", "ours")] == [("paper", 1), ("ours", 2)]
    assert len(rows) == 7


def test_parts_of_an_iteration_are_all_of_it():
    options = replace(PRESETS["wgan-gp"], size=64, width=4, device="cpu")
    rows = train_step.parts(options, 2, None)
    assert {"critic updates", "generator forward", "Adam of the critic"} <= {row["name"] for row in rows}
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_operations_are_those_of_the_convolutions():
    """The critic's step: 12 units by autograd, 2 of them on a plain LeakyReLU's zeros, 10 fused."""
    options = replace(PRESETS["wgan-gp"], size=64, width=4, device="cpu", critic_steps=1)
    more = replace(options, critic_steps=2)

    def critic_step(row) -> int:
        return steps.operations(row, more) - steps.operations(row, options)

    ratio = critic_step(steps.Row()) / critic_step(steps.OURS["ours float32"])
    assert 1.15 < ratio < 1.25


def test_double_backward_and_the_fused_update_stand_side_by_side(monkeypatch):
    """In one row, of one batch and the same weights; here one after the other in this process."""

    def here(cases, runs):
        built = {name: build() for name, build in cases.items()}
        return {
            name: (case.run(), Timed(float(k + 1), case.facts()))[1] for k, (name, case) in enumerate(built.items())
        }

    monkeypatch.setattr(train_step, "alternate_apart", here)
    monkeypatch.setattr(steps.memory, "keep_freed", lambda: None)
    row = train_step.updates(replace(PRESETS["wgan-gp"], size=64, width=4, device="cpu", batch=2), 1, None)
    assert row["case"] == "wgan-gp 64 b2 critic update"
    assert [row[f"{name} ratio"] for name in ("paper", "ours float32", "ours")] == [1, 1 / 2, 1 / 3]
    assert (row["paper ms"], row["ours ms"]) == (500, 1500)
    assert min(row[f"{name} mb"] for name in ("paper", "ours float32", "ours")) > 100
    assert 0 < row["paper penalty_error"] < 1e-5
    assert 0 < row["ours float32 penalty_error"] < 1e-4 < row["ours penalty_error"] < 0.1
