"""Many pictures through a model, overlapped and bounded: read, decoded, colored, encoded, written."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Given, Hint, draw
from recolor_fast.coloring import folder, outputs, pipeline
from recolor_fast.machine import memory, processors
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import chroma, claims, images, pages, pictures, provenance, restoring, walk
from recolor_fast.settings import Handling, Look, Settings

BATCH = 8  # pictures a GPU is given at a time, at most
PIXELS = 32 * 10**6  # in flight, per worker: two pictures of 12 megapixels and what is made of them
WORST = 56  # bytes a pixel: CMYK takes up to that, only TIFFs of doubles more (docs/speed.md)
SHARE = 1 / 2  # of the memory there is, which pictures in flight may take
MOST = 2 * images.MAX_PIXELS  # in flight, however much memory there is: two of the largest pictures
READS = 3  # of a file that changes meanwhile
LOOK = chroma.LOOK
ALTERING = "restore", "negative"  # settings that change the luminance itself


# --- one picture ---------------------------------------------------------------------------------------------------


def colorize(
    artefact: runtime.Artefact,
    gray: np.ndarray,
    look: Look = LOOK,
    tone: np.ndarray | None = None,
    hints: Sequence[Hint] = (),
    border: images.Border | None = None,
) -> np.ndarray:
    """uint8 or uint16 luminance (H,W) of any size, colored: RGB (H,W,3) of its type with that luminance, within 1.

    `tone` is the print's, of which `look` keeps a part (see chroma.merge). `border`: see Artefact.chroma.
    """
    return chroma.merge(gray, artefact.chroma(eight(gray), hints, border), look, tone)


def restored(picture: pictures.Picture, settings: Settings) -> tuple[pictures.Picture, restoring.Restored]:
    """The picture to color where a file has this one, and what was done to it."""
    if not (settings.restore or settings.negative):
        return picture, restoring.Restored(picture.gray)
    return restoring.of_picture(picture, settings.restore, settings.negative)


def as_image(rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """uint8 or uint16 RGB (H,W,3), and alpha (H,W) or None, as an image of 8 bits."""
    planes = [*np.moveaxis(rgb, 2, 0), *([] if alpha is None else [alpha])]
    return Image.fromarray(np.dstack([eight(plane) for plane in planes]))


def eight(gray: np.ndarray) -> np.ndarray:
    """uint8 or uint16 as uint8: 65535 is 255."""
    return gray if gray.dtype == np.uint8 else np.rint(gray / np.float32(257)).astype(np.uint8)


class _Work(NamedTuple):
    """A picture on its way."""

    job: folder.Job
    picture: pictures.Picture
    seen: np.ndarray
    """What the model is given: uint8 (S,S), or the whole luminance for a graph that takes any size."""
    hints: np.ndarray | None = None
    """Colors given at some places, as the model takes them: hints.draw."""
    cbcr: np.ndarray = np.empty((2, 0, 0), np.uint8)
    data: bytes = b""
    """The file to write."""
    restored: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """What was done to the picture before."""
    notes: tuple[str, ...] = ()
    more: tuple["_Work", ...] = ()
    """The file's further pages, where they are colored too."""


class _Copy(NamedTuple):
    """A file on its way to be written as it is."""

    job: folder.Job
    data: bytes


# --- many ----------------------------------------------------------------------------------------------------------

Fetch = Callable[[folder.Job, folder.Plan, provenance.Lists], bytes]
Put = Callable[[folder.Job, bytes, folder.Plan], tuple[str, ...]]


def color(
    artefact: runtime.Artefact,
    jobs: Iterable[folder.Job],
    settings: Settings,
    threads: int | None = None,
    fetch: Fetch | None = None,
    put: Put | None = None,
    enough: threading.Event | None = None,
    begun: claims.Claims | None = None,
    hints: Given | None = None,
    alone: bool = True,
) -> Generator[folder.Record]:
    """Do the jobs, overlapped and bounded; yields a record of each as soon as it is done.

    On a CPU give it an artefact of one thread where there are several images: as many pictures are then in the model at
    once. A GPU has a thread of its own, which takes what waits together. `jobs` may be endless, and wait until `enough`
    is set. `fetch` and `put` read and write a job's file, from and to the disk if not given; `put` returns notes.
    `begun` are the claims that jobs were taken by. `hints` are colors at some places, for an artefact that follows
    them; of a file of several pages they are the first one's. UserError where the artefact follows none.
    `alone`: no other process of the same work is on this machine; else none takes room by the memory that is free.
    """
    if hints is not None:
        require_hints(artefact)
    memory.keep_freed(memory.MODERATE)
    following = begun is not None and begun.missed is not None
    made_by = made(artefact, settings)
    plan = replace(plan_of(settings), made=made_by, begun=begun, kept={} if following else None, hints=hints)
    lists, fetching, putting = provenance.Lists(), fetch or outputs.fetch, put or outputs.put
    stages, limits = _stages(
        artefact,
        settings,
        plan,
        count(threads),
        alone,
        lambda job: fetching(job, plan, lists),
        lambda job, data: putting(job, data, plan),
    )
    with modest_opencv(), closing(pipeline.run(jobs, stages, limits, _cost, enough)) as results:
        for result in results:
            if begun is not None and result.item.claim:
                begun.release(result.item.claim)
            yield _record(result)


def require_hints(artefact: runtime.Artefact) -> None:
    """UserError where a model follows no hints."""
    if artefact.graph != "hints":
        what = "it follows none; give no model, or one exported with --graph hints"
        raise UserError(f"hints with model {artefact.name}: {what}")


def plan_of(settings: Settings) -> folder.Plan:
    return folder.Plan(**{one.name: getattr(settings, one.name) for one in fields(Handling)})


def made(artefact: runtime.Artefact, settings: Settings, new: restoring.Restored | None = None) -> provenance.Made:
    """What makes the outputs, as they will say: the model and the settings that change what is written; of one output
    also what was done to its picture."""
    every = settings.color == "recolor"
    return {
        "colored_by": provenance.colored_by(),
        "model": artefact.name,
        "sha256": artefact.sha256,
        "input": provenance.ANY if every else provenance.GRAY,
        **{one.name: getattr(settings, one.name) for one in fields(Look)},
        **{name: getattr(settings, name) for name in (*ALTERING, "quality", "lossless_luma", "metadata", "temporal")},
        **({"restored": new.done} if new and new.done else {}),
    }


def count(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise UserError(f"threads {threads}: expected 1 or more")
    return threads or processors.threads()


def _room(workers: int, alone: bool) -> float:
    """Pixels that may be in flight: PIXELS of each worker. Of a process that is alone more, up to MOST, where there is
    the memory for it, so that pictures larger than that need not go alone."""
    free = (memory.available() or 0) if alone else 0
    return max(PIXELS * max(2, workers), min(SHARE * free / WORST, MOST))


def _cost(job: folder.Job) -> float:
    return 0 if job.verdict else job.width * job.height * job.pages + job.size / 4


@contextmanager
def modest_opencv() -> Iterator[None]:
    """OpenCV without threads of its own, as there is a picture for each processor, and without words on stderr that
    name no file."""
    threads, level = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        cv2.utils.logging.setLogLevel(level)


def _stages(
    artefact: runtime.Artefact,
    settings: Settings,
    plan: folder.Plan,
    workers: int,
    alone: bool,
    fetch: Callable[[folder.Job], bytes],
    put: Callable[[folder.Job, bytes], tuple[str, ...]],
) -> tuple[list[pipeline.Stage], pipeline.Limits]:
    """What is done with each job, and what may be in flight."""
    steadied: dict[Path, chroma.Steady] = {}

    def read(job: folder.Job) -> tuple[folder.Job, bytes]:
        for _ in range(READS):
            before = walk.state(job.source)
            data = fetch(job)
            if walk.state(job.source) == before:
                return job._replace(size=len(data), state=before), data
        raise folder.Verdict("failed", "it changes while it is being read: color it again once it is whole")

    def decode(read: tuple[folder.Job, bytes]) -> _Work | _Copy:
        return _decode(artefact, *read, settings, plan)

    def infer(works: list[_Work | _Copy]) -> list[_Work | _Copy]:
        flat = [page for work in works if isinstance(work, _Work) for page in (work, *work.more)]
        parts = [flat[at : at + batch] for at in range(0, len(flat), batch)]
        done = iter([page._replace(cbcr=cbcr) for part in parts for page, cbcr in zip(part, _predict(artefact, part))])
        return [
            next(done)._replace(more=tuple(next(done) for _ in work.more)) if isinstance(work, _Work) else work
            for work in works
        ]

    def steady(work: _Work | _Copy) -> _Work | _Copy:
        if isinstance(work, _Copy):
            return work
        sequence = work.job.source.parent
        if sequence not in steadied:
            steadied.clear()  # frames come folder by folder
            steadied[sequence] = chroma.Steady()
        small = cv2.resize(eight(work.picture.gray), work.cbcr.shape[:0:-1], interpolation=cv2.INTER_AREA)
        return work._replace(cbcr=steadied[sequence](small, work.cbcr))

    def encode(work: _Work | _Copy) -> _Work | _Copy:
        if isinstance(work, _Copy):
            return work
        if work.job.replay:
            verdict = outputs.done(work.job, plan, in_color=partial(outputs.shows_color, plan=plan))
            raise verdict or folder.Verdict("skipped", folder.DONE)
        every = (work, *work.more)
        job = work.job._replace(restored=next((one.restored for one in every if one.restored), {}))
        made_by = outputs.making(job, plan)
        written = [pictures.encode(one.picture, one.cbcr, work.job.format, settings, made_by) for one in every]
        data = pages.joined([one for one, _ in written]) if work.more else written[0][0]
        notes = tuple(dict.fromkeys([*work.notes, *(note for _, more in written for note in more)]))
        losses = [note.removeprefix(pictures.LOSS) for note in notes if note.startswith(pictures.LOSS)]
        if settings.in_place and losses:
            raise folder.Verdict("failed", f"in place there would be a loss: {'; '.join(losses)}: give an output")
        return work._replace(job=job, data=data, notes=notes)

    def write(work: _Work | _Copy) -> folder.Record:
        more = put(work.job, work.data)
        if isinstance(work, _Copy):
            return _blank(work.job)._replace(status="ok", reason=folder.COPIED, notes=more)
        height, width = work.picture.gray.shape
        found = {"width": width, "height": height, "notes": (*work.notes, *more), "restored": work.job.restored}
        return _blank(work.job)._replace(status="ok", **found)

    gpu = artefact.provider in runtime.GPUS
    batch = BATCH if gpu and artefact.graph != "image" else 1
    stages = [
        pipeline.Stage("read", read, threads=1),  # it waits for disks, as write does
        pipeline.Stage("decode", decode),
        pipeline.Stage("infer", infer, threads=1 if gpu else 0, batch=batch),
        *([pipeline.Stage("steady", steady, ordered=True)] if settings.temporal else []),
        pipeline.Stage("encode", encode),
        pipeline.Stage("write", write, threads=2),
    ]
    return stages, pipeline.Limits(workers, 2 * workers + 4 + (2 * batch if gpu else 0), _room(workers, alone))


def _decode(
    artefact: runtime.Artefact, job: folder.Job, data: bytes, settings: Settings, plan: folder.Plan
) -> _Work | _Copy:
    """A file's bytes as a picture and what the model sees of it. Raises images.UnreadableImage and folder.Verdict."""
    parts = pages.split(data) if job.pages > 1 and settings.pages == "all" else [data]
    if settings.in_place and (frames := images.frames(data)) > len(parts):
        lost = frames - len(parts)
        raise folder.Verdict("failed", f"in place {lost} of its {frames} frames would be lost: give an output")
    works, verdicts = [], []
    for part in parts:
        try:
            works.append(_page(artefact, job, part, settings, plan, hints=part is parts[0]))
        except folder.Verdict as verdict:
            verdicts.append(verdict)
    if verdicts and works:
        advice = "split the file"
        if str(verdicts[0]) == folder.IN_COLOR and not settings.in_place:
            advice += ", or give --color recolor"
        raise folder.Verdict("failed", f"{len(verdicts)} of its {len(parts)} pages: {verdicts[0]}; {advice}")
    if verdicts and str(verdicts[0]) == folder.IN_COLOR and settings.color == "copy":
        return _Copy(outputs.as_copy(job, data, plan), data)
    if verdicts:
        raise verdicts[0]
    every = [f"all {len(works)} pages"] if len(works) > 1 else []
    notes = dict.fromkeys([*every, *(note for work in works for note in work.notes)])
    things = pages.held([work.picture.things for work in works])
    works = [work._replace(picture=work.picture._replace(things=held)) for work, held in zip(works, things)]
    return works[0]._replace(more=tuple(works[1:]), notes=tuple(notes))


def _page(
    artefact: runtime.Artefact, job: folder.Job, data: bytes, settings: Settings, plan: folder.Plan, hints: bool
) -> _Work:
    spared = settings.color != "recolor" and not settings.in_place
    judge = spared or (settings.takes_tone and not settings.in_place)  # in place what has a tint is left alone
    picture = pictures.read(data, settings.max_pixels, judge=judge, strict=settings.strict)
    if spared and picture.is_color:
        raise folder.Verdict("skipped", folder.IN_COLOR)
    if settings.in_place and (verdict := outputs.colored_in_place(job, data, plan)):
        raise verdict
    picture, new = restored(picture, settings)
    gray = eight(picture.gray)
    if artefact.graph == "image":
        return _Work(job, picture, gray, restored=new.done, notes=tuple(picture.notes))
    size, planes = artefact.options.size, None
    if hints and plan.hints is not None and (some := plan.hints.of(job.source)):
        try:
            planes = draw(some, gray.shape[1], gray.shape[0], size)
        except ValueError as error:
            raise folder.Verdict("failed", str(error)) from error
    seen = images.source(gray, artefact.options, new.border)
    return _Work(job, picture, seen, planes, restored=new.done, notes=tuple(picture.notes))


def _predict(artefact: runtime.Artefact, works: Sequence[_Work]) -> Iterable[np.ndarray]:
    """The uint8 chroma (2,h,w) of each picture. Raises RuntimeError."""
    if artefact.graph == "image":
        return [artefact.chroma(work.seen) for work in works]
    hints = None
    if any(work.hints is not None for work in works):
        nothing = np.zeros((3, *works[0].seen.shape), np.float32)
        hints = np.stack([nothing if work.hints is None else work.hints for work in works])
    return artefact.run(np.stack([work.seen[None] for work in works]), hints)


def _blank(job: folder.Job) -> folder.Record:
    return folder.Record(
        str(job.source), None if job.target is None else str(job.target), "failed", "", job.width, job.height
    )


def _record(result: pipeline.Result) -> folder.Record:
    error = result.error
    record = result.value if error is None else _blank(result.item)._replace(reason=folder.reason(error))
    return record._replace(
        status=error.status if isinstance(error, folder.Verdict) else record.status,
        notes=error.notes if isinstance(error, folder.Verdict) else record.notes,
        seconds=round(result.seconds, 6),
        cpu_seconds={stage: round(seconds, 6) for stage, seconds in result.cpu.items()},
    )
