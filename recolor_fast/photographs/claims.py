"""Several runs into one folder share its work: what one has begun the others leave to it until they have nothing else.

A claim is a lock on one byte of a hidden file in the folder, so it ends with its process, however that ends: none is
ever left behind. Without the file or without locks, everything is free: two runs may then make the same picture,
and the second to come finds it there.
"""

import errno
import hashlib
import importlib
import os
import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

FILE = ".recolor_fast.lock"
SECONDS = 0.2  # between two looks at what another run has begun

_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
_LOCK, _JOIN, _UNLOCK = (_fcntl.LOCK_EX | _fcntl.LOCK_NB, _fcntl.LOCK_SH, _fcntl.LOCK_UN) if _fcntl else (0, 0, 0)
_AT_WORK = 2**62  # a byte behind those of all names: runs share a lock on it for as long as they are at work
_T = TypeVar("_T")


class Claims:
    """What this run has begun of a folder's work, by names that all runs into the folder use; closed at its end."""

    def __init__(self, folder: Path | None, enough: threading.Event, following: bool = False) -> None:
        """`folder`: None where there is none to share. `enough`: set when no more work is wanted. `following`: work
        comes without end."""
        self.folder, self.enough = folder, enough
        self.missed: set[Hashable] | None = set() if following else None
        """Where work comes without end: keys of what another run has begun, to come again."""
        self.since = time.time_ns()
        """When this run began, or the one that it found at work: nanoseconds."""
        self._begins = os.path.join(folder or "", "")
        self._handle: int | None = None
        self._held: dict[str, int] = {}

    def name(self, path: Path) -> str:
        """How all runs into the folder call a path in it."""
        below = str(path).removeprefix(self._begins)
        plain = self.folder and len(below) < len(str(path)) and ".." not in below
        return below if plain else os.path.relpath(path, self.folder)

    def take(self, name: str, times: int = 1) -> bool:
        """Begin a piece of work that ends with as many calls of `release`; False where another run has begun it.

        Makes the folder where it is missing.
        """
        if not self.folder or not self._locked(name, True):
            return not self.folder
        self._held[name] = times
        return True

    def release(self, name: str) -> None:
        """What was begun is done, or failed."""
        if name in self._held:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
                self._locked(name, False)

    def _locked(self, name: str, lock: bool) -> bool:
        """Lock or unlock the byte of a name; False where another run has locked it."""
        at = int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "big") >> 2
        if self._handle is None:
            self._open()
        return self._handle is None or self._try(_LOCK if lock else _UNLOCK, 1, at)

    def _open(self) -> None:
        if not self.folder or not _fcntl:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            if self._try(_LOCK):  # all of it: no other run is at work
                os.utime(self._handle)
            if self.missed is None:  # one that follows a folder without end is at work on what it has begun alone
                self._try(_JOIN, 1, _AT_WORK)
                self._try(_UNLOCK, _AT_WORK)
            else:
                self._try(_UNLOCK)
            self.since = os.fstat(self._handle).st_mtime_ns  # by the clock of its file system

    def _try(self, how: int, length: int = 0, at: int = 0) -> bool:
        try:
            _fcntl.lockf(self._handle, how, length, at)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)  # else there are no locks here
        return True

    def close(self) -> None:
        """Release everything, and remove the file if no other run has begun anything."""
        if self._handle is None or not self.folder:
            return
        self._try(_UNLOCK)  # first: of two that end at the same time neither is in the other's way
        if self._try(_LOCK):
            with suppress(OSError):
                os.unlink(self.folder / FILE)
        os.close(self._handle)
        self._handle = None


def shared(work: Iterable[tuple[str, int, Hashable, _T]], claims: Claims) -> Iterator[_T]:
    """Each piece of work once this run may begin it, what others have begun last, when they are done with it.

    Each comes with its name, how often it is released (0: it is no work), and its key for `Claims.missed`.
    """
    later = []
    for name, times, key, piece in work:
        if not times or claims.take(name, times):
            yield piece
        elif claims.missed is not None:
            claims.missed.add(key)
        else:
            later.append((name, times, piece))
    for name, times, piece in later:
        while not claims.take(name, times):
            if claims.enough.wait(SECONDS):
                return
        yield piece
