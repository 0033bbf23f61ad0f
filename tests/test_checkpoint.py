"""Checkpoints: whole or absent, the newest and the best kept, nothing but plain values loaded, whatever happens."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from recolor_fast.machine import files
from recolor_fast.runs import checkpoint
from tests.faults import file_size_limit


def test_what_is_saved_is_loaded(tmp_path):
    state = {"images": 3, "weights": {"a": torch.randn(4)}, "options": "{}"}
    path = checkpoint.save(tmp_path, 3, state)
    back = checkpoint.load(path)
    assert back["images"] == 3
    assert torch.equal(back["weights"]["a"], state["weights"]["a"])


def test_the_newest_are_kept_in_order(tmp_path):
    for images in (5, 40, 300, 2000):
        checkpoint.save(tmp_path, images, {"images": images})
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path)] == [300, 2000]
    assert checkpoint.list_checkpoints(tmp_path / "none") == []


def test_only_older_ones_are_dropped_and_the_best_stays(tmp_path):
    for images in (5, 40, 300, 2000, 3000):
        checkpoint.save(tmp_path, images, {"images": images}, keep=3, best=40)
    assert names(tmp_path) == ["000000040", "000000300", "000002000", "000003000"]
    (tmp_path / "000002000.pt").write_bytes(b"junk")
    (tmp_path / "000003000.pt").write_bytes(b"junk")
    assert checkpoint.newest(tmp_path)[1]["images"] == 300
    checkpoint.save(tmp_path, 400, {"images": 400})  # a resumed run, before it has reached the damaged ones again
    assert names(tmp_path) == ["000000300", "000000400", "000002000", "000003000"]
    checkpoint.save(tmp_path, 2000, {"images": 2000})
    assert checkpoint.newest(tmp_path)[1]["images"] == 2000


def names(folder) -> list[str]:
    return [path.stem for path in checkpoint.list_checkpoints(folder)]


def test_one_that_verifies_is_not_written_again(tmp_path):
    path = checkpoint.save(tmp_path, 3, {"n": 1})
    before = path.stat().st_ino, path.read_bytes()
    checkpoint.save(tmp_path, 3, {"n": 2})
    assert (path.stat().st_ino, path.read_bytes()) == before
    path.write_bytes(before[1][:-1])
    checkpoint.save(tmp_path, 3, {"n": 2})
    assert checkpoint.load(path)["n"] == 2


@pytest.mark.parametrize("fails", [1, 2])
def test_a_failed_save_leaves_the_old_ones(tmp_path, monkeypatch, fails):
    """Whether the digest or the checkpoint cannot be given its name."""
    checkpoint.save(tmp_path, 1, {"images": 1})
    calls = []
    replace = os.replace

    def fail(*args):
        calls.append(args)
        if len(calls) == fails:
            raise OSError("disk full")
        replace(*args)

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match=r"checkpoint .*000000002\.pt could not be written \(disk full\).*--resume"):
        checkpoint.save(tmp_path, 2, {"images": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000001.pt", "000000001.sha256"]


def test_what_reads_back_as_something_else_is_no_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {"images": 1}, keep=2)
    checkpoint.save(tmp_path, 2, {"images": 2}, keep=2)
    fsync = os.fsync

    def rot(handle):
        os.pwrite(handle, b"\xff", 300)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(OSError, match="reads back as something else"):
        checkpoint.save(tmp_path, 3, {"x": torch.zeros(1000)}, keep=2)
    assert names(tmp_path) == ["000000001", "000000002"]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(("limit", "numbers"), [(100, 1), (100_000, 1_000_000)])
def test_a_file_that_may_not_grow_is_one_error(tmp_path, limit, numbers):
    """A small state fills a buffer only; a large one fails inside torch.save, whose own error says nothing of disks."""
    checkpoint.save(tmp_path, 1, {"images": 1})
    with file_size_limit(limit), pytest.raises(OSError, match=r"000000002\.pt could not be written \(File too large\)"):
        checkpoint.save(tmp_path, 2, {"x": torch.zeros(numbers)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000001.pt", "000000001.sha256"]
    assert checkpoint.newest(tmp_path)[1]["images"] == 1
    checkpoint.save(tmp_path, 2, {"images": 2})
    assert checkpoint.newest(tmp_path)[1]["images"] == 2


def test_a_full_disk_is_one_error_and_room_on_it_mends_that(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        folder = disk / "checkpoints"
        checkpoint.save(folder, 1, {"n": 1, "x": torch.zeros(100_000)})
        (disk / "filling").write_bytes(bytes(2 * 2**20))
        for _ in range(3):
            with pytest.raises(OSError, match=r"000000002\.pt could not be written \(No space left on device\)"):
                checkpoint.save(folder, 2, {"n": 2, "x": torch.zeros(200_000)})
            assert sorted(path.name for path in folder.iterdir()) == ["000000001.pt", "000000001.sha256"]
            assert checkpoint.newest(folder)[1]["n"] == 1
        (disk / "filling").unlink()
        checkpoint.save(folder, 2, {"n": 2, "x": torch.zeros(200_000)})
        assert checkpoint.newest(folder)[1]["n"] == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_cleaning_removes_what_killed_saves_left_and_nothing_else(tmp_path):
    checkpoint.save(tmp_path, 1, {"images": 1})
    (tmp_path / f".{'0123456789abcdef' * 2}.part").write_bytes(b"half")
    (tmp_path / "000000003.sha256").write_text("0" * 64)
    for name in ("notes.sha256", ".hidden.part", "000000009.pt.bak"):
        (tmp_path / name).touch()
    checkpoint.clean(tmp_path)
    kept = ["000000001.pt", "000000001.sha256", ".hidden.part", "notes.sha256", "000000009.pt.bak"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    checkpoint.clean(tmp_path / "none")


def _script() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def _saved(what: object) -> bytes:
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


def _pt2() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {"archive_format": "pt2", "models/model.json": "{}", "data/weights/weight_0": "1234"}.items():
            archive.writestr(f"a/{name}", text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (_pt2, "holds a program"),
        (lambda: pickle.dumps({"images": 1}), "no archive of torch.save"),
        (_script, "holds a program"),
        (lambda: _saved(torch.nn.Linear(2, 2)), "objects other than tensors and plain values"),
        (lambda: _saved(torch.zeros(3)), "holds a Tensor, expected a dict"),
        (lambda: safetensors.torch.save({"weight": torch.zeros(3)}), "no archive of torch.save"),
        (lambda: b"", "no archive of torch.save"),
    ],
    ids=["pt2", "pickle", "torchscript", "module", "tensor", "safetensors", "empty"],
)
def test_files_of_other_kinds_are_refused_with_a_reason(tmp_path, written, reason):
    path = tmp_path / "000000001.pt"
    path.write_bytes(written())
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match=rf"000000001\.pt: not a readable checkpoint \(.*{reason}") as refused:
        checkpoint.load(path)
    assert "weights_only" not in str(refused.value)  # as torch advises: set it to False


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"weights": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"000000001\.pt"):
        checkpoint.load(path)

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch evil",))

    evil = tmp_path / "000000002.pt"
    for content in (pickle.dumps(Evil()), _saved({"x": Evil()})):
        evil.write_bytes(content)
        evil.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            checkpoint.load(evil)
    assert not os.path.exists("evil")


def test_every_flipped_bit_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"weights": torch.randn(1000)})
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, 8 * len(whole), 200)
    for place in places:
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << (place % 8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="SHA-256"):
            checkpoint.load(path)


def test_every_truncation_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"weights": torch.randn(1000)})
    whole = path.read_bytes()
    for length in np.random.default_rng(0).integers(0, len(whole), 200):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="SHA-256"):
            checkpoint.load(path)


def test_the_newest_that_verifies_is_taken_and_the_skipped_are_said(tmp_path, capsys):
    for images in (1, 2):
        checkpoint.save(tmp_path, images, {"images": images})
    (tmp_path / "000000002.pt").write_bytes(b"junk")
    path, state = checkpoint.newest(tmp_path)
    assert (path.name, state["images"]) == ("000000001.pt", 1)
    assert "skipped" in (said := capsys.readouterr().err)
    assert "000000002.pt" in said
    (tmp_path / "000000001.pt").unlink()
    with pytest.raises(ValueError, match="none of its 1 checkpoints can be used"):
        checkpoint.newest(tmp_path)
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoint.newest(tmp_path / "none")


# Starting python and torch for every kill would take seconds: a process that has them forks those that are killed.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from recolor_fast.runs import checkpoint
from recolor_fast.machine.files import is_part

torch.set_num_threads(1)
random.seed(0)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
reached, unfinished = 0, 0

def newest():
    if not checkpoint.list_checkpoints(folder):
        return 0
    path, state = checkpoint.newest(folder)
    assert path == checkpoint.list_checkpoints(folder)[-1], f"{path} is not the last"
    assert state["n"] == int(path.stem) and state["x"].eq(state["n"]).all(), f"{path} holds {state['n']}"
    return state["n"]

for kill in range(kills):  # every other one after its first save
    child = os.fork()
    if not child:
        try:
            checkpoint.clean(folder)
            n = newest()
            while True:
                n += 1
                checkpoint.save(folder, n, {"n": n, "x": torch.full((100_000,), n)})
        finally:
            os._exit(1)
    while kill % 2 and not any(int(path.stem) > reached for path in checkpoint.list_checkpoints(folder)):
        if os.waitpid(child, os.WNOHANG)[0]:
            sys.exit("it ended by itself")
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.2))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself: {status}"
    assert newest() >= reached, f"{newest()} after {reached}"
    reached = newest()
    if folder.is_dir():
        unfinished += any(is_part(path) for path in folder.iterdir())
checkpoint.clean(folder)
names = sorted(path.name for path in folder.iterdir())
whole = [path.stem + suffix for path in checkpoint.list_checkpoints(folder) for suffix in (".pt", ".sha256")]
assert names == sorted(whole), names
print(reached, unfinished)
"""


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_while_saving_leave_a_newest_that_holds_what_its_name_says(tmp_path, kills):
    folder = tmp_path / "checkpoints"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(kills)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reached, unfinished = map(int, done.stdout.split())
    assert reached >= kills // 2
    assert "skipped" not in done.stderr
    assert kills < 100 or unfinished > kills / 10  # else the kills did not fall into saves
