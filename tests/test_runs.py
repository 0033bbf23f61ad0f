"""Run folders: rows that survive kills, what is best, which photographs, the lock, and what a run has trained."""

import csv
import json
import math
import os
import signal
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recolor_fast.data import listed
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.critics import build_critic
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import Options, to_json
from recolor_fast.presets import PRESETS
from recolor_fast.runs import checkpoint, csv_rows, learned, run_folder
from recolor_fast.runs.progress import Progress
from tests.faults import file_size_limit

SMALL = replace(PRESETS["pix2pix"], size=64, width=4, device="cpu")


def write_run(folder: Path, options: Options, errors: dict[int, float]) -> Path:
    """A run folder with a checkpoint and a validation row for each number of photographs seen -> ab_rmse."""
    folder.mkdir(parents=True)
    rows = csv_rows.Rows(folder / "validation.csv", 0)
    for images, error in errors.items():
        torch.manual_seed(images)
        networks = {"generator": build_generator(options), "critic": build_critic(options)}
        for name, buffer in networks["generator"].named_buffers():  # statistics that are not the initial ones
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        step = {name: network.state_dict() for name, network in networks.items()}
        state = {"options": to_json(options), "images": images, "step": step}
        checkpoint.save(folder / "checkpoints", images, state, keep=len(errors) + 2)
        rows.add({"images": images, "psnr": 20.0, "ab_rmse": error})
    return folder


# --- rows ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_rows_cut_at_any_byte_are_gone_on_with(tmp_path):
    """Every row is either there as it was or not at all, and the rows after it are."""
    path = tmp_path / "results.csv"
    rows = csv_rows.Rows(path, 0)
    for images in (2, 40):
        rows.add({"images": images, "generator/l1": images / 7, "note": "a,b"})
    whole, expected = path.read_bytes(), read(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        rows = csv_rows.Rows(path, 100)
        kept = read(path)
        assert kept == expected[: len(kept)]
        assert len(kept) >= whole[:length].count(b"\n") - 1
        rows.add({"images": 1000, "generator/l1": 0.5, "note": "c"})
        assert read(path) == [*kept, {"images": "1000", "generator/l1": "0.5", "note": "c"}]


def test_rows_past_what_was_seen_and_damaged_ones_are_cut(tmp_path):
    path = tmp_path / "results.csv"
    path.write_bytes(
        b"images,a\r\n1,0.1\r\n1,0.9\r\n\0\0\0\r\nx,1\r\n2\r\n3,0.3,7\r\n\xff,1\r\n4,0.4\r\n3,0.5\r\n5,1\r\n"
    )
    csv_rows.Rows(path, 4)
    assert path.read_bytes() == b"images,a\r\n1,0.1\r\n4,0.4\r\n"


def test_a_row_is_on_the_disk_when_add_returns(tmp_path, monkeypatch):
    rows = csv_rows.Rows(tmp_path / "results.csv", 0)
    rows.add({"images": 1})
    flushed = []
    fsync = os.fsync

    def record(handle):
        flushed.append(os.fstat(handle).st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    rows.add({"images": 2})
    assert flushed == [(tmp_path / "results.csv").stat().st_size]


def test_a_row_of_the_same_photographs_seen_cannot_come_twice(tmp_path):
    rows = csv_rows.Rows(tmp_path / "results.csv", 0)
    for value in (1.0, 2.0):
        rows.add({"images": 4, "a": value})
    rows = csv_rows.Rows(tmp_path / "results.csv", 4)
    rows.add({"images": 4, "a": 3.0})
    assert read(tmp_path / "results.csv") == [{"images": "4", "a": "1"}]


def test_a_new_column_leaves_the_rows_before_it_empty(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("images,a\n1,0.5\n")
    rows = csv_rows.Rows(path, 1)
    rows.add({"images": 2, "a": 0.25, "nonfinite": 0.0})
    rows.add({"images": 3, "nonfinite": 1.0})
    assert [list(row.values()) for row in read(path)] == [["1", "0.5", ""], ["2", "0.25", "0"], ["3", "", "1"]]


def test_a_row_that_has_no_room_is_one_error_and_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "results.csv"
    rows = csv_rows.Rows(path, 0)
    rows.add({"images": 1, "a": 0.123456})
    before = path.read_bytes()
    with file_size_limit(len(before) + 5), pytest.raises(OSError, match=r"results\.csv: no row could be .*too large"):
        rows.add({"images": 2, "a": 0.123456})
    assert path.read_bytes() == before
    rows.add({"images": 2, "a": 0.5})
    assert [row["images"] for row in read(path)] == ["1", "2"]


def test_a_file_of_another_kind_is_no_rows(tmp_path):
    (tmp_path / "results.csv").write_text("name,price\nchair,3\n")
    with pytest.raises(ValueError, match=r"results\.csv: its columns are name, price"):
        csv_rows.Rows(tmp_path / "results.csv", 0)
    assert (tmp_path / "results.csv").read_text() == "name,price\nchair,3\n"


# --- the best checkpoint -------------------------------------------------------------------------------------------


def validated(run: Path, text: str, saved: tuple[int, ...]) -> int | None:
    (run / "validation.csv").write_text(text)
    for images in saved:
        checkpoint.save(run / "checkpoints", images, {}, keep=9)
    return csv_rows.best(run)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("10,3\n20,2\n30,4\n40,1\n", 20),  # 40 has no checkpoint
        ("10,3\n20,2\n30,2.0\n", 20),  # of equal ones the earlier
        ("10,nan\n20,inf\n30,9\n", 30),
        ("10,nan\n20,\n30,-inf\n", None),
        ("10,5\n20,4\n30,1", 20),  # cut: 1 of 12
        ("", None),
    ],
)
def test_the_best_has_the_lowest_error_and_exists(tmp_path, rows, expected):
    assert validated(tmp_path, "images,ab_rmse\n" + rows, (10, 20, 30)) == expected


def test_without_validation_rows_none_is_the_best(tmp_path):
    assert csv_rows.best(tmp_path) is None
    assert validated(tmp_path, "", (10,)) is None
    assert validated(tmp_path, "images,psnr\n10,3\n", (10,)) is None
    with pytest.raises(ValueError, match=r"has an ab_rmse in validation\.csv"):
        learned.trained(tmp_path, best=True)


# --- which photographs ---------------------------------------------------------------------------------------------


def paths(*names: str) -> list[Path]:
    return [Path("/data", name) for name in names]


TRAIN, VAL = paths(*(f"a/{n}.jpg" for n in range(6))), paths("b/0.jpg", "b/1.jpg")


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        (TRAIN, VAL, ""),
        ([Path("/elsewhere") / path.relative_to("/data") for path in TRAIN], VAL, ""),
        (TRAIN[::-1], VAL, "the photographs are the same, in another order"),
        (TRAIN[2:], VAL, "2 photographs to train on are gone (a/0.jpg, a/1.jpg)"),
        (TRAIN[:1], VAL, "5 photographs to train on are gone (a/1.jpg, a/2.jpg, a/3.jpg, ...)"),
        (
            [*TRAIN[1:], *paths("c/x.jpg")],
            VAL[:1],
            "1 photograph to train on is gone (a/0.jpg), 1 is new (c/x.jpg); "
            "1 photograph to validate on is gone (b/1.jpg)",
        ),
        (
            [*TRAIN[1:], VAL[0]],
            [TRAIN[0], VAL[1], *paths("b/9.jpg")],
            "1 photograph to validate on is new (b/9.jpg); 2 moved between training and validation (a/0.jpg, b/0.jpg)",
        ),
        ([*TRAIN, TRAIN[0]], VAL, "1 photograph to train on is new (a/0.jpg)"),
    ],
)
def test_what_changed_of_the_photographs_is_said_in_words(tmp_path, train, val, said):
    listed.write(tmp_path, TRAIN, VAL)
    assert listed.changes(tmp_path, train, val) == said
    assert (said == "") == (listed.digest(train, val) == listed.digest(TRAIN, VAL))


def test_odd_names_of_photographs_survive(tmp_path):
    odd = [Path("/data", os.fsdecode(b"a/\xff\xfe.jpg")), *paths("a/\n.jpg", "a/ä.jpg", 'a/".jpg')]
    listed.write(tmp_path, odd, [])
    assert listed.changes(tmp_path, odd, []) == ""
    assert "is gone" in listed.changes(tmp_path, odd[1:], [])


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"train": 1, "val": []}', '{"train": []}', "\xff"])
def test_a_list_of_photographs_that_cannot_be_read_is_said(tmp_path, text):
    if text is not None:
        (tmp_path / "photographs.json").write_bytes(text.encode("latin-1"))
    assert "photographs.json, which would tell how, cannot be read" in listed.changes(tmp_path, TRAIN, VAL)


# --- folders and locks ---------------------------------------------------------------------------------------------


def test_two_trainings_started_at_once_take_two_folders(tmp_path, monkeypatch):
    options = replace(SMALL, runs=str(tmp_path / "runs"))
    monkeypatch.setattr(run_folder, "numbered", lambda *_: [])  # as each of them looked before the others made theirs
    assert [run_folder.create(options).name for _ in range(3)] == ["pix2pix-1", "pix2pix-2", "pix2pix-3"]


def test_a_runs_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(OSError, match="runs"):
        run_folder.create(replace(SMALL, runs=str(tmp_path / "runs")))


def test_a_name_is_free_where_a_killed_start_left_only_its_lock(tmp_path):
    options = replace(SMALL, runs=str(tmp_path), name="r")
    folder = run_folder.create(options)
    with run_folder.locked(folder):
        pass
    assert run_folder.create(options) == folder
    (folder / "options.json").touch()
    with pytest.raises(ValueError, match="not empty"):
        run_folder.create(options)


def test_only_one_at_a_time_trains_in_a_folder(tmp_path):
    for _ in range(2):
        with (
            run_folder.locked(tmp_path),
            pytest.raises(ValueError, match="another process"),
            run_folder.locked(tmp_path),
        ):
            pytest.fail("both have it")


def test_the_lock_ends_with_a_killed_process(tmp_path):
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: the child needs none
        child = os.fork()
    if not child:
        try:
            with run_folder.locked(tmp_path):
                os.write(writes, b"locked")
                time.sleep(600)
        finally:
            os._exit(1)
    os.close(writes)
    try:
        assert os.read(reads, 6) == b"locked"
        with pytest.raises(ValueError, match="another process"), run_folder.locked(tmp_path):
            pytest.fail("both have it")
    finally:
        os.close(reads)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with run_folder.locked(tmp_path):
        pass


def test_where_there_are_no_locks_training_goes_on(tmp_path, monkeypatch, capsys):
    class NoLocks:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_folder, "fcntl", NoLocks)
    with run_folder.locked(tmp_path):
        assert "cannot be locked (Operation not supported)" in capsys.readouterr().err
    monkeypatch.setattr(run_folder, "fcntl", None)
    with run_folder.locked(tmp_path), run_folder.locked(tmp_path):
        assert capsys.readouterr().err == ""


def test_cleaning_a_run_removes_unfinished_files_of_all_its_folders(tmp_path):
    for folder in (tmp_path, tmp_path / "checkpoints", tmp_path / "samples"):
        folder.mkdir(exist_ok=True)
        (folder / f".{'0' * 32}.part").touch()
        (folder / "kept").touch()
    run_folder.clean(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"kept"}


# --- what a run has trained ----------------------------------------------------------------------------------------


def test_the_newest_or_the_best_is_what_a_run_has_trained(tmp_path, capsys):
    run = write_run(tmp_path / "r", SMALL, {10: 3.0, 20: 1.0, 30: 2.0})
    newest, best = learned.trained(run), learned.trained(run, best=True)
    assert (newest.images, best.images, csv_rows.best(run)) == (30, 20, 20)
    assert newest.critic is not None
    ours, theirs = (found.generator.state_dict() for found in (newest, best))
    assert not all(torch.equal(ours[name], theirs[name]) for name in ours)
    (run / "checkpoints" / "000000020.pt").write_bytes(b"junk")
    assert learned.trained(run, best=True).images == 30
    assert "000000020.pt" in capsys.readouterr().err


def test_the_machines_paths_are_no_part_of_public_options():
    private = replace(SMALL, data="/home/me/photographs", runs="/home/me/runs", lpips_weights="/home/me/w.pth")
    assert "/home" not in to_json(learned.public(private))
    assert json.loads(to_json(learned.public(private)))["data"] == "photographs"


def test_what_is_made_of_a_run_is_called_like_it(tmp_path, monkeypatch):
    (tmp_path / "r.safetensors").touch()
    assert learned.named(tmp_path / "r.safetensors") == (tmp_path, "r")
    monkeypatch.chdir(tmp_path)
    assert learned.named(Path(".")) == (Path("."), tmp_path.name)


# --- the newest of a folder ----------------------------------------------------------------------------------------


def test_the_newest_run_is_the_one_whose_checkpoint_was_written_last(tmp_path, capsys):
    names = ("pix2pix-2", "pix2pix-10", "mine")
    folders = [write_run(tmp_path / name, SMALL, {10: 1.0, 20: 1.0}) for name in names]
    (tmp_path / "empty").mkdir()
    for folder, seconds in zip(folders, (100, 300, 200)):
        for path in checkpoint.list_checkpoints(folder / "checkpoints"):
            os.utime(path, (seconds, seconds))
    assert run_folder.newest(tmp_path) == folders[1]
    assert capsys.readouterr().err == f"run: {folders[1]}, the newest\n"


def test_without_any_run_the_newest_is_an_error_that_says_so(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match=r"no run is given, and .* none with a checkpoint"):
            run_folder.newest(folder)


# --- how far it is -------------------------------------------------------------------------------------------------


def test_sums_of_losses_are_few_operations_whatever_their_number():
    """Outside of a recorded iteration each is a launch; and what was left out counts as left out alone."""
    progress = Progress()
    for index, left_out in enumerate((0.0, 1.0, 0.0)):
        parts = {f"generator/{k}": torch.tensor(float(k + index)) for k in range(16)}
        parts["generator/3"] = torch.tensor(math.nan if left_out else 1.0)
        with Operations() as operations:
            progress.add(parts | {"nonfinite": torch.tensor(left_out)}, 2)
        assert len(operations.launched) <= 9
    assert progress.images == 6
    means = progress.means()
    assert means.pop("nonfinite") == 2
    assert means == {f"generator/{k}": 1.0 if k == 3 else k + 1.0 for k in range(16)}


class Operations(TorchDispatchMode):
    """Those of a block that compute: views do not."""

    def __init__(self):
        super().__init__()
        self.launched = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.launched.append(str(func))
        return result
