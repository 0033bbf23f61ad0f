"""What may be another one when a run is resumed: where its photographs lie, its learning rate, how often it saves."""

import json
from pathlib import Path

import pytest
import torch

from recolor_fast import evaluate, train
from recolor_fast.data import listed
from recolor_fast.evaluation import judges
from recolor_fast.export import to_onnx
from recolor_fast.options import CHOSEN_PER_SESSION, Command, from_dict, to_json
from recolor_fast.runs import run_folder
from tests.photographs import write_jpegs
from tests.trainings import arguments, flat, newest, rows, run

WORDS = ("--preset", "pix2pix", "--name", "r")


def photographs(place: Path, layout: str) -> Path:
    """Nine, in the folder itself, by class, or split."""
    for number, part in enumerate({"flat": ["."], "classes": ["cat", "dog"], "split": ["train", "val"]}[layout]):
        write_jpegs(place / part, 9 if layout == "flat" else 5, first=10 * number)
    return place


def changes(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "changes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("layout", ["flat", "classes"])
def test_where_the_photographs_lie_is_no_part_of_what_is_trained(tmp_path, capsys, layout):
    """Moved, and under another name, the run ends bit for bit as one whose photographs stayed."""
    data = photographs(tmp_path / "a", layout)
    run(data, tmp_path / "whole", *WORDS)
    run(data, tmp_path, *WORDS, "--images", 5)
    data.rename(tmp_path / "b")
    assert train.main(arguments(data, tmp_path, *WORDS, "--resume")) == 2
    said = capsys.readouterr().err
    assert f"the folder does not exist; if the photographs of {tmp_path / 'r'} have moved, --data FOLDER says" in said
    run(tmp_path / "b", tmp_path, *WORDS, "--resume", "--images", 7)
    run(tmp_path / "b", tmp_path, *WORDS, "--resume")
    assert rows(tmp_path / "r", "validation.csv")[-1] == rows(tmp_path / "whole" / "r", "validation.csv")[-1]
    ours, theirs = (flat(newest(folder / "r")["step"]) for folder in (tmp_path, tmp_path / "whole"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if isinstance(value, torch.Tensor))
    told = changes(tmp_path / "r")
    assert told[0] == {"images": 5, "changed": {"data": [str(data), str(tmp_path / "b")], "images": [5, 7]}}
    assert told[1] == {"images": 7, "changed": {"images": [7, 12]}}


def test_moved_and_changed_is_refused_as_changed(tmp_path, capsys):
    data = photographs(tmp_path / "a", "flat")
    run(data, tmp_path, *WORDS, "--images", 4)
    data.rename(tmp_path / "b")
    (tmp_path / "b" / "extra.jpg").write_bytes((tmp_path / "b" / "000.jpg").read_bytes())
    assert train.main(arguments(tmp_path / "b", tmp_path, *WORDS, "--resume")) == 2
    said = capsys.readouterr().err
    assert "trained on other photographs: " in said
    assert "1 photograph to " in said or "is new (a/extra.jpg" in said
    run(tmp_path / "b", tmp_path, *WORDS, "--resume", "--images", 8, "--changed-files", "accept")
    run(tmp_path / "b", tmp_path, *WORDS, "--resume", "--images", 9)


def test_a_run_killed_after_its_photographs_moved_goes_on(tmp_path):
    """options.json names the new place then, and the newest checkpoint the old one."""
    data = photographs(tmp_path / "a", "flat")
    run(data, tmp_path, *WORDS, "--images", 4)
    data.rename(tmp_path / "b")
    stored = json.loads((tmp_path / "r" / "options.json").read_text())
    (tmp_path / "r" / "options.json").write_text(json.dumps(stored | {"data": str(tmp_path / "b")}))
    run(tmp_path / "b", tmp_path, *WORDS, "--resume")
    assert newest(tmp_path / "r")["images"] == 12


def test_a_started_run_whose_photographs_and_start_are_gone_goes_on(tmp_path):
    data = photographs(tmp_path / "a", "classes")
    run(data, tmp_path, "--preset", "pix2pix", "--name", "first", "--images", 2)
    run(data, tmp_path, *WORDS, "--images", 4, "--start", tmp_path / "first")
    data.rename(tmp_path / "b")
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    run(tmp_path / "b", tmp_path, *WORDS, "--resume")
    assert newest(tmp_path / "r")["images"] == 12


@pytest.mark.parametrize("layout", ["classes", "split"])
def test_evaluation_says_which_photographs_a_run_was_trained_on(tmp_path, capsys, monkeypatch, layout):
    """By their names, so also where they lie elsewhere now; not of those it validated on."""
    monkeypatch.setattr(judges, "missing", lambda term, file: "no server answers")
    monkeypatch.setattr(judges, "reachable", lambda url: False)
    monkeypatch.setattr(evaluate, "draw", lambda *given: None)  # the figures take longer than all else
    data = photographs(tmp_path / "a", layout)
    run(data, tmp_path, *WORDS, "--images", 2)
    data.rename(tmp_path / "b")
    capsys.readouterr()
    words = ["--data", str(tmp_path / "b"), "--size", "32", "--out", str(tmp_path / "e")]
    assert evaluate.main([str(tmp_path / "r"), *words]) == 0
    warned = "warning: 9 of 10 photographs have the names of those r was trained on" in capsys.readouterr().err
    assert warned == (layout == "classes")
    assert listed.trained_on(tmp_path / "none", [Path("a/b.jpg")]) == 0


def test_the_learning_rate_may_be_another_one_from_here_on(tmp_path):
    data = photographs(tmp_path / "a", "flat")
    run(data, tmp_path, *WORDS, "--images", 4)
    change = ("--learning-rate", "0.01", "--save-every", "3", "--log-every", "1")
    run(data, tmp_path, *WORDS, "--images", 8, "--resume", *change)
    optimizers = [newest(tmp_path / "r")["step"][f"optimizer/{name}"] for name in ("generator", "critic")]
    assert [one["param_groups"][0]["lr"] for one in optimizers] == [0.01, 0.01]
    stored = run_folder.stored_options(tmp_path / "r")
    assert (stored.learning_rate, stored.save_every, stored.log_every) == (0.01, 3, 1)
    assert len(rows(tmp_path / "r")) == 2 + 4
    changed = {"images": [4, 8], "learning_rate": [2e-4, 0.01], "save_every": [4, 3], "log_every": [2, 1]}
    assert changes(tmp_path / "r") == [{"images": 4, "changed": changed}]
    options, _ = train.parse(["--runs", str(tmp_path), "--name", "r", "--resume"])  # it is the run's own from then on
    assert options.learning_rate == 0.01


def test_a_rate_that_fell_may_stay_and_the_run_be_longer(tmp_path, capsys):
    data = photographs(tmp_path / "a", "flat")
    run(data, tmp_path, *WORDS, "--images", 4, "--decay", "1")
    fell = newest(tmp_path / "r")["step"]["optimizer/generator"]["param_groups"][0]["lr"]
    assert fell < 2e-4
    assert train.main(arguments(data, tmp_path, *WORDS, "--resume", "--images", 8, "--decay", "1")) == 2
    assert "expected 4, another --decay as well, or --start another run" in capsys.readouterr().err
    run(data, tmp_path, *WORDS, "--images", 8, "--resume", "--decay", "0")
    assert newest(tmp_path / "r")["step"]["optimizer/generator"]["param_groups"][0]["lr"] == 2e-4
    assert changes(tmp_path / "r")[0]["changed"]["decay"] == [1.0, 0.0]


def test_what_resume_changes_is_recorded_and_how_it_is_called_is_not(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    run_folder.note_changes(folder, Command(), 0)  # a new run has no options.json yet
    assert not (folder / "changes.jsonl").exists()
    (folder / "options.json").write_text(to_json(Command()))
    run_folder.note_changes(folder, Command(resume=True, name="r", runs="elsewhere", changed_files="accept"), 3)
    assert not (folder / "changes.jsonl").exists()
    run_folder.note_changes(folder, Command(keep=5), 3)
    run_folder.note_changes(folder, Command(keep=6), 4)
    assert changes(folder) == [
        {"images": 3, "changed": {"keep": [2, 5]}},
        {"images": 4, "changed": {"keep": [2, 6]}},
    ]
    assert {"data", "learning_rate", "decay", "save_every", "log_every"} <= CHOSEN_PER_SESSION


def test_options_of_before_there_was_one_say_what_was_done_then():
    stored = json.loads(to_json(Command()))
    del stored["gray_photographs"]
    assert from_dict(stored).gray_photographs == "keep"
    assert from_dict(json.loads(to_json(Command()))).gray_photographs == "leave-out"


# --- export --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run whose photographs are gone."""
    place = tmp_path_factory.mktemp("trained")
    data = photographs(place / "a", "flat")
    run(data, place, *WORDS, "--images", 2)
    data.rename(place / "b")
    return place


@pytest.mark.parametrize(
    ("more", "option"),
    [
        ([], "the run's photographs are not there any more: --data FOLDER takes others"),
        (["--data", "nowhere"], "data nowhere: the folder does not exist; expected a folder of images"),
        (["--precision", "int8", "--data", "{b}"], "not there any more: --calibrate FOLDER takes others"),
        (["--precision", "int8", "--data", "{b}", "--calibrate", "nowhere"], "calibrate nowhere: the folder does not"),
        (["--compare"], "--data FOLDER"),
    ],
)
def test_an_export_names_its_own_option(trained, tmp_path, capsys, more, option):
    (trained / "r" / "x.onnx").touch()
    more = [one.format(b=trained / "b") for one in more]
    assert to_onnx.main([str(trained / "r"), "--out", str(tmp_path / "x.onnx"), *more]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert option in said
    assert not list(tmp_path.iterdir())


def test_an_export_makes_its_folder(trained, tmp_path, capsys):
    out = tmp_path / "missing" / "deep" / "x.onnx"
    assert to_onnx.main([str(trained / "r"), "--data", str(trained / "b"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.is_file()
