"""A film colored: decoded, colored, compressed in segments that survive a kill, joined with its sound; bounded."""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.coloring import coloring, folder, pipeline
from recolor_fast.coloring.folder import Record, Verdict
from recolor_fast.films import encoding, joining, planes, segments, source
from recolor_fast.films.codecs import CODECS, CONTAINERS, chosen
from recolor_fast.machine import bars, files, memory
from recolor_fast.photographs import chroma, claims, images, provenance
from recolor_fast.settings import Codec, Settings

Made = provenance.Made


@dataclass(frozen=True)
class Filming:
    """What a film is written as, beside the settings that photographs have too."""

    codec: Codec = "auto"
    """Key of CODECS; auto: the first that the output's container holds and PyAV has."""
    temporal: bool = True
    """Whether the colors of a frame are steadied by those of the frames before it, anew after each cut."""


class _Work(NamedTuple):
    """A frame on its way."""

    number: int
    frame: source.Frame
    begins: bool
    """Whether a segment does."""
    found: Counter[str]
    """What was found in the frames before it."""
    gray: np.ndarray
    """uint8 (H,W)."""
    seen: np.ndarray
    """What the model is given."""
    cbcr: np.ndarray = np.empty((2, 0, 0), np.uint8)
    state: np.ndarray | None = None
    """Where a segment begins: what the frames before leave for the colors of those after."""
    picture: Any = None
    """The frame to compress."""


def color(
    artefact: runtime.Artefact,
    path: Path,
    target: Path,
    settings: Settings,
    filming: Filming = Filming(),
    threads: int | None = None,
    show: bool = True,
) -> Record:
    """Color a film into `target`, whose suffix is one of CONTAINERS; what became of it.

    A run that was begun before with the same film, model and settings is resumed. The artefact is one of one thread; on
    a GPU it takes several frames at a time. `show`: progress on stderr. UserError for a codec or sides that the file
    cannot have, OSError where the disk fails.
    """
    begun = time.perf_counter()
    record = Record(str(path), str(target), "failed")
    status = path.stat()
    times = (status.st_atime_ns, status.st_mtime_ns) if settings.keep_times else None
    try:
        film = source.look(path, settings.max_pixels)
        across = film.orientation > 4
        width, height = (film.height, film.width) if across else (film.width, film.height)
        record = record._replace(width=width, height=height)
        notes = _color(artefact, film, target, settings, filming, coloring.count(threads), show, times)
        record = record._replace(status="ok", notes=notes)
    except _Copied:
        record = record._replace(status="ok", reason=folder.COPIED)
    except Verdict as verdict:
        record = record._replace(status=verdict.status, reason=str(verdict), notes=verdict.notes)
    except av.error.FFmpegError as error:
        if isinstance(error, OSError | MemoryError):
            raise
        record = record._replace(reason=f"FFmpeg cannot do it ({source.said(error)})")
    return record._replace(seconds=round(time.perf_counter() - begun, 6))


class _Copied(Exception):
    """The film was in color and was copied."""


def _color(
    artefact: runtime.Artefact,
    film: source.Film,
    target: Path,
    settings: Settings,
    filming: Filming,
    threads: int,
    show: bool,
    times: tuple[int, int] | None,
) -> tuple[str, ...]:
    """Notes on the film that was written. Raises Verdict, _Copied, UserError and OSError."""
    container = CONTAINERS[target.suffix.lower()]
    coding = encoding.coding(chosen(filming.codec, target.suffix.lower(), encoding.available()), film, settings.quality)
    made = _made(artefact, film, settings, filming, coding)
    _done(film, target, made, settings)
    joining.check(film, container)
    target.parent.mkdir(parents=True, exist_ok=True)
    notes = list(_judge(film, target, settings, times))
    if coding.bits < film.samples.bits:
        notes.append(f"luma of {film.samples.bits} bits is rounded to {coding.bits}, the most that the codec has")
    store, found = segments.Store(target), Counter[str]()
    with closing(claims.Claims(store.folder, threading.Event())) as claim:
        if not claim.take("film"):
            raise Verdict("failed", "another run is coloring it into the same file")
        begun = {"input_time": film.path.stat().st_mtime_ns, "av": encoding.version()}
        _resume(store, {**made, **begun}, settings)
        _segments(artefact, film, coding, store, settings, filming, threads, found, show)
        try:
            with files.replacing(target, exclusive=not settings.overwrite) as file:
                told = made if settings.metadata == "keep" else None
                found += joining.join(film, coding, threads, store, Path(file.name), container, told)
                if times:
                    os.utime(file.name, ns=times)
        except FileExistsError:
            raise Verdict("failed", f"its output {target} has come meanwhile; --overwrite replaces it") from None
        store.remove()
    return (*notes, *(f"{count} x {what}" if count > 1 else what for what, count in found.items() if count))


# --- whether there is anything to do -------------------------------------------------------------------------------


def _made(
    artefact: runtime.Artefact, film: source.Film, settings: Settings, filming: Filming, coding: encoding.Coding
) -> Made:
    """What makes the film, as it will say."""
    unused = {
        "lossless_luma",
        "keep_tone",
        *coloring.ALTERING,
        *(("quality",) if not CODECS[coding.codec].scale else ()),
    }
    made = {name: value for name, value in coloring.made(artefact, settings).items() if name not in unused}
    own = {"input_bytes": film.path.stat().st_size, "input_parts": source.parts(film.path)}
    return made | {"temporal": filming.temporal, "codec": coding.codec} | own


def _done(film: source.Film, target: Path, made: Made, settings: Settings) -> None:
    """Verdict where the output is there."""
    if not os.path.lexists(target) or settings.overwrite:
        return
    if not target.is_file():
        raise Verdict("failed", f"its output {target} is no regular file")
    try:
        before = joining.made_by(target)
    except Verdict:
        raise Verdict("failed", f"its output {target} exists and is no film; --overwrite replaces it") from None
    if before is None:
        raise Verdict("skipped", folder.DONE, (folder.UNKNOWN,))
    if differs := provenance.differences(before, made):
        raise Verdict("failed", f"its output {target} was made differently: {', '.join(differs)}; --overwrite")
    raise Verdict("skipped", folder.DONE)


def _judge(film: source.Film, target: Path, settings: Settings, times: tuple[int, int] | None) -> Iterable[str]:
    """Notes on a film to be colored. Verdict or _Copied for one that is in color and is not to be."""
    if settings.color == "recolor" or film.samples.format.startswith("gray"):
        return ()
    colored, count = source.in_color(film)
    if 2 * colored <= count:
        return [f"{colored} of {count} frames looked at are in color, and get new colors"] if colored else []
    if settings.color == "skip":
        raise Verdict("skipped", folder.IN_COLOR)
    if target.suffix.lower() != film.path.suffix.lower():
        suffix = film.path.suffix.lower()
        why = f"in color, and cannot be copied to {target}, as the suffix is not its own"
        how = f"give an output that ends with {suffix}" if suffix in CONTAINERS else "copy the file itself (cp)"
        raise Verdict("failed", f"{why}: {how}, or --color recolor")
    with files.replacing(target, exclusive=not settings.overwrite) as file, open(film.path, "rb") as original:
        shutil.copyfileobj(original, file)
        if times:
            file.flush()
            os.utime(file.name, ns=times)
    raise _Copied


def _resume(store: segments.Store, made: Made, settings: Settings) -> None:
    """Begin the store, or go on with what it holds. Verdict where that is of another film, or made differently."""
    before = store.facts()
    if before and (differs := provenance.differences(before, made)):
        if not settings.overwrite:
            why = f"it was begun differently ({', '.join(differs)})"
            raise Verdict("failed", f"{why}, in {store.folder}; --overwrite begins anew")
        store.clear()
    store.begin(made)


# --- the frames ----------------------------------------------------------------------------------------------------


def _segments(
    artefact: runtime.Artefact,
    film: source.Film,
    coding: encoding.Coding,
    store: segments.Store,
    settings: Settings,
    filming: Filming,
    threads: int,
    found: Counter[str],
    show: bool,
) -> None:
    """Write the segments that the store lacks."""
    memory.keep_freed(memory.MODERATE)
    whole = store.whole()
    last = store.index(whole - 1) if whole else None
    found.update(store.found(whole))

    def heed() -> None:
        if found[source.DAMAGED] and settings.strict:  # before a segment with the damage is whole
            raise Verdict("failed", f"{found[source.DAMAGED]} {source.DAMAGED}; without --strict it is colored")

    heed()
    if last is not None and last.final:
        return
    steady = chroma.Steady(store.state(whole))
    encoder = encoding.Encoder(film, coding, threads, store, whole)
    table, samples = planes.grays(film.samples), planes.chroma_samples(film.samples, coding.bits, coding.step)
    turn, back = film.orientation, images.INVERSE[film.orientation]
    gpu = artefact.provider in runtime.GPUS
    batch = coloring.BATCH if gpu and artefact.graph != "image" else 1

    def see(work: _Work) -> _Work:
        gray = planes.gray(work.frame.luma, table)
        upright = gray if turn == 1 else images.upright(gray, turn)
        seen = upright if artefact.graph == "image" else images.source(upright, artefact.options)
        return work._replace(gray=gray, seen=seen)

    def infer(works: list[_Work]) -> list[_Work]:
        if artefact.graph == "image":
            return [work._replace(cbcr=artefact.chroma(work.seen)) for work in works]
        cbcr = artefact.run(np.stack([work.seen[None] for work in works]))
        return [work._replace(cbcr=one) for work, one in zip(works, cbcr)]

    def steadied(work: _Work) -> _Work:
        state = steady.average.copy() if work.begins else None
        upright = work.gray if turn == 1 else images.upright(work.gray, turn)
        small = cv2.resize(upright, work.cbcr.shape[:0:-1], interpolation=cv2.INTER_AREA)
        return work._replace(cbcr=steady(small, work.cbcr), state=state)

    def spread(work: _Work) -> _Work:
        cbcr = work.cbcr if turn == 1 else np.stack([images.upright(plane, back) for plane in work.cbcr])
        cb, cr = chroma.subsampled(work.gray, cbcr, settings, samples=samples)
        luma = planes.deepened(work.frame.luma, film.samples, coding.bits)
        return work._replace(picture=planes.frame(coding.format, luma, cb, cr))

    count = 0  # of frames that the encoder took

    def encode(work: _Work) -> None:
        nonlocal count
        if work.number != count:
            raise RuntimeError("a frame before this one failed")  # which says why
        heed()
        if work.begins and work.number:
            store.keep_found(encoder.number + 1, work.found)
            encoder.cut(work.frame.at, work.state)
        encoder.put(work.picture, work.frame.at, work.frame.lasts)
        count += 1

    stages = [
        pipeline.Stage("see", see),
        pipeline.Stage("infer", infer, threads=1 if gpu else 0, batch=batch),
        *([pipeline.Stage("steady", steadied, ordered=True)] if filming.temporal else []),
        pipeline.Stage("spread", spread),
        pipeline.Stage("encode", encode, threads=1, ordered=True),
    ]
    in_flight = 2 * threads + 4 + (2 * batch if gpu else 0)
    limits = pipeline.Limits(threads, in_flight, coloring.PIXELS * max(2, threads))
    frames = source.frames(film, found, None if last is None else last.last)
    done = sum(len(store.index(number).packets) for number in range(whole))
    with ExitStack() as stack:
        stack.callback(encoder.drop)
        stack.enter_context(coloring.modest_opencv())
        bar = stack.enter_context(bars.bar(None, film.path.name, film.total, show, "frame", done))
        enough = threading.Event()
        works = _works(frames, film, found, last, enough)
        results = stack.enter_context(
            closing(pipeline.run(works, stages, limits, lambda work: film.width * film.height, enough))
        )
        for result in results:
            if result.error is not None:
                raise result.error
            bar.update()
        heed()
        store.keep_found(encoder.number + 1, found)
        if not encoder.end():
            raise Verdict("failed", "frames that were there when it was begun cannot be decoded any more")


def _works(
    frames: Generator[source.Frame],
    film: source.Film,
    found: Counter[str],
    last: segments.Index | None,
    enough: threading.Event,
) -> Iterator[_Work]:
    """Frames, and which of them begin a segment; `found` is what they count."""
    nothing = np.empty((0, 0), np.uint8)
    length = max(1, round(segments.SECONDS / film.time_base))
    since = None if last is None else last.ends
    before = Counter(found)
    with closing(frames):
        for number, frame in enumerate(frames):
            if enough.is_set():
                return
            begins = since is None or frame.at - since >= length or not number
            since = frame.at if begins else since
            yield _Work(number, frame, begins, before, nothing, nothing)
            before = Counter(found)
