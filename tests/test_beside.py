"""--beside: a.colored.jpg beside a.jpg; what it has made is never colored itself."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import Colorizer, colorize
from recolor_fast.coloring import destinations
from recolor_fast.coloring.coloring import Settings
from recolor_fast.coloring.colorizer import checked
from recolor_fast.photographs import images, walk
from tests.commands import run
from tests.photographs import pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.jpg", "a.png", "sub/b.c.tif", "sub/c.gif", "sub/d")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.gray(pixels(number))).save(path, {"": "PNG"}.get(path.suffix))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def records(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return {Path(record["input"]).name: record for record in lines}


def test_a_folder_has_each_beside_itself_and_a_second_run_finds_nothing_to_do(photos, model, capsys) -> None:
    before = tree(photos)
    assert run(photos, "--beside", "--json", model=model) == 0
    found = records(capsys)
    after = tree(photos)
    made = {"a.colored.jpg", "a.colored.png", "sub/b.c.colored.tif", "sub/c.colored.gif.png"}
    made |= {"sub/d.colored.png"} if "sub/d.colored.png" in after else {"sub/d.colored"}
    assert set(after) == set(before) | made
    assert {name: after[name] for name in before} == before
    assert {Path(record["output"]).name for record in found.values()} == {Path(name).name for name in made}
    assert np.ptp(images.read_rgb(after["a.colored.jpg"]).astype(int), axis=2).max() > 5

    assert run(photos, "--beside", "--json", model=model) == 0
    again = records(capsys)
    assert {name: record["reason"] for name, record in again.items()} == dict.fromkeys(found, "done before")
    assert run(photos, "--beside", "--saturation", 2, model=model) == 3  # made differently, and not overwritten
    assert tree(photos) == after


def test_of_all_files_that_a_shell_names_those_it_made_are_passed_over(photos, model, capsys) -> None:
    assert run(photos / "a.jpg", "--beside", model=model) == 0
    assert run(*sorted(photos.glob("a*")), "--beside", "--json", model=model) == 0
    found = records(capsys)
    assert {name: record["reason"] for name, record in found.items()} == {"a.jpg": "done before", "a.png": ""}
    assert run(photos / "a.colored.jpg", "--beside", model=model) == 2
    assert "so is called what it makes; give the photographs themselves" in capsys.readouterr().err
    assert not list(photos.glob("*.colored.colored*"))


def test_from_a_list_and_from_python(photos, model, tmp_path, capsys) -> None:
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in sorted(photos.glob("a*"))))
    assert run("--files", tmp_path / "list", "--beside", model=model) == 0
    assert sorted(path.name for path in photos.glob("a.c*")) == ["a.colored.jpg", "a.colored.png"]
    [record] = Colorizer(model, "cpu").folder(photos / "sub" / "b.c.tif", beside=True)
    assert (record.status, Path(str(record.output)).name) == ("ok", "b.c.colored.tif")
    assert run("--files", tmp_path / "list", photos, "--beside", model=model) == 2
    assert "beside with files" in capsys.readouterr().err


def test_what_is_there_is_never_overwritten(photos, model, capsys) -> None:
    (photos / "a.colored.jpg").write_bytes(b"mine")
    assert run(photos / "a.jpg", "--beside", model=model) == 3
    assert "exists and is not this picture" in capsys.readouterr().err
    assert (photos / "a.colored.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a.colored.jpg", True),
        ("a.Colored.JPG", True),
        ("a.colored.gif.png", True),
        ("a.colored", True),
        ("a.colored.by.me.jpg", False),
        ("colored.jpg", False),
        ("recolored.jpg", False),
    ],
)
def test_what_is_made_is_known_by_its_name(name: str, made: bool) -> None:
    assert destinations.is_beside(f"in.colored/{name}") == made
    found = list(destinations.beside([walk.Found(Path("in", name), Path("in", name))]))
    assert bool(found) != made


def test_a_followed_folder_has_each_once_and_what_is_replaced_anew(tmp_path, model, monkeypatch, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    real, stops = walk.watch, []

    def quick(look, stopped, again):
        stops.append(stopped)
        return real(look, stopped, 0.05, again)

    monkeypatch.setattr(walk, "watch", quick)
    result: list[int] = []
    arguments = colorize.Arguments(
        (str(folder),), model=model, provider="cpu", settings=Settings(beside=True), watch=True, json=True
    )
    thread = threading.Thread(target=lambda: result.append(colorize._run(arguments)))
    thread.start()
    try:
        for number in (0, 1):  # it comes, and is replaced
            Image.fromarray(images.gray(pixels(number))).save(tmp_path / "new.jpg", quality=95)
            (tmp_path / "new.jpg").replace(folder / "a.jpg")
            wanted = images.gray(pixels(number)).astype(int)
            until = time.monotonic() + 60
            while time.monotonic() < until and not same(folder / "a.colored.jpg", wanted):
                time.sleep(0.02)
            assert same(folder / "a.colored.jpg", wanted)
        time.sleep(0.2)
    finally:
        stops[0].set()
        thread.join(60)
    assert result == [0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(line["input"]).name, line["status"]) for line in lines] == [("a.jpg", "ok")] * 2
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["a.colored.jpg", "a.jpg"]


def same(path: Path, gray: np.ndarray) -> bool:
    return path.exists() and np.abs(images.gray(images.read_rgb(path.read_bytes())).astype(int) - gray).mean() < 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(beside=True, in_place=True), "in_place with beside: "),
        (Settings(beside=True, color="copy"), "beside with color copy: "),
    ],
)
def test_what_does_not_go_together_is_said(settings: Settings, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(settings)


def test_an_output_with_it_is_said(photos, model, tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match=r"beside with output .*: give inputs alone, the colored ones are put beside"):
        Colorizer(model, "cpu").folder(photos, tmp_path / "out", beside=True)
    assert run(photos, tmp_path / "out", "--beside", model=model) == 2  # out is no input
    assert run("-", "--beside", model=model) == 2
    assert run(photos, "--beside", "--sheet", tmp_path / "sheet.jpg", model=model) == 2
    assert "sheet" in capsys.readouterr().err
    assert not list(photos.rglob("*.colored*"))
