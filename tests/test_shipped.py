"""The colorizer that comes with the package: its two files, what they promise, and that they are what is used."""

import json

import numpy as np
import onnx
import pytest
import torch
from skimage import data

from recolor_fast import colorize
from recolor_fast.artefact import proof, runtime
from recolor_fast.artefact.hints import Hint
from recolor_fast.networks.space import to_lab, to_rgb01
from recolor_fast.options import from_metadata
from recolor_fast.photographs import images
from recolor_fast.photographs.preparation import Preparation
from tests.photographs import pixels, write_jpegs

LARGEST = {"int8": 6_200_000, "fp16": 12_000_000}  # bytes of a file, by its precision
STRONG = 60.0  # mean Lab chroma: photographs have 16, a clear sky, which an even gray is taken for, 45, pure red 104
SHAPES = [(1, 1, 1), (1, 3, 500), (1, 500, 3), (2, 90, 70)]


@pytest.fixture(scope="module")
def artefacts() -> dict[str, runtime.Artefact]:
    return {graph: runtime.load(runtime.shipped(graph), "cpu", threads=1) for graph in runtime.GRAPHS}


@pytest.fixture(scope="module")
def chroma(artefacts) -> runtime.Artefact:
    return artefacts["chroma"]


@pytest.fixture(scope="module")
def image(artefacts) -> runtime.Artefact:
    return artefacts["image"]


def colored(artefacts: dict[str, runtime.Artefact], gray: np.ndarray) -> list[np.ndarray]:
    """uint8 gray (H,W), colored by either file."""
    rgb = np.repeat(gray[..., None], 3, 2)
    return [colorize.colorize(artefacts["chroma"], gray), artefacts["image"].run(rgb[None])[0]]


def strength(rgb: np.ndarray) -> float:
    """Mean Lab chroma of uint8 RGB (H,W,3)."""
    lab = to_lab(to_rgb01(torch.from_numpy(rgb).permute(2, 0, 1)[None]))
    return lab[:, 1:].square().sum(1).sqrt().mean().item()


# --- the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", runtime.GRAPHS)
def test_a_file_is_small_and_carries_its_options_and_its_proof(graph, artefacts):
    artefact = artefacts[graph]
    assert artefact.graph == graph
    assert runtime.shipped(graph).stat().st_size <= LARGEST[artefact.precision]
    assert (artefact.options.equalize, artefact.options.blur) == ("none", "none")
    assert from_metadata(artefact.metadata["options"]).space == "lab"
    assert 128 <= artefact.options.size <= 192
    assert int(artefact.metadata["images"]) > 0
    assert "torch" in json.loads(artefact.metadata["versions"])
    found = proof.Proof(**json.loads(artefact.metadata["proof"]))
    assert found.pictures > 0
    assert proof.excess(found, artefact.precision) == ""


@pytest.mark.parametrize("graph", runtime.GRAPHS)
def test_a_file_says_nothing_of_the_machine_that_made_it(graph, artefacts):
    for name, text in artefacts[graph].metadata.items():
        assert "/" not in text, name
        assert "\\" not in text.replace("\\n", ""), name
    model = onnx.load(runtime.shipped(graph))
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert model.doc_string + model.graph.doc_string == ""
    tensors, nodes = model.graph.initializer, model.graph.node
    assert not [name for name in (*(t.name for t in tensors), *(n.name for n in nodes)) if "/" in name or "\\" in name]


def test_both_files_are_of_one_training(chroma, image):
    for name in ("options", "images", "saturation"):
        assert chroma.metadata[name] == image.metadata[name], name


def test_what_is_missing_is_named_and_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    write_jpegs(tmp_path / "photos", 1)
    for make in (runtime.shipped, colorize.Colorizer):
        with pytest.raises(runtime.BadArtefact, match=r"colorizer-chroma\.onnx: .* is missing, .* install it again"):
            make()
    assert colorize.main([str(tmp_path / "photos"), str(tmp_path / "out")]) == 4
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path / 'colorizer-chroma.onnx'}: the colorizer that comes with ")
    assert (said.err.count("\n"), said.out) == (1, "")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="graph lab: expected chroma, image, hints"):
        runtime.shipped("lab")


# --- what uses them ------------------------------------------------------------------------------------------------


def test_the_command_uses_it_unless_told_otherwise_and_says_so(tmp_path, capsys):
    write_jpegs(tmp_path / "photos", 2, height=90, width=70)
    photos, cpu = str(tmp_path / "photos"), ("--provider", "cpu", "--color", "recolor")
    assert colorize.main([photos, str(tmp_path / "ours"), *cpu]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == "the colorizer that comes with recolor_fast, on the processor"
    assert said.out == ""
    assert colorize.main([photos, str(tmp_path / "given"), *cpu, "--model", str(runtime.shipped())]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "colorizer-chroma, on the processor"
    for name in ("000.jpg", "001.jpg"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "given" / name).read_bytes()


def test_colorizer_uses_it_unless_told_otherwise(capsys):
    colorizer = colorize.Colorizer(provider="cpu")
    assert colorizer.artefact.metadata == runtime.load(runtime.shipped(), "cpu").metadata
    gray = images.gray(pixels(3))
    assert np.array_equal(colorizer(gray), colorize.Colorizer(runtime.shipped(), "cpu")(gray))
    assert capsys.readouterr() == ("", "")


# --- what they compute ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_any_size_keep_their_luminance(shape, artefacts, image):
    batch = np.stack([pixels(number, *shape[1:]) for number in range(shape[0])])
    found = image.run(batch)
    assert (found.shape, found.dtype) == (batch.shape, np.uint8)
    for before, after in zip(batch, found):
        gray = images.gray(before)
        for one in (after, *colored(artefacts, gray)):
            assert np.abs(one @ [0.299, 0.587, 0.114] - gray).max() <= 1


def test_they_color(artefacts):
    """On photographs, and both files nearly the same."""
    for number in range(3):
        ours, theirs = colored(artefacts, images.gray(pixels(number, 96, 96)))
        assert strength(ours) > 2
        assert np.abs(ours.astype(int) - theirs).mean() <= 4


@pytest.mark.parametrize("level", [0, 1, 64, 128, 192, 254, 255])
def test_nothing_gets_no_strong_color(level, artefacts):
    gray = np.full((80, 100), level, np.uint8)
    for rgb in colored(artefacts, gray):
        assert strength(rgb) <= STRONG
        if level in (0, 255):
            assert (rgb == level).all()


def test_the_same_comes_out_twice_and_alone_or_with_others(artefacts, chroma, image):
    photographs = np.stack([pixels(number, 96, 80) for number in range(4)])
    size = chroma.options.size
    small = np.stack([images.source(images.gray(one), Preparation(size, "none", "none"))[None] for one in photographs])
    for artefact, batch in ((chroma, small), (image, photographs)):
        together = artefact.run(batch)
        assert np.array_equal(together, artefact.run(batch))
        alone = np.concatenate([artefact.run(one[None]) for one in batch])
        assert np.abs(together.astype(int) - alone).max() <= 1  # a runtime may sum in another order


def test_a_hint_colors_its_object_and_stops_at_its_edges(artefacts):
    """On a real photograph: two places of a flight suit made blue."""
    gray = images.gray(data.astronaut())
    given = [Hint(250, 420, "#2050c0"), Hint(150, 420, "#2050c0")]
    free, asked = (
        to_lab(
            to_rgb01(torch.from_numpy(colorize.colorize(artefacts["hints"], gray, hints=hints)).permute(2, 0, 1)[None])
        )
        for hints in ((), given)
    )
    moved = (asked - free)[0, 1:].numpy()

    def change(rows: slice, columns: slice) -> float:
        return float(np.hypot(*moved[:, rows, columns].mean((1, 2))))

    assert change(slice(330, 480), slice(120, 250)) > 25  # the suit, 20 times as far as the places reach
    assert change(slice(90, 170), slice(190, 260)) < 2  # the face above it
    assert change(slice(20, 100), slice(300, 350)) < 2  # the wall behind
    assert change(slice(20, 200), slice(10, 60)) < 2  # the flag
