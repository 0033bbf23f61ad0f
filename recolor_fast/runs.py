"""Run folders: their names, what they hold, and whether a run can be gone on with."""

import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from recolor_fast import checkpoint
from recolor_fast.files import replacing
from recolor_fast.networks.critics import build_critic
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import CHOSEN_PER_SESSION, Options, from_dict


def find(runs: Path, name: str, preset: str) -> Path | None:
    """The run to go on with: runs/name if it holds a run, else (no name) the preset's newest that has a checkpoint.

    Says on stderr where there is no checkpoint to go on from; None where there is no run at all.
    """
    trained = [folder for folder in numbered(runs, preset) if checkpoint.list_checkpoints(folder / "checkpoints")]
    folder = runs / name if name else trained[-1] if trained else None
    if folder is None or not checkpoint.list_checkpoints(folder / "checkpoints"):
        print(f"resume: no checkpoint in {folder or runs / (preset + '-<n>')}: starting it", file=sys.stderr)
    return folder if folder and (folder / "options.json").is_file() else None


def numbered(runs: Path, preset: str) -> list[Path]:
    """The folders <runs>/<preset>-<n>, by n."""
    found = [(path.name.removeprefix(f"{preset}-"), path) for path in runs.glob(f"{preset}-*")]
    return [path for _, path in sorted((int(n), path) for n, path in found if n.isdecimal())]


def create(options: Options) -> Path:
    """Make a new run folder, <preset>-<n> or the given name. ValueError if that name is taken."""
    runs = Path(options.runs)
    if options.name:
        folder = runs / options.name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists and is not empty: give another --name, or --resume to go on with it")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    taken = numbered(runs, options.preset)
    n = int(taken[-1].name.rsplit("-", 1)[1]) + 1 if taken else 1
    folder = runs / f"{options.preset}-{n}"
    folder.mkdir(parents=True)
    return folder


def stored_options(folder: Path) -> Options:
    """The options of a run folder. ValueError if its options.json cannot be read."""
    try:
        return from_dict(json.loads((folder / "options.json").read_text()))
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder / 'options.json'}: not the options of a run ({error})") from error


class Trained(NamedTuple):
    """The networks of a run's newest checkpoint, on the CPU, the generator in eval mode."""

    options: Options
    generator: nn.Module
    critic: nn.Module | None
    images: int
    """Photographs seen."""


def trained(run: Path) -> Trained:
    """What a run has trained. ValueError where there is no such run or checkpoint."""
    path, state = checkpoint.newest(run / "checkpoints")
    try:
        options = from_dict(json.loads(state["options"]))
        generator = build_generator(options)
        generator.load_state_dict(state["step"]["generator"])
        critic = build_critic(options) if options.critic else None
        if critic:
            critic.load_state_dict(state["step"]["critic"])
        return Trained(options, generator.eval(), critic, state["images"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: not a checkpoint of this version of recolor_fast ({error})") from error


def check_same(folder: Path, options: Options) -> None:
    """ValueError naming the first option that differs from the run's own and is part of what is trained."""
    stored = stored_options(folder)
    for field in fields(Options):
        old, new = getattr(stored, field.name), getattr(options, field.name)
        if old != new and field.name not in CHOSEN_PER_SESSION:
            raise ValueError(f"{folder} was trained with {field.name} {old!r}, not {new!r}: start another run for that")


def digest(*groups: Iterable[Path]) -> str:
    """A hash of which photographs a run trains and validates on: their names and classes, in order."""
    lines = [[Path(*path.parts[-2:]).as_posix() for path in group] for group in groups]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


class Rows:
    """A CSV file that grows a dict at a time; rows past `seen` photographs (a resumed run repeats them) are cut."""

    def __init__(self, path: Path, seen: int) -> None:
        self.path = path
        if path.is_file():
            with open(path, newline="") as file:
                reader = csv.DictReader(file)
                kept = [row for row in reader if row.get("images", "").isdecimal() and int(row["images"]) <= seen]
            text = io.StringIO()
            writer = csv.DictWriter(text, reader.fieldnames or [])
            writer.writeheader()
            writer.writerows(kept)
            write_text(path, text.getvalue())

    def add(self, row: dict[str, Any]) -> None:
        """Append a row, its floats with six digits; the header comes with the first one."""
        new = not self.path.exists() or not self.path.stat().st_size
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
