"""The script that trains the shipped colorizer: its commands, its calibration, and that it repeats itself."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.records import train_shipped
from recolor_fast import train
from recolor_fast.artefact import runtime
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import Options
from recolor_fast.runs import learned
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
    (last,) = train_shipped.commands(replace(arguments, stages=("shipped-hints",)))
    assert train.parse(last)[0].start == learned.OWN
    with pytest.raises(ValueError, match="stages other: expected some of shipped-128, shipped-hints"):
        train_shipped.commands(replace(arguments, stages=("other",)))
    whole = [train.parse(command)[0] for command in train_shipped.commands(replace(arguments, scale=1.0))]
    assert [options.images * 100 for options in stages] == [options.images for options in whole]
    for options in whole:
        assert (options.space, options.generator, options.generator_norm, options.per_class) == (
            "lab",
            "lite2",
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
    rows = train_shipped.strengths(learned.Trained(options, generator.eval(), None, 0))
    shares = [row["chroma"] for row in rows]
    assert rows[0]["strength"] == 1
    assert 0.1 < shares[0] < shares[-1]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.75 * shares[0], rel=0.1)
    middle = rows[len(rows) // 2]
    assert train_shipped.weakest(rows, middle["colorfulness"]) == middle["strength"]
    with pytest.raises(ValueError, match="least 9: expected at most"):
        train_shipped.weakest(rows, 9)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Two shards in which the same keys stand for different photographs."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(2):
        files = write_jpegs(folder / f"of-{shard}", 4, first=4 * shard, height=100, width=100)
        with tarfile.open(folder / f"00000{shard}.tar", "w") as archive:
            for number, file in enumerate(files):
                archive.add(file, f"{('lfw', 'street')[number % 2]}-{number}.jpg")
    return folder


def test_photographs_are_laid_down_once_each_and_those_held_out_apart(shards, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(train_shipped, "HELD_OUT", 3)
    monkeypatch.setattr(train_shipped, "FACES", 2)
    train_shipped.unpack(shards, [photographs / "train"], tmp_path / "all")
    parts = {part: sorted(path.name for path in (tmp_path / "all" / part).rglob("*.jpg")) for part in ("train", "val")}
    assert len(parts["val"]) == 3
    assert sum(name.startswith("lfw-") for name in parts["val"]) == 2
    from_shards = [name for name in (*parts["train"], *parts["val"]) if name.startswith(("lfw-", "street-"))]
    assert len(set(from_shards)) == len(from_shards) == 8
    assert len(parts["train"]) == 8 - 3 + 8  # and those of the other folder
    contents = {path.read_bytes() for path in (tmp_path / "all").rglob("*.jpg")}
    assert len(contents) == 16  # none lost
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*.jpg")}
    train_shipped.unpack(shards, [], tmp_path / "all")  # it is there
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*.jpg")}
    with pytest.raises(ValueError, match=r"no \.tar files"):
        train_shipped.unpack(photographs, [], tmp_path / "none")


def test_what_is_held_out_does_not_depend_on_the_order():
    keys = [f"{source}-{number}-0" for source in ("lfw", "flickr8k", "voc") for number in range(900)]
    held = train_shipped.held_out(keys)
    assert held == train_shipped.held_out(keys[::-1])
    assert len(held) == train_shipped.HELD_OUT
    assert sum(key.startswith("lfw-") for key in held) == train_shipped.FACES


@pytest.mark.slow
def test_it_trains_calibrates_and_exports(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(train_shipped, "HELD_OUT", 3)
    flags = ["--shards", shards, "--photographs", tmp_path / "photographs", "--out", tmp_path / "out"]
    flags += ["--runs", tmp_path / "runs", "--scale", 1e-4, "--least", 0]
    flags += ["--flags=--width 8 --batch 2 --device cpu --encoder-weights random --gray-photographs keep"]
    assert train_shipped.main([str(flag) for flag in flags]) == 0
    made = {path.name for path in (tmp_path / "out").iterdir()}
    exported = [f"colorizer-{graph}.onnx" for graph in ("chroma", "image", "hints")]
    assert made == {"colorizer.safetensors", *exported, *(f"{name}.md" for name in exported)}  # each with its card
    for path in (tmp_path / "out").glob("*.onnx"):
        assert runtime.load(path, "cpu").options.size == 160
