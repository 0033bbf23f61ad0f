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
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError
from recolor_fast.serve import facts
from recolor_fast.serve.facts import Photograph

HOUR = 3600
DAY = 24 * HOUR

_KEY = re.compile(r"[0-9a-f]{64}")
_OWN = re.compile(r"([0-9a-f]{16})\.(?:original|json|\d+\.npz)")  # the files of a photograph
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Limits(NamedTuple):
    """How much is kept."""

    photographs: int = 500
    """On a desk."""
    desk_bytes: int = 10 * 2**30
    """Of the files that came to a desk."""
    desks: int = 50
    """In all."""
    all_bytes: int = 100 * 2**30
    """Of the files that came to all desks."""
    days: int = 90
    """After a desk's last visit it is cleared, when the server starts or there is no room for another desk."""
    spare: int = 2**28
    """Bytes of the disk that new photographs leave free, for what is written about those that are there."""
    arriving: int = 32
    """Photographs that come at the same time, in all."""


LIMITS = Limits()


class NoRoom(Exception):
    """There is no room; the text is a sentence that says for what."""


class Busy(Exception):
    """Too many photographs come at the same time; a moment later there may be fewer."""


class Gone(KeyError):
    """There is no such photograph on this desk, or no more."""


class Desks:
    """All desks below a state folder, each known by a key of 64 hexadecimal digits. For any number of threads.

    A desk is there once something arrives at it. Whatever is asked of a photograph that is not there raises Gone, what
    finds no room NoRoom, and other errors of the file system are OSErrors.
    """

    def __init__(self, state: Path, limits: Limits = LIMITS) -> None:
        """Open the folder, which is made if need be, for this process alone, until `close`. Work that was begun waits
        again.

        Raises UserError where another server has it, others may read it, or another version has written it.
        """
        self.limits = limits
        self.folder = state / "desks"
        self._lock = threading.RLock()
        self._arriving: Counter[str] = Counter()
        self._visits: dict[str, float] = {}
        self._handle = _opened(state)
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
                arriving = Arriving(self, key, self.folder / key / f".{uuid.uuid4().hex}.part")
            except OSError as error:
                raise _told(error) from error
            self._arriving[key] += 1
        return arriving

    def change(self, key: str, id: str, lasting: bool = True, **changes: Any) -> Photograph:
        """A photograph with other facts. Where these cannot be written that is an error, and nothing is changed, unless
        it is enough that they hold until the server ends: not `lasting`."""
        with self._lock:
            photograph = self.get(key, id)._replace(**changes)
            try:
                self._write(key, photograph)
            except OSError as error:
                if lasting:
                    raise _told(error) from error
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

    def paint(self, key: str, id: str, arrays: Mapping[str, np.ndarray], **changes: Any) -> Photograph:
        """A photograph with what a model saw and painted, and other facts. One at a time for each photograph."""
        revision = self.get(key, id).revision + 1
        path = self._path(key, id, f"{revision}.npz")
        try:
            with files.replacing(path, mode=0o600) as file:
                np.savez(file, **dict(arrays))  # type: ignore[arg-type]
            with self._lock:
                photograph = self.change(key, id, revision=revision, status="ready", reason="", tries=0, **changes)
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
            self.get(key, id)
            self._path(key, id, "json").unlink(missing_ok=True)  # first: without its facts it is not there
            del self._desks[key][id]
            for path in (self.folder / key).glob(f"{id}.*"):
                path.unlink()

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

    def _path(self, key: str, id: str, end: str) -> Path:
        return self.folder / key / f"{id}.{end}"

    def _write(self, key: str, photograph: Photograph) -> None:
        with files.replacing(self._path(key, photograph.id, "json"), mode=0o600) as file:
            file.write(json.dumps({"version": facts.VERSION} | facts.as_json(photograph), indent=1).encode())

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
        if _size(self._desks[key]) + size > self.limits.desk_bytes:
            raise NoRoom(f"a desk holds {self.limits.desk_bytes / 2**30:.3g} GiB; remove some photographs")
        if sum(map(_size, self._desks.values())) + size > self.limits.all_bytes:
            raise NoRoom(f"the server holds {self.limits.all_bytes / 2**30:.3g} GiB of photographs, and no more")
        if shutil.disk_usage(self.folder).free < self.limits.spare:
            raise NoRoom("the server's disk is full")

    def _keep(self, key: str, part: Path, known: Mapping[str, Any]) -> Photograph:
        id = secrets.token_hex(8)
        with self._lock:
            if key not in self._desks:
                raise Gone(id)
            self._room(key, known["bytes"])
            self._last = max(self._last + 1, time.time_ns())
            photograph = Photograph(id=id, arrived=self._last, **known)
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
                if files.is_part(path) or _left(path, desk):
                    path.unlink()
        self._clear_old()

    def _clear_old(self) -> None:
        latest = time.time() - self.limits.days * DAY
        for key in [key for key in self._desks if (self.folder / key).stat().st_mtime < latest]:
            self.clear(key)


class Arriving:
    """A photograph whose bytes are coming: a file that `keep` gives to its desk and `close`, otherwise, removes."""

    def __init__(self, desks: Desks, key: str, path: Path) -> None:
        self._desks, self._key, self.path = desks, key, path
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 - until `close`
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
        known = {"name": facts.title(name), "model": model, "bytes": self.size, "width": width, "height": height}
        try:
            return self._desks._keep(self._key, self.path, known)
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


def _size(desk: Mapping[str, Photograph]) -> int:
    """Bytes of the files that came to a desk."""
    return sum(photograph.bytes for photograph in desk.values())


def _left(path: Path, desk: Mapping[str, Photograph]) -> bool:
    """Whether a file of a desk's folder is a photograph's that is not there, or a painting that another one followed.

    Damaged facts keep what belongs to them."""
    if (own := _OWN.fullmatch(path.name)) is None:
        return False
    if (photograph := desk.get(own[1])) is None:
        return not path.with_name(f"{own[1]}.json").exists()
    return path.suffix == ".npz" and path.name != f"{photograph.id}.{photograph.revision}.npz"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _told(error: OSError) -> Exception:
    """A full disk as NoRoom, any other error as it is."""
    return NoRoom("the server's disk is full") if error.errno in _FULL else error


def clear(state: Path) -> int:
    """Remove all desks below a state folder, whatever version wrote them; how many there were. Raises UserError as
    Desks does, and OSError."""
    with _opened(state):
        folders = [path for path in (state / "desks").iterdir() if _KEY.fullmatch(path.name)]
        for path in [*folders, *(state / "desks").glob(".*.gone")]:
            shutil.rmtree(path)
    return len(folders)


def _opened(state: Path) -> BinaryIO:
    """A state folder for this process alone, until what is returned is closed. Raises UserError."""
    try:
        files.private(files.private(state) / "desks")
        return _locked(state / "desks.lock")
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"state folder {state}: {why}; give a folder of your own, of mode 700, with --state") from error


def _locked(path: Path) -> BinaryIO:
    """A file that this process alone has locked, until it closes it or ends. Raises UserError."""
    file = open(path, "ab", opener=_private)  # noqa: SIM115 - open for as long as the lock is held
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
            read = (facts.read(path) for path in sorted(place.glob("*.json")))
            desks[place.name] = {one.id: one for one in read if one}
    return desks
