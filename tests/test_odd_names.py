"""Names that are no text, or odd text, everywhere that training and evaluation write them."""

import csv
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import evaluate
from recolor_fast.data import listed, sources
from recolor_fast.evaluation import judges, plots
from recolor_fast.machine.files import legible
from recolor_fast.options import Options
from tests.photographs import write_jpegs
from tests.trainings import newest, run

ODD = [b"caf\xe9", b"a,b", b'say "a"', b"two\nlines", b" spaced ", b"$x_1$", b"_under", b"a|b", "caf\u00e9".encode()]


def path(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A class of each odd name, with photographs of that name."""
    folder = path(tmp_path_factory.mktemp("odd"), b"donn\xe9es\n$")
    for number, name in enumerate(ODD):
        for one in write_jpegs(path(folder, name), 2, first=2 * number):
            one.rename(path(one.parent, name + os.fsencode(one.name)))
        path(folder, name + b"/broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(judges, "missing", lambda term, file: "no server answers")
    monkeypatch.setattr(judges, "reachable", lambda url: False)


def test_legible_is_one_line_of_text():
    for name in ODD:
        text = legible(os.fsdecode(name))
        assert len(text.splitlines()) == 1
        text.encode()
    assert legible(os.fsdecode(b"caf\xe9\n\x1b[1m\\")) == r"caf\udce9\n\x1b[1m" + "\\"
    assert legible("Fotos von \u00e9t\u00e9, \u5199\u771f") == "Fotos von \u00e9t\u00e9, \u5199\u771f"


def test_a_path_is_printed_byte_for_byte(tmp_path):
    name = path(tmp_path, b"caf\xe9")
    program = "import os; from recolor_fast.machine.files import print_path; print_path(os.environ['NAME'])"
    for encoding in ("utf-8:strict", "ascii:strict"):
        environment = os.environ | {"PYTHONIOENCODING": encoding, "NAME": str(name)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert done.stdout == os.fsencode(name) + b"\n"


def test_the_split_and_its_digest_are_those_of_before_for_text(tmp_path):
    """The order in a class depends on the CRC-32 of its name in UTF-8."""
    paths = write_jpegs(tmp_path / "\u00e9t\u00e9", 6)
    order = np.random.default_rng((3, zlib.crc32("\u00e9t\u00e9".encode()))).permutation(6)
    split = sources.photographs(Options(data=str(tmp_path), seed=3, val_per_class=2))
    assert [*split.val, *split.train] == [paths[place] for place in order]
    digest = listed.digest([Path("/x/\u00e9t\u00e9/a.jpg")], [Path("/x/b/c.jpg")])
    assert digest == "37a591395023f4dfacc0a30332c04234420d9dcfe4e474bca157b308498374ca"


def test_training_takes_and_lists_them(data, tmp_path):
    folder = path(tmp_path, b"l\xe4ufe\n")
    run(data, folder, "--preset", "pix2pix", "--name", os.fsdecode(b"r\xe9"), "--images", 4)
    own = path(folder, b"r\xe9")
    listed = json.loads((own / "photographs.json").read_text())
    assert sorted(listed["train"] + listed["val"]) == sorted(
        one.relative_to(data).as_posix() for one in data.rglob("*.jpg") if one.name != "broken.jpg"
    )
    unusable = (own / "unusable.txt").read_text(encoding="utf-8").splitlines()
    assert len(unusable) == len(ODD)
    assert all("broken.jpg: not an image" in line for line in unusable)
    assert sum(r"donn\udce9es\n$/two\nlines/" in line for line in unusable) == 1
    run(data, folder, "--preset", "pix2pix", "--name", os.fsdecode(b"r\xe9"), "--images", 6, "--resume")
    assert newest(own)["images"] == 6
    victim = next(one for one in data.rglob("*.jpg") if b"caf\xe9" in os.fsencode(one) and one.name != "broken.jpg")
    moved = path(data.parent, b"m\xf6ved")
    data.rename(moved)
    try:
        run(moved, folder, "--preset", "pix2pix", "--name", os.fsdecode(b"r\xe9"), "--images", 7, "--resume")
        away = data.parent / "away.jpg"
        (moved / victim.relative_to(data)).rename(away)
        words = ("--name", os.fsdecode(b"r\xe9"), "--images", 8, "--resume", "--changed-files", "accept")
        run(moved, folder, "--preset", "pix2pix", *words)
        away.rename(moved / victim.relative_to(data))
    finally:
        moved.rename(data)


def test_evaluation_takes_and_shows_them(data, offline, tmp_path):
    system = path(tmp_path, b"c\xf6lored\n$1$")
    for one in data.rglob("*.jpg"):
        if one.name != "broken.jpg":
            target = system / one.relative_to(data).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(one) as picture:
                picture.save(target)
    out = path(tmp_path, b"\xe9v")
    arguments = [os.fsdecode(os.fsencode(system)), f"_x$={system}", "--data", str(data), "--size", "32"]
    assert evaluate.main([*arguments, "--shown", "3", "--out", str(out)]) == 0
    with open(out / "per_photograph.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(ODD) * 5
    names = {row["photograph"] for row in rows}
    assert {r"caf\udce9/caf\udce9000.jpg", "two\nlines/two\nlines000.jpg", 'say "a"/say "a"001.jpg'} <= names
    told = json.loads((out / "metrics.json").read_text())
    assert os.fsencode(told["protocol"]["data"]) == os.fsencode(data.name)
    assert os.fsdecode(b"caf\xe9/broken.jpg") in told["protocol"]["unusable"]
    table = (out / "tables.md").read_text(encoding="utf-8")
    for block in table.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
    assert r"c\udcf6lored\n$1$" in table
    for figure in ("fig2_histograms", "fig5_side_by_side", "contact_sheet"):
        with Image.open(out / f"{figure}.png") as picture:
            picture.load()
            assert r"photographs of donn\udce9es\n$ (" in picture.text["Description"]


@pytest.mark.parametrize("name", [os.fsdecode(ODD[place]) for place in (0, 3, 5, 6)])
def test_figures_draw_any_name(tmp_path, name):
    curve = plots.Curve(np.arange(3.0), np.arange(3.0))
    plots.losses(tmp_path / "losses.png", {name: curve, "other": curve}, "loss", name)
    counts = {"truth": (np.ones(4), np.ones(4)), name: (np.ones(4), np.arange(4.0))}
    plots.histograms(tmp_path / "histograms.png", np.arange(5.0), counts, "truth", name)
    cell = plots.Cell(np.zeros((8, 8, 3), np.uint8), name)
    plots.sheet(tmp_path / "sheet.png", [name], [[cell]], name, [name])
    for file in ("losses", "histograms", "sheet"):
        with Image.open(tmp_path / f"{file}.png") as picture:
            assert picture.text["Description"] == legible(name)


def test_a_legend_has_every_name(tmp_path, monkeypatch):
    drawn = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, *rest: drawn.append(rest[-1]) or save(figure, *rest))
    counts = {name: (np.ones(4), np.ones(4)) for name in ("truth", "_under", "$x$")}
    plots.histograms(tmp_path / "h.png", np.arange(5.0), counts, "truth", "")
    assert drawn == [["truth", " _under", r"\$x\$"]]
