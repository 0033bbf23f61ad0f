"""Whatever a decoder does over one file, it ends no more than that file."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.photographs import decoders, images, opening
from tests import artefacts
from tests.photographs import pixels

ODD = b"odd file"


def closing(file: Any) -> Any:
    file.close()
    raise ValueError("I/O operation on closed file")


def raising(error: BaseException) -> Any:
    def decoder(*_: Any) -> Any:
        raise error

    return decoder


DECODERS = {
    "closes": closing,
    **{
        type(error).__name__: raising(error)
        for error in (
            ValueError("odd"),
            struct.error("odd"),
            MemoryError(),
            RecursionError("odd"),
            SystemExit(1),
            SyntaxError("odd"),
            AssertionError(),
            KeyError("odd"),
            OSError(5, "odd"),
        )
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        gray = pixels(1)[..., 0]
        Image.fromarray(gray).save(folder / name)
    (folder / "b.png").write_bytes(ODD)
    return folder


def assert_only_it_failed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = artefacts.constant(tmp_path / "model.onnx")
    code = colorize.main([str(folder), str(tmp_path / "out"), "--json", "--model", str(model), "--provider", "cpu"])
    told = capsys.readouterr()
    assert code == colorize.FAILED
    records = {Path(record["input"]).name: record for record in map(json.loads, told.out.splitlines())}
    assert {name: record["status"] for name, record in records.items()} == {
        "a.jpg": "ok",
        "b.png": "failed",
        "c.jpg": "ok",
    }
    assert records["b.png"]["reason"]
    assert "2 colored, 0 skipped, 1 failed" in told.err
    assert f"{folder / 'b.png'}: " in told.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize("name", DECODERS)
def test_opening_one_file_ends_no_run(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = opening.image

    def open(file: Any, formats: list[str]) -> Image.Image:
        head = file.read(8)
        file.seek(0)
        return DECODERS[name](file) if head == ODD else opened(file, formats)

    monkeypatch.setattr(opening, "image", open)
    assert_only_it_failed(folder, tmp_path, capsys)
    with pytest.raises(images.UnreadableImage):
        images.read_rgb(ODD)
    assert images.frames(ODD) == 1


@pytest.mark.parametrize("name", sorted(set(DECODERS) - {"closes"}))
def test_decoding_one_file_ends_no_run(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(file, "PNG")
    (folder / "b.png").write_bytes(file.getvalue())
    monkeypatch.setattr(decoders, "decode", DECODERS[name])
    with pytest.raises(images.UnreadableImage):
        images.read_rgb(file.getvalue())
    assert_only_it_failed(folder, tmp_path, capsys)


def test_what_judging_one_file_raises_is_its_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    header = images.header

    def odd(file: Any, trust_suffix: bool = True) -> Any:
        if Path(file.name).name == "b.png":
            raise RuntimeError("no one thought of this")
        return header(file, trust_suffix)

    monkeypatch.setattr(images, "header", odd)
    assert_only_it_failed(folder, tmp_path, capsys)


def test_the_tally_is_told_however_a_run_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(record: Any) -> str:
        raise RuntimeError("no one thought of this either")

    monkeypatch.setattr(colorize.folder, "to_json", broken)
    model = artefacts.constant(tmp_path / "model.onnx")
    with pytest.raises(RuntimeError, match="no one thought of this either"):
        colorize.main([str(folder), str(tmp_path / "out"), "--json", "--model", str(model), "--provider", "cpu"])
    assert " colored, 0 skipped, " in capsys.readouterr().err
