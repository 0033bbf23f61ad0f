"""The script that trains the shipped colorizer: its commands, its calibration, and that it repeats itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import train_shipped
from recolor_fast import runs, runtime, train
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import Options
from tests.photographs import write_jpegs


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of each part."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, part in enumerate(("train/a", "train/b", "val/a", "val/b")):
        write_jpegs(folder / part, 4, first=4 * number, height=150, width=150)
    return folder


def test_every_stage_starts_from_the_one_before(tmp_path):
    arguments = train_shipped.Arguments(tmp_path, runs=tmp_path / "runs", scale=0.01)
    stages = [train.parse(command)[0] for command in train_shipped.commands(arguments)]
    assert [options.name for options in stages] == list(train_shipped.STAGES)
    assert [options.start for options in stages] == ["", *(str(tmp_path / "runs" / o.name) for o in stages[:-1])]
    assert [options.size for options in stages] == sorted(options.size for options in stages)
    whole = [train.parse(command)[0] for command in train_shipped.commands(replace(arguments, scale=1.0))]
    assert [options.images * 100 for options in stages] == [options.images for options in whole]
    for options in whole:
        assert (options.space, options.generator, options.generator_norm, options.per_class) == (
            "lab",
            "residual",
            "none",
            None,
        )
        assert options.flip
        assert options.load_size > options.size


def test_the_weakest_strength_that_is_colorful_enough_is_taken(photographs):
    options = Options(
        space="lab", equalize="none", blur="none", generator="residual", width=4, size=64, init_sigma=0.1, critic=""
    )
    options = replace(options, generator_norm="none", data=str(photographs), device="cpu", loader="host")
    torch.manual_seed(0)
    generator = build_generator(options)
    with torch.no_grad():
        generator.last[0].bias.copy_(torch.tensor([0.02] * 4 + [0.06] * 4))  # a weak tint
    rows = train_shipped.strengths(runs.Trained(options, generator.eval(), None, 0))
    shares = [row["chroma"] for row in rows]
    assert rows[0]["strength"] == 1
    assert 0.1 < shares[0] < shares[-1]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(2 * shares[0], rel=0.1)
    middle = rows[len(rows) // 2]
    least = min(middle["chroma"], middle["colorfulness"])
    assert train_shipped.weakest(rows, least) == middle["strength"]
    with pytest.raises(ValueError, match="least 9: expected at most"):
        train_shipped.weakest(rows, 9)


@pytest.mark.slow
def test_it_trains_calibrates_and_exports_the_same_twice(photographs, tmp_path):
    made = []
    for name in ("one", "two"):
        flags = ["--data", photographs, "--out", tmp_path / name, "--runs", tmp_path / f"{name}-runs", "--scale", 1e-4]
        flags += ["--least", 0, "--lpips-weights", "random", "--flags=--width 4 --device cpu"]
        assert train_shipped.main([str(flag) for flag in flags]) == 0
        assert {runtime.load(path, "cpu").graph for path in (tmp_path / name).iterdir()} == set(runtime.GRAPHS)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
