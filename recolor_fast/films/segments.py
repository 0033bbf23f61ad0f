"""A film's colored pictures, compressed, in files of some seconds beside the film to be: what is whole is not lost."""

import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recolor_fast.machine import files

SECONDS = 10  # of a segment: what a kill may lose, and the time between two pictures that depend on no other
_LENGTH = struct.Struct(">Q")


class Packet(NamedTuple):
    """A compressed picture, in the order of decoding."""

    at: int
    """When it is shown, in the film's unit."""
    key: bool
    """Whether it can be decoded without others."""
    size: int
    """Bytes."""


class Index(NamedTuple):
    """What is in a segment."""

    packets: list[Packet]
    ends: int
    """When the picture after its last one is shown, in the film's unit; at the film's end, when its last one goes."""
    last: int
    """When its last picture is shown."""
    final: bool
    """Whether the film ends with it."""
    header: str
    """What a decoder is told before the first picture, in hexadecimal: the same for all segments of a film."""

    @property
    def delay(self) -> int:
        """Pictures that a decoder has to hold back, as they come in another order than they are shown in."""
        places = {at: place for place, at in enumerate(sorted(packet.at for packet in self.packets))}
        return max(number - places[packet.at] for number, packet in enumerate(self.packets))


class Store:
    """The folder of a film's segments. What its `facts` differ in from those of the run before is for callers to judge;
    nothing of an older film is read."""

    def __init__(self, target: Path) -> None:
        self.folder = target.with_name(f".{target.name}.segments")
        self._facts = self.folder / "film.json"

    def facts(self) -> Mapping[str, Any] | None:
        """What the begun film is made of; None where none is begun. Raises OSError."""
        try:
            read = json.loads(self._facts.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return read if isinstance(read, dict) else None

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Begin a film, or go on with it: parts that a kill left are removed. Raises OSError."""
        if self.facts() is None:
            self.clear()
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            if files.is_part(path):
                path.unlink()
        files.write_text(self._facts, json.dumps(facts))

    def clear(self) -> None:
        """Remove all segments. Raises OSError."""
        for path in self.folder.glob("[0-9]*.*"):
            path.unlink()

    def remove(self) -> None:
        """Remove the folder. Raises OSError."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.segment"

    def whole(self) -> int:
        """How many segments there are before the first that is missing."""
        number = 0
        while self.path(number).exists():
            number += 1
        return number

    def index(self, number: int) -> Index:
        """What is in a segment. Raises OSError."""
        with open(self.path(number), "rb") as file:
            file.seek(-_LENGTH.size, os.SEEK_END)
            (length,) = _LENGTH.unpack(file.read())
            file.seek(-_LENGTH.size - length, os.SEEK_END)
            packets, *rest = json.loads(file.read(length))
        return Index([Packet(*packet) for packet in packets], *rest)

    def packets(self, number: int, index: Index) -> Iterator[tuple[Packet, bytes]]:
        """A segment's pictures, one by one. Raises OSError."""
        with open(self.path(number), "rb") as file:
            for packet in index.packets:
                yield packet, file.read(packet.size)

    def keep_state(self, number: int, state: np.ndarray) -> None:
        """Keep what the colors before a segment leave for it, a float array. Raises OSError."""
        with files.replacing(self._state(number)) as file:
            np.save(file, state, allow_pickle=False)

    def keep_found(self, number: int, found: Mapping[str, int]) -> None:
        """Keep what was found in the film's frames before a segment, to be told at its end. Raises OSError."""
        files.write_text(self._found(number), json.dumps(found))

    def found(self, number: int) -> Mapping[str, int]:
        """What was kept for a segment; nothing where a version before wrote it. Raises OSError."""
        path = self._found(number)
        return json.loads(path.read_text()) if path.exists() else {}

    def _found(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def drop_state(self, number: int) -> None:
        """What is not needed any more: the segment that began with it is whole."""
        self._state(number).unlink(missing_ok=True)

    def state(self, number: int) -> np.ndarray | None:
        """What was kept for a segment; None where nothing was. Raises OSError."""
        path = self._state(number)
        return np.load(path, allow_pickle=False) if path.exists() else None

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"


class Writer:
    """A segment being written: it is there once it is finished, and not at all before."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(files.replacing(path))
        self.packets: list[Packet] = []

    def add(self, packet: Packet, data: bytes) -> None:
        self._file.write(data)
        self.packets.append(packet)

    def finish(self, ends: int, last: int, final: bool, header: str) -> None:
        """Raises OSError."""
        index = json.dumps([self.packets, ends, last, final, header]).encode()
        self._file.write(index + _LENGTH.pack(len(index)))
        self._stack.close()

    def drop(self) -> None:
        """Leave nothing of it."""
        error = _Dropped()
        try:
            if not self._stack.__exit__(_Dropped, error, None):
                raise error
        except _Dropped:
            pass


class _Dropped(Exception):
    pass
