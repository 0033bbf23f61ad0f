"""What a training says of its photographs before it begins, of its pace once it runs, and of itself at the end."""

import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recolor_fast import train
from recolor_fast.arguments import to_onnx
from recolor_fast.arguments import train as words
from recolor_fast.data import loader
from recolor_fast.data.chosen import Photographs, choose
from recolor_fast.options import Command
from recolor_fast.runs import outlook, progress, run_folder, validation
from recolor_fast.step.iteration import Step
from tests.photographs import write_jpegs
from tests.trainings import arguments, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three of 96x80, one of 300x200."""
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder / "small", 3, height=80, width=96)
    write_jpegs(folder / "large", 1, height=200, width=300)
    return folder


def test_counts_say_what_is_left_out_and_why():
    paths = [Path(str(number)) for number in range(1200)]
    assert outlook.counts(Photographs(paths, paths[:3], {})) == "1,200 photographs, 3 to validate on"
    left = {paths[0]: "no color: mean Lab chroma 0.31", paths[1]: "no color: mean Lab chroma 1", paths[2]: "cut off"}
    said = outlook.counts(Photographs(paths, paths[:3], left))
    assert said == "1,200 photographs, 3 to validate on (2 without color and 1 unusable left out)"


def test_sizes_say_what_is_enlarged_and_what_is_cut_off(folder, monkeypatch):
    paths = sorted(folder.rglob("*.jpg"))
    said = outlook.sizes(Command(size=128), paths)
    assert said == (
        "sizes: 96x80 to 300x200, half of them 96x80 or more, 3 of 4 enlarged for a side below 128; "
        "each is squeezed to 128x128 pixels, whatever its shape; nothing is cut off"
    )
    said = outlook.sizes(Command(size=64, load_size=80), paths)
    cut = "36% of that is cut off, another part each time: 64x64 are left"
    assert said.endswith(f"each is squeezed to 80x80 pixels, whatever its shape; {cut}")
    assert "enlarged" not in said
    assert outlook.sizes(Command(), [Path("gone.jpg")]).startswith("each is squeezed to 256x256")
    monkeypatch.setattr(outlook, "LOOKED", 2)
    assert "(by 2 of them)" in outlook.sizes(Command(size=64), paths)


def test_the_pace_of_the_first_steps_says_how_long_it_takes(monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    clock, pace, said = progress.Clock(0.0), outlook.Pace(5000), []
    for images in range(1, 40):
        now += 60.0 if images == 1 else 0.5  # the first compiles
        said.append(pace.seen(images, clock.working(), torch.device("cpu")))
        with clock.paused():  # for a sheet of samples, say
            now += 3.0
    assert [bool(line) for line in said].index(True) == 10  # 5 seconds after the first
    assert sum(map(bool, said)) == 1
    assert said[10].startswith(
        "measured on the first steps: 2 photographs/s, so 42 min for the other 4,989, validation"
    )
    assert "MiB of memory (" in said[10] or "GiB of memory (" in said[10]


def test_a_training_that_is_over_soon_says_nothing_of_its_pace():
    pace = outlook.Pace(3)
    for images in (1, 2, 3):
        assert pace.seen(images, 4.0 * images, torch.device("cpu")) == ""


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    """A run in a folder whose name a shell would split."""
    runs = tmp_path_factory.mktemp("my runs")
    return run(folder, runs, "--preset", "pix2pix", "--name", "my run", "--images", 4, "--save-every", 2) / "my run"


def test_the_summary_has_the_best_checkpoint_and_commands_that_can_be_pasted(trained):
    options = Command(images=4, preset="pix2pix")
    lines = outlook.summary(trained, options)
    best = next(line for line in lines if line.startswith("best checkpoint: "))
    assert Path(best.removeprefix("best checkpoint: ").split(",")[0].split(";")[0]).is_file()
    assert any("ab error" in line and "chroma" in line and "PSNR" in line for line in lines)
    export, colorize, longer = (shlex.split(line) for line in lines[-3:])
    assert [command[:2] for command in (export, colorize, longer)] == [
        ["recolor-fast", verb] for verb in ("export", "colorize", "train")
    ]
    assert to_onnx.parse(export[2:]).run == trained
    assert colorize[2:] == ["--model", str(trained / "my run-chroma-fp32.onnx"), "PHOTOGRAPHS", "COLORED"]
    early = words.first(longer[2:])
    assert (early.resume, Path(early.runs) / early.name, early.images) == (True, trained, "8")
    fallen = outlook.summary(trained, replace(options, decay=0.5))
    evaluate = shlex.split(fallen[-1])
    assert evaluate[:4] == ["recolor-fast", "evaluate", str(trained), "--data"]
    assert evaluate[4:] == ["OTHER_PHOTOGRAPHS", "--out", str(trained / "evaluation")]  # not those it was trained on


def test_without_numbers_the_summary_is_of_the_newest(trained, monkeypatch):
    monkeypatch.setattr(outlook.csv_rows, "best", lambda run: None)
    lines = outlook.summary(trained, Command())
    assert not any("best" in line for line in lines)
    assert lines[-3] == f"  recolor-fast export {shlex.quote(str(trained))}"


def test_the_first_sheets_are_of_nothing_trained_and_after_a_hundred(folder, tmp_path, capsys):
    more = ("--preset", "pix2pix", "--name", "r", "--batch", 30, "--log-every", 60)
    run(folder, tmp_path, *more, "--images", 180, "--save-every", 180)
    assert sorted(path.name for path in (tmp_path / "r" / "samples").iterdir()) == [
        f"{seen:09d}.png" for seen in (0, 120, 180)
    ]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("a look after ")]
    assert [line.split(" photographs")[0] for line in said] == ["a look after 0", "a look after 120"]
    # Painted after the first iteration, of what the generator was before it.
    options, device = run_folder.stored_options(tmp_path / "r"), torch.device("cpu")
    step = Step(options, [], device)
    gray, rgb = loader.load(options, choose(options).val)
    validation.grid(tmp_path / "untrained.png", *validation.colored(validation.planes(step, gray), rgb))
    assert (tmp_path / "untrained.png").read_bytes() == (tmp_path / "r" / "samples" / "000000000.png").read_bytes()


def test_quiet_leaves_warnings_and_errors(folder, tmp_path, capsys):
    lost = folder / "small" / "broken.jpg"
    lost.write_bytes(b"no photograph")
    try:
        run(folder, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", 2, "--quiet")
    finally:
        lost.unlink()
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'r'}\n"
    assert [line.split(":")[0] for line in told.err.splitlines()] == ["warning"]
    assert train.main(arguments(folder, tmp_path, "--quiet", "--batch", "0")) == 2
    assert capsys.readouterr().err.startswith("error: batch 0: ")


@pytest.mark.parametrize("extra", [(), ("--quiet",)])
def test_on_a_terminal_there_is_a_bar_without_colors(folder, tmp_path, monkeypatch, extra):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    run(folder, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", 4, *extra)
    said = terminal.getvalue()
    assert bool(extra) == (said == "")
    assert "\x1b[3" not in said
    assert bool(extra) or "img/s, ab error" in said
