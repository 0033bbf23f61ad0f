"""Faults injected into trainings: signals, kills, a full disk, no memory, numbers and photographs gone bad."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from recolor_fast import train
from recolor_fast.data import index, loader
from recolor_fast.machine.files import is_part
from recolor_fast.runs import checkpoint, csv_rows, run_folder, validation
from recolor_fast.step.iteration import Step
from tests.faults import file_size_limit
from tests.photographs import write_jpegs
from tests.trainings import arguments, assert_same_run, newest, rows, run

ROOT = Path(__file__).parent.parent

# Children are forked from a process that has imported everything and computed nothing.
KILLED = """
import os, pathlib, random, signal, sys, time
from recolor_fast import train
kills, most, folder, command = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4:]
random.seed(0)

def rows():
    results = folder / "results.csv"
    return results.read_bytes().count(b"\\n") if results.exists() else 0

done = 0
while True:
    child = os.fork()
    if not child:
        code = train.main(command)
        if done < kills:
            time.sleep(600)  # what kills it comes late
        os._exit(code)
    if done < kills:
        early = done and random.random() < 0.25  # while it starts, or after some more rows
        wanted = 0 if early else rows() + random.randrange(5, most)
        while rows() < wanted or not any(folder.glob("checkpoints/*.pt")):  # the first leaves something to resume from
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.3 if early else 0.02))
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != -signal.SIGKILL:
        print(done, status)
        sys.exit(status)
    done += 1
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 12, height=80, width=96)
    return folder


@pytest.fixture(scope="module")
def whole(photographs, tmp_path_factory) -> Path:
    """The unbroken run that interrupted ones are compared with."""
    folder = tmp_path_factory.mktemp("whole")
    run(photographs, folder, "--preset", "pix2pix", "--name", "r")
    return folder / "r"


# --- asked to stop, and killed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_signal_saves_and_the_run_goes_on(photographs, tmp_path, number, code):
    words = arguments(photographs, tmp_path, "--preset", "pix2pix", "--images", 10**6, "--log-every", 1, "--name", "r")
    command = [sys.executable, "-m", "recolor_fast.train", *words, "--save-every", "1000000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        results = tmp_path / "r" / "results.csv"
        end = time.monotonic() + 300
        while process.poll() is None and (not results.exists() or results.read_text().count("\n") < 5):
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        out, told = process.communicate(timeout=300)
    assert (process.returncode, out) == (code, "")
    assert f"stopped by {signal.Signals(number).name}" in told
    assert "Traceback" not in told
    seen = newest(tmp_path / "r")["images"]
    assert int(rows(tmp_path / "r")[-1]["images"]) == seen
    words = ("--preset", "pix2pix", "--images", seen + 2, "--log-every", 1, "--save-every", 1000000)
    run(photographs, tmp_path, *words, "--name", "r", "--resume")
    run(photographs, tmp_path, *words, "--name", "whole")
    assert rows(tmp_path / "r") == rows(tmp_path / "whole")


def test_a_signal_while_photographs_are_decoded_leaves_nothing_to_save(photographs, tmp_path, monkeypatch):
    def decode(*arguments):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loader, "batches", lambda *arguments: (decode() for _ in itertools.count()))
    assert train.main(arguments(photographs, tmp_path, "--preset", "pix2pix", "--name", "r")) == 143
    assert not checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints")


@pytest.mark.parametrize("write", [1, 3, 40])
def test_a_signal_during_a_save_lets_it_end(photographs, whole, tmp_path, monkeypatch, write):
    written, writing = itertools.count(1), checkpoint._Hashing.write

    def interrupted(self, data):
        if next(written) == write:
            signal.raise_signal(signal.SIGTERM)
        return writing(self, data)

    words = ("--preset", "pix2pix", "--name")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint._Hashing, "write", interrupted)
        assert train.main(arguments(photographs, tmp_path, *words, "r")) == 143
    seen = [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints")]
    assert seen[0] == 4
    assert newest(tmp_path / "r")["images"] == seen[-1]
    run(photographs, tmp_path, *words, "r", "--resume")
    assert_same_run(whole, tmp_path / "r")


def test_a_training_outlives_whoever_reads_what_it_says(photographs, tmp_path):
    command = [sys.executable, "-m", "recolor_fast.train", *arguments(photographs, tmp_path, "--preset", "pix2pix")]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writing, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert newest(tmp_path / "pix2pix-1")["images"] == 12


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_part(path)]


@pytest.mark.parametrize(("kills", "most", "images"), [(1, 12, 60), pytest.param(30, 60, 4500, marks=pytest.mark.slow)])
def test_killed_at_any_time_it_ends_as_the_unbroken_run(photographs, tmp_path, kills, most, images):
    words = ["--preset", "pix2pix", "--images", images, "--save-every", 10]
    run(photographs, tmp_path, *words, "--name", "whole")
    command = arguments(photographs, tmp_path, *words, "--name", "killed", "--resume")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(kills), str(most), str(tmp_path / "killed"), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{kills} 0", done.stderr
    deadline = time.monotonic() + 60  # who was drawing results.png for a killed one may still be at it
    while parts(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert not parts(tmp_path / "killed")


def test_a_folder_is_trained_in_by_one_at_a_time(photographs, tmp_path, capsys):
    run(photographs, tmp_path, "--preset", "pix2pix", "--images", 2, "--name", "r")
    with run_folder.locked(tmp_path / "r"):
        assert train.main(arguments(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--resume")) == 2
    assert str(tmp_path / "r") in capsys.readouterr().err
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--resume")


# --- disk and memory -----------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_error_and_the_run_goes_on_with_space(photographs, whole, tmp_path, capsys):
    words = ("--preset", "pix2pix", "--name", "r")
    run(photographs, tmp_path, *words, "--images", 4)
    size = checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints")[0].stat().st_size
    with file_size_limit(size // 2):
        assert train.main(arguments(photographs, tmp_path, *words, "--resume")) == 1
    told = capsys.readouterr().err
    assert [line.startswith("error: ") for line in told.splitlines()].count(True) == 1
    assert "000000008.pt" in told
    assert "File too large" in told
    assert newest(tmp_path / "r")["images"] == 4
    run(photographs, tmp_path, *words, "--resume")
    assert_same_run(whole, tmp_path / "r")


def without_memory(monkeypatch, fits) -> list[int]:
    """Steps whose pieces of a batch do not fit have no memory; the pieces asked for, one an iteration."""
    call, asked = Step.__call__, []

    def limited(self, gray, rgb, seen):
        asked.append(self.options.micro_batch or self.options.batch)
        if not fits(asked[-1], seen):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return call(self, gray, rgb, seen)

    monkeypatch.setattr(Step, "__call__", limited)
    return asked


def test_out_of_memory_a_gpu_takes_batches_in_halves(photographs, tmp_path, monkeypatch, capsys):
    asked = without_memory(monkeypatch, lambda piece, seen: piece <= 2)
    words = ("--preset", "pix2pix", "--batch", 8, "--images", 24, "--save-every", 24, "--name", "r")
    run(photographs, tmp_path, *words)
    assert asked == [8, 4, 2, 2, 2]
    told = capsys.readouterr().err
    assert "--micro-batch 4" in told
    assert "--micro-batch 2" in told
    assert json.loads((tmp_path / "r" / "options.json").read_text())["micro_batch"] == 2
    monkeypatch.undo()
    run(photographs, tmp_path, *words[:-1], "given", "--micro-batch", 2)
    assert rows(tmp_path / "r") == rows(tmp_path / "given")
    run(photographs, tmp_path, *words, "--images", 32, "--micro-batch", 4, "--resume")  # what was asked for at first
    assert json.loads((tmp_path / "r" / "options.json").read_text())["micro_batch"] == 2


@pytest.mark.parametrize(
    ("batch", "fits", "asked"),
    [
        (16, lambda piece, seen: False, [16, 8, 4, 2]),  # three times at most
        (2, lambda piece, seen: False, [2, 1]),
        (1, lambda piece, seen: False, [1]),
        (2, lambda piece, seen: seen < 22, [2] * 12),  # later on it is something else that takes the memory
    ],
)
def test_halving_ends(photographs, tmp_path, monkeypatch, capsys, batch, fits, asked):
    found = without_memory(monkeypatch, fits)
    words = ("--preset", "pix2pix", "--batch", batch, "--images", 64, "--save-every", 64)
    assert train.main(arguments(photographs, tmp_path, *words)) == 1
    assert found == asked
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: out of memory (CUDA out of memory.")
    assert "--size" in last


def test_out_of_memory_on_a_cpu_is_one_error(photographs, tmp_path, capsys):
    words = ("--preset", "pix2pix", "--width", 10**5)
    assert train.main(arguments(photographs, tmp_path, *words)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: out of memory (")
    assert "--width" in last


@pytest.mark.gpu
def test_a_gpu_without_memory_for_a_batch_takes_it_in_pieces(photographs, tmp_path):
    torch.cuda.set_per_process_memory_fraction(1.0)
    words = ("--preset", "pix2pix", "--device", "cuda", "--width", 64, "--size", 256, "--compile", "off")
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(min(1.0, 6e9 / total))
        run(photographs, tmp_path, *words, "--batch", 128, "--images", 256, "--name", "r")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 0 < json.loads((tmp_path / "r" / "options.json").read_text())["micro_batch"] < 128


# --- numbers -------------------------------------------------------------------------------------------------------


def poison(monkeypatch, *when: int) -> None:
    """The generator's update has a NaN where so many photographs were seen."""
    call = Step.__call__

    def poisoned(self, gray, rgb, seen):
        if seen not in when:
            return call(self, gray, rgb, seen)
        first = next(self.generator.parameters())
        kept = first.detach().clone()
        first.data.fill_(torch.nan)
        parts = call(self, gray, rgb, seen)
        first.data.copy_(kept)
        return parts

    monkeypatch.setattr(Step, "__call__", poisoned)


def usable(photographs: Path) -> list[Path]:
    return index.usable(train.sources.photographs(train.Command(data=str(photographs))).train)[0]


@pytest.mark.parametrize("preset", ["pix2pix", pytest.param("wgan-gp", marks=pytest.mark.slow)])
def test_the_photographs_of_a_step_that_is_not_finite_are_named(photographs, tmp_path, monkeypatch, capsys, preset):
    poison(monkeypatch, 6)
    words = ("--preset", preset, "--batch", 2, "--critic-norm", "none", "--name", "r")
    assert train.main(arguments(photographs, tmp_path, *words)) == 1
    told = capsys.readouterr().err
    paths = usable(photographs)
    places = next(loader.indices(0, len(paths), 2, 6))
    named = {path for path in paths if str(path) in told}
    assert named == {paths[place] for place in places}
    assert "generator/l1" in told
    assert "after 6 photographs" in told
    state = newest(tmp_path / "r")
    assert state["images"] == 6  # all that is good is saved
    assert all(t.isfinite().all() for t in state["step"]["generator"].values())
    monkeypatch.undo()
    run(photographs, tmp_path, *words, "--resume")
    run(photographs, tmp_path, *words[:-1], "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "r")


def test_some_steps_may_be_left_out(photographs, tmp_path, monkeypatch, capsys):
    poison(monkeypatch, 2, 3, 7)
    words = ("--preset", "pix2pix", "--log-every", 4)
    run(photographs, tmp_path, *words, "--skip-nonfinite", 2, "--name", "r")
    found = rows(tmp_path / "r")
    assert [float(row["nonfinite"]) for row in found] == [2, 1, 0]
    assert all(torch.tensor([float(value) for value in row.values()]).isfinite().all() for row in found)
    assert train.main(arguments(photographs, tmp_path, *words, "--skip-nonfinite", 1, "--name", "s")) == 1
    assert "after 3 photographs" in capsys.readouterr().err


def test_float16_with_a_penalty_trains_and_resumes(photographs, tmp_path):
    words = ("--preset", "wgan-gp", "--amp", "--amp-dtype", "float16", "--skip-nonfinite", 0)
    run(photographs, tmp_path, *words, "--name", "whole")
    run(photographs, tmp_path, *words, "--name", "r", "--images", 4)
    run(photographs, tmp_path, *words, "--name", "r", "--resume")
    assert_same_run(tmp_path / "whole", tmp_path / "r")
    assert float(rows(tmp_path / "whole")[-1]["nonfinite"]) == 0


def test_deterministic_trains_the_same(photographs, tmp_path):
    try:
        run(photographs, tmp_path, "--preset", "wgan-gp", "--deterministic", "--name", "r")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    run(photographs, tmp_path, "--preset", "wgan-gp", "--name", "plain")
    assert_same_run(tmp_path / "plain", tmp_path / "r")


# --- photographs ---------------------------------------------------------------------------------------------------


def test_a_changed_file_list_is_refused_or_accepted_and_told(tmp_path, capsys):
    data = tmp_path / "data"
    write_jpegs(data / "train", 5)
    write_jpegs(data / "val", 2, first=5)
    words = ("--preset", "pix2pix", "--name", "r")
    run(data, tmp_path, *words, "--images", 2)
    os.remove(data / "train" / "001.jpg")
    write_jpegs(data / "train" / "new", 1, first=9)
    assert train.main(arguments(data, tmp_path, *words, "--resume")) == 2
    told = capsys.readouterr().err
    assert "train/001.jpg" in told
    assert "new/000.jpg" in told
    assert "--changed-files accept" in told
    run(data, tmp_path, *words, "--resume", "--changed-files", "accept")
    assert "train/001.jpg" in capsys.readouterr().err
    assert rows(tmp_path / "r")[-1]["images"] == "12"
    run(data, tmp_path, *words, "--resume", "--images", 13)  # accepted once, they are the run's own
    capsys.readouterr()
    os.remove(data / "train" / "002.jpg")
    assert train.main(arguments(data, tmp_path, *words, "--resume")) == 2  # these, and no others
    told = capsys.readouterr().err
    assert "train/002.jpg" in told
    assert "new/000.jpg" not in told


def test_accepted_and_not_trained_on_the_photographs_are_still_others(tmp_path, capsys):
    data = tmp_path / "data"
    write_jpegs(data, 8)
    words = ("--preset", "pix2pix", "--name", "r", "--images", 2)
    run(data, tmp_path, *words)
    usable(data)[0].unlink()
    run(data, tmp_path, *words, "--resume", "--changed-files", "accept")
    capsys.readouterr()
    assert train.main(arguments(data, tmp_path, *words, "--resume")) == 2
    assert "data/00" in capsys.readouterr().err


def test_names_that_are_no_text_are_listed(photographs, tmp_path):
    data = tmp_path / "data"
    write_jpegs(data, 4)
    Path(os.fsdecode(os.fsencode(data) + b"/bad\xff.jpg")).write_bytes(b"no image")
    run(data, tmp_path, "--preset", "pix2pix", "--images", 2, "--name", "r")
    assert "bad" in (tmp_path / "r" / "unusable.txt").read_text()


def test_a_photograph_that_vanishes_costs_a_warning(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    write_jpegs(data, 12)
    paths, gone = usable(data), []
    call = Step.__call__

    def vanishing(self, gray, rgb, seen):
        if seen == 2:
            gone.append(paths[int(list(itertools.islice(loader.indices(0, len(paths), 1), 11))[10][0])])
            gone[0].unlink()
        return call(self, gray, rgb, seen)

    monkeypatch.setattr(Step, "__call__", vanishing)
    run(data, tmp_path, "--preset", "pix2pix", "--cache", "off", "--images", 24, "--name", "r")
    told = capsys.readouterr().err
    assert told.count(str(gone[0])) == 1
    assert rows(tmp_path / "r")[-1]["images"] == "24"


def test_the_best_checkpoint_stays(photographs, tmp_path, monkeypatch):
    validate, errors = validation.validate, iter([5.0, 4.0, 6.0, 4.5, 7.0, 8.0])

    def validated(*arguments):
        numbers, colored, truth = validate(*arguments)
        return numbers | {"ab_rmse": next(errors)}, colored, truth

    monkeypatch.setattr(validation, "validate", validated)
    for images, kept in ((4, {2, 4}), (8, {4, 6, 8}), (12, {4, 10, 12})):
        words = ("--preset", "pix2pix", "--images", images, "--save-every", 2, "--name", "r", "--resume")
        run(photographs, tmp_path, *words)
        assert {int(path.stem) for path in checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints")} == kept
    assert csv_rows.best(tmp_path / "r") == 4
