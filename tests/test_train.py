"""The training verb end to end, on a few small photographs."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recolor_fast import load_run, train
from recolor_fast.data import loader
from recolor_fast.machine.errors import UserError
from recolor_fast.options import from_dict, to_json
from recolor_fast.presets import PRESETS
from recolor_fast.runs import checkpoint, progress
from tests.photographs import write_jpegs
from tests.trainings import SMALL, arguments, assert_same_run, newest, rows, run

NEW = ("time", "learning_rate", "memory")  # columns that older runs have not


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder / "a", 6, height=80, width=96)
    write_jpegs(folder / "b", 6, first=6, height=96, width=72)
    return folder


def test_a_run_leaves_a_whole_folder(photographs, tmp_path, capsys):
    folder = run(photographs, tmp_path, "--preset", "wgan-gp", capsys=capsys)
    assert folder == tmp_path / "wgan-gp-1"
    options = from_dict(json.loads((folder / "options.json").read_text()))
    assert (options.device, options.loader, options.cache, options.compile) == ("cpu", "host", "on", "off")
    assert Path(options.data) == photographs.resolve()
    environment = json.loads((folder / "environment.json").read_text())
    assert torch.__version__.startswith(environment["versions"]["torch"])
    assert environment["device"]
    found = rows(folder)
    assert [int(row["images"]) for row in found] == [2, 4, 6, 8, 10, 12]
    assert list(found[0])[:2] == ["images", "learning_rate"]  # time is left out by `rows`
    assert {"critic/real", "critic/fake", "critic/penalty", "generator/adversary", "generator/l1"} <= set(found[0])
    assert all(np.isfinite([float(v) for v in row.values()]).all() for row in found)
    assert [int(row["images"]) for row in rows(folder, "validation.csv")] == [4, 8, 12]
    assert [p.name for p in sorted((folder / "samples").iterdir())] == [f"{n:09d}.png" for n in (0, 4, 8, 12)]
    with Image.open(folder / "samples" / "000000012.png") as sheet:
        assert sheet.size == (3 * 68, 16 + 1 * 68)
    assert [int(p.stem) for p in checkpoint.list_checkpoints(folder / "checkpoints")] == [8, 12]


def test_only_the_first_batch_is_not_counted_as_waiting(photographs, tmp_path, monkeypatch):
    """It comes with the whole cache, which no later step waits for."""
    batches, clock, slept = loader.batches, time.perf_counter, [0]

    def slow(*arguments):
        with closing(batches(*arguments)) as stream:
            for number, batch in enumerate(stream):
                slept[0] += {0: 900, 2: 500}.get(number, 0)
                yield batch

    monkeypatch.setattr(loader, "batches", slow)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock() + slept[0])
    run(photographs, tmp_path, "--preset", "pix2pix", "--images", "4", "--name", "waits")
    with open(tmp_path / "waits" / "results.csv", newline="") as file:
        first, second = ((float(row["data_wait"]), 2 / float(row["images_per_s"])) for row in csv.DictReader(file))
    assert first[0] * first[1] < 400  # seconds
    assert 500 <= second[0] * second[1] < 900


def test_training_learns(photographs, tmp_path):
    """L1 falls by half over 90 photographs of a dozen."""
    arguments = "--preset pix2pix --images 90 --log-every 15 --save-every 90 --width 8 --name learns".split()
    run(photographs, tmp_path, *arguments, "--learning-rate", "1e-3")
    found = [float(row["generator/l1"]) for row in rows(tmp_path / "learns")]
    assert found[-1] < found[0] * 0.65


def test_a_run_starts_from_what_another_has_trained(photographs, tmp_path, capsys):
    residual = (
        "--preset pix2pix-lab --critic= --generator residual --batch 2 --per-class None --val-per-class None".split()
    )
    first = run(photographs, tmp_path, *residual, "--name", "first")
    still = ("--learning-rate", "0", "--size", "128", "--images", "2")
    run(photographs, tmp_path, *residual, *still, "--name", "second", "--start", tmp_path / "first")
    weights = [newest(first / name)["step"]["generator"] for name in ("first", "second")]
    for name, weight in weights[0].items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(weight, weights[1][name]), name
    assert from_dict(json.loads((tmp_path / "second" / "options.json").read_text())).start == str(tmp_path / "first")
    shutil.rmtree(tmp_path / "first")  # needed no more
    run(photographs, tmp_path, *residual, *still, "--name", "second", "--images", "4", "--resume")


def test_a_start_that_misfits_leaves_no_folder(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--name", "first")
    (tmp_path / "text.md").touch()
    for start, why in (
        ("first", r"is \[4, 1, 4, 4\] there and \[8, 1, 4, 4\] by the options"),
        ("none", "holds no checkpoint"),
        ("text.md", "holds no checkpoint"),
    ):
        more = ("--width", "8", "--name", "second", "--start", tmp_path / start)
        for dry in ((), ("--dry-run",)):
            assert train.main(arguments(photographs, tmp_path, *more, *dry)) == 2
            said = capsys.readouterr().err
            assert re.search(
                f"error: start {tmp_path / start}: .*{why}.*expected a run folder, a .safetensors file", said
            )
            assert not (tmp_path / "second").exists()


def test_a_falling_rate_keeps_a_run_from_being_made_longer(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--decay", "0.5", "--name", "falling")
    more = ("--decay", "0.5", "--name", "falling", "--resume", "--images", "16")
    assert train.main(arguments(photographs, tmp_path, *more)) == 2
    assert "so 16 would be another training: expected 12" in capsys.readouterr().err


def test_runs_are_numbered(photographs, tmp_path, capsys):
    arguments = ["--preset", "pix2pix", "--images", "2"]
    folders = [run(photographs, tmp_path, *arguments, capsys=capsys).name for _ in range(2)]
    assert folders == ["pix2pix-1", "pix2pix-2"]


def test_resume_without_a_checkpoint_starts_and_says_so(photographs, tmp_path, capsys):
    arguments = [
        "--data",
        str(photographs),
        "--runs",
        str(tmp_path),
        "--name",
        "new",
        "--resume",
        "--preset",
        "pix2pix",
    ]
    assert train.main([*SMALL, *arguments]) == 0
    said = capsys.readouterr()
    assert "no checkpoint" in said.err
    assert said.out.splitlines()[-1] == str(tmp_path / "new")


def test_resume_takes_the_newest_run_of_the_preset(photographs, tmp_path, capsys):
    for _ in range(2):
        run(photographs, tmp_path, "--preset", "pix2pix", "--images", "2", capsys=capsys)
    folder = run(photographs, tmp_path, "--preset", "pix2pix", "--images", "4", "--resume", capsys=capsys)
    assert folder.name == "pix2pix-2"
    assert rows(folder)[-1]["images"] == "4"


def test_resume_passes_over_a_start_that_saved_nothing(photographs, tmp_path, capsys):
    first = run(photographs, tmp_path, "--preset", "pix2pix", "--images", "2", capsys=capsys)
    (tmp_path / "pix2pix-2").mkdir()
    assert run(photographs, tmp_path, "--preset", "pix2pix", "--images", "4", "--resume", capsys=capsys) == first


def test_resuming_on_another_device_opens_what_was_chosen_for_the_first(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    of_a_gpu = {"device": "cuda", "compile": "on", "cuda_graph": "on", "channels_last": "on", "loader": "dali"}
    stored = replace(PRESETS["wgan-gp"], **of_a_gpu, cache="on", fused_critic="on", width=8)
    (folder / "options.json").write_text(to_json(stored))
    arguments = ["--runs", str(tmp_path), "--name", "a", "--resume"]
    same, _ = train.parse(arguments)
    assert (same.compile, same.cuda_graph, same.channels_last, same.loader) == ("on", "on", "on", "dali")
    other, _ = train.parse([*arguments, "--device", "cpu", "--cache", "off"])
    assert (other.device, other.width, other.cache) == ("cpu", 8, "off")
    assert {other.compile, other.cuda_graph, other.channels_last, other.loader, other.fused_critic} == {"auto"}


def test_resume_of_a_run_without_a_checkpoint_keeps_its_options(photographs, tmp_path, capsys):
    whole = run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "2", capsys=capsys)
    for path in (whole / "checkpoints").iterdir():
        path.unlink()
    assert train.main(["--runs", str(tmp_path), "--name", "r", "--resume"]) == 0
    said = capsys.readouterr()
    assert "no checkpoint" in said.err
    assert from_dict(json.loads((whole / "options.json").read_text())).preset == "pix2pix"
    assert [row["images"] for row in rows(whole)] == ["2"]


def test_resume_refuses_other_photographs(tmp_path, capsys):
    folder = tmp_path / "data"
    write_jpegs(folder, 8)
    run(folder, tmp_path / "runs", "--preset", "pix2pix", "--name", "r", "--images", "2")
    write_jpegs(folder / "more", 4, first=20)
    arguments = [*SMALL, "--preset", "pix2pix", "--data", str(folder), "--runs", str(tmp_path / "runs")]
    assert train.main([*arguments, "--name", "r", "--resume"]) == 2
    assert "other photographs" in capsys.readouterr().err


def test_resume_goes_on_from_an_older_checkpoint_where_the_newest_is_damaged(photographs, tmp_path, capsys):
    folder = run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", capsys=capsys)
    before = rows(folder)
    newest = checkpoint.list_checkpoints(folder / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-7])
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--resume")
    assert "skipped" in capsys.readouterr().err
    assert rows(folder) == before


def test_resume_refuses_what_would_train_something_else(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "2")
    arguments = [*SMALL, "--data", str(photographs), "--runs", str(tmp_path), "--name", "r", "--resume"]
    assert train.main([*arguments, "--preset", "pix2pix", "--beta1", "0.1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "trained with beta1 0.5, not 0.1, which --resume cannot change: start another run" in said
    assert f"--start {tmp_path / 'r'} " in said


def test_a_trained_run_is_not_overwritten(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "2")
    before = {p: p.read_bytes() for p in (tmp_path / "r").rglob("*") if p.is_file()}
    arguments = [*SMALL, "--preset", "pix2pix", "--data", str(photographs), "--runs", str(tmp_path), "--name", "r"]
    assert train.main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.csv").write_text("a,b\n1,2\n")
    assert train.main([*arguments, "--name", "mine"]) == 2
    assert (tmp_path / "mine" / "results.csv").read_text() == "a,b\n1,2\n"
    assert {p: p.read_bytes() for p in (tmp_path / "r").rglob("*") if p.is_file()} == before


def test_unusable_files_are_listed_and_left_out(photographs, tmp_path, capsys):
    folder = tmp_path / "mixed"
    write_jpegs(folder, 8)
    (folder / "broken.jpg").write_bytes((folder / "000.jpg").read_bytes()[:400])
    runs = tmp_path / "runs"
    out = run(folder, runs, "--preset", "pix2pix", "--images", "2", "--seed", "3", capsys=capsys)
    listed = (out / "unusable.txt").read_text()
    assert "broken.jpg" in listed
    assert listed.count("\n") == 1


def test_a_name_that_is_taken_is_refused_before_files_are_looked_at(photographs, tmp_path, capsys, monkeypatch):
    taken = tmp_path / "runs" / "mine"
    taken.mkdir(parents=True)
    (taken / "options.json").touch()
    monkeypatch.setattr(train, "choose", None)
    words = [*SMALL, "--data", str(photographs), "--runs", str(tmp_path / "runs"), "--name", "mine"]
    assert train.main(words) == 2
    assert f"error: {taken} exists and is not empty: give another --name" in capsys.readouterr().err
    assert train.main([*words, "--dry-run"]) == 0  # which makes no folder


def test_a_broken_validation_photograph_is_replaced_with_a_warning(tmp_path, capsys):
    folder = tmp_path / "data"
    write_jpegs(folder / "train", 3)
    (folder / "val").mkdir()
    (folder / "val" / "broken.jpg").write_text("<html>")
    out = run(folder, tmp_path / "runs", "--preset", "pix2pix", "--images", "2", capsys=capsys)
    assert "broken.jpg" in (out / "unusable.txt").read_text()


def test_numbers_gone_bad_stop_the_run_and_keep_what_was_good(photographs, tmp_path, capsys):
    arguments = ["--preset", "pix2pix", "--learning-rate", "1e15", "--images", "40", "--save-every", "40"]
    arguments = [*SMALL, "--data", str(photographs), "--runs", str(tmp_path), *arguments]
    assert train.main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "gradient/adversary not finite" in said.err  # the critic's first update was too large
    assert "--learning-rate" in said.err
    assert not checkpoint.list_checkpoints(tmp_path / "pix2pix-1" / "checkpoints")  # there was nothing before


def test_nothing_usable_is_an_error_that_says_why(tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.jpg").write_text("<html>")
    (tmp_path / "photographs" / "b.jpg").write_text("<html>")
    arguments = [*SMALL, "--preset", "pix2pix", "--data", str(tmp_path / "photographs"), "--runs", str(tmp_path / "r")]
    assert train.main(arguments) == 2
    assert "a.jpg" in (said := capsys.readouterr().err) or "b.jpg" in said
    assert "Traceback" not in said


def test_amp_and_compile_run_the_whole_verb(photographs, tmp_path):
    arguments = "--preset pix2pix --amp --compile on --compile-backend aot_eager --images 2 --name c".split()
    run(photographs, tmp_path, *arguments)
    assert np.isfinite(float(rows(tmp_path / "c")[0]["critic/real"]))


@pytest.mark.slow
@pytest.mark.compiler
def test_a_missing_compiler_is_one_error(photographs, tmp_path):
    arguments = [*SMALL, "--preset", "pix2pix", "--compile", "on", "--data", str(photographs), "--runs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "recolor_fast.train", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert done.returncode == 2
    assert "error: torch.compile failed" in done.stderr
    assert "--compile off" in done.stderr


def test_the_verb_prints_only_the_folder_on_stdout(photographs, tmp_path):
    arguments = [*SMALL, "--preset", "pix2pix", "--images", "2", "--data", str(photographs), "--runs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "recolor_fast.train", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.stdout == f"{tmp_path / 'pix2pix-1'}\n"
    assert "2 photographs" in done.stderr
    assert "\r" not in done.stderr


def test_without_a_terminal_every_row_is_a_line(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"training {tmp_path / 'r'} (pix2pix, 64x64 pixels, cpu) to 12 photographs seen, of ")
    found = [line for line in said if re.match(r"\d+ of 12, ", line)]
    assert [line.split(" of")[0] for line in found] == ["2", "4", "6", "8", "10", "12"]
    for line, row in zip(found, rows(tmp_path / "r")):
        adversary, l1 = (float(row[f"generator/{name}"]) for name in ("adversary", "l1"))
        assert line.endswith(f"generator adversary {adversary:.3g} l1 {l1:.3g}")
    assert sum("photographs: ab error" in line for line in said) == 3
    assert [line for line in said if "a look" in line] == [
        f"a look after 0 photographs: {tmp_path / 'r' / 'samples' / '000000000.png'}"
    ]
    assert said[-3] == f"  recolor-fast export {tmp_path / 'r'}{' --best' if said[-6].count('newest is') else ''}"


def test_rows_hold_time_rate_and_memory_and_go_on_where_the_run_was(photographs, tmp_path):
    more = ("--preset", "pix2pix", "--name", "r", "--decay", "1", "--images", "12")
    run(photographs, tmp_path, *more, "--threads", "1")
    with open(tmp_path / "r" / "results.csv", newline="") as file:
        found = list(csv.DictReader(file))
    times = [float(row["time"]) for row in found]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 120
    rates = [2e-4 * (1 - seen / 12) for seen in range(1, 12, 2)]
    assert [float(row["learning_rate"]) for row in found] == pytest.approx(rates, rel=1e-5)
    assert all(50 < float(row["memory"]) < 50_000 for row in found)
    run(photographs, tmp_path, *more[:-4], "--decay", "0", "--images", "14", "--resume")
    with open(tmp_path / "r" / "results.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["images"], float(last["learning_rate"])) == ("14", 2e-4)
    assert float(last["time"]) > times[-1]


def test_from_python_a_preset_is_trained_resumed_and_loaded(photographs, tmp_path):
    """What is "auto" is decided as the verb does it: both runs are the same, and may resume each other."""
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "verb")
    few = {"size": 64, "width": 4, "images": 8, "save_every": 4, "log_every": 2, "samples": 2, "threads": 1}
    options = replace(
        PRESETS["pix2pix"], **few, data=str(photographs), runs=str(tmp_path), name="call", lpips="off", device="cpu"
    )
    folder = train.train(options)
    assert folder == tmp_path / "call"
    assert train.train(replace(options, images=12), resume=str(folder)) == folder
    assert_same_run(tmp_path / "verb", folder)
    loaded = load_run(str(folder))
    assert (loaded.images, loaded.options.preset) == (12, "pix2pix")
    assert loaded.generator(torch.zeros(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(UserError, match="seed 0, not 1"):
        train.train(replace(options, seed=1), resume=folder)


def test_a_run_with_the_old_columns_goes_on_in_one_table(photographs, tmp_path):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "4")
    path = tmp_path / "r" / "results.csv"
    with open(path, newline="") as file:
        old = [{k: v for k, v in row.items() if k not in NEW} for row in csv.DictReader(file)]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(old[0]))
        writer.writeheader()
        writer.writerows(old)
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "8", "--resume")
    with open(path, newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["images"]) for row in found] == [2, 4, 6, 8]
    assert [{k: v for k, v in row.items() if k not in NEW} for row in found[:2]] == old
    assert all(row[name] == "" for row in found[:2] for name in NEW)
    assert all(float(row[name]) > 0 for row in found[2:] for name in NEW)
    assert not any(None in row for row in found)


def test_threads_are_recorded_and_kept_by_resume(photographs, tmp_path):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", "2")
    assert json.loads((tmp_path / "r" / "options.json").read_text())["threads"] == 1
    options, _ = train.parse(["--runs", str(tmp_path), "--name", "r", "--resume"])
    assert options.threads == 1
    elsewhere, _ = train.parse(["--runs", str(tmp_path), "--name", "r", "--resume", "--device", "cuda"])
    assert elsewhere.threads == 0
