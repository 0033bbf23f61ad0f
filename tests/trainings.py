"""Small trainings for tests, in this process, and what they leave behind."""

import csv
from pathlib import Path
from typing import Any

import torch

from recolor_fast import train
from recolor_fast.runs import checkpoint

SMALL = (
    "--size 64 --width 4 --images 12 --save-every 4 --log-every 2 --samples 2 --device cpu --threads 1 --lpips off"
).split()
TIMED = ("time", "images_per_s", "data_wait", "memory")


def arguments(photographs: Path, runs: Path, *more: object) -> list[str]:
    """The command line of a small training; later words win."""
    return [*SMALL, "--data", str(photographs), "--runs", str(runs), *map(str, more)]


def run(photographs: Path, runs: Path, *more: object, capsys=None) -> Path:
    """Train to the end; the run folder where `capsys` can tell it, else `runs`."""
    assert train.main(arguments(photographs, runs, *more)) == 0
    return Path(capsys.readouterr().out.splitlines()[-1]) if capsys else runs


def rows(folder: Path, name: str = "results.csv") -> list[dict[str, str]]:
    """The rows of a CSV file of a run, but for its timings."""
    with open(folder / name, newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)]


def newest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a run folder."""
    return checkpoint.newest(folder / "checkpoints")[1]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit the same rows, validation, networks, optimizers and interval; at the same place."""
    for name in ("results.csv", "validation.csv"):
        assert rows(one, name) == rows(other, name)
    ours, theirs = (
        flat({k: v for k, v in newest(run).items() if k not in ("options", "begun")}) for run in (one, other)
    )
    assert ours.keys() == theirs.keys()
    assert any(isinstance(value, torch.Tensor) for value in ours.values())
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """A nest of dicts, lists and tuples as one dict of its leaves by path."""
    if isinstance(state, dict):
        state = state.items()
    elif isinstance(state, list | tuple):
        state = enumerate(state)
    else:
        return {name: state}
    return {path: leaf for key, value in state for path, leaf in flat(value, f"{name}/{key}").items()}
