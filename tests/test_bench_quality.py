"""The comparison of trainings: the same training agrees with itself, a sabotaged one does not."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import quality
from recolor_fast import resolve
from recolor_fast.data import sources
from recolor_fast.losses.features import LPIPS
from recolor_fast.options import Options
from recolor_fast.presets import PAPERS

ROOT = Path(__file__).resolve().parents[1]


def options(preset: str, **changes) -> Options:
    small = {"data": "sample", "size": 64, "width": 4, "images": 24, "device": "cpu"}
    return resolve.for_photographs(resolve.resolve(replace(PAPERS[preset], **small | changes)), 5)


@pytest.mark.slow  # the whole benchmark, as of the others
def test_the_quality_benchmark_prints_a_table_and_a_line_of_json():
    command = [sys.executable, str(ROOT / "bench" / "quality.py"), "--quick", "--preset", "pix2pix", "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    found = json.loads(ended.stdout)
    assert (found["bench"], found["n"]) == ("quality", 16)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["paper", "ours float32", "ours"]
    parts = "critic/real critic/fake critic/real+fake generator/adversary generator/l1"
    quantities = [*parts.split(), "ab_rmse", "chroma", "psnr"]
    for row in rows.values():
        assert row["case"] == "pix2pix"
        assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
        assert row["ratio"] == pytest.approx(rows["paper"]["ms"] / row["ms"])
        assert all(row[f"{name} sd"] > 0 for name in quantities)
        assert row["critic/real+fake"] == pytest.approx(row["critic/real"] + row["critic/fake"])
        assert row["ab_rmse"] == pytest.approx(rows["paper"]["ab_rmse"], rel=0.01)
    assert rows["paper"]["agrees"] is None
    assert rows["ours float32"]["agrees"] is True
    assert rows["ours float32"]["of_limit"] < 0.2
    assert "pix2pix, seed 1, ours: critic/real" in ended.stderr


def test_the_same_training_agrees_and_a_sabotaged_one_does_not(capsys):
    variants = {"ours": {}, "sabotaged": {"learning_rate": 2e-3}}
    rows = {row["name"]: row for row in quality.measure(options("pix2pix"), variants, 3)}
    assert rows["ours"]["agrees"] is True
    assert rows["ours"]["of_limit"] < 0.1
    assert rows["sabotaged"]["agrees"] is False
    assert rows["sabotaged"]["of_limit"] > 1.5
    assert rows["sabotaged"]["farthest"] in rows["paper"]
    assert capsys.readouterr().err.count("pix2pix, seed") == 9


def test_all_steps_see_the_same_photographs_and_their_last_quarter_counts():
    seen: dict[str, list] = {"paper": [], "ours": []}

    def step(name):
        def call(gray, rgb, images):
            seen[name].append((int(rgb.sum()), images))
            number = len(seen[name])
            return {"loss": torch.tensor(float(number)), f"only/{name}": torch.tensor(0.0)}

        return call

    runs = quality.train_together(
        {name: step(name) for name in seen}, options("pix2pix", batch=2, images=16), sources.sample()
    )
    assert seen["paper"] == seen["ours"]
    assert [images for _, images in seen["paper"]] == list(range(0, 16, 2))
    assert runs["ours"].quantities == {"loss": 7.5}
    assert len(runs["paper"].seconds) == 8


def test_the_seeds_change_the_weights_and_not_the_photographs(monkeypatch):
    orders, weights = [], []

    def untrained(steps, options, paths):
        orders.append((options.seed, paths))
        weights.append([next(step.generator.parameters()).sum().item() for step in steps.values()])
        return {name: quality.Run([1.0], {"loss": 0.0}) for name in steps}

    monkeypatch.setattr(quality, "train_together", untrained)
    quality.measure(options("pix2pix", seed=5), {"ours": {}}, 2)
    assert orders[0] == orders[1]
    assert orders[0][0] == 5
    assert weights[0][0] == weights[0][1] != weights[1][0] == weights[1][1]


def test_agreement_is_a_t_test_shared_by_the_quantities():
    paper = {"a": [1.0, 2.0, 3.0], "b": [0.0, 0.0, 0.0]}
    quantile = 3.495  # Student, 4 degrees of freedom, two-sided 2.5 %
    limit = quantile * math.sqrt(2 / 3)
    for share in (0.0, 0.5, 0.99, 1.01):
        shifted = [value + share * limit for value in paper["a"]]
        agrees, farthest, of_limit = quality.compare(paper, {"a": shifted, "b": paper["b"]})
        assert agrees == (share < 1)
        assert farthest == "a"
        assert of_limit == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("values", [[1e-9, 1e-9, 1e-9], [0.0, math.nan, 0.0], [0.0, math.inf, 0.0]])
def test_no_spread_and_no_number_do_not_agree(values):
    paper = {"a": [1.0, 2.0, 3.0], "b": [0.0, 0.0, 0.0]}
    assert quality.compare(paper, {**paper, "b": values}) == (False, "b", math.inf)
    assert quality.compare({**paper, "b": values}, paper)[0] is False


def test_each_preset_becomes_small_and_keeps_its_losses(monkeypatch):
    found: list[Options] = []
    monkeypatch.setattr(quality.resolve, "resolve", lambda options: found.append(options) or options)
    monkeypatch.setattr(quality, "measure", lambda options, variants, seeds: [])
    monkeypatch.setattr(quality, "report", lambda *arguments: None)
    quality.main(
        ["--device", "cpu", "--preset", *PAPERS, "--lpips-weights", "lpips.pth", "--feature-weights", "features.pth"]
    )
    for small in found:
        preset = PAPERS[small.preset]
        assert (small.size, small.width, small.images) == (64, 16, 1000)
        assert small.batch == min(4, preset.batch)
        assert small.terms == preset.terms
        names = {name for name, _ in preset.terms}
        assert small.lpips_weights == ("lpips.pth" if names & set(LPIPS) else "")
        assert small.feature_weights == ("features.pth" if "features" in small.preset else "")
        assert small.adversary_weight == preset.adversary_weight * (4 if preset.adversary == "wgan" else 1)
    assert len(found) == len(PAPERS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--seeds", "1"], "one has no spread"), (["--data", "no/such/folder"], "does not exist")],
)
def test_what_cannot_be_compared_is_an_error(arguments, message, capsys):
    assert quality.main(arguments) == 2
    assert message in capsys.readouterr().err
