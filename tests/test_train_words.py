"""The words that train takes beside its options, those of other trainers, and what is noted of a command line."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from recolor_fast import colorize, train
from recolor_fast.arguments import evaluate, foreign, to_onnx
from recolor_fast.arguments import train as words
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Command, to_json
from recolor_fast.presets import PRESETS
from tests.photographs import write_jpegs
from tests.trainings import SMALL, rows

ROOT = Path(__file__).parent.parent


def resolved(capsys: pytest.CaptureFixture[str], *argv: object) -> dict:
    """The options of a dry run, as JSON."""
    assert train.main(["--dry-run", "--data", "sample", "--lpips", "off", *map(str, argv)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--epoch 5", "--epochs N"),
        ("--num_epochs=5", "--epochs N"),
        ("--batch-size 4", "--batch"),
        ("--bs 4", "--batch"),
        ("--gpu 0", "--device cuda"),
        ("--num-workers 4", "--threads"),
        ("--output-dir x", "--runs FOLDER"),
        ("--dataset x", "--data FOLDER"),
        ("--ckpt x", "--start RUN"),
        ("--resume-from x", "--resume --name RUN"),
        ("--fp16", "--amp --amp-dtype float16"),
        ("--mixed-precision bf16", "--amp"),
        ("--n-critic 5", "--critic-steps"),
        ("--config x", "--options FILE.json"),
    ],
)
def test_what_other_trainers_call_it_is_answered_by_its_meaning(capsys, given, meant):
    assert train.main(given.split()) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: unknown option {given.replace('=', ' ').split()[0]}: here it is {meant}")


def test_what_is_only_misspelled_is_answered_by_its_letters(capsys):
    assert train.main(["--critc-steps", "3"]) == 2
    assert "--critic-steps" in capsys.readouterr().err


@pytest.mark.parametrize("table", [foreign.TRAIN, foreign.EVALUATE, foreign.EXPORT, foreign.COLORIZE])
def test_each_word_is_there_once(table):
    found = [word for line in table for word in line.split()]
    assert len(found) == len(set(found))
    assert all(word == foreign.plain_name(word) for word in found)


def test_no_option_is_a_foreign_word_and_no_answer_names_what_is_not_there():
    names = {field.name for field in fields(Command)} | set(words.OWN)
    ours = {foreign.plain_name(name) for name in names}
    assert not ours & {word for line in foreign.TRAIN for word in line.split()}
    for advice in foreign.TRAIN.values():
        for word in advice.replace(",", " ").split():
            assert not word.startswith("--") or word[2:].removesuffix(".json").replace("-", "_") in names, advice


@pytest.mark.parametrize(
    ("parse", "argv", "meant"),
    [
        (evaluate.parse, ["run", "--output-dir", "x"], "--out DIR"),
        (evaluate.parse, ["run", "--gpu", "0"], "--device cuda"),
        (to_onnx.parse, ["run", "--fp16"], "--precision fp16"),
    ],
)
def test_other_verbs_answer_too(parse, argv, meant):
    with pytest.raises(UserError, match=f"unknown option {argv[1]}: here it is {meant}"):
        parse(argv)


@pytest.mark.parametrize(
    ("word", "meant"), [("--output", "the last path"), ("-o", "the last path"), ("--gpu", "--provider")]
)
def test_colorize_answers_too(tmp_path, capsys, word, meant):
    assert colorize.main([str(tmp_path), word, str(tmp_path / "out")]) == colorize.USAGE
    assert capsys.readouterr().err.startswith(f"error: unknown option {word}: here it is {meant}")
    assert not (tmp_path / "out").exists()


def test_epochs_are_photographs_of_those_there_are(capsys):
    assert resolved(capsys, "--epochs", 3)["images"] == 3 * 5  # sample photographs
    assert resolved(capsys, "--epochs=0.5")["images"] == 2
    assert resolved(capsys, "--epochs", 0.01)["images"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--epochs 0", "epochs 0: expected more than 0"),
        ("--epochs nan", "epochs nan: expected more than 0"),
        ("--epochs many", "--epochs: invalid float value: 'many'"),
        ("--epochs", "--epochs: expected one argument"),
        ("--epochs 2 --images 100", "--epochs and --images both say how long"),
    ],
)
def test_epochs_that_cannot_be_are_one_error(capsys, given, said):
    assert train.main(given.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_lr_is_the_learning_rate(capsys):
    assert resolved(capsys, "--lr", "1e-3")["learning_rate"] == 1e-3
    assert resolved(capsys, "--lr=1e-3", "--learning-rate", "3e-3")["learning_rate"] == 3e-3


def test_a_file_gives_the_defaults_and_the_command_line_wins(tmp_path, capsys):
    own = replace(PRESETS["gorriz"], runs="elsewhere", name="r", size=64, learning_rate=1e-3, images=77)
    (tmp_path / "o.json").write_text(to_json(replace(own, resume=True, dry_run=True)))
    options, folder = train.parse(["--options", str(tmp_path / "o.json"), "--lr", "5e-4", "--device", "cpu"])
    assert folder is None
    assert options == replace(own, runs="runs", name="", learning_rate=5e-4, device="cpu")
    (tmp_path / "part.json").write_text('{"size": 64, "terms": [["l1", 10]], "learning_rate": 1}')
    options, _ = train.parse(["--options", str(tmp_path / "part.json")])
    assert options == replace(PRESETS["wgan-gp-lpips"], size=64, terms=(("l1", 10.0),), learning_rate=1)


def test_on_another_device_what_was_chosen_for_the_files_is_open(tmp_path):
    (tmp_path / "o.json").write_text(
        json.dumps(asdict(replace(PRESETS["pix2pix"], device="cuda", compile="on", threads=16)))
    )
    options, _ = train.parse(["--options", str(tmp_path / "o.json"), "--device", "cpu"])
    assert (options.compile, options.threads) == ("auto", 0)
    options, _ = train.parse(["--options", str(tmp_path / "o.json")])
    assert (options.device, options.compile, options.threads) == ("cuda", "on", 16)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, "", "options FILE: not a readable JSON file"),
        ("{", "", "options FILE: not a readable JSON file"),
        ("[1]", "", "options FILE: expected names and values"),
        ('{"frobnicate": 1}', "", "options FILE: unknown options frobnicate"),
        ('{"preset": "pix3pix"}', "", "options FILE: preset 'pix3pix': expected one of"),
        ('{"size": "64"}', "", "options FILE: size '64': expected something like 256"),
        ('{"amp": 1}', "", "options FILE: amp 1: expected something like False"),
        ('{"batch": null}', "", "options FILE: batch None: expected something like 1"),
        ('{"terms": [1]}', "", "options FILE: a value of another kind"),
        ('{"size": 100}', "", "options FILE: size 100: expected a multiple of 32"),
        ("{}", "--preset pix2pix", "--options and --preset both say"),
        ("{}", "--resume", "--options and --resume both say"),
    ],
)
def test_a_file_that_will_not_do_is_one_error(tmp_path, capsys, text, more, said):
    if text is not None:
        (tmp_path / "o.json").write_text(text)
    assert train.main(["--options", str(tmp_path / "o.json"), *more.split()]) == 2
    assert capsys.readouterr().err.startswith("error: " + said.replace("FILE", str(tmp_path / "o.json")))


def test_help_tells_of_the_words_that_are_no_options_of_a_run(capsys):
    assert train.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("--lr ", "--epochs N", "--options FILE.json"))


def test_a_command_line_is_noted_without_folders():
    given = [
        "--data",
        "/home/me/my photos/",
        "--runs=/secret/place/runs",
        "--lr",
        "1e-3",
        "--start",
        "C:\\me\\r",
        "-x",
        "/",
    ]
    assert words.public(given) == (
        "python -m recolor_fast.train --data 'my photos' --runs=runs --lr 1e-3 --start r -x /"
    )
    assert words.public([]) == "python -m recolor_fast.train"


def test_a_run_of_epochs_and_its_command_are_recorded(tmp_path, capsys):
    write_jpegs(tmp_path / "photos", 5)
    given = [*SMALL, "--preset", "pix2pix", "--epochs", "1.5", "--data", str(tmp_path / "photos")]
    at = given.index("--images")
    assert train.main([*given[:at], *given[at + 2 :], "--runs", str(tmp_path)]) == 0
    run = Path(capsys.readouterr().out.strip())
    assert json.loads((run / "options.json").read_text())["images"] == 6  # 1.5 times 4
    assert rows(run)[-1]["images"] == "6"
    command = json.loads((run / "environment.json").read_text())["command"]
    assert command.startswith("python -m recolor_fast.train --size 64")
    assert "--epochs 1.5 --data photos" in command
    assert str(tmp_path) not in command


@pytest.mark.parametrize(("rank", "said"), [("0", 1), ("1", 0)])
def test_copies_that_a_launcher_starts_are_refused_once(rank, said):
    own = os.environ | {"WORLD_SIZE": "2", "RANK": rank}
    command = [sys.executable, "-m", "recolor_fast.train", "--preset", "pix2pix"]
    done = subprocess.run(command, capture_output=True, text=True, env=own, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == said
    assert not said or done.stderr.startswith("error: WORLD_SIZE is 2: ")
    assert done.stdout == ""


def test_one_process_of_a_launcher_trains(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train.parse(["--preset", "pix2pix"])[0] == PRESETS["pix2pix"]


def test_help_is_the_first_paragraph_of_an_options_text(capsys):
    assert train.main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in (
        "Named system that gives every default below: a paper's (docs/papers.md), or fine-tune (docs/fine-tuning.md).",
        "What the generator starts from: a run folder, a .safetensors file, or shipped, the colorizer of the package.",
        "Histogram equalization of: nothing (none), the gray source, or source and target (both).",
    ):
        assert f"{text} (default: " in shown


def test_every_preset_is_named_where_its_help_says():
    told = "".join((ROOT / "docs" / page).read_text() for page in ("papers.md", "fine-tuning.md"))
    assert [name for name in PRESETS if f"`{name}`" not in told] == []
