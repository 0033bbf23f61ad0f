"""Which photographs a run trains and validates on, by name: kept in its folder, and held against those given later."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from recolor_fast.data import shards
from recolor_fast.machine.files import write_text


def moved(paths: Iterable[Path], data: str, before: str) -> list[Path]:
    """Photographs of the folder or shards `data` as they were called when these were `before`."""
    now, then = shards.root(data), shards.root(before)
    return [then / path.relative_to(now) if path.is_relative_to(now) else path for path in paths]


def digest(*groups: Iterable[Path]) -> str:
    """A hash of which photographs a run trains and validates on: their names and classes, in order."""
    lines = [_names(group) for group in groups]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def write(run: Path, train: Iterable[Path], val: Iterable[Path]) -> None:
    """Keep which photographs a run trains and validates on, class/name each, in the run folder's photographs.json."""
    groups = {"train": _names(train), "val": _names(val)}
    write_text(run / "photographs.json", json.dumps(groups, indent=0) + "\n")


def trained_on(run: Path, paths: Iterable[Path]) -> int:
    """How many files have the name and class of one that a run trains on, wherever they lie; 0 without a list."""
    try:
        names = set(json.loads((run / "photographs.json").read_text())["train"])
    except (OSError, KeyError, TypeError, ValueError):
        return 0
    return sum(name in names for name in _names(paths))


def changes(run: Path, train: Iterable[Path], val: Iterable[Path]) -> str:
    """What has changed since `write`, in words; empty where nothing has.

    Where photographs.json cannot be read it says so, as for lists that differ: digest tells whether they do.
    """
    try:
        stored = json.loads((run / "photographs.json").read_text())
        before = {group: Counter([str(name) for name in stored[group]]) for group in ("train", "val")}
    except (OSError, KeyError, TypeError, ValueError):
        return "the list of photographs differs, and photographs.json, which would tell how, cannot be read"
    current = {"train": _names(train), "val": _names(val)}
    now = {group: Counter(names) for group, names in current.items()}
    gone = {group: before[group] - now[group] for group in before}
    new = {group: now[group] - before[group] for group in before}
    moved = {"train": gone["train"] & new["val"], "val": gone["val"] & new["train"]}
    said = []
    for group, other, purpose in (("train", "val", "train"), ("val", "train", "validate")):
        lost = _some(gone[group] - moved[group], "gone", f"photograph{{s}} to {purpose} on ")
        some = _some(new[group] - moved[other], "new", "" if lost else f"photograph{{s}} to {purpose} on ")
        said.append(", ".join(filter(None, (lost, some))))
    if both := moved["train"] + moved["val"]:
        said.append(f"{both.total()} moved between training and validation{_examples(both)}")
    if not any(said) and any(stored[group] != current[group] for group in current):
        return "the photographs are the same, in another order"
    return "; ".join(filter(None, said))


def _some(names: Counter[str], what: str, noun: str) -> str:
    count = names.total()
    verb = "is" if count == 1 else "are"
    return f"{count} {noun.format(s='' if count == 1 else 's')}{verb} {what}{_examples(names)}" if count else ""


def _examples(names: Counter[str]) -> str:
    return f" ({', '.join(sorted(names.elements())[:3])}{', ...' if names.total() > 3 else ''})"


def _names(paths: Iterable[Path]) -> list[str]:
    """By which they are known wherever they lie, be that in a folder or in shards."""
    return [Path(*shards.unpacked(path).parts[-2:]).as_posix() for path in paths]
