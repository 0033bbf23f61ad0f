"""Folders of pictures that something else colored: found, read and held to their photographs before measuring."""

import json
from pathlib import Path

import pytest
from PIL import Image

from recolor_fast import evaluate
from recolor_fast.evaluation import colored, judges
from tests.photographs import pixels, write_jpegs


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(judges, "missing", lambda term, file: "no server answers")
    monkeypatch.setattr(judges, "reachable", lambda url: False)
    monkeypatch.setattr(evaluate, "draw", lambda *given: None)  # the figures take longer than all else


@pytest.fixture
def data(tmp_path) -> Path:
    write_jpegs(tmp_path / "data", 4, height=60, width=80)
    return tmp_path / "data"


def copied(data: Path, folder: Path, size: tuple[int, int] = (80, 60), turn: int = 0) -> Path:
    folder.mkdir()
    for path in data.glob("*.jpg"):
        with Image.open(path) as picture:
            picture.resize(size).rotate(turn, expand=True).save(folder / f"{path.stem}.png")
    return folder


def run(data: Path, out: Path, *arguments: object) -> int:
    return evaluate.main([*map(str, arguments), "--data", str(data), "--size", "32", "--out", str(out)])


@pytest.mark.parametrize("size", [(80, 60), (256, 192), (33, 25)])
def test_pictures_of_the_same_proportions_are_measured_at_any_size(data, tmp_path, size):
    assert run(data, tmp_path / "e", copied(data, tmp_path / "c", size)) == 0


@pytest.mark.parametrize(
    ("size", "turn"), [((80, 60), 90), ((60, 60), 0), ((256, 256), 0), ((80, 57), 0), ((74, 60), 0)]
)
def test_pictures_of_other_proportions_are_an_error_before_anything_is_measured(
    data, tmp_path, size, turn, capsys, monkeypatch
):
    """Turned, cropped, squeezed to a square."""
    monkeypatch.setattr(evaluate, "measure", None)
    folder = copied(data, tmp_path / "c", size, turn)
    assert run(data, tmp_path / "e", folder) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    wide, high = size[::-1] if turn else size
    assert f"error: {folder}" in said
    assert f"{wide}x{high} pixels where its photograph {data}" in said
    assert "has 80x60 (4 of 4 pictures differ so)" in said
    assert not (tmp_path / "e").exists()


def test_a_picture_that_only_its_exif_turns_is_upright(data, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    for path in data.glob("*.jpg"):
        with Image.open(path) as picture:
            picture.rotate(90, expand=True).save(folder / path.name, exif=exif)
    assert run(data, tmp_path / "e", folder) == 0


def broken(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    if kind == "rotten":  # whole by its headers and its end
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + b"\x00" * 200 + whole[middle + 200 :])
    else:
        path.write_bytes({"cut": whole[:300], "empty": b"", "text": b"no image at all"}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "rotten"])
@pytest.mark.parametrize("which", ["photograph", "picture"])
def test_what_is_broken_is_left_out_of_all_and_named(data, tmp_path, capsys, which, kind):
    """A photograph, or one folder's picture of it: found before the first is measured."""
    folder, other = copied(data, tmp_path / "c"), copied(data, tmp_path / "d")
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    victim = (data if which == "photograph" else folder) / "002.jpg"
    broken(victim, kind)
    assert run(data, tmp_path / "strict", folder, other, "--strict") == 2
    said = capsys.readouterr().err
    assert str(victim) in said
    assert "without --strict" in said
    assert not (tmp_path / "strict").exists()
    assert run(data, tmp_path / "e", folder, other) == 0
    also = "" if which == "photograph" else f", and {data / '002.jpg'} with it"
    assert f"warning: {victim} is left out{also}: " in capsys.readouterr().err
    found = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert found["protocol"]["photographs"] == 3
    assert list(found["protocol"]["unusable"]) == ["002.jpg"]
    assert str(tmp_path) not in json.dumps(found)


def test_nothing_left_is_an_error(data, tmp_path, capsys):
    folder = copied(data, tmp_path / "c")
    for path in folder.glob("*.png"):
        path.write_bytes(b"")
    assert run(data, tmp_path / "e", folder) == 2
    assert "none of 4 files is a usable image" in capsys.readouterr().err
    one, other = copied(data, tmp_path / "one"), copied(data, tmp_path / "other")
    for number in range(4):
        ((one, other)[number % 2] / f"00{number}.png").write_bytes(b"")
    assert run(data, tmp_path / "e", one, other) == 2
    assert "none of 2 files is a usable image" in capsys.readouterr().err  # of those that the first has left


def test_sides_alike_but_for_a_pixel():
    for width, height in ((500, 375), (333, 500), (1, 1), (4000, 3000)):
        for scale in (0.1, 0.5, 0.51, 1, 2, 3.3):
            rounded = max(1, round(width * scale)), max(1, round(height * scale))
            assert colored.alike((width, height), rounded)
            assert colored.alike(rounded, (width, height))
    assert not colored.alike((500, 375), (256, 256))
    assert not colored.alike((500, 375), (375, 500))
    assert not colored.alike((500, 375), (500, 371))


def test_pictures_are_found_by_name_whatever_their_suffix(tmp_path):
    for name in ("a.gif.png", "b.png", "c/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(0)).save(tmp_path / name)
    photographs = {Path("/d/val/a.gif"): "val/a.gif", Path("/d/val/b.jpg"): "val/b.jpg", Path("/d/c/d.jpg"): "c/d.jpg"}
    found = colored.find(tmp_path, photographs)
    assert [one.relative_to(tmp_path).as_posix() for one in found.values()] == ["a.gif.png", "b.png", "c/d.jpg"]
    for beside in ("b.txt", "b.xmp", "c/d.json"):
        (tmp_path / beside).write_text("a caption, a sidecar")
    assert colored.find(tmp_path, photographs) == found
    with pytest.raises(ValueError, match=r"no picture for e\.jpg"):
        colored.find(tmp_path, {Path("e"): "e.jpg"})
