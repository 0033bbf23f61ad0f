"""A study's file: definition, digests of the files, pictures as shown, participants and answers; and what is drawn."""

import json
import platform
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from recolor_fast.machine.errors import UserError

TRUTH = "truth"
APPLICATION = 0x53545544  # SQLite's field for whose file it is: "STUD"
SCHEMA = """
CREATE TABLE study (definition TEXT NOT NULL);
CREATE TABLE picture (
    id INTEGER PRIMARY KEY, photograph TEXT NOT NULL, system TEXT NOT NULL, sha256 TEXT NOT NULL, bmp BLOB NOT NULL,
    UNIQUE (photograph, system)
);
CREATE TABLE participant (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, started TEXT NOT NULL);
CREATE TABLE showing (
    token TEXT PRIMARY KEY, participant INTEGER NOT NULL REFERENCES participant, position INTEGER NOT NULL,
    picture INTEGER NOT NULL REFERENCES picture,
    answer TEXT CHECK (answer IN ('real', 'colored')), milliseconds INTEGER, answered TEXT,
    UNIQUE (participant, position)
);
CREATE INDEX showing_of_picture ON showing (picture)
"""


class Definition(NamedTuple):
    """What makes a study this one and no other."""

    id: str
    images: int
    size: int
    seed: int
    systems: list[str]
    """The truth first."""
    made: str
    versions: dict[str, str]


# --- the file ------------------------------------------------------------------------------------------------------


@contextmanager
def database(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """One transaction on an existing file: all of it happens, or nothing. Writers wait for each other.

    SQLite's rollback journal rather than WAL: at rest the study is one file, which can be copied while it is served.
    """
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as db, db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield db


def stored(path: Path) -> Definition:
    """The definition in a study's file. UserError, one sentence for the user, if there is none."""
    if not path.is_file():
        raise UserError(f"study {path}: no such file; `study serve` with --truth and --systems makes it")
    try:
        with database(path) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                raise UserError(f"study {path}: not a file that `study serve` made; give another name")
            return Definition(**json.loads(db.execute("SELECT definition FROM study").fetchone()[0]))
    except sqlite3.DatabaseError as error:
        raise UserError(f"study {path}: cannot be read as an SQLite file ({error})") from error


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def versions() -> dict[str, str]:
    stack = {"python": platform.python_version()}
    for name in ("recolor-fast", "numpy", "pillow", "simplejpeg", "scipy", "fastapi"):
        with suppress(metadata.PackageNotFoundError):  # a checkout that was not installed
            stack[name] = metadata.version(name)
    return stack


# --- what a participant sees ---------------------------------------------------------------------------------------


def quotas(count: int, groups: int, participant: int) -> list[int]:
    """How many pictures of each group a participant gets: even, what is left over going round with the participants."""
    each, rest = divmod(count, groups)
    extra = {(participant * rest + turn) % groups for turn in range(rest)}
    return [each + (group in extra) for group in range(groups)]


def draw(
    answers: np.ndarray, showings: np.ndarray, quota: list[int], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs (group, photograph) in random order: `quota` of each group, no photograph twice.

    `answers` and `showings` (answered or not) are counts (groups, photographs). Pictures with the fewest answers come
    first, among these the least shown ones, among these those of the least shown photographs, as else the last
    pictures would be versions of few photographs, of which a participant can get but one. Random among equals.
    """
    slots = np.repeat(np.arange(len(quota)), quota)
    cost = 1e8 * answers + 1e4 * showings + showings.sum(0) + rng.random(showings.shape) / (len(slots) + 1)
    rows, columns = linear_sum_assignment(cost[slots])  # the cheapest there is: greedy picks run into the rule's walls
    return [(int(slots[rows[i]]), int(columns[i])) for i in rng.permutation(len(slots))]


def enroll(db: sqlite3.Connection, study: Definition) -> str:
    """A new participant's token, with all that they will be shown drawn."""
    rows = db.execute(
        "SELECT picture.id, count(showing.answer), count(showing.token) FROM picture "
        "LEFT JOIN showing ON showing.picture = picture.id GROUP BY picture.id ORDER BY system, photograph"
    ).fetchall()
    table = np.array(rows).reshape(len(study.systems), -1, 3)
    token = secrets.token_urlsafe(16)
    participant = db.execute("INSERT INTO participant (token, started) VALUES (?, ?)", [token, now()]).lastrowid or 0
    quota = quotas(study.images, len(study.systems), participant - 1)
    chosen = draw(table[..., 1], table[..., 2], quota, np.random.default_rng([study.seed, participant]))
    db.executemany(
        "INSERT INTO showing (token, participant, position, picture) VALUES (?, ?, ?, ?)",
        [
            (secrets.token_urlsafe(16), participant, position, int(table[group, photograph, 0]))
            for position, (group, photograph) in enumerate(chosen)
        ],
    )
    return token


def state(db: sqlite3.Connection, study: Definition, participant: str) -> dict[str, Any]:
    """What a page needs to go on: photographs in all, how many are answered, the token of the one to show.

    `answered` is None for a participant who has not begun, `image` is None before the first and after the last.
    """
    rows = db.execute(
        "SELECT showing.token, answer FROM showing JOIN participant ON participant.id = participant "
        "WHERE participant.token = ? ORDER BY position",
        [participant],
    ).fetchall()
    waiting = [token for token, answer in rows if answer is None]
    answered = len(rows) - len(waiting) if rows else None
    return {"images": study.images, "answered": answered, "image": waiting[0] if waiting else None}
