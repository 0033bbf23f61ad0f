"""Verb: ask people which colors are real. The perceptual realism study of Tarres et al. (their Table 2), as a web page.

    python -m recolor_fast.study serve STUDY.sqlite --truth FOLDER --systems NAME=FOLDER [NAME=FOLDER ...]
    python -m recolor_fast.study report STUDY.sqlite

Protocol (ChromaGAN's): 150 photographs with their own colors and the same 150 from each system; each participant
judges 50, drawn evenly from all of them, one at a time, as real or colored. Naturalness is the share judged real.

What is shown must not say where it comes from. So all versions of a photograph go through one pipeline: decoded
(metadata and color profiles ignored), resized by one filter to the same pixels, and stored as uncompressed BMP, whose
length depends on nothing but those pixels' number. A picture's URL is a random token of one participant.
One trace is beyond repair here: a system's file that was written small or by a lossy encoder stays softer than a truth
of higher quality; give the truth at the size and quality at which the systems wrote.

STUDY.sqlite holds all of it: definition, digests of the files, pictures as shown, participants and answers.
"""

if __name__ == "__main__":
    from recolor_fast import starting

    starting.run("recolor_fast.study", arguments="study")

import csv
import hashlib
import io
import json
import platform
import secrets
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from recolor_fast import extras

try:
    import uvicorn
    from fastapi import Cookie, FastAPI, HTTPException, Request, Response
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import BaseModel, ConfigDict, Field
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import binomtest
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(f"{missing}: {extras.advice('serve')}", name=missing.name) from missing

from recolor_fast import images
from recolor_fast.arguments.study import Report, Serve, parse
from recolor_fast.files import replacing, say
from recolor_fast.photographs import encoders, walk

OK, USAGE, INTERRUPTED = 0, 2, 130  # exit codes
TRUTH = "truth"
PUBLISHED = (("Ground truth", 0.87), ("pix2pix", 0.53), ("Gorriz et al.", 0.26), ("Tarres et al., VGG16", 0.38))
PAGE = Path(__file__).with_name("study.html")
IMAGES, SIZE, SEED = 50, 256, 0  # a new study's, where not given
LONGEST_BODY = 1000  # bytes of a request; an answer has about 100
DAY = 24 * 60 * 60
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
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


class Row(NamedTuple):
    """A line of the report."""

    system: str
    pictures: int
    """Different pictures that were judged."""
    answers: int
    real: int
    naturalness: float | None
    """real / answers; None without answers, like all that follow."""
    low: float | None
    """Wilson's 95 % interval."""
    high: float | None
    median_seconds: float | None


class Answer(BaseModel):
    """What a browser sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: str = Field(max_length=64)
    answer: Literal["real", "colored"]
    milliseconds: int = Field(ge=0, le=1000 * DAY)


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
    """The definition in a study's file. ValueError, one sentence for the user, if there is none."""
    if not path.is_file():
        raise ValueError(f"study {path}: no such file; `study serve` with --truth and --systems makes it")
    try:
        with database(path) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                raise ValueError(f"study {path}: not a file that `study serve` made; give another name")
            return Definition(**json.loads(db.execute("SELECT definition FROM study").fetchone()[0]))
    except sqlite3.DatabaseError as error:
        raise ValueError(f"study {path}: cannot be read as an SQLite file ({error})") from error


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("recolor-fast", "numpy", "pillow", "simplejpeg", "scipy", "fastapi"):
        with suppress(metadata.PackageNotFoundError):  # a checkout that was not installed
            found[name] = metadata.version(name)
    return found


# --- making a study ------------------------------------------------------------------------------------------------


def photographs(folder: Path) -> dict[str, Path]:
    """Image files below a folder by relative path without suffix, but hidden ones and what systems leave there.

    ValueError where two have the same.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {folder}: expected a folder of images")
    found: dict[str, Path] = {}
    for path in sorted(one.source for one in walk.find([str(folder)], None) if not one.left):
        if path.suffix.lower() not in images.SUFFIXES or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(f"{found[name]} and {path} are both called {name}: expected one image of a name")
        found[name] = path
    return found


def matched(truth: Path, systems: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """The files of a study by system and photograph, the truth first; every system has every photograph.

    A system that lacks one is an error rather than a smaller study: skipping is the user's to decide.
    """
    found = {TRUTH: photographs(truth)}
    if not found[TRUTH]:
        raise ValueError(f"truth {truth}: no images in it")
    for text in systems:
        name, separator, folder = text.partition("=")
        if not separator or not name.strip() or not folder:
            raise ValueError(f"system {text!r}: expected NAME=FOLDER")
        if name in found:
            raise ValueError(f"system {name!r}: the name is taken; give each system another (truth is the truth's)")
        files = photographs(Path(folder))
        missing = [photograph for photograph in found[TRUTH] if photograph not in files]
        if missing:
            raise ValueError(
                f"system {name}: {folder} has no image for {len(missing)} of {len(found[TRUTH])} photographs, the "
                f"first is {missing[0]}; add them, or take them out of {truth}"
            )
        if extra := len(files) - len(found[TRUTH]):
            say(f"system {name}: {extra} images without a photograph in {truth} are left out")
        found[name] = {photograph: files[photograph] for photograph in found[TRUTH]}
    return found


def shown_size(sizes: list[tuple[int, int]], limit: int) -> tuple[int, int]:
    """Height and width at which all versions of a photograph are shown, of their sizes, the truth's first.

    Never more pixels than the smallest version has: an enlarged one among others would be known by its blur.
    """
    height, width = sizes[0]
    scale = min(limit, *(max(size) for size in sizes)) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def prepare(files: list[Path], limit: int) -> list[tuple[str, bytes]]:
    """SHA-256 of each file of a photograph, the truth's first, and the BMP it is shown as; all of one size."""
    pixels, digests = [], []
    for path in files:
        data = path.read_bytes()
        try:
            rgb = images.read_rgb(data)
        except images.UnreadableImage as error:
            raise ValueError(f"{path}: {error}") from error
        digests.append(hashlib.sha256(data).hexdigest())
        pixels.append(rgb)
        height, width = pixels[0].shape[:2]
        expected = rgb.shape[0] * width / height
        if abs(rgb.shape[1] - expected) > max(1, 0.02 * expected):
            raise ValueError(
                f"{path}: {rgb.shape[1]} x {rgb.shape[0]} pixels are not the shape of the truth, {width} x {height}; "
                "resize one of the two folders, as its shape would tell a picture's origin"
            )
        if digests[0] in digests[1:]:
            raise ValueError(f"{path} is the truth's own file, byte for byte: is this the system's folder?")
    height, width = shown_size([rgb.shape[:2] for rgb in pixels], limit)
    shown = [encoders.encode(images.resize(rgb, height, width), None, "BMP", 100) for rgb in pixels]
    return list(zip(digests, shown))


def make(path: Path, truth: Path, systems: tuple[str, ...], count: int, size: int, seed: int) -> None:
    """Write a new study's file: whole, or not at all. ValueError, one sentence for the user."""
    if not 32 <= size <= 1024:
        raise ValueError(f"size {size}: expected 32 to 1024 pixels")
    if seed < 0:
        raise ValueError(f"seed {seed}: expected 0 or more")
    files = matched(truth, systems)
    if not 1 <= count <= len(files[TRUTH]):
        raise ValueError(
            f"images {count}: expected 1 to {len(files[TRUTH])}, the photographs in {truth}, as no participant sees "
            "one twice; give other --images or more photographs"
        )
    definition = Definition(secrets.token_hex(8), count, size, seed, list(files), now(), versions())
    part = path.with_name(f".{definition.id}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)
        with database(part, write=True) as db:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute("INSERT INTO study VALUES (?)", [json.dumps(definition._asdict())])
            for name in tqdm(files[TRUTH], unit="photograph", file=sys.stderr, disable=not sys.stderr.isatty()):
                pictures = prepare([files[system][name] for system in files], size)
                db.executemany(
                    "INSERT INTO picture (photograph, system, sha256, bmp) VALUES (?, ?, ?, ?)",
                    [(name, system, digest, bmp) for system, (digest, bmp) in zip(files, pictures)],
                )
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def check_same(path: Path, arguments: Serve) -> None:
    """ValueError if what was given is not what the study was made of. Folders may have moved, files may not differ."""
    study = stored(path)
    for name, given in (("images", arguments.images), ("size", arguments.size), ("seed", arguments.seed)):
        if given not in (None, getattr(study, name)):
            raise ValueError(
                f"{name} {given}: {path} was made with {getattr(study, name)}; leave it out, or make another"
            )
    if arguments.truth is None and not arguments.systems:
        return
    if arguments.truth is None or not arguments.systems:
        raise ValueError("give both --truth and --systems, or neither, to go on with a study that exists")
    files = matched(arguments.truth, arguments.systems)
    if sorted(files) != sorted(study.systems):
        raise ValueError(
            f"systems {', '.join(files)}: {path} was made of {', '.join(study.systems)}; make another study"
        )
    with database(path) as db:
        digests = {(row[0], row[1]): row[2] for row in db.execute("SELECT photograph, system, sha256 FROM picture")}
    if len(files[TRUTH]) * len(files) != len(digests):
        raise ValueError(f"{len(files[TRUTH])} photographs: {path} was made of another number; make another study")
    for system, found in files.items():
        for photograph, file in found.items():
            if digests.get((photograph, system)) != hashlib.sha256(file.read_bytes()).hexdigest():
                raise ValueError(f"{file}: not the file that {path} was made of; make another study with it")


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


def submit(db: sqlite3.Connection, study: Definition, participant: str, answer: Answer) -> dict[str, Any]:
    """Store an answer, once and in order; the state after it. HTTPException otherwise."""
    own = db.execute(
        "SELECT 1 FROM showing JOIN participant ON participant.id = participant "
        "WHERE participant.token = ? AND showing.token = ?",
        [participant, answer.image],
    ).fetchone()
    if own is None:
        raise HTTPException(404, "no such image for this participant")
    if state(db, study, participant)["image"] != answer.image:
        raise HTTPException(409, "this image has been answered, or another comes first")
    db.execute(
        "UPDATE showing SET answer = ?, milliseconds = ?, answered = ? WHERE token = ?",
        [answer.answer, answer.milliseconds, now(), answer.image],
    )
    return state(db, study, participant)


# --- serving -------------------------------------------------------------------------------------------------------


def application(path: Path, host: str = "127.0.0.1") -> FastAPI:
    """The web application of a study that exists, for requests to `host` (and to this machine by its other names)."""
    study = stored(path)
    name = f"study_{study.id}"  # cookies do not know ports: two studies on one machine keep theirs apart
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    Token = Annotated[str, Cookie(alias=name, max_length=64)]

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Any]) -> Response:
        """No body that is large or that another site's form could send; the same headers on every answer."""
        response: Response
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not (length.isdecimal() and int(length) <= LONGEST_BODY):
            response = JSONResponse({"detail": f"expected a body of at most {LONGEST_BODY} bytes"}, 413)
        elif request.method == "POST" and request.headers.get("content-type", "").split(";")[0] != "application/json":
            response = JSONResponse({"detail": "expected application/json"}, 415)
        else:
            response = await go_on(request)
        response.headers.update(HEADERS)
        return response

    # The outermost: an address that another site's name was made to point to (DNS rebinding) gets nothing.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", host], www_redirect=False)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    @app.get("/state")
    def show(participant: Token = "") -> dict[str, Any]:
        with database(path) as db:
            return state(db, study, participant)

    @app.post("/start")
    def start(response: Response, participant: Token = "") -> dict[str, Any]:
        """Who has begun goes on; anyone else, and who has finished, is a new participant."""
        with database(path, write=True) as db:
            if state(db, study, participant)["image"] is None:
                participant = enroll(db, study)
            response.set_cookie(name, participant, max_age=90 * DAY, httponly=True, samesite="strict")
            return state(db, study, participant)

    @app.post("/answer")
    def answer(answer: Answer, participant: Token = "") -> dict[str, Any]:
        with database(path, write=True) as db:
            return submit(db, study, participant, answer)

    @app.get("/image/{token}")
    def image(token: str, participant: Token = "") -> Response:
        """A picture of this participant's; those to come are not known by their tokens yet."""
        with database(path) as db:
            row = db.execute(
                "SELECT bmp FROM picture JOIN showing ON picture.id = picture "
                "JOIN participant ON participant.id = participant WHERE showing.token = ? AND participant.token = ?",
                [token, participant],
            ).fetchone()
        if row is None:
            raise HTTPException(404, "no such image for this participant")
        return Response(row[0], media_type="image/bmp")

    return app


def serve(arguments: Serve) -> None:
    """Make the study where it is new, then serve it until a signal. ValueError and OSError for the user."""
    path = arguments.study
    if arguments.host in ("", "0.0.0.0"):
        raise ValueError(f"host {arguments.host!r}: expected one address of this machine, as browsers are to name it")
    if not 0 <= arguments.port <= 65535:
        raise ValueError(f"port {arguments.port}: expected 0 to 65535")
    if path.exists():
        check_same(path, arguments)
    elif arguments.truth is None or not arguments.systems:
        raise ValueError(f"study {path}: no such file; give --truth and --systems to make it")
    else:
        asked = zip((arguments.images, arguments.size, arguments.seed), (IMAGES, SIZE, SEED))
        make(path, arguments.truth, arguments.systems, *(new if given is None else given for given, new in asked))
    try:
        listener = socket.create_server((arguments.host, arguments.port))
    except OSError as error:
        raise OSError(
            f"{arguments.host}, port {arguments.port}: {error.strerror}; give another --port or --host"
        ) from error
    with listener:
        if not arguments.host.startswith("127.") and arguments.host != "localhost":
            say(f"warning: anyone who reaches {arguments.host} in its network can take part, unencrypted")
        say("serving until Ctrl-C; the same command goes on from there")
        print(f"http://{arguments.host}:{listener.getsockname()[1]}/", flush=True)
        settings = uvicorn.Config(
            application(path, arguments.host),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,  # seconds; browsers keep connections open
        )
        uvicorn.Server(settings).run(sockets=[listener])


# --- the report ----------------------------------------------------------------------------------------------------


def answers(path: Path) -> tuple[int, list[tuple[Any, ...]]]:
    """How many participants began, and every answer.

    An answer: participant, position, photograph, system, answer, milliseconds, time (UTC).
    """
    with database(path) as db:
        rows = db.execute(
            "SELECT participant, position, photograph, system, answer, milliseconds, answered FROM showing "
            "JOIN picture ON picture.id = picture WHERE answer IS NOT NULL ORDER BY participant, position"
        ).fetchall()
        return db.execute("SELECT count(*) FROM participant").fetchone()[0], rows


def summarize(rows: list[tuple[Any, ...]], systems: list[str]) -> list[Row]:
    """A line for each system, of answers as `answers` returns them."""
    result = []
    for system in systems:
        own = [row for row in rows if row[3] == system]
        real = sum(row[4] == "real" for row in own)
        share = low = high = seconds = None
        if own:
            low, high = binomtest(real, len(own)).proportion_ci(method="wilson")
            share, seconds = real / len(own), median(row[5] for row in own) / 1000
        result.append(Row(system, len({row[2] for row in own}), len(own), real, share, low, high, seconds))
    return result


def markdown(rows: list[Row], complete: int, started: int, complete_only: bool) -> str:
    """The report for people."""

    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    lines = [
        f"{started} participants, {complete} complete" + (" (only these are counted)" if complete_only else ""),
        "",
        "| system | pictures | answers | judged real | naturalness | Wilson 95 % | median time, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.system.replace('|', '/')} | {row.pictures} | {row.answers} | {row.real} | {number(row.naturalness)} | "
        f"{number(row.low)} .. {number(row.high)} | {number(row.median_seconds, 1)} |"
        for row in rows
    ]
    lines += [
        "",
        "The intervals take answers as independent; those of one person are not quite, so take them as the least.",
        "",
        "Published (Tarres et al., Table 2; 35 participations, other photographs and people):",
        "",
        "| system | naturalness |",
        "| --- | ---: |",
    ]
    return "\n".join(lines + [f"| {system} | {share:.2f} |" for system, share in PUBLISHED])


def report(arguments: Report) -> str:
    """The report as Markdown; writes the files that were asked for."""
    study = stored(arguments.study)
    started, rows = answers(arguments.study)
    complete = {who for who, count in Counter(row[0] for row in rows).items() if count == study.images}
    if arguments.complete_only:
        rows = [row for row in rows if row[0] in complete]
    table = summarize(rows, study.systems)
    if arguments.csv:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow("participant position photograph system answer milliseconds answered".split())
        writer.writerows(rows)
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.csv) as file:
            file.write(text.getvalue().encode())
    if arguments.json:
        values = {
            "study": study._asdict(),
            "participants": {"started": started, "complete": len(complete), "complete_only": arguments.complete_only},
            "systems": [row._asdict() for row in table],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.json) as file:
            file.write(json.dumps(values, indent=1).encode())
    return markdown(table, len(complete), started, arguments.complete_only)


def main(argv: list[str] | None = None) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    try:
        arguments = parse(argv)
    except SystemExit as stop:  # --help, or wrong arguments, which tyro explains on stderr
        return int(stop.code or OK)
    try:
        if isinstance(arguments, Report):
            print(report(arguments))
        else:
            serve(arguments)
    except (OSError, ValueError, sqlite3.Error) as error:
        say(str(error))
        return USAGE
    except KeyboardInterrupt:
        say("interrupted; every answer so far is stored")
        return INTERRUPTED
    return OK
