"""The reproduction script: its commands are ones that train accepts, and its report holds what it says."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench import reproduce, sweep
from recolor_fast import train
from recolor_fast.options import to_json
from recolor_fast.presets import PAPERS
from tests.photographs import write_jpegs


def parsed(command: list[str]):
    assert command[:2] == ["-m", "recolor_fast.train"]
    return train.parse([word for word in command[2:] if word != "--resume"])[0]


@pytest.mark.parametrize("weights", [pytest.param(None, marks=pytest.mark.slow), Path("somewhere")])
def test_every_preset_has_a_small_command_that_train_accepts(weights):
    arguments = reproduce.Arguments(weights=weights)
    commands = reproduce.commands(arguments)
    assert list(commands) == list(PAPERS)
    for name, command in commands.items():
        options, preset = parsed(command), PAPERS[name]
        assert (options.preset, options.size, options.width, options.images) == (name, 64, 32, 1000)
        assert options.batch == min(4, preset.batch)
        kept = ("adversary", "critic_norm", "generator", "space", "weight_decay", "critic_steps", "spectral_norm")
        assert all(getattr(options, field) == getattr(preset, field) for field in kept)
        if weights is None:
            assert options.terms == preset.terms
        else:
            assert len(options.terms) == len(preset.terms)
            assert bool(options.feature_weights) == (len(preset.terms) > 1)


def test_full_is_the_papers_own_runs(capsys):
    assert reproduce.main(["--full", "tarres", "--data", "imagenet", "--dry-run"]) == 0
    *commands, evaluation = capsys.readouterr().out.splitlines()
    assert "--val-per-class 10" in evaluation
    assert len(commands) == sum(options.space == "lab" for options in PAPERS.values())
    for line in commands:
        options = parsed(shlex.split(line)[1:])
        preset = PAPERS[options.preset]
        assert (options.size, options.batch, options.images) == (256, preset.batch, preset.images)
        assert options.terms == preset.terms
    assert "--size 256" in evaluation
    assert reproduce.main(["--full", "padova", "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 13


@pytest.mark.parametrize(
    ("weights", "network", "most"), [(None, "lpips_alex", 50), (Path("x"), "lpips_style_squeeze", 5)]
)
def test_a_sweep_is_one_system_at_several_weights(weights, network, most):
    commands = reproduce.swept(reproduce.Arguments(sweep="lpips", weights=weights))
    found = {name: parsed(command) for name, command in commands.items()}
    assert list(found) == ["lpips-0", "lpips-1", "lpips-5", "lpips-10", "lpips-25", "lpips-50"]
    assert found["lpips-0"].terms == (("l1", 100),)
    assert found["lpips-50"].terms == (("l1", 100), (network, most))
    assert found["lpips-5"].terms == (("l1", 100), (network, most / 10))
    assert {(one.preset, one.size, one.adversary_weight) for one in found.values()} == {("wgan-gp-lpips", 64, 0.32)}


def test_a_sweep_is_reported_as_a_table_and_a_plot(tmp_path):
    interval = {"mean": 14.0, "low": 13.0, "high": 15.0}
    systems = {name: {"ab_rmse": interval, "psnr_rgb": {"missing": "-"}} for name in ("gray", "lpips-0", "lpips-5")}
    (tmp_path / "evaluation").mkdir()
    told = {"protocol": {"photographs": 9}, "systems": systems}
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(told))
    for name in ("lpips-0", "lpips-5"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        options = replace(PAPERS["wgan-gp-lpips"], device="cpu")
        (tmp_path / "runs" / name / "options.json").write_text(to_json(options))
    path = sweep.report("lpips", tmp_path, ["lpips-0", "lpips-5"], ["lpips-50"], tmp_path / "results", 0.5)
    text = path.read_text()
    assert "| 5 | l1 100, lpips_alex 50 | 14 [13, 15] | - | - | - |" in text
    assert "Failed: lpips-50" in text
    with Image.open(path.with_suffix(".png")) as image:
        assert image.size[1] == 320


def test_a_sweep_goes_with_no_other_choice(capsys):
    assert reproduce.main(["--sweep", "lpips", "--only", "pix2pix"]) == 2
    assert "sweep with only or full" in capsys.readouterr().err


def test_unknown_presets_are_named(capsys):
    assert reproduce.main(["--only", "pix3pix"]) == 2
    assert "pix3pix" in capsys.readouterr().err


def test_another_size_has_a_table_of_its_own():
    assert reproduce.table(reproduce.Arguments(), "cpu").name == "papers-cpu.md"
    assert reproduce.table(reproduce.Arguments(full="padova"), "cuda").name == "papers-cuda.md"
    assert reproduce.table(reproduce.Arguments(size=128), "cpu").name == "papers-cpu-128.md"


@pytest.mark.slow
def test_two_systems_are_trained_evaluated_and_reported(tmp_path, monkeypatch, capsys):
    for part, count in (("train", 50), ("val", 15)):
        write_jpegs(tmp_path / "data" / part / "a", count)
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "results")
    small = "--width 4 --images 2 --photographs 3 --only pix2pix-lab gorriz".split()
    call = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), *small]
    assert reproduce.main(call) == 0
    report = Path(capsys.readouterr().out.strip())
    text = report.read_text()
    assert report.name == "papers-cpu.md"
    assert all(word in text for word in ("64 pixels, width 4, 2 photographs seen", "pix2pix-lab", "gorriz", "gray"))
    found = json.loads((tmp_path / "out" / "evaluation" / "metrics.json").read_text())
    assert {"gray", "pix2pix-lab", "gorriz"} <= set(found["systems"])
    for line in text.splitlines():
        if line.startswith("!["):
            assert (report.parent / line.split("(")[1].rstrip(")")).is_file()
