"""What checks of image files found earlier, kept in the cache until a file changes; an SQLite file.

Several processes may use it at once. Whatever is wrong with it costs a warning and the time to check again.
"""

import os
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import cv2
import PIL
import simplejpeg

from recolor_fast.machine.files import cache_folder, private_folder
from recolor_fast.photographs import libraries

# The number stands for what images.check does: it is raised when that changes.
VERSION = f"3 {PIL.__version__} {cv2.__version__} {simplejpeg.__version__} {libraries.versions()}"
DAYS = 90  # so long after a check it is made again: the table does not grow for ever, and a disk may rot in silence
SETTLED = 2 * 10**9  # nanoseconds: a file changed later than so long ago may change again within the same time stamp
TOGETHER = 500  # files that one query asks for: SQLite takes at least 999 values
WAIT = 5.0  # seconds for another process to finish writing, which takes a fraction of one

Key = tuple[Path, str]  # a file and its `state`


def state(path: Path) -> str:
    """What changes whenever the content of a file does: its size and times. Empty where that cannot be relied on: for
    a file of which nothing can be told or that changed just now (or will, by its times)."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < SETTLED:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


@contextmanager
def memory(paths: Sequence[Path], check: str) -> Generator[tuple[Mapping[Key, str | None], dict[Key, str | None]]]:
    """What is known of `paths` from earlier, and a dictionary for what is new, which is kept when the block ends.

    Both have the reason why a file is no usable image, or None where it is one. `check` is "header" or "full"; what
    passed the full check has passed the other. Or it is "chroma", and both have a number, as text. Warns, and goes on
    with nothing known, where the file cannot be used.
    """
    known: dict[Key, str | None] | None = None
    fresh: dict[Key, str | None] = {}
    with _warning():
        known = dict(_known(paths, check))
    try:
        yield known or {}, fresh
    finally:
        if fresh and known is not None:
            with _warning():
                _keep(fresh, check)


def _known(paths: Sequence[Path], check: str) -> Iterator[tuple[Key, str | None]]:
    """All there is of these files, whatever state they were in."""
    today = day()
    with _database() as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'checked'").fetchone():
            return
        for first in range(0, len(paths), TOGETHER):
            names = [(path, _name(path)) for path in paths[first : first + TOGETHER]]
            rows = database.execute(
                "SELECT path, state, reason FROM checked WHERE version = ? AND day BETWEEN ? AND ?"
                " AND (level = ? OR (? = 'header' AND level = 'full' AND reason IS NULL))"
                f" AND path IN ({', '.join('?' * len(names))})",
                (VERSION, today - DAYS, today, check, check, *(name for _, name in names)),
            )
            found = defaultdict(list)
            for name, state, reason in rows:
                found[name].append((state, reason))
            for path, name in names:
                for state, reason in found[name]:
                    yield (path, state), reason


def _keep(fresh: Mapping[Key, str | None], check: str) -> None:
    today = day()
    rows = [
        (_name(path), check, VERSION, state, reason and reason.encode(errors="backslashreplace").decode(), today)
        for (path, state), reason in fresh.items()
    ]
    with _database() as database, database:  # closed, and one transaction
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "CREATE TABLE IF NOT EXISTS checked (path BLOB, level TEXT, version TEXT, state TEXT, reason TEXT,"
            " day INTEGER, PRIMARY KEY (path, level)) WITHOUT ROWID"
        )
        database.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.execute("DELETE FROM checked WHERE day NOT BETWEEN ? AND ?", (today - DAYS, today))


def _database() -> closing[sqlite3.Connection]:
    """The file, which is made where there is none. Raises OSError and sqlite3.Error."""
    return closing(sqlite3.connect(private_folder("index") / "checked.sqlite", timeout=WAIT))


def _name(path: Path) -> bytes:
    """Bytes, as file names need not be valid text."""
    return os.fsencode(os.path.abspath(path))


def day() -> int:
    """Days since 1970."""
    return int(time.time() // 86_400)


@contextmanager
def _warning() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        place = "the index of files in the cache"
        with suppress(OSError):  # there may be no place for a cache
            place = str(cache_folder() / "index")
        warn_once(f"{place} cannot be used ({error})")


@cache  # once a process
def warn_once(text: str) -> None:
    """Warn of something, the first time that it is told."""
    print(
        f"warning: {text}: what checks of files find is not kept; repair or remove it, or set RECOLOR_FAST_CACHE",
        file=sys.stderr,
    )
