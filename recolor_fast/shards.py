"""Verb: a folder's photographs as shards, the tar files of WebDataset, in a seeded order and of bounded size.

`recolor-fast shards FOLDER OUT` prints OUT as its last line on stdout; everything for people goes to stderr. Each
photograph is a sample: its bytes as they are, named by its path below FOLDER (but for dots, where WebDataset ends a
name), `.json` with its `filename` and `class` (its folder) and, where there are classes, `.cls`, the class's number in
index.json. Exit codes: 0 done, 1 a full disk or another failure, 2 arguments that cannot be used, 130 interrupted.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.shards", arguments="shards")

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recolor_fast.arguments.shards import parse
from recolor_fast.data import sources
from recolor_fast.machine import bars, starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import is_part, legible, print_path, replacing, write_text
from recolor_fast.photographs import images

MB = 1_000_000
INDEX = "index.json"


class Sample(NamedTuple):
    """A photograph, and what is packed with it."""

    path: Path
    """Of the photograph."""
    name: str
    """Below the folder, with slashes."""
    key: str
    """What its members are called, up to the suffix."""
    suffix: str
    size: int
    """Bytes."""
    changed: int
    """When it was last written, nanoseconds since 1970."""
    notes: dict[str, bytes]
    """The other members, by suffix."""

    def members(self) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
        """The headers in order, each with its content, None for the photograph's."""
        for suffix, data in {self.suffix: None, **self.notes}.items():
            info = tarfile.TarInfo(self.key + suffix)
            info.size = self.size if data is None else len(data)
            info.mtime = self.changed // 10**9
            yield info, data


def samples(folder: Path) -> tuple[list[Sample], list[str]]:
    """All photographs of a folder by their names, and the names of the classes. UserError where there is none."""
    found = sorted(sources.found_images(folder, sources.files(folder)))
    if not found:
        raise UserError(f"{folder}: no images in it or its folders; expected files such as .jpg, .png or .webp")
    classes = sorted({one.label for one in found})
    keys: set[str] = set()
    planned = []
    for one in found:
        notes = {".json": json.dumps({"filename": one.name, "class": one.label}).encode()}
        if classes != ["."]:
            notes[".cls"] = str(classes.index(one.label)).encode()
        try:
            status = one.path.stat()
        except OSError as error:  # a link to nowhere, say
            _say_left_out(one.path, images.why(error))
            continue
        key = _key(one.name, keys)
        planned.append(Sample(one.path, one.name, key, _suffix(one.path), status.st_size, status.st_mtime_ns, notes))
    return planned, classes


def _say_left_out(path: Path, reason: str) -> None:
    print(f"warning: {legible(path)} is left out: {legible(reason)}", file=sys.stderr)


def _key(name: str, taken: set[str]) -> str:
    """A name without its suffix and its dots, that no other photograph has: a.b.jpg is a_b, and a.png beside a.jpg
    a_2."""
    folder, slash, base = name.rpartition("/")
    stem = os.path.splitext(base)[0].replace(".", "_")
    key, number = f"{folder}{slash}{stem}", 2
    while key in taken:
        key, number = f"{folder}{slash}{stem}_{number}", number + 1
    taken.add(key)
    return key


def _suffix(path: Path) -> str:
    """Of a file, or what its content calls for where it has none."""
    if path.suffix:
        return path.suffix
    with open(path, "rb") as file:
        header = images.header(file)
    suffix = f".{header.format.lower()}" if header else ""
    return suffix if suffix in images.SUFFIXES else ".jpg"


def split(planned: Sequence[Sample], limit: int) -> list[list[Sample]]:
    """The samples of each shard, none larger than `limit` bytes but those of a single photograph."""
    shards: list[list[Sample]] = []
    room = 0
    for sample in planned:
        size = sum(_blocks(len(info.tobuf())) + _blocks(info.size) for info, _ in sample.members())
        if size > room or not shards:
            shards.append([])
            room = limit // tarfile.RECORDSIZE * tarfile.RECORDSIZE - 2 * tarfile.BLOCKSIZE  # two of zeros end it
        shards[-1].append(sample)
        room -= size
    return shards


def _blocks(size: int) -> int:
    """Bytes in whole blocks."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def write(place: Path, some: Sequence[Sample]) -> dict[str, str]:
    """Write a shard, whole or not at all; returns the photographs that could not be read, and why. OSError for it."""
    left_out = {}
    with replacing(place) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for sample in some:
            try:
                content = images.read(sample.path)
            except OSError as error:
                left_out[sample.name] = images.why(error)
                continue
            for info, data in sample.members():
                data = content if data is None else data
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return left_out


def pack(folder: Path, out: Path, limit: int, seed: int) -> None:
    """Pack what is not packed yet. UserError for folders of no use, OSError for what cannot be written."""
    if not folder.is_dir():
        raise UserError(f"{folder}: the folder {'is a file' if folder.exists() else 'does not exist'}")
    planned, classes = samples(folder)
    order = np.random.default_rng((seed, len(planned))).permutation(len(planned))
    shards = split([planned[place] for place in order], limit)
    told = json.dumps([limit, seed, [(sample.name, sample.size, sample.changed) for sample in planned]])
    index: dict[str, Any] = {
        "photographs": len(planned),
        "classes": classes,
        "seed": seed,
        "shard_size": limit,
        "of": hashlib.sha256(told.encode()).hexdigest(),
        "shards": {},
        "left_out": {},
    }
    _take_up(out, index)
    done = index["shards"]
    with bars.bar(None, "packing", len(planned)) as bar:
        for number, some in enumerate(shards):
            place = out / f"{number:06d}.tar"
            if place.name not in done or not _stands(place, done[place.name]["bytes"]):
                left_out = write(place, some)
                for name, reason in left_out.items():
                    _say_left_out(folder / name, reason)
                index["left_out"] |= left_out
                done[place.name] = {"photographs": len(some) - len(left_out), "bytes": place.stat().st_size}
                write_text(out / INDEX, json.dumps(index, indent=1) + "\n")
            bar.update(len(some))
    count = sum(one["photographs"] for one in done.values())
    print(f"{count:,} photographs in {len(done):,} shards: train --data {out}", file=sys.stderr)


def _take_up(out: Path, index: dict[str, Any]) -> None:
    """Make a folder ready for shards: `index` gets what an earlier call has packed of the same. UserError where it
    holds anything else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: it is a file; expected a folder to write to")
    out.mkdir(parents=True, exist_ok=True)
    try:
        before = json.loads((out / INDEX).read_text())
        same, done = before["of"] == index["of"], (before["shards"], before["left_out"])
    except FileNotFoundError:
        if any(out.iterdir()):
            raise UserError(f"{out}: it is not empty, and no {INDEX} says of what; give another folder") from None
        write_text(out / INDEX, json.dumps(index, indent=1) + "\n")
        return
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{out / INDEX}: it is no index of shards; give another folder") from error
    if not same:
        raise UserError(
            f"{out}: it holds shards of other photographs, or of these before they changed, or of another --seed or "
            "--shard-size; give another folder"
        )
    index["shards"], index["left_out"] = done
    for path in out.iterdir():
        if is_part(path):  # of a call that was killed
            path.unlink()


def _stands(place: Path, size: int) -> bool:
    return place.is_file() and place.stat().st_size == size


@starting.verb(stopped="interrupted; the shards before stay, and the same command goes on", told={OSError: 1})
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    for name, least in (("shard_size", 1), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise UserError(f"{name} {getattr(arguments, name)}: expected {least} or more")
    pack(arguments.folder, arguments.out, arguments.shard_size * MB, arguments.seed)
    print_path(arguments.out)
    return 0
