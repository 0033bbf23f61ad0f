"""Exact resume: a run stopped anywhere and resumed is, bit for bit, the run that was never stopped."""

import signal
from itertools import product
from pathlib import Path

import pytest

from recolor_fast import train
from recolor_fast.data import dali
from recolor_fast.runs import validation
from recolor_fast.step.step import Step
from tests.photographs import write_jpegs
from tests.trainings import arguments, assert_same_run, newest, rows, run

IMAGES = 16
FIRST, AFTER_SAVE, MID_EPOCH, EPOCH = 1, 4, 7, 11  # photographs seen: 11 are an epoch, a checkpoint comes every 4
STOPS = (FIRST, AFTER_SAVE, MID_EPOCH, EPOCH)
SEEDS, LOADERS, CACHES, AMPS = (0, 1, 2), ("host", "dali"), ("on", "off"), ((), ("--amp",))
PRESETS = ("pix2pix", "wgan-gp")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Twelve, of which one is validated on."""
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 12, height=80, width=96)
    return folder


def stop_at(monkeypatch, images: int) -> None:
    """SIGTERM comes in the step that ends at so many photographs seen."""
    call = Step.__call__

    def stopped(self, gray, rgb, seen):
        parts = call(self, gray, rgb, seen)
        if seen + len(gray) == images:
            signal.raise_signal(signal.SIGTERM)
        return parts

    monkeypatch.setattr(Step, "__call__", stopped)


def stopped(monkeypatch, photographs: Path, runs: Path, images: int, *more: object) -> None:
    """Train until the signal comes."""
    with monkeypatch.context() as patch:
        stop_at(patch, images)
        assert train.main(arguments(photographs, runs, *more)) == 128 + signal.SIGTERM
    assert newest(runs / "broken")["images"] == images


def settings(preset, seed, loader, cache, amp) -> list[object]:
    jitter = "--load-size 80 --flip --log-every 3".split()
    return ["--preset", preset, "--seed", seed, "--loader", loader, "--cache", cache, *amp, *jitter, "--images", IMAGES]


def check(photographs, runs, monkeypatch, settings, stops) -> None:
    run(photographs, runs, *settings, "--name", "whole")
    for stop in stops:
        stopped(monkeypatch, photographs, runs, stop, *settings, "--name", "broken", "--resume")
    run(photographs, runs, *settings, "--name", "broken", "--resume")
    assert_same_run(runs / "whole", runs / "broken")


@pytest.mark.parametrize(
    "case",
    [("pix2pix", 1, "dali", "off", ("--amp",)), ("wgan-gp", 2, "host", "on", ())],
    ids=str,
)
def test_stopped_everywhere_and_resumed_equals_unbroken(photographs, tmp_path, monkeypatch, case):
    """After the first step, a save, in mid-epoch, mid-interval, and at an epoch's end, one after the other."""
    if case[2] == "dali" and not dali.available():
        pytest.skip("needs NVIDIA DALI; it is not installed")
    check(photographs, tmp_path, monkeypatch, settings(*case), STOPS)


def test_on_old_film_resumed_equals_unbroken(photographs, tmp_path, monkeypatch):
    words = settings("pix2pix", 0, "host", "on", ()) + "--old-film 0.6 --equalize none --blur none".split()
    check(photographs, tmp_path, monkeypatch, words, STOPS)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(product(PRESETS, SEEDS, LOADERS, CACHES, AMPS)), ids=str)
def test_stopped_and_resumed_equals_unbroken(photographs, tmp_path, monkeypatch, case):
    """Each way to stop by itself, in all combinations."""
    for stop in STOPS:
        check(photographs, tmp_path / str(stop), monkeypatch, settings(*case), [stop])


@pytest.mark.parametrize("images", [4, 7])
def test_a_run_made_longer_equals_a_long_one(photographs, tmp_path, images):
    """The row of an interval that the end cut short is there until the run goes on."""
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "whole")
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "broken", "--images", images)
    ended = rows(tmp_path / "broken")
    assert int(ended[-1]["images"]) == images
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "broken", "--images", images, "--resume")
    assert rows(tmp_path / "broken") == ended  # nothing to do, and nothing done
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "broken", "--resume")
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    assert newest(tmp_path / "broken")["images"] == newest(tmp_path / "whole")["images"] == 12


def test_stopped_while_it_validates_the_validation_is_made_up_for(photographs, tmp_path, monkeypatch):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "whole")
    planes = validation.planes

    def interrupted(step, gray, *generator):
        if (tmp_path / "broken" / "samples").exists():  # it is not the first look
            signal.raise_signal(signal.SIGINT)
        return planes(step, gray, *generator)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(validation, "planes", interrupted)
            words = ("--preset", "pix2pix", "--name", "broken", "--resume")
            assert train.main(arguments(photographs, tmp_path, *words)) == 128 + signal.SIGINT
        assert newest(tmp_path / "broken")["images"] == 4
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "broken", "--resume")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    names = [sorted(p.name for p in (tmp_path / n / "samples").iterdir()) for n in ("whole", "broken")]
    assert names[0] == names[1] == [f"{n:09d}.png" for n in (0, 4, 8, 12)]


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", ["on", "off"])
def test_on_a_gpu_resumed_equals_unbroken(photographs, tmp_path, monkeypatch, cuda_graph):
    """Deterministic algorithms; recorded as a CUDA graph, and launched."""
    device = ["--device", "cuda", "--deterministic", "--compile", "off", "--cuda-graph", cuda_graph]
    for preset in PRESETS:
        words = settings(preset, 0, "dali" if dali.available() else "host", "on", ()) + device
        check(photographs, tmp_path / preset, monkeypatch, words, STOPS)
