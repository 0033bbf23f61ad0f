"""What a training leaves open is decided in one place, before anything is made."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recolor_fast import resolve
from recolor_fast.networks import published
from recolor_fast.options import Options
from recolor_fast.runs import runs
from recolor_fast.step import step
from tests.photographs import write_jpegs
from tests.trainings import run


def test_two_networks_are_built_to_train_and_two_thin_ones_to_see_that_they_can_be(tmp_path, monkeypatch):
    write_jpegs(tmp_path / "photos", 3)
    built: list[tuple[str, int]] = []
    for room in (resolve, step, runs, published):
        for name in ("build_generator", "build_critic"):
            if build := getattr(room, name, None):

                def counted(options, build=build, name=name):
                    built.append((name, options.width))
                    return build(options)

                monkeypatch.setattr(room, name, counted)
    run(tmp_path / "photos", tmp_path / "runs", "--preset", "wgan-gp", "--images", 2)
    assert built == [("build_generator", 1), ("build_critic", 1), ("build_generator", 4), ("build_critic", 4)]


def test_step_and_loader_are_given_nothing_that_is_open(tmp_path):
    for name in ("compile", "fused_critic", "cuda_graph", "channels_last"):
        decided = resolve.fastest(Options(size=64, width=4), torch.device("cpu"))
        assert getattr(decided, name) != "auto"
        with pytest.raises(AssertionError):
            step.Step(replace(decided, **{name: "auto"}), [], torch.device("cpu"))


def test_only_one_room_decides_what_is_auto():
    """Others may say what auto is, and what must not be open any more; none asks whether an option is."""
    root = Path(resolve.__file__).parent
    asks = re.compile(r"""options\.\w+ (==|!=) "auto"|getattr\(options, name\) == "auto\"""")
    found = {
        path.name
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if asks.search(line) and not line.lstrip().startswith("assert ")
    }
    assert found == {"resolve.py", "published.py"}  # the latter: which package a file is in
