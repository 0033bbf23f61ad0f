"""Several ranks train as one process: gradients, rows, resuming, signals, and what becomes of a lost one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recolor_fast import train
from recolor_fast.arguments.train import parse
from recolor_fast.machine import ranks
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.launched import Place, place
from recolor_fast.machine.ranks import ALONE, Ranks, joined
from recolor_fast.machine.signals import Stopped
from recolor_fast.networks.critics import by_winograd
from recolor_fast.presets import PAPERS, PRESETS
from recolor_fast.resolve import for_ranks
from recolor_fast.runs.run_folder import stored_options
from tests import ranked
from tests.photographs import write_jpegs
from tests.ranked import CASES, ROOT, ROUNDED, ended, port, start
from tests.trainings import assert_same_run, flat, newest, rows

FAST = ["pix2pix", "wgan-gp", "pieces", "hints", "not finite"]
FEW = ["pieces"]  # of 2 photographs each, which 4 ranks cannot divide
# In float32 sums over ranks move a value over a ReLU's bend now and then, which cost 2.5e-3 once on four ranks.
TOLERANCE = {(2, "wide"): 1e-10, (4, "wide"): 1e-10, (2, "narrow"): 2e-5, (4, "narrow"): 1e-2}
# Of these float32 alone makes more of rounding, 2e-5 to 0.1, and float64 does not: deep networks with random weights,
# and biases before a batch norm, whose gradient is nothing but rounding.
ROUGH = "hints features-resnet50 features-unet features-fpn padova-code-pix2pix padova-code-lpips".split()
PAIRS = [(width, name) for width in ("wide", "narrow") for name in CASES if width == "wide" or name not in ROUGH]


# --- what is computed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory):
    """Gradients by number of ranks, width and case; one start computes all the fast, or all the slow cases, of both."""
    known: dict = {}

    def of(count: int, width: str, name: str):
        names = tuple(case for case in CASES if (case in FAST) == (name in FAST) and not (count == 4 and case in FEW))
        if (count, names) not in known:
            folder = tmp_path_factory.mktemp("gradients")
            known[count, names] = ranked.gradients(folder, count, names, ["narrow", "wide"])
        return known[count, names][width][name]

    return of


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("count", "width", "name"),
    [(2, width, name) if name in FAST else slow(2, width, name) for width, name in PAIRS]
    + [slow(4, width, name) for width, name in PAIRS if name not in FEW],
)
def test_gradients_of_ranks_are_those_of_one_process(on_ranks, count, width, name, monkeypatch):
    """Of three iterations, each parameter's, and all losses."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.float)  # which a wide run changes
    expected, found = ranked.iterations(name, width == "wide"), on_ranks(count, width, name)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for player in ("generator", "critic", "loss"):
            squares = [value.square().sum() for name, value in theirs.items() if name.startswith(player)]
            least = 0.01 * sum(square for square in squares if square.isfinite()) ** 0.5
            for name in (name for name in theirs if name.startswith(player)):
                if width == "narrow" and name.startswith("loss gradient/"):
                    continue  # they jump where a ReLU turns over, or a color is exactly the true one
                if not theirs[name].isfinite().all():
                    assert not ours[name].isfinite().all(), name
                    continue
                off = (ours[name] - theirs[name]).norm() / max(theirs[name].norm(), least)
                assert off <= TOLERANCE[count, width], name


def off(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], player: str) -> float:
    """How far a player's gradients are from others, all together, as a share of these."""
    names = [name for name in theirs if name.startswith(player)]
    mine, whole = (torch.cat([some[name].flatten() for name in names]) for some in (ours, theirs))
    return ((mine - whole).norm() / whole.norm()).item()


@pytest.mark.slow
def test_gradients_with_amp_and_winograd_are_nearly_those_of_one_process(tmp_path):
    """With amp no farther from them than these are from float32's. With Winograd, rounding moves some value over
    LeakyReLU's bend, which in so small a critic costs 3e-3 (docs/speed.md)."""
    found = ranked.gradients(tmp_path, 2, list(ROUNDED), ["narrow"])["narrow"]
    alone = {name: ranked.iterations(name, False) for name in (*ROUNDED, "wgan-gp")}
    assert by_winograd(ranked.chosen("winograd"), True, (1, 2))
    for number in range(ranked.ITERATIONS):
        for player in ("generator", "critic"):
            amp, exact = alone["amp"][number], alone["wgan-gp"][number]
            assert 0 < off(found["amp"][number], amp, player) <= off(amp, exact, player)
            assert 0 < off(found["winograd"][number], alone["winograd"][number], player) <= 1e-2


def test_an_iteration_that_is_not_finite_on_one_rank_is_left_out_by_all(on_ranks):
    assert [iteration["loss nonfinite"] for iteration in on_ranks(2, "wide", "not finite")] == [0, 1, 0]


def test_a_ranks_photographs_are_its_part_of_each_piece():
    assert ALONE.places(5).tolist() == [0, 1, 2, 3, 4]
    first, second = Ranks(Place(0, 2)), Ranks(Place(1, 2))
    assert first.places(8).tolist() == [0, 1, 2, 3]
    assert second.places(8).tolist() == [4, 5, 6, 7]
    assert first.places(10, 4).tolist() == [0, 1, 4, 5, 8]
    assert np.union1d(first.places(10, 4), second.places(10, 4)).tolist() == list(range(10))


def test_alone_nothing_is_copied_or_started():
    tensor = torch.ones(2)
    assert ALONE.average([tensor])[0] is tensor
    assert ALONE.sum_(tensor) is tensor
    assert ALONE.told({"a": (1,)}) == {"a": (1,)}
    ALONE.broadcast([tensor])
    ALONE.wait()
    assert not torch.distributed.is_initialized()


# --- trainings --------------------------------------------------------------------------------------------------------

SMALL = (
    "--preset pix2pix --size 64 --width 4 --images 16 --batch 4 --save-every 8 --log-every 4 --samples 2 --device cpu "
    "--threads 1 --lpips off --lr 2e-6 --load-size 80 --flip"
).split()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Twelve, of which one is validated on."""
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 12, height=80, width=96)
    return folder


def words(photographs: Path, runs: Path, *more: object) -> list[object]:
    return ["-m", "recolor_fast.train", *SMALL, "--data", photographs, "--runs", runs, *more]


def trained(count: int, *arguments: object) -> None:
    """Train to the end on so many ranks. The first alone speaks."""
    if count == 1:
        assert train.main([str(word) for word in words(*arguments)[2:]]) == 0  # type: ignore[arg-type]
        return
    (code, out, told), *others = ended(start(count, words(*arguments)))  # type: ignore[arg-type]
    assert code == 0, told
    assert len(out.splitlines()) == 1
    assert others == [(0, "", "")] * (count - 1)


def assert_alike(one: Path, other: Path, tolerance: float) -> None:
    """Rows of results.csv and weights to a tolerance."""
    ours, theirs = rows(one), rows(other)
    assert len(ours) == len(theirs) > 1
    for mine, yours in zip(ours, theirs):
        expected = {name: float(value) for name, value in yours.items()}
        assert {name: float(value) for name, value in mine.items()} == pytest.approx(expected, rel=tolerance, abs=1e-9)
    ours, theirs = (flat(newest(run)["step"]["generator"]) for run in (one, other))
    for name, value in theirs.items():
        off = (ours[name].double() - value.double()).norm()
        assert off <= tolerance * value.double().norm() + 1e-9, name


def test_two_ranks_train_as_one_process_and_resume_bit_for_bit(photographs, tmp_path):
    trained(1, photographs, tmp_path, "--name", "one")
    trained(2, photographs, tmp_path, "--name", "two")
    assert_alike(tmp_path / "two", tmp_path / "one", 1e-4)
    assert stored_options(tmp_path / "two").ranks == 2
    beside = ("events.", "results.png")  # named by time and process; not drawn of those in this process
    one, two = (
        {path.name for path in (tmp_path / name).iterdir() if not path.name.startswith(beside)}
        for name in ("one", "two")
    )
    assert one == two
    assert len(list((tmp_path / "two").glob("events.*"))) == 1  # the first rank's
    shutil.copytree(tmp_path / "two", tmp_path / "broken")  # as of one that was killed before its second checkpoint
    (tmp_path / "broken" / "checkpoints" / "000000016.pt").unlink()
    shutil.copytree(tmp_path / "broken", tmp_path / "less")
    trained(2, photographs, tmp_path, "--name", "broken", "--resume", "--log", "none")
    assert newest(tmp_path / "broken")["images"] == 16
    assert_same_run(tmp_path / "two", tmp_path / "broken")
    trained(1, photographs, tmp_path, "--name", "less", "--resume")
    assert_alike(tmp_path / "less", tmp_path / "two", 1e-4)


@pytest.mark.slow
def test_a_run_of_one_process_resumes_on_four_ranks(photographs, tmp_path):
    trained(1, photographs, tmp_path, "--name", "whole")
    trained(1, photographs, tmp_path, "--name", "broken", "--images", 8)
    trained(4, photographs, tmp_path, "--name", "broken", "--resume")
    assert_alike(tmp_path / "broken", tmp_path / "whole", 1e-4)


def wait_for(run: Path, photographs: int) -> None:
    """Until results.csv has a row of so many photographs."""
    since = time.monotonic()
    while not (run / "results.csv").is_file() or int(rows(run)[-1]["images"] if rows(run) else 0) < photographs:
        assert time.monotonic() - since < 600
        time.sleep(0.1)


def test_a_signal_to_one_rank_stops_all_with_one_checkpoint(photographs, tmp_path):
    more = ("--name", "run", "--images", 40000, "--save-every", 40000, "--log", "none")
    ranks = start(2, words(photographs, tmp_path, *more))
    wait_for(tmp_path / "run", 8)
    ranks[1].send_signal(signal.SIGTERM)
    (code, _, told), (other, *silent) = ended(ranks)
    assert (code, other) == (143, 143), told
    assert told.splitlines()[-1] == "stopped by SIGTERM; --resume continues from here"
    assert silent == ["", ""]
    images = newest(tmp_path / "run")["images"]
    assert images % 4 == 0
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.pt"))) == 1
    trained(1, photographs, tmp_path, "--name", "run", "--resume", "--images", images + 8)
    assert newest(tmp_path / "run")["images"] == images + 8


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)], ids=str)
def test_a_lost_rank_ends_the_others_and_is_named(photographs, tmp_path, number):
    ranks = start(2, words(photographs, tmp_path, "--name", "run", "--images", 40000, "--log", "none"))
    wait_for(tmp_path / "run", 8)
    ranks[1].send_signal(number)
    _, told = ranks[0].communicate(timeout=600)
    assert ranks[0].returncode == 1, told
    said = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: lost rank 1 (")
    assert f"process {ranks[1].pid})" in said[0]
    ranks[1].kill()
    ranks[1].communicate()


@pytest.mark.slow
def test_a_killed_rank_is_started_again_by_torchrun_and_ends_as_the_unbroken_run(photographs, tmp_path):
    trained(2, photographs, tmp_path, "--name", "whole", "--images", 400, "--log-every", 40, "--save-every", 40)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    more = ("--name", "broken", "--resume", "--images", 400, "--log-every", 40, "--save-every", 40)
    command += map(str, words(photographs, tmp_path, *more))
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for(tmp_path / "broken", 80)
    killed = [int(pid) for pid in subprocess.check_output(["pgrep", "-P", str(agent.pid)], text=True).split()]
    os.kill(killed[-1], signal.SIGKILL)
    _, told = agent.communicate(timeout=1200)
    assert agent.returncode == 0, told
    assert "resuming" in told
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_no_thread_is_in_torch_when_the_ranks_part(monkeypatch):
    """One would abort Python as it ends."""

    class Store(torch.distributed.HashStore):
        def clone(self):
            return self

    def beat(ours: Ranks, store: Store) -> None:
        ours._ended.wait(60)
        time.sleep(0.1)  # the store is slow
        ended.append(ours)

    def destroy() -> None:
        nonlocal destroyed
        destroyed += 1

    ended: list[Ranks] = []
    destroyed = 0
    monkeypatch.setattr(ranks.launched, "place", lambda: Place(1, 2))
    monkeypatch.setattr(ranks, "_store", Store)
    monkeypatch.setattr(ranks, "_meet", lambda *who: None)
    monkeypatch.setattr(Ranks, "_beat", beat)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", destroy)
    for name in ("init_process_group", "all_reduce"):
        monkeypatch.setattr(torch.distributed, name, lambda *how, **more: None)
    with joined():
        pass
    with pytest.raises(Stopped), joined():
        raise Stopped(signal.SIGTERM)
    assert len(ended) == destroyed == 2
    with pytest.raises(KeyError), joined():  # the other ranks may be waiting
        raise KeyError
    assert len(ended) == 3
    assert destroyed == 2


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "changes", "said"),
    [
        ("pix2pix", {"batch": 6}, "batch 6 cannot be divided among 4 ranks.* use --batch 4 or --batch 8"),
        ("pix2pix", {}, "batch 1 cannot be divided among 4 ranks.* use --batch 4$"),
        ("pix2pix", {"batch": 8, "micro_batch": 2}, "micro_batch 2 cannot be divided.* use --micro-batch 4$"),
        ("pix2pix", {"batch": 4, "ranks": 2}, "ranks 2: torchrun started 4"),
        ("pix2pix", {"batch": 4, "compile": "on"}, "compile on with batch norm and 4 ranks"),
        ("wgan-gp", {"batch": 4, "cuda_graph": "on"}, "cuda_graph on with 4 ranks"),
        *((name, {}, f"preset {name} on 4 ranks: .*one process") for name in PAPERS if name not in CASES),
    ],
)
def test_what_ranks_cannot_train_is_refused_by_name(preset, changes, said):
    with pytest.raises(UserError, match=said):
        for_ranks(replace(PRESETS[preset], **changes), 4)


def test_what_ranks_train_is_decided():
    decided = for_ranks(replace(PRESETS["wgan-gp"], batch=4, generator_norm="instance"), 4)
    assert (decided.ranks, decided.cuda_graph, decided.compile) == (4, "off", "auto")
    assert for_ranks(replace(PRESETS["pix2pix"], batch=4), 4).compile == "off"
    alone = for_ranks(PRESETS["pix2pix"], 1)
    assert alone == replace(PRESETS["pix2pix"], ranks=1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, Place()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Place()),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Place(3, 4, 1, 2)),
        ({"WORLD_SIZE": "4", "RANK": "3"}, Place(3, 4, 3, 4)),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK 2 of WORLD_SIZE 2"),
    ],
)
def test_the_place_of_a_process_is_what_its_launcher_says(monkeypatch, said, expected):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"} | said).items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, Place):
        assert place() == expected
    else:
        with pytest.raises(UserError, match=expected):
            place()


def test_restarts_ask_for_a_name(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(UserError, match="--name NAME --resume"):
        parse(["--preset", "pix2pix"])
    parse(["--preset", "pix2pix", "--name", "one", "--resume"])


def test_what_differs_between_ranks_and_who_is_missing_is_said_by_the_first(monkeypatch):
    store = torch.distributed.HashStore()
    monkeypatch.setattr(ranks, "JOIN", 0.1)
    with pytest.raises(UserError, match=r"1 of 2 ranks came within 0\.1 seconds, not rank 1: "):
        ranks._meet(Ranks(Place(0, 2)), store, {"torch": "2"})
    store.set("facts/1", '{"torch": "1"}')
    store.set("name/1", "there, process 7")
    with pytest.raises(UserError, match=r"rank 1 \(there, process 7\) has torch 1, rank 0 has 2"):
        ranks._meet(Ranks(Place(0, 2)), store, {"torch": "2"})
    ranks._meet(Ranks(Place(0, 2)), store, {"torch": "1"})
    with pytest.raises(UserError, match="rank 0 did not come"):
        ranks._meet(Ranks(Place(1, 2)), torch.distributed.HashStore(), {})


def test_machines_that_come_later_are_refused_by_the_first_rank():
    store = torch.distributed.HashStore()
    store.set("facts/1", "{}")
    ranks._meet(Ranks(Place(0, 2)), store, {})
    with pytest.raises(UserError, match="--nnodes=MIN:MAX is not supported: start again with one number"):
        ranks._meet(Ranks(Place(0, 3)), store, {})
    with pytest.raises(SystemExit):
        ranks._meet(Ranks(Place(2, 3)), store, {})


def test_a_rendezvous_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(ranks, "JOIN", 1)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port())}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"rendezvous 127.0.0.1:\d+ cannot be reached"), joined():
        pass
