"""Work beside the main thread's: its order, its failures, and copies that what comes later does not change."""

import csv
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from recolor_fast import train
from recolor_fast.machine.background import Background, copied
from recolor_fast.resolve import fastest
from recolor_fast.runs import checkpoint, validation
from recolor_fast.step.iteration import Step
from tests.photographs import write_jpegs
from tests.test_step import COPIES, Seen, batch, build, small
from tests.trainings import arguments, assert_same_run, newest, run

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def failing() -> None:
    raise OSError("the disk is full")


def test_work_is_done_in_order_beside_whoever_asks_and_before_the_block_ends():
    go, done = threading.Event(), []
    with Background() as background:
        background.begin(lambda: (go.wait(30), done.append(threading.current_thread())))
        for number in range(3):
            background.begin(lambda number=number: done.append(number))
        background.check()
        assert done == []
        go.set()
    assert done[1:] == [0, 1, 2]
    assert done[0] is not threading.main_thread()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list a process' threads")
def test_no_thread_that_it_computes_with_is_left_while_others_compute():
    """OpenMP's would make all of this process's sleep at each barrier."""
    program = """if True:
    import os, time, torch
    from recolor_fast.machine.background import Background
    torch.set_num_threads(3)
    threads = lambda: len(os.listdir("/proc/self/task"))
    work = lambda: torch.ones(10**6).exp()
    work()  # with three threads
    before = threads()
    with Background() as background:
        background.begin(lambda: None)
        background.settle()
        waiting = threads()
        seen = []
        background.begin(lambda: (work(), seen.append(threads())))
        background.settle()
        late = time.monotonic() + 30
        while threads() > waiting and time.monotonic() < late:
            time.sleep(0.01)
        print(before, waiting, seen[0], threads())
    """
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    before, waiting, working, after = map(int, told.split())
    assert (waiting, after) == (before + 1, before + 1)
    assert working == before + 1 + 3  # its own and two of OpenMP's


def test_what_fails_is_raised_once_and_ends_what_comes_after():
    go, done = threading.Event(), []
    with Background() as background:
        background.begin(lambda: (go.wait(30), failing()))
        background.begin(lambda: done.append(1))
        go.set()
        with pytest.raises(OSError, match="the disk is full"):
            background.settle()
        background.settle()  # it was said
    with pytest.raises(OSError, match="the disk is full"), Background() as background:
        background.begin(failing)


def test_an_error_of_the_blocks_own_is_the_one_that_is_raised():
    def both() -> None:
        with Background() as background:
            background.begin(failing)
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        both()


@pytest.mark.parametrize("device", DEVICES)
def test_a_copy_holds_what_was_there_whatever_comes_next(device):
    """And how each tensor lies in memory; the loss scales' lists, numbers, and a module's versions come along."""
    weights = torch.randn(64, 32, 4, 4, device=device).to(memory_format=torch.channels_last)
    state = {"step": OrderedDict(w=weights, n=torch.ones((), dtype=torch.int64, device=device)), "scales": [weights[0]]}
    state["step"]._metadata = {"": {"version": 2}}
    before = weights.cpu().clone()
    if device == "cuda":
        torch.cuda._sleep(100_000_000)  # the iteration before
    copy, come = copied(state | {"images": 3})
    weights.zero_()
    come()
    assert torch.equal(copy["step"]["w"], before)
    assert copy["step"]["w"].stride() == weights.stride()
    assert (copy["step"]["w"].device.type, copy["images"], int(copy["step"]["n"])) == ("cpu", 3, 1)
    assert torch.equal(copy["scales"][0], before[0])
    assert copy["step"]._metadata == state["step"]._metadata


def test_copies_wait_for_no_device():
    with Seen() as seen:
        copied({"a": torch.ones(3), "b": [torch.ones(())]})
    assert not COPIES & seen.names


# --- a training ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 12, height=80, width=96)
    return folder


def test_a_checkpoint_is_of_its_moment_though_iterations_go_on(photographs, tmp_path, monkeypatch):
    """The writing of the first one begins only when four more photographs were seen."""
    words = ("--preset", "pix2pix", "--keep", 9, "--name")
    run(photographs, tmp_path, *words, "whole", "--images", 4)
    go, save, call = threading.Event(), checkpoint.save, Step.__call__

    def late(folder, images, *others):
        assert images > 4 or go.wait(60)
        return save(folder, images, *others)

    def seen(self, gray, rgb, images):
        if images == 7:
            go.set()
        return call(self, gray, rgb, images)

    monkeypatch.setattr(checkpoint, "save", late)
    monkeypatch.setattr(Step, "__call__", seen)
    run(photographs, tmp_path, *words, "r", "--images", 8)
    assert go.is_set()
    folder = tmp_path / "r" / "checkpoints"
    for path in checkpoint.list_checkpoints(folder)[1:]:
        path.unlink()
    monkeypatch.undo()
    ours, theirs = (newest(tmp_path / name) for name in ("r", "whole"))
    assert ours["images"] == theirs["images"] == 4
    for network in ("generator", "critic"):
        for name, tensor in theirs["step"][network].items():
            assert torch.equal(ours["step"][network][name], tensor), name


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from recolor_fast import train
from recolor_fast.runs import checkpoint
from recolor_fast.step.iteration import Step

number, folder, command = getattr(signal, sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
write, call = checkpoint._Hashing.write, Step.__call__
begun, sent = threading.Event(), threading.Event()

def writing(self, data):
    if len(checkpoint.list_checkpoints(folder)) == 1:  # the second
        begun.set()
        sent.wait(60)
    return write(self, data)

def stepping(self, gray, rgb, seen):
    if seen >= 9 and begun.wait(60):
        os.kill(os.getpid(), number)
        sent.set()
    return call(self, gray, rgb, seen)

checkpoint._Hashing.write, Step.__call__ = writing, stepping
sys.exit(train.main(command))
"""


@pytest.mark.parametrize(("name", "seen"), [("SIGKILL", 4), pytest.param("SIGTERM", 10, marks=pytest.mark.slow)])
def test_ended_while_a_checkpoint_is_written_a_whole_one_is_there(photographs, tmp_path, name, seen):
    """The second is half written when the signal comes, two iterations later."""
    words = ("--preset", "pix2pix", "--name")
    command = arguments(photographs, tmp_path, *words, "r", "--resume")
    folder = tmp_path / "r" / "checkpoints"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, name, folder, *command], cwd=Path(__file__).parent.parent, capture_output=True
    )
    number = getattr(signal, name)
    assert done.returncode == (-number if name == "SIGKILL" else 128 + number), done.stderr
    assert newest(tmp_path / "r")["images"] == seen
    run(photographs, tmp_path, *words, "r", "--resume")
    run(photographs, tmp_path, *words, "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "r")
    assert not [path for path in os.listdir(folder) if path.endswith(".part")]


def test_a_save_that_fails_ends_the_training_long_before_its_end(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "_write", lambda path, state: failing())
    words = ("--preset", "pix2pix", "--images", 100_000, "--log-every", 1, "--save-every", 4, "--name", "r")
    assert train.main(arguments(photographs, tmp_path, *words)) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "000000004.pt could not be written (the disk is full)" in errors[0]
    with open(tmp_path / "r" / "results.csv", newline="") as file:
        assert int([*csv.DictReader(file)][-1]["images"]) < 1000


# --- validation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["pix2pix", "wgan-gp"])
def test_validating_in_batches_gives_the_numbers_of_one_by_one(preset, monkeypatch):
    step = build(small(preset))
    for index in range(2):
        step(*batch(index, step.options), 2 * index)
    gray, rgb = (torch.cat([batch(k, step.options)[part] for k in range(3)])[:5] for part in (0, 1))
    before = {name: tensor.clone() for name, tensor in step.generator.state_dict().items()}
    found = []
    for pixels, lengths in ((64**2, [1] * 5), (2 * 64**2, [2, 2, 1]), (10**6, [5])):
        monkeypatch.setattr(validation, "PIXELS", pixels)
        planes = validation.planes(step, gray)
        assert [len(some) for some in planes] == lengths
        found.append((torch.cat(planes), validation.validate(planes, rgb)[0]))
    for planes, numbers in found[1:]:
        assert (planes.int() - found[0][0].int()).abs().max() <= 1
        assert numbers == pytest.approx(found[0][1], rel=1e-4)
    assert step.generator.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.generator.state_dict().items())


def test_coloring_for_validation_waits_for_no_device():
    step = build(small("pix2pix"))
    with Seen() as seen:
        validation.planes(step, torch.zeros(3, 1, 64, 64, dtype=torch.uint8))
    assert not COPIES & seen.names


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_on_a_gpu_neither_a_copy_nor_validation_waits():
    options = small("pix2pix", device="cuda", compile="off", cuda_graph="off")
    step = Step(fastest(options, torch.device("cuda")), [], torch.device("cuda"))
    gray = torch.zeros(20, 1, 64, 64, dtype=torch.uint8)
    for mode in ("default", "error"):  # the first time memory is allocated
        try:
            torch.cuda.set_sync_debug_mode(mode)
            planes, come = copied(validation.planes(step, gray))
            _, written = copied(step.state_dict())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    come()
    written()
    assert torch.cat(planes).shape == (20, 2, 64, 64)
