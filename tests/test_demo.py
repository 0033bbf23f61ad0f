"""The demo: its own parts here, as a whole by `make demo`."""

import sys
from pathlib import Path

import numpy as np
import pytest

from recolor_fast import colorize, demo, train
from recolor_fast.data import sources
from recolor_fast.photographs import images
from recolor_fast.runs import run_folder


def test_its_photographs_are_gray_and_stay(tmp_path):
    written = demo.write_gray(tmp_path)
    assert len(written) == len(sources.SAMPLE) + len(demo.GRAY_ONLY)
    for path in written:
        picture = images.read_rgb(path.read_bytes()).astype(int)
        assert np.ptp(picture, axis=2).max() <= 2
    written[0].write_bytes(b"mine")
    assert demo.write_gray(tmp_path) == written
    assert written[0].read_bytes() == b"mine"


def test_its_commands_are_ones_the_verbs_take(tmp_path, monkeypatch):
    """And its adversary has the weight that the rule of docs/papers.md gives for its size."""
    monkeypatch.chdir(tmp_path)
    options, folder = train.parse(demo.TRAIN.split()[2:])
    assert folder is None
    assert options.data == "sample"
    assert options.adversary_weight == pytest.approx(20 / options.size, rel=0.1)
    trained = str(Path(options.runs) / options.name)
    assert demo.EXPORT.split()[:4] == ["-m", "recolor_fast", "export", trained]
    words = demo.COLORIZE.split()
    assert words[:2] == ["-m", colorize.__name__]
    assert words[-1] == demo.EXPORT.split()[-1]
    at_once = demo.AT_ONCE.split()  # the same photographs, without a model of one's own
    assert at_once[:3] == words[:3]
    assert len(at_once) == 4
    assert at_once[3] != words[3]
    assert run_folder.find(Path(options.runs), options.name, options.preset) is None


def test_it_colors_before_anything_is_trained(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(demo.__file__).parents[1]))
    assert demo.main(["--color-only"]) == 0
    said = capfd.readouterr()
    assert said.out == "demo\n"
    assert "$ python -m recolor_fast.colorize demo/gray demo/shipped" in said.err.replace(
        Path(sys.executable).name, "python"
    )
    names = {path.name for path in (tmp_path / "demo" / "gray").iterdir()}
    assert {path.name for path in (tmp_path / "demo" / "shipped").iterdir()} >= names
    assert (tmp_path / "demo" / "colored.png").is_file()
    assert not (tmp_path / "demo" / "runs").exists()
