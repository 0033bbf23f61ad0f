"""What visitors have on their desks: photographs as they came and what is known of each, in a private folder.

    STATE/desks/KEY/ID.original      the bytes that came
    STATE/desks/KEY/ID.json          the facts, see Photograph; a photograph is there once this is
    STATE/desks/KEY/ID.REVISION.npz  what a model saw of it and painted

Files are written beside their place and renamed, and the facts name the revision, so a kill at any moment leaves every
photograph whole; what it leaves beside them is removed at the next start. No name in the folder is a visitor's.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from recolor_fast.artefact import hints
from recolor_fast.artefact.hints import Hint
from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError

VERSION = 1  # of the facts; another one is never read, nor removed
TRIES = 3  # starts of a photograph's work that ended with the server's end: it may be what ends it
LONGEST = 200  # characters of a name
HOUR = 3600
DAY = 24 * HOUR

Status = Literal["waiting", "working", "ready", "failed"]

_KEY = re.compile(r"[0-9a-f]{64}")
_OWN = re.compile(r"([0-9a-f]{16})\.(?:original|json|\d+\.npz)")  # the files of a photograph
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Limits(NamedTuple):
    """How much is kept."""

    photographs: int = 500
    """On a desk."""
    desk_bytes: int = 10 * 2**30
    """Of the files on a desk."""
    desks: int = 50
    """In all."""
    days: int = 90
    """After a desk's last visit it is cleared, when the server starts or there is no room for another desk."""
    spare: int = 2**28
    """Bytes of the disk that new photographs leave free, for what is written about those that are there."""
    arriving: int = 32
    """Photographs that come at the same time, in all."""


class NoRoom(Exception):
    """There is no room; the text is a sentence that says for what."""


class Busy(Exception):
    """Too many photographs come at the same time; a moment later there may be fewer."""


class Gone(KeyError):
    """There is no such photograph on this desk, or no more."""


class Photograph(NamedTuple):
    """The facts of a photograph."""

    id: str
    """16 hexadecimal digits."""
    name: str
    """What the visitor calls it; for people alone."""
    model: str
    """Name of the model that colors it."""
    arrived: int
    """Nanoseconds since 1970, and later than that of every photograph before it."""
    bytes: int
    """Of its file."""
    status: Status = "waiting"
    reason: str = ""
    """Why it failed."""
    notes: tuple[str, ...] = ()
    """What one should know of it: "first of 3 pictures"."""
    width: int = 0
    """Pixels, upright; until it has been read what its header says, 0 for nothing."""
    height: int = 0
    in_color: bool = False
    """Whether it came in color."""
    toned: bool = False
    """Whether it is a print with a tone of its own."""
    size: int = 0
    """Pixels a side of what the model paints; 0 until it has."""
    look: Mapping[str, float] = {}  # noqa: RUF012 - replaced, never changed
    """Of chroma.Look what the visitor chooses, by name; what is not in it is as usual."""
    hints: tuple[Hint, ...] = ()
    revision: int = 0
    """How often it was painted."""
    painter: tuple[str, str] = ("", "")
    """Name and SHA-256 of the artefact that painted it last."""
    prepared: tuple[int, str, str] = (0, "", "")
    """How what the model saw was made: size, equalize, blur."""
    tries: int = 0
    """How often its work began and did not end."""


def as_json(photograph: Photograph) -> dict[str, Any]:
    return photograph._asdict() | {"hints": [hint._asdict() for hint in photograph.hints]}


def of_json(values: Mapping[str, Any]) -> Photograph:
    """Raises ValueError or TypeError for what is none."""
    photograph = Photograph(**values)
    texts = photograph.id, photograph.name, photograph.model
    numbers = photograph.arrived, photograph.bytes, photograph.revision, photograph.tries
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("id, name and model are texts, arrived, bytes, revision and tries numbers")
    return photograph._replace(
        hints=hints.checked(photograph.hints),
        notes=tuple(photograph.notes),
        painter=(photograph.painter[0], photograph.painter[1]),
        prepared=(photograph.prepared[0], photograph.prepared[1], photograph.prepared[2]),
    )


def title(name: str) -> str:
    """What a visitor calls a file as one legible line: the last part of a path, its end if it is long."""
    return files.legible(re.split(r"[/\\]", name.strip())[-1])[-LONGEST:] or "photograph"


class Desks:
    """All desks below a state folder, each known by a key of 64 hexadecimal digits. For any number of threads.

    A desk is there once something arrives at it. Whatever is asked of a photograph that is not there raises Gone, what
    finds no room NoRoom, and other errors of the file system are OSErrors.
    """

    def __init__(self, state: Path, limits: Limits = Limits()) -> None:
        """Open the folder, which is made if need be, for this process alone, until `close`. Work that was begun waits
        again.

        Raises UserError where another server has it, others may read it, or another version has written it.
        """
        self.limits = limits
        self.folder = state / "desks"
        self._lock = threading.RLock()
        self._arriving: Counter[str] = Counter()
        self._visits: dict[str, float] = {}
        try:
            files.private(state)
            files.private(self.folder)
            self._handle = _locked(state / "desks.lock")
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"state folder {state}: {why}; give a folder of your own with --state") from error
        try:
            self._desks = _found(self.folder)
            self._tidy()
        except BaseException:
            self.close()
            raise
        self._last = max((one.arrived for desk in self._desks.values() for one in desk.values()), default=0)

    def close(self) -> None:
        """Let others have the folder."""
        self._handle.close()

    def photographs(self, key: str) -> list[Photograph]:
        """Those of a desk, in the order they came."""
        with self._lock:
            self._visit(key)
            return sorted(self._desks.get(key, {}).values(), key=lambda one: one.arrived)

    def get(self, key: str, id: str) -> Photograph:
        with self._lock:
            try:
                return self._desks[key][id]
            except KeyError:
                raise Gone(id) from None

    def original(self, key: str, id: str) -> bytes:
        """The file as it came."""
        self.get(key, id)
        try:
            return self._path(key, id, "original").read_bytes()
        except FileNotFoundError:
            raise Gone(id) from None

    def begin(self, key: str) -> "Arriving":
        """A photograph whose bytes are to come. Raises Busy where too many are coming."""
        with self._lock:
            if key not in self._desks:
                self._make(key)
            if self._arriving.total() >= self.limits.arriving:
                raise Busy(f"{self.limits.arriving} photographs are coming already; try again in a moment")
            held = len(self._desks[key]) + self._arriving[key]
            if held >= self.limits.photographs:
                raise NoRoom(f"a desk holds {self.limits.photographs} photographs; remove some")
            self._room(key, 0)
            try:
                file = open(self.folder / key / f".{uuid.uuid4().hex}.part", "xb", opener=_private)
            except OSError as error:
                raise _told(error) from error
            self._arriving[key] += 1
        return Arriving(self, key, file)

    def change(self, key: str, id: str, lasting: bool = True, **facts: Any) -> Photograph:
        """A photograph with other facts. Where these cannot be written that is an error, and nothing is changed, unless
        it is enough that they hold until the server ends: not `lasting`."""
        with self._lock:
            photograph = self.get(key, id)._replace(**facts)
            try:
                self._write(key, photograph)
            except OSError:
                if lasting:
                    raise
            self._desks[key][id] = photograph
            return photograph

    def take(self) -> tuple[str, Photograph] | None:
        """Begin the work on the photograph that has waited longest: its desk's key, and itself; None where none is."""
        with self._lock:
            waiting = [(key, one) for key, desk in self._desks.items() for one in desk.values()]
            waiting = [(key, one) for key, one in waiting if one.status == "waiting"]
            if not waiting:
                return None
            key, first = min(waiting, key=lambda pair: pair[1].arrived)
            return key, self.change(key, first.id, lasting=False, status="working", tries=first.tries + 1)

    def paint(self, key: str, id: str, arrays: Mapping[str, np.ndarray], **facts: Any) -> Photograph:
        """A photograph with what a model saw and painted, and other facts. One at a time for each photograph."""
        revision = self.get(key, id).revision + 1
        path = self._path(key, id, f"{revision}.npz")
        try:
            with files.replacing(path, mode=0o600) as file:
                np.savez(file, **dict(arrays))  # type: ignore[arg-type]
            with self._lock:
                photograph = self.change(key, id, revision=revision, status="ready", reason="", tries=0, **facts)
                self._path(key, id, f"{revision - 1}.npz").unlink(missing_ok=True)
                return photograph
        except Gone:
            path.unlink(missing_ok=True)
            raise
        except FileNotFoundError:  # the desk was cleared
            raise Gone(id) from None
        except OSError as error:  # the facts on the disk may name either revision, and both are there
            raise _told(error) from error

    def painted(self, key: str, id: str) -> tuple[Photograph, dict[str, np.ndarray]]:
        """A photograph and the arrays that `paint` was given last. Gone where it has not been painted."""
        with self._lock:
            photograph = self.get(key, id)
            try:
                with np.load(self._path(key, id, f"{photograph.revision}.npz"), allow_pickle=False) as arrays:
                    return photograph, dict(arrays)
            except FileNotFoundError:
                raise Gone(id) from None

    def remove(self, key: str, id: str) -> None:
        """Remove a photograph, from the disk too."""
        with self._lock:
            revision = self.get(key, id).revision
            for end in ("json", "original", f"{revision}.npz"):  # without its facts it is not there
                self._path(key, id, end).unlink(missing_ok=True)
            del self._desks[key][id]

    def clear(self, key: str) -> None:
        """Remove a desk with all that is on it, from the disk too."""
        with self._lock:
            self._desks.pop(key, None)
            self._visits.pop(key, None)
            with_others = self.folder / f".{uuid.uuid4().hex}.gone"  # a kill leaves nothing that looks like a desk
            try:
                os.rename(self.folder / key, with_others)
            except FileNotFoundError:
                return
        shutil.rmtree(with_others)

    def clear_all(self) -> int:
        """Remove all desks; how many there were."""
        with self._lock:
            keys = [*self._desks]
        for key in keys:
            self.clear(key)
        return len(keys)

    def _path(self, key: str, id: str, end: str) -> Path:
        return self.folder / key / f"{id}.{end}"

    def _write(self, key: str, photograph: Photograph) -> None:
        with files.replacing(self._path(key, photograph.id, "json"), mode=0o600) as file:
            file.write(json.dumps({"version": VERSION} | as_json(photograph), indent=1).encode())

    def _visit(self, key: str) -> None:
        """Note, at most once an hour, that a desk is in use: the time of its folder is that of its last visit."""
        if key in self._desks and time.time() - self._visits.get(key, 0) > HOUR:
            os.utime(self.folder / key)
            self._visits[key] = time.time()

    def _make(self, key: str) -> None:
        if not _KEY.fullmatch(key):
            raise ValueError(f"key {key!r}: expected 64 hexadecimal digits")
        if len(self._desks) >= self.limits.desks:
            self._clear_old()
        if len(self._desks) >= self.limits.desks:
            raise NoRoom(f"there are {self.limits.desks} desks, and no room for another one")
        try:
            (self.folder / key).mkdir(mode=0o700)
        except OSError as error:
            raise _told(error) from error
        self._desks[key] = {}

    def _room(self, key: str, size: int) -> None:
        """Raises NoRoom where a desk or the disk has no room for so many bytes more."""
        if sum(one.bytes for one in self._desks[key].values()) + size > self.limits.desk_bytes:
            raise NoRoom(f"a desk holds {self.limits.desk_bytes / 2**30:.3g} GiB; remove some photographs")
        if shutil.disk_usage(self.folder).free < self.limits.spare:
            raise NoRoom("the server's disk is full")

    def _keep(self, key: str, part: Path, facts: Mapping[str, Any]) -> Photograph:
        id = secrets.token_hex(8)
        with self._lock:
            if key not in self._desks:
                raise Gone(id)
            self._room(key, facts["bytes"])
            self._last = max(self._last + 1, time.time_ns())
            photograph = Photograph(id=id, arrived=self._last, **facts)
            original = self._path(key, id, "original")
            try:
                os.rename(part, original)
                self._write(key, photograph)
            except OSError:
                for path in (self._path(key, id, "json"), original):
                    path.unlink(missing_ok=True)
                raise
            self._desks[key][id] = photograph
            return photograph

    def _tidy(self) -> None:
        """Remove what a kill has left, and desks that nobody has visited for long."""
        for path in self.folder.glob(".*.gone"):
            shutil.rmtree(path)
        for key, desk in self._desks.items():
            for path in (self.folder / key).iterdir():
                own = _OWN.fullmatch(path.name)
                known = own and own[1] in desk
                current = known and path.suffix == ".npz" and path.name == f"{own[1]}.{desk[own[1]].revision}.npz"
                if files.is_part(path) or (own and not known and not path.with_suffix("").with_suffix(".json").exists()):
                    path.unlink()
                elif known and path.suffix == ".npz" and not current:
                    path.unlink()
        self._clear_old()

    def _clear_old(self) -> None:
        latest = time.time() - self.limits.days * DAY
        for key in [key for key in self._desks if (self.folder / key).stat().st_mtime < latest]:
            self.clear(key)


class Arriving:
    """A photograph whose bytes are coming: a file that `keep` gives to its desk and `close`, otherwise, removes."""

    def __init__(self, desks: Desks, key: str, file: Any) -> None:
        self._desks, self._key, self._file = desks, key, file
        self.path = Path(file.name)
        self.size = 0
        """Bytes that have come."""

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _told(error) from error
        self.size += len(data)

    def flush(self) -> None:
        """Write all that has come to the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _told(error) from error

    def keep(self, name: str, model: str, width: int = 0, height: int = 0) -> Photograph:
        """The photograph, which waits now to be colored by a model, and which the visitor calls `name`; its sides in
        pixels as far as they are known."""
        self.flush()
        facts = {"name": title(name), "model": model, "bytes": self.size, "width": width, "height": height}
        try:
            return self._desks._keep(self._key, self.path, facts)
        except FileNotFoundError:  # the desk was cleared
            raise Gone(self._key) from None
        except OSError as error:
            raise _told(error) from error

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written is not wanted either
        finally:
            self.path.unlink(missing_ok=True)
            with self._desks._lock:
                self._desks._arriving[self._key] -= 1


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _told(error: OSError) -> Exception:
    """A full disk as NoRoom, any other error as it is."""
    return NoRoom("the server's disk is full") if error.errno in _FULL else error


def _locked(path: Path) -> BinaryIO:
    """A file that this process alone has locked, until it closes it or ends. Raises UserError."""
    file = open(path, "ab", opener=_private)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        advice = "stop that one, or give this one a folder of its own with --state"
        raise UserError(f"state folder {path.parent}: another server uses it; {advice}") from None
    return file


def _found(folder: Path) -> dict[str, dict[str, Photograph]]:
    """The photographs of all desks, by key and id; those that were worked on wait again."""
    desks: dict[str, dict[str, Photograph]] = {}
    for place in sorted(folder.iterdir()):
        if _KEY.fullmatch(place.name) and place.is_dir():
            read = (_read(path) for path in sorted(place.glob("*.json")))
            desks[place.name] = {one.id: one for one in read if one}
    return desks


def _read(path: Path) -> Photograph | None:
    """The facts in a file; None, and a word to whoever runs the server, where they are damaged. Raises UserError for
    those of another version."""
    try:
        values = json.loads(path.read_bytes())
        version = values.pop("version")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        version, values = VERSION, {}
    if version != VERSION:
        advice = "use the recolor_fast that wrote it, or another folder with --state, or clear this one with --clear"
        raise UserError(f"{path}: of version {version}, expected {VERSION}; {advice}")
    try:
        photograph = of_json(values)
        if f"{photograph.id}.json" != path.name:
            raise ValueError("the id is another one's")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        files.say(f"{path}: damaged ({error}); its photograph is left out, and lies beside it")
        return None
    if photograph.status != "working":
        return photograph
    if photograph.tries < TRIES:
        return photograph._replace(status="waiting")
    reason = f"the server ended {TRIES} times while it worked on this photograph"
    return photograph._replace(status="failed", reason=reason)
