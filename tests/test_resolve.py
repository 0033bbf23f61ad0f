"""What a training leaves open is decided in one place, before anything is made."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recolor_fast import resolve
from recolor_fast.machine.launched import Place
from recolor_fast.machine.ranks import ALONE, Ranks
from recolor_fast.options import Options
from recolor_fast.step import iteration
from tests.photographs import write_jpegs
from tests.trainings import run


def test_one_generator_and_one_critic_are_built_to_train(tmp_path, monkeypatch):
    write_jpegs(tmp_path / "photos", 3)
    built: list[str] = []

    def count(name, build):
        def counted(options):
            built.append(name)
            return build(options)

        return counted

    for module in [module for name, module in sys.modules.items() if name.startswith("recolor_fast.")]:
        for name in ("build_generator", "build_critic"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, count(name, getattr(module, name)))
    for more in ([], ["--start", tmp_path / "runs" / "wgan-gp-1"]):  # likewise with the weights of another run
        built.clear()
        run(tmp_path / "photos", tmp_path / "runs", "--preset", "wgan-gp", "--images", 2, *more)
        assert built == ["build_generator", "build_critic"]


def test_step_and_loader_are_given_nothing_that_is_open(tmp_path):
    for name in ("compile", "fused_critic", "cuda_graph", "channels_last"):
        decided = resolve.fastest(Options(size=64, width=4), torch.device("cpu"))
        assert getattr(decided, name) != "auto"
        with pytest.raises(AssertionError):
            iteration.Step(replace(decided, **{name: "auto"}), [], torch.device("cpu"))


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
    assert found == {"resolve.py"}


def test_what_was_measured_is_as_the_first_rank_found_it():
    """A run goes on as its folder says, which the first rank has written."""

    class Second(Ranks):
        def told(self, value):
            return {name: {"winograd": "stride1", "channels_last": "critic"}[name] for name in value}

    options = Options(winograd="last", channels_last="off")
    assert resolve.as_first(options, ALONE) == options
    assert resolve.as_first(options, Second(Place(1, 2))) == replace(
        options, winograd="stride1", channels_last="critic"
    )
