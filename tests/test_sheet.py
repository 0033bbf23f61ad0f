"""The contact sheet of a run of colorize."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.coloring import folder, sheet
from tests.commands import run
from tests.photographs import write_jpegs


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Four gray photographs and one in color, which is left alone."""
    monkeypatch.chdir(tmp_path)
    for path in write_jpegs(tmp_path / "photos", 5, height=90, width=120)[:4]:
        with Image.open(path) as opened:
            gray = opened.convert("L")
        gray.save(path, quality=95)
    return Path("photos")


def test_it_shows_what_was_colored_before_and_after(photos, model, capsys):
    assert run(photos, "colored", "--sheet", "new/sheet.jpg", model=model) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "sheet: new/sheet.jpg, 4 of 4"
    with Image.open("new/sheet.jpg") as opened:
        shown = np.asarray(opened.convert("YCbCr")).astype(int)
    side, top = sheet.SIDE, sheet.TITLE
    height = 90  # small pictures are not enlarged
    left = sheet.GAP + (side - 120) // 2
    before = shown[top + 5 : top + height - 5, left + 5 : left + 115]
    after = shown[top + 5 : top + height - 5, left + side + sheet.GAP + 5 : left + side + sheet.GAP + 115]
    assert np.abs(before[..., 1:] - 128).max() <= 3
    assert np.abs(np.median(after[..., 1:], (0, 1)) - (110, 148)).max() <= 4  # the model's Cb, Cr where they fit
    assert np.abs(before[..., 0] - after[..., 0]).mean() <= 3
    with Image.open("photos/000.jpg") as opened:
        truth = np.asarray(opened).astype(int)[5:-5, 5:-5]
    assert np.abs(before[..., 0] - truth).mean() <= 4


def test_of_many_it_picks_some_evenly_and_remembers_few():
    shown = sheet.Sheet(Path("sheet.jpg"))
    most = 0
    for number in range(1000):
        shown.add(folder.Record(f"in/{number}.jpg", f"out/{number}.jpg", "ok"))
        shown.add(folder.Record("in/copied.jpg", "out/copied.jpg", "ok", folder.COPIED))
        shown.add(folder.Record("in/failed.jpg", "out/failed.jpg", "failed"))
        most = max(most, len(shown.picked))
    numbers = [int(Path(name).stem) for name, _ in shown.picked]
    assert (shown.count, most < 2 * sheet.MOST) == (1000, True)
    assert len(set(np.diff(numbers))) == 1
    assert numbers[0] == 0
    assert numbers[-1] >= 850


def test_a_dozen_of_forty_are_drawn(photos, model, monkeypatch, capsys):
    monkeypatch.setattr(sheet, "MOST", 3)
    for number in range(10):
        Image.new("L", (40, 60), 20 * number).save(f"photos/x{number}.png")
    assert run(photos, "colored", "--sheet", "sheet.png", model=model) == 0
    assert capsys.readouterr().err.splitlines()[-1] in ("sheet: sheet.png, 2 of 14", "sheet: sheet.png, 3 of 14")
    with Image.open("sheet.png") as opened:
        assert opened.format == "PNG"


def test_a_sheet_that_cannot_be_is_refused_before_anything_is_colored(photos, model, capsys):
    Path("there.jpg").write_bytes(b"mine")
    for words, said in (
        ((photos, "out", "--sheet", "there.jpg"), "sheet there.jpg: it exists; give another name, or --overwrite"),
        ((photos, "out", "--sheet", "sheet.gif"), "sheet sheet.gif: expected a name that ends in .jpg"),
        ((photos, "out", "--sheet", "photos/sheet.jpg"), "it lies in the input"),
        ((photos, "out", "--sheet", "s.jpg", "--watch"), "sheet s.jpg with watch"),
        ((photos, "--in-place", "--sheet", "s.jpg"), "sheet s.jpg with in_place"),
        (("photos/000.jpg", "-", "--sheet", "s.jpg"), "sheet s.jpg with -"),
    ):
        assert run(*words, model=model) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    assert not Path("out").exists()
    assert Path("there.jpg").read_bytes() == b"mine"
    assert run(photos, "out", "--sheet", "there.jpg", "--overwrite", model=model) == 0
    with Image.open("there.jpg") as opened:
        assert opened.format == "JPEG"


def test_an_output_of_the_run_is_not_overwritten_by_its_sheet(photos, model, capsys):
    assert run(photos, "out", "--sheet", "out/000.jpg", "--overwrite", model=model) == 3
    assert "out/000.jpg: not written: it is the output of photos/000.jpg" in capsys.readouterr().err
    with Image.open("out/000.jpg") as opened:
        assert opened.size == (120, 90)


def test_where_nothing_was_colored_there_is_none_and_it_is_said(photos, model, capsys):
    assert run(photos, "out", model=model) == 0
    assert run(photos, "out", "--sheet", "s.jpg", model=model) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "no sheet: this run colored nothing"
    assert not Path("s.jpg").exists()


def test_its_title_says_the_model_as_the_terminal_does(photos, model, monkeypatch, capsys):
    drawn, titles = sheet.drawn, []
    monkeypatch.setattr(sheet, "drawn", lambda pairs, title: titles.append(title) or drawn(pairs, title))
    assert run(photos, "own", "--sheet", "own.jpg", model=model) == 0
    assert colorize.main([str(photos), "packaged", "--sheet", "packaged.jpg", "--provider", "cpu"]) == 0
    names = [
        line.partition(", on ")[0] for line in capsys.readouterr().err.splitlines() if ", on the processor" in line
    ]
    assert names == ["sepia", "the colorizer that comes with recolor_fast"]
    assert titles == [f"4 colored, before and after, by {name}" for name in names]
