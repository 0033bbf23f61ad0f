"""The whole way of odd files into training: the check, then an epoch of batches, in a process of its own.

A decoder that hangs or crashes shows as the end of that process, and its memory can be told from this one's.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from recolor_fast.data import dali, index, loader
from recolor_fast.options import Options
from tests import reading
from tests.photographs import shared, write_jpegs

ROOT = Path(__file__).parent.parent
OPTIONS = Options(size=64, loader="host", cache="off", batch=3)

needs_dali = pytest.mark.skipif(not dali.available(), reason="needs NVIDIA DALI; it is not installed")
BACKENDS = ["host", pytest.param("dali", marks=needs_dali)]

# Refused by their headers: decoded, each would take 3 GB and more.
BOMBS = {
    "made": {"bomb_100k_x_100k_gray1.png", "huge_dim_header.jpg"},
    "": {"badwidth.bmp", "reallybig.bmp", "decompression_bomb.gif", "decompression_bomb.ico"},
}
NO_FILES = {"folder.jpg", "fifo.jpg", "socket.jpg", "endless.jpg", "dangling.jpg", "loop.jpg"}
LIMIT = 3 * 2**20  # KiB


def train_on(check: str, backend: str, cache: str, *folders: str) -> None:
    """Print as JSON what the check finds in all files of some folders, whatever they are called, and what an epoch of
    them in batches of 64 took: photographs and the most memory, KiB."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # each thread may decode a picture of 179 megapixels
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*"))]
    good, reasons = index.usable([path for path in paths if path.suffix or not path.is_dir()], check, progress=False)
    options = replace(OPTIONS, loader=backend, cache=cache, batch=64)
    count = 0
    with closing(reading.batches(options, good, "cpu")) as stream:
        for gray, rgb in islice(stream, -(-len(good) // 64)):
            assert (gray.shape, rgb.shape) == ((64, 1, 64, 64), (64, 3, 64, 64))
            count += len(gray)
    status = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would begin with that of the parent
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    found = {path.name: reason for path, reason in reasons.items()}
    print(json.dumps({"good": len(good), "count": count, "reasons": found, "peak": peak}))


def trained_on(tmp_path: Path, check: str, backend: str, cache: str, limit: float, *folders: Path) -> tuple[dict, list]:
    """What `train_on` finds, within `limit` seconds, in these folders and in one of what is no file though it is called
    like an image; and its warnings."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux, which tells the most memory a process took")
    odd = tmp_path / "no files"
    (odd / "folder.jpg").mkdir(parents=True)
    os.mkfifo(odd / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as bound, pytest.MonkeyPatch.context() as patch:
        patch.chdir(odd)  # the name of a socket is short
        bound.bind("socket.jpg")
    (odd / "endless.jpg").symlink_to("/dev/zero")
    (odd / "dangling.jpg").symlink_to("nowhere.jpg")
    (odd / "loop.jpg").symlink_to("loop.jpg")
    program = "import sys; from tests.test_odd_images import train_on; train_on(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, check, backend, cache, str(odd), *map(str, folders)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    return json.loads(done.stdout.splitlines()[-1]), warnings


def assert_trained(found: dict, warnings: list[str], check: str, bombs: set[str]) -> None:
    assert found["count"] >= found["good"]
    assert found["peak"] < LIMIT
    assert NO_FILES | bombs <= set(found["reasons"])
    for name in bombs:
        assert "too many pixels" in found["reasons"][name]
    for name in NO_FILES - {"dangling.jpg", "loop.jpg"}:
        assert found["reasons"][name] == "not a regular file"
    assert ("bitrot.jpg" in found["reasons"]) == (check == "full")
    # Whatever passes the full check decodes; of the other's the one that is known not to.
    assert [line for line in warnings if "bitrot.jpg: " not in line and "DALI cannot decode" not in line] == []
    assert len(warnings) <= (0 if check == "full" else 2)


@pytest.mark.parametrize(
    ("check", "backend"), [("header", "host"), pytest.param("full", "dali", marks=[needs_dali, pytest.mark.slow])]
)
def test_an_epoch_of_made_odd_images(tmp_path, check, backend):
    found, warnings = trained_on(tmp_path, check, backend, "off", 600, shared("odd-images", "made"))
    assert_trained(found, warnings, check, BOMBS["made"])
    assert found["good"] > 30


@pytest.mark.slow
@pytest.mark.parametrize(("cache", "photographs"), [("off", False), ("on", False), ("off", True)])
@pytest.mark.parametrize("check", ["header", "full"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_epoch_of_all_odd_images(tmp_path, backend, check, cache, photographs):
    """Alone, and among photographs."""
    folders = [shared("odd-images"), *([shared("imagenet-wide"), shared("imagenette", "val")] if photographs else [])]
    found, warnings = trained_on(tmp_path, check, backend, cache, 1800, *folders)
    assert_trained(found, warnings, check, BOMBS["made"] | BOMBS[""])
    assert found["good"] > 900


# --- files that vanish or break while they are trained on ----------------------------------------------------------


def harm(paths: list[Path]) -> dict[int, int]:
    """Break some of ten files. What takes the place of each, as positions."""
    paths[1].unlink()
    paths[5].write_bytes(b"\xff\xd8\xff junk")  # before the 4th, whose place it would take
    paths[4].write_bytes(paths[4].read_bytes()[:-300])
    paths[9].unlink()
    paths[9].mkdir()
    return {1: 2, 4: 6, 5: 6, 9: 0}


def warned(stderr: str, paths: list[Path], instead: dict[int, int]) -> bool:
    """Whether each broken file was warned of once, and nothing else."""
    lines = sorted(line for line in stderr.splitlines() if line.startswith("warning"))
    return len(lines) == len(instead) and all(
        line.startswith(f"warning: {paths[broken]}: ") and line.endswith(f"; {paths[instead[broken]]} takes its place")
        for line, broken in zip(lines, sorted(instead))
    )


@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_break_after_the_check_are_replaced(tmp_path, capfd, backend, cache):
    paths = write_jpegs(tmp_path, 10)
    options = replace(OPTIONS, loader=backend, cache=cache)
    good, _ = index.usable(paths)
    gray, rgb = reading.load(options, good)
    instead = harm(good)
    for start in (0, 12):  # a run that is resumed sees the same
        with closing(reading.batches(options, good, "cpu", start)) as stream:
            for drawn, pair in islice(zip(loader.indices(0, 10, 3, start), stream), 15):
                which = [instead.get(i, i) for i in drawn.tolist()]
                assert torch.equal(pair[0], gray[which])
                assert torch.equal(pair[1], rgb[which])
        assert warned(capfd.readouterr().err, good, instead)


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_break_while_batches_stream_are_replaced(tmp_path, capfd, backend):
    """What was read ahead is still itself; no batch is lost or comes twice."""
    paths = write_jpegs(tmp_path, 10)
    options = replace(OPTIONS, loader=backend)
    gray, _ = reading.load(options, paths)
    instead: dict[int, int] = {}
    with closing(reading.batches(options, paths, "cpu")) as stream:
        for number, (drawn, pair) in enumerate(islice(zip(loader.indices(0, 10, 3), stream), 40)):
            if number == 3:
                instead = harm(paths)
            for i, one in zip(drawn.tolist(), pair[0]):
                itself, other = torch.equal(one, gray[i]), torch.equal(one, gray[instead.get(i, i)])
                assert other or (itself and number < 20)
    assert warned(capfd.readouterr().err, paths, instead)


@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_left_to_read_ends_the_stream(tmp_path, backend, cache):
    paths = write_jpegs(tmp_path, 4)
    for path in paths:
        path.unlink()
    with (
        closing(reading.batches(replace(OPTIONS, loader=backend, cache=cache), paths, "cpu")) as stream,
        pytest.raises(ValueError, match=r"none of 4 photographs can be read any more: .*No such file"),
    ):
        next(stream)
