"""The verb plot and results.png: which curves are drawn, of which numbers, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import plot
from recolor_fast.evaluation import plots
from recolor_fast.machine.errors import UserError
from recolor_fast.runs import curves


def run_folder(folder: Path, *, time: bool = True, part: str = "generator/l1") -> Path:
    """A run of three rows and one validation, its second loss missing."""
    folder.mkdir(parents=True)
    header = f"images,{'time,' if time else ''}images_per_s,{part}"
    rows = [f"{seen},{f'{seen * 6},' if time else ''}2,{loss}" for seen, loss in ((10, 4.0), (20, ""), (30, 2.0))]
    (folder / "results.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "validation.csv").write_text("images,ab_rmse,ab_rmse/gray,chroma\n15,12,16,0.5\n")
    return folder


def opens(picture: Path) -> bool:
    with Image.open(picture) as opened:
        return opened.format == "PNG"


@pytest.fixture
def drawn(monkeypatch):
    """The axes of each figure, as they are saved."""
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, *rest: figures.append(figure) or save(figure, *rest))
    return figures


def panel(figure, title: str) -> dict[str, tuple[list[float], list[float]]]:
    """Lines of a panel by label, those without one by their place."""
    (axis,) = (axis for axis in figure.axes if axis.get_title().startswith(title))
    return {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axis.lines}


def test_runs_are_drawn_in_one_picture_raw_and_smoothed(tmp_path, drawn, capsys):
    one, other = run_folder(tmp_path / "a"), run_folder(tmp_path / "b", part="critic/real")
    out = tmp_path / "compared.png"
    assert plot.main([str(one), str(other), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as picture:
        assert "mean over 10% of a run's rows, 3 at least" in picture.text["Description"]
    titles = [axis.get_title().split(" (")[0] for axis in drawn[0].axes]
    assert titles == [
        "validation: ab error",
        "validation: chroma, of the truth's",
        "photographs/s",
        "generator: l1",
        "critic: real",
    ]
    errors = panel(drawn[0], "validation: ab error")
    assert errors["a"] == errors["b"] == ([15.0], [12.0])
    assert errors["_gray"] == ([15.0], [16.0])
    losses = panel(drawn[0], "generator: l1")
    assert set(losses) - {"_child0"} == {"a"}
    np.testing.assert_equal(losses["_child0"], ([10.0, 20.0, 30.0], [4.0, np.nan, 2.0]))
    assert losses["a"] == ([10.0, 30.0], [3.0, 3.0])  # what is known, over three rows


def test_by_time_a_validation_stands_at_the_time_of_its_photographs(tmp_path, drawn):
    folder = run_folder(tmp_path / "a")
    assert plot.main([str(folder), "--out", str(tmp_path / "time.png"), "--by", "time", "--smoothing", "0"]) == 0
    assert panel(drawn[0], "validation: ab error")["a"] == ([1.5], [12.0])  # minutes
    assert panel(drawn[0], "photographs/s")["a"][0] == [1.0, 2.0, 3.0]


def test_grays_error_is_seen_after_the_first_validation(tmp_path, drawn):
    assert plot.main([str(run_folder(tmp_path / "a")), "--out", str(tmp_path / "drawn.png")]) == 0
    (axis,) = (axis for axis in drawn[0].axes if axis.get_title().startswith("validation: ab error"))
    (gray,) = (line for line in axis.lines if line.get_label() == "_gray")
    assert gray.get_marker() == "_"  # a line of one point is not drawn


def test_panels_have_one_x_axis_and_values_as_they_are(tmp_path, drawn):
    rows = run_folder(tmp_path / "a") / "validation.csv"
    rows.write_text("images,ab_rmse,ab_rmse/gray,chroma\n15,12.549,12.5576,0.98\n")
    assert plot.main([str(tmp_path / "a"), "--out", str(tmp_path / "drawn.png")]) == 0
    assert len({axis.get_xlim() for axis in drawn[0].axes}) == 1
    low, high = drawn[0].axes[0].get_xlim()
    assert low < 10 < 30 < high  # all rows, though there is one validation
    drawn[0].canvas.draw()
    assert [axis.yaxis.get_offset_text().get_text() for axis in drawn[0].axes] == [""] * 4
    assert "12.55" in [label.get_text()[:5] for label in drawn[0].axes[0].get_yticklabels()]


def test_the_losses_of_a_run_with_one_row_are_seen(tmp_path, drawn):
    rows = run_folder(tmp_path / "a") / "results.csv"
    rows.write_text("\n".join(rows.read_text().splitlines()[:2]) + "\n")
    assert plot.main([str(tmp_path / "a"), "--out", str(tmp_path / "drawn.png")]) == 0
    (axis,) = (axis for axis in drawn[0].axes if axis.get_title() == "generator: l1")
    assert [line.get_marker() for line in axis.lines if line.get_label() == "a"] == ["o"]


def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, old = run_folder(tmp_path / "a"), run_folder(tmp_path / "old", time=False)
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([], "no run is given"),
        ([str(tmp_path / "empty")], "expected a run folder"),
        ([str(tmp_path / "none")], "expected a run folder"),
        ([str(old), "--by", "time"], "no times in its results.csv"),
        ([str(folder), str(folder)], "given twice"),
        ([str(folder), "--out", "there.png"], "there.png exists: give another --out, or --overwrite"),
        ([str(folder), "--out", "no/such.png"], "folder does not exist"),
        ([str(folder), "--out", "a.svg"], "ends in .png"),
        ([str(folder), "--smoothing", "2"], "expected a share"),
    ):
        assert plot.main(words) == 2, words
        assert said in capsys.readouterr().err, words
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert not (tmp_path / "plot.png").exists()
    assert plot.main([str(folder), "--out", "there.png", "--overwrite"]) == 0
    assert opens(tmp_path / "there.png")


def test_runs_of_one_name_are_told_apart(tmp_path):
    assert plot.names([tmp_path / "x" / "r", tmp_path / "s"]) == ["r", "s"]
    assert plot.names([tmp_path / "x" / "r", tmp_path / "y" / "r"]) == ["x/r", "y/r"]
    with pytest.raises(UserError, match="twice"):
        plot.names([tmp_path / "r", tmp_path / "x" / ".." / "r"])


def test_results_png_is_drawn_by_a_process_of_its_own_without_torch(tmp_path):
    folder = run_folder(tmp_path / "a")
    program = (
        "import runpy, sys; sys.argv[1:] = [sys.argv[1], 'idle']\n"
        "try: runpy.run_module('recolor_fast.runs.curves', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    root = Path(curves.__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, cwd=root)
    assert opens(folder / curves.NAME)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_run_that_has_logged_nothing_yet_has_no_picture(tmp_path):
    folder = run_folder(tmp_path / "a")
    (folder / "results.csv").write_text("images,time\n")
    assert curves.main([str(folder)]) == 0
    assert not (folder / curves.NAME).exists()


def test_a_picture_drawn_meanwhile_is_not_overtaken(tmp_path, monkeypatch):
    folder = run_folder(tmp_path / "a")
    draw = curves.draw

    def slowly(path: Path, *rest: object) -> None:
        draw(path, *rest)
        (folder / curves.NAME).write_bytes(b"newer")

    monkeypatch.setattr(curves, "draw", slowly)
    assert curves.main([str(folder)]) == 0
    assert [path.name for path in folder.glob("*.p*")] == [curves.NAME]
    assert (folder / curves.NAME).read_bytes() == b"newer"
    monkeypatch.undo()
    assert curves.main([str(folder)]) == 0
    assert opens(folder / curves.NAME)
