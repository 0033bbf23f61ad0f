"""What becomes of photographs in color: left alone, copied, passed on or recolored, and always said."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.coloring import folder
from recolor_fast.photographs import images, pictures
from tests.commands import run, verb
from tests.photographs import pixels

ROOT = Path(__file__).parents[1]


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A folder of two photographs in color, one of them a GIF, a sepia print and a gray one."""
    place = tmp_path / "family"
    (place / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = "At the lake"
    Image.fromarray(pixels(2, 90, 120)).save(place / "lake.jpg", quality=90, exif=exif)
    Image.fromarray(pixels(0, 60, 80)).quantize(64).save(place / "sub" / "school.gif")
    gray = images.gray(pixels(4, 90, 120))
    sepia = np.clip(gray[..., None] * np.array([1.08, 0.92, 0.68]) + np.array([20, 8, 0]), 0, 255).astype(np.uint8)
    Image.fromarray(sepia).save(place / "print.jpg", quality=90)
    Image.fromarray(gray).save(place / "gray.png")
    return place


def tree(place: Path) -> list[str]:
    files = (path for path in place.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(place)) for path in files if not path.name.startswith("."))


def records(printed: str) -> dict[str, dict]:
    return {Path(record["input"]).name: record for record in map(json.loads, printed.splitlines())}


@pytest.mark.parametrize("choice", [(), ("--color", "skip"), ("--skip-color",)])
def test_they_are_left_alone_unless_asked_for(choice, family: Path, model: Path, tmp_path: Path, capsys) -> None:
    assert run(family, tmp_path / "out", *choice, "--json", model=model) == 0
    assert tree(tmp_path / "out") == ["gray.png", "print.jpg"]
    printed = capsys.readouterr()
    assert "2 colored, 2 skipped (2 in color), 0 failed\n" in printed.err
    assert "2 in color: left alone; --color recolor colors them\n" in printed.err
    found = records(printed.out)
    for name, status, reason in (
        ("lake.jpg", "skipped", "in color"),
        ("school.gif", "skipped", "in color"),
        ("print.jpg", "ok", ""),
        ("gray.png", "ok", ""),
    ):
        assert (found[name]["status"], found[name]["reason"]) == (status, reason)


def test_recolor_is_what_was_always_done(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    assert run(family, tmp_path / "out", "--color", "recolor", model=model) == 0
    assert tree(tmp_path / "out") == ["gray.png", "lake.jpg", "print.jpg", "sub/school.gif.png"]
    assert "4 colored, 0 skipped, 0 failed\n" in capsys.readouterr().err
    want = np.asarray(Image.fromarray(pixels(2, 90, 120)).convert("L")).astype(int)
    got = pictures.read((tmp_path / "out" / "lake.jpg").read_bytes())
    assert np.abs(got.gray - want).mean() < 2
    assert not got.is_color  # the model of this test has one tone for all


def test_copies_are_whole_under_their_own_names(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    out, copies = tmp_path / "out", ("lake.jpg", "sub/school.gif")
    command = (family, out, "--color", "copy", "--format", "png", "--json")
    assert run(*command, model=model) == 0
    assert tree(out) == ["gray.png", "lake.jpg", "print.jpg.png", "sub/school.gif"]
    for name in copies:
        assert (out / name).read_bytes() == (family / name).read_bytes()
    printed = capsys.readouterr()
    assert "2 colored, 0 skipped, 0 failed\n" in printed.err
    assert "2 in color: copied whole; --color recolor colors them\n" in printed.err
    found = records(printed.out)
    for name in copies:
        record = found[Path(name).name]
        assert (record["status"], record["reason"]) == ("ok", folder.COPIED)
        assert record["output"] == str(out / name)
        assert record["width"] > record["height"] > 0
    before = {name: (out / name).stat() for name in tree(out)}
    assert run(*command, model=model) == 0
    assert "0 colored, 4 skipped (4 done before), 0 failed\n" in capsys.readouterr().err
    assert {name: (out / name).stat().st_mtime_ns for name in tree(out)} == {
        name: status.st_mtime_ns for name, status in before.items()
    }


def test_a_copy_replaces_nothing_unasked(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out" / "sub" / "school.gif"
    out.parent.mkdir(parents=True)
    out.write_bytes(b"something else")
    assert run(family, tmp_path / "out", "--color", "copy", model=model) == 3
    assert f"its output {out} exists and is not this file; --overwrite replaces it" in capsys.readouterr().err
    assert out.read_bytes() == b"something else"
    assert run(family, tmp_path / "out", "--color", "copy", "--overwrite", model=model) == 0
    assert out.read_bytes() == (family / "sub" / "school.gif").read_bytes()


def test_a_copy_does_not_take_the_place_of_an_input(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    school, before = family / "sub" / "school.gif", (family / "sub" / "school.gif").read_bytes()
    assert run(school, f"{school.parent}/", "--color", "copy", "--overwrite", model=model) == 3
    assert "in color, and cannot be copied" in capsys.readouterr().err
    assert tree(family / "sub") == ["school.gif"]
    assert school.read_bytes() == before


def test_one_file_in_color_is_exit_3_and_nothing_is_written(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.jpg"
    assert run(family / "lake.jpg", out, model=model) == 3
    assert not out.exists()
    assert "1 in color: left alone; --color recolor colors it\n" in capsys.readouterr().err
    done = verb("-", out, model=model, data=(family / "lake.jpg").read_bytes())
    assert done.returncode == 3
    assert not out.exists()
    assert run(family / "lake.jpg", out, "--color", "copy", model=model) == 0
    assert out.read_bytes() == (family / "lake.jpg").read_bytes()
    assert run(family / "lake.jpg", tmp_path / "out.png", "--color", "copy", model=model) == 3
    assert "cannot be copied to" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
    assert run(family / "lake.jpg", tmp_path / "out.png", "--color", "recolor", model=model) == 0
    assert run(family / "print.jpg", tmp_path / "print.jpg", model=model) == 0


def test_stdout_gets_the_picture_as_it_is(family: Path, model: Path) -> None:
    data = (family / "lake.jpg").read_bytes()
    done = verb("-", "-", "--json", model=model, data=data)
    assert done.returncode == 0
    assert done.stdout == data
    lines = done.stderr.decode().splitlines()
    assert "  1 in color: passed through unchanged; --color recolor colors it" in lines
    (record,) = (json.loads(line) for line in lines if line.startswith("{"))
    assert (record["status"], record["reason"], record["output"]) == ("ok", folder.COPIED, None)
    recolored = verb(family / "lake.jpg", "-", "--color", "recolor", model=model).stdout
    assert recolored != data
    assert not pictures.read(recolored).is_color
    gray = io.BytesIO()
    Image.fromarray(images.gray(pixels(2, 90, 120))).save(gray, "PNG")
    assert np.ptp(images.read_rgb(verb("-", "-", model=model, data=gray.getvalue()).stdout).astype(int), axis=2).any()


def test_in_place_keeps_its_stricter_rule(family: Path, model: Path, capsys) -> None:
    (family / "sub" / "school.gif").unlink()
    before = {name: (family / name).read_bytes() for name in ("lake.jpg", "print.jpg")}
    assert run(family, "--in-place", model=model) == 0
    assert "1 colored, 2 skipped (2 in color), 0 failed\n  2 in color: left alone\n" in capsys.readouterr().err
    assert {name: (family / name).read_bytes() for name in before} == before
    assert run(family / "lake.jpg", "--in-place", model=model) == 0


def test_frames_of_a_film_in_color_are_passed_over(family: Path, model: Path, tmp_path: Path) -> None:
    for choice, count in (("skip", 2), ("copy", 4)):
        assert run(family, tmp_path / choice, "--temporal", "--color", choice, model=model) == 0
        assert len(tree(tmp_path / choice)) == count


def test_choices_that_contradict_each_other_are_wrong_usage(family: Path, model: Path, tmp_path: Path, capsys) -> None:
    for arguments, words in (
        ((family, tmp_path / "out", "--skip-color", "--color", "copy"), "skip_color means color skip"),
        ((family, "--in-place", "--color", "recolor"), "in_place with color recolor"),
        ((family, tmp_path / "out", "--color", "copy", "--metadata", "drop"), "copies are whole, with their metadata"),
    ):
        assert run(*arguments, model=model) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_from_python(family: Path, model: Path, tmp_path: Path) -> None:
    colorizer = colorize.Colorizer(model, provider="cpu")
    found = colorizer.folder(family, tmp_path / "out")
    assert sorted(record.reason for record in found) == ["", "", "in color", "in color"]
    found = colorizer.folder(family, tmp_path / "out", color="copy")
    assert sorted(record.reason for record in found) == ["done before"] * 2 + [folder.COPIED] * 2
    rgb = pixels(2, 60, 80)
    assert np.array_equal(colorizer(rgb), colorizer(images.gray(rgb)))  # an array is always colored


def test_pages_in_color_are_copied_together_or_not_at_all(model: Path, tmp_path: Path, capsys) -> None:
    color = [Image.fromarray(pixels(number, 60, 80)) for number in (0, 2)]
    for name, many in (("color", color), ("mixed", [color[0], color[1].convert("L").convert("RGB")])):
        (tmp_path / "in").mkdir(exist_ok=True)
        many[0].save(tmp_path / "in" / f"{name}.tif", save_all=True, append_images=many[1:])
    assert run(tmp_path / "in", tmp_path / "out", "--pages", "all", "--color", "copy", model=model) == 3
    assert "mixed.tif: 1 of its 2 pages: in color; split the file, or give --color recolor" in capsys.readouterr().err
    assert tree(tmp_path / "out") == ["color.tif"]
    assert (tmp_path / "out" / "color.tif").read_bytes() == (tmp_path / "in" / "color.tif").read_bytes()
