"""Preset fine-tune: the shipped colorizer, trained on with photographs of one's own."""

import pytest
import torch

from recolor_fast import train
from recolor_fast.presets import DEFAULT, PRESETS, STARTS
from recolor_fast.runs import learned, run_folder
from tests import trainings
from tests.photographs import write_jpegs

FINE_TUNE = STARTS[learned.OWN]
SAID = f"--preset {FINE_TUNE} is taken"


def test_start_shipped_alone_takes_the_preset_and_says_so_in_one_line(capsys):
    for flags in (["--start", "shipped"], ["--start=shipped"]):
        options, resumed = train.parse([*flags, "--data", "mine", "--learning-rate", "1e-5"])
        assert (options.preset, options.start, options.data, options.learning_rate) == (
            FINE_TUNE,
            "shipped",
            "mine",
            1e-5,
        )
        assert resumed is None
        told = capsys.readouterr()
        assert SAID in told.err
        assert told.err.count("\n") == 1
        assert not told.out


@pytest.mark.parametrize(
    ("flags", "preset", "start"),
    [
        (["--start", "shipped", "--preset", "pix2pix-lab"], "pix2pix-lab", "shipped"),
        (["--start", "./shipped"], DEFAULT, "./shipped"),  # a folder of that name
        ([], DEFAULT, ""),
        (["--preset", FINE_TUNE], FINE_TUNE, "shipped"),
        (["--preset", FINE_TUNE, "--start", "runs/mine"], FINE_TUNE, "runs/mine"),
    ],
)
def test_what_is_given_is_taken(flags, preset, start, capsys):
    options, _ = train.parse(flags)
    assert (options.preset, options.start) == (preset, start)
    assert not capsys.readouterr().err


def test_its_networks_are_the_shipped_ones():
    options, theirs = PRESETS[FINE_TUNE], learned.trained(learned.WEIGHTS)
    weights = learned.start(options)
    assert all(torch.equal(weights[name], tensor) for name, tensor in theirs.generator.state_dict().items())
    for name in ("space", "equalize", "blur", "source_channels", "size", "terms", "smooth_l1_beta"):
        assert getattr(options, name) == getattr(theirs.options, name), name


def test_it_trains_and_its_options_keep_the_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "mine", 6, height=72, width=80)
    flags = (
        "--images 4 --save-every 4 --log-every 4 --batch 2 --size 64 --load-size 80 --samples 0 --device cpu".split()
    )
    assert train.main(["--start", "shipped", "--data", "mine", *flags]) == 0
    run = tmp_path / "runs" / f"{FINE_TUNE}-1"
    assert capsys.readouterr().out.strip() == str(run.relative_to(tmp_path))
    options = run_folder.stored_options(run)
    assert (options.preset, options.start, options.generator) == (FINE_TUNE, "shipped", "lite2")
    own, shipped = trainings.newest(run)["step"]["generator"], learned.trained(learned.WEIGHTS).generator.state_dict()
    assert any(not torch.equal(own[name], shipped[name]) for name in own)
    assert train.main(["--start", "shipped", "--data", "mine", "--resume", *flags]) == 0  # the same run, done
    assert SAID not in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--start", "shipped", "--width", "32"], ["start shipped", "by the options", f"--preset {FINE_TUNE}"]),
        (["--start", "shipped", "--preset", "pix2pix"], ["start shipped", f"--preset {FINE_TUNE}"]),
        (["--start", "shipped", "--preset", "fine-tuned"], ["fine-tuned", FINE_TUNE]),
        (["--start", "shipped", "--data", "nowhere"], ["data nowhere", "does not exist"]),
    ],
)
def test_what_does_not_fit_is_one_line(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "mine", 2, height=72, width=80)
    given = flags if "--data" in flags else [*flags, "--data", "mine", "--per-class", "1", "--val-per-class", "1"]
    assert train.main([*given, "--device", "cpu"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words)
    assert not (tmp_path / "runs").exists()
