"""Checkpoints: whole or absent, newest kept, nothing but plain values loaded."""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from recolor_fast import checkpoint, files


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


def test_a_failed_save_leaves_the_old_ones(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {"images": 1})

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(tmp_path, 2, {"images": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000001.pt", "000000001.sha256"]


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"weights": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"000000001\.pt"):
        checkpoint.load(path)

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch evil",))

    evil = tmp_path / "000000002.pt"
    evil.write_bytes(pickle.dumps(Evil()))
    evil.with_suffix(".sha256").write_text(hashlib.sha256(evil.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        checkpoint.load(evil)
    assert not (tmp_path / "evil").exists()


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


def test_the_newest_that_verifies_is_taken_and_the_skipped_are_said(tmp_path, capsys):
    for images in (1, 2):
        checkpoint.save(tmp_path, images, {"images": images})
    (tmp_path / "000000002.pt").write_bytes(b"junk")
    path, state = checkpoint.newest(tmp_path)
    assert (path.name, state["images"]) == ("000000001.pt", 1)
    assert "skipped" in (said := capsys.readouterr().err)
    assert "000000002.pt" in said
    (tmp_path / "000000001.pt").unlink()
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoint.newest(tmp_path)


def test_a_kill_while_saving_leaves_a_readable_newest(tmp_path):
    program = (
        "import sys, torch; from pathlib import Path; from recolor_fast import checkpoint\n"
        "for n in range(10**6): checkpoint.save(Path(sys.argv[1]), n, {'n': n, 'x': torch.zeros(2_000_000)})"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    try:
        end = time.monotonic() + 60
        while len(checkpoint.list_checkpoints(tmp_path)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = checkpoint.list_checkpoints(tmp_path)
    assert found
    assert checkpoint.load(found[-1])["n"] == int(found[-1].stem)
