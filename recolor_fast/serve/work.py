"""The coloring that a server does: many jobs at a time, bounded in number, memory and time; models in batches.

A job holds room, counted in pixels, from before its file is decoded until its result is there. What blocks runs on
threads; the model has one of its own, which takes what waits together. All methods belong to one event loop.
"""

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import cv2
import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Hint
from recolor_fast.coloring.coloring import count, eight, made, restored
from recolor_fast.machine import memory
from recolor_fast.photographs import encoders, images, opening, pictures, provenance, restoring
from recolor_fast.serve import colorizers
from recolor_fast.serve.colorizers import Model, Seen
from recolor_fast.settings import Settings

Value = TypeVar("Value")
File = bytes | BinaryIO
"""A file's bytes, or the file, which then is read when its turn has come."""

PIXELS = 32 * 10**6  # in flight, per thread; a larger photograph goes alone
MOST = 4  # threads that count for that: however many there are, memory is that of ten photographs of 12 megapixels
IN_COLOR = "in color, left as it was"
MEDIA = {  # types of encoders.WRITABLE
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JXL": "image/jxl",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-pixmap",
    "QOI": "image/qoi",
    "SGI": "image/sgi",
    "TGA": "image/x-tga",
}
AGAIN = 2  # seconds after which a client that was refused may try again


class Full(Exception):
    """More jobs than `Limits.queue`; try again in AGAIN seconds."""


class Late(Exception):
    """A job took longer than `Limits.seconds`, waiting included."""


class Stopping(Exception):
    """The server stops, and the job with it."""


class Limits(NamedTuple):
    """What a server takes on."""

    bytes: int = 64 * 2**20
    """Of a file."""
    pixels: int = 64 * 10**6
    """Of a photograph."""
    queue: int = 64
    """Jobs that wait or are worked on."""
    seconds: float = 300.0
    """A job may take, waiting included."""
    threads: int | None = None
    """Processors to use; None: all that this process may use."""


LIMITS = Limits()
EVERY = Settings(color="recolor")  # pictures in color, too


class Done(NamedTuple):
    """A photograph that was colored, or left as it was."""

    data: bytes
    format: str
    """Key of encoders.WRITABLE; of a picture in color that was to be left alone, what its file is."""
    notes: tuple[str, ...]
    """What a user should be told."""
    colored: bool = True

    @property
    def media(self) -> str:
        """Media type of the data."""
        return MEDIA.get(self.format, "application/octet-stream")


class Work:
    """Jobs on the models of a server. Make it inside the event loop's thread, `close` it at the end."""

    def __init__(self, models: dict[str, Model], limits: Limits = LIMITS) -> None:
        self.models, self.limits = models, limits
        self.jobs = 0  # that wait or are worked on, but for patient ones
        self.pixels = 0.0  # in flight
        threads = count(limits.threads)
        self._room = PIXELS * min(max(2, threads), MOST)
        self._line: deque[tuple[float, asyncio.Future[None]]] = deque()  # that wait for room
        self._many = ThreadPoolExecutor(threads, "work")
        self._soon = ThreadPoolExecutor(threads, "soon")  # for what somebody looks at: never behind many
        self._model = ThreadPoolExecutor(1, "model")
        self._seen: deque[tuple[Seen, asyncio.Future[np.ndarray]]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._pump: asyncio.Task[None] | None = None
        memory.keep_freed(memory.MODERATE)
        cv2.setNumThreads(1)  # there is a photograph for each processor

    # --- jobs ---

    async def color(
        self,
        file: File,
        model: str,
        hints: Sequence[Hint] = (),
        settings: Settings = EVERY,
        patient: bool = False,
    ) -> Done:
        """A file's picture colored, as the bytes of a file, as `colorize` writes it.

        With the setting color "skip" a picture in color is given back as it came. `patient` jobs wait instead of being
        refused. Raises Full, Late, KeyError for another model, images.UnreadableImage, and ValueError for hints that
        lie outside or that the model does not follow and for a format that cannot hold the picture.
        """
        return await self._job(self._color(file, self.models[model], hints, settings), patient)

    async def chroma(
        self, gray: np.ndarray, model: str, hints: Sequence[Hint] = (), patient: bool = False
    ) -> np.ndarray:
        """Chroma, uint8 (2,S,S), of uint8 luminance (H,W). Raises Full, Late, KeyError and ValueError as `color`."""

        async def job() -> np.ndarray:
            seen = await self._threaded(
                self._many if patient else self._soon, colorizers.see, self.models[model], gray, hints
            )
            return await self._infer(seen)

        return await self._job(job(), patient)

    async def paint(self, seen: Seen, patient: bool = False) -> np.ndarray:
        """Chroma, uint8 (2,S,S), of what a model is given. Raises Full and Late as `color`, RuntimeError where the
        model fails."""
        return await self._job(self._infer(seen), patient)

    async def run(
        self, function: Callable[..., Value], *arguments: Any, pixels: float = 0, patient: bool = False
    ) -> Value:
        """What `function(*arguments)` returns, which may block, on a thread; `pixels` is the room that it needs.

        Raises Full, Late and what the function raises.
        """

        async def job() -> Value:
            async with self._held(pixels, soon=not patient):
                return await self._threaded(self._many if patient else self._soon, function, *arguments)

        return await self._job(job(), patient)

    async def close(self) -> None:
        """Drop every job, and wait for what the threads are at. Jobs raise Stopping from now on."""
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._pump:
            await self._pump
        await asyncio.to_thread(self.abandon, wait=True)

    def abandon(self, wait: bool = False) -> None:
        """Let the threads end, and begin nothing that waits for them."""
        for pool in (self._many, self._soon, self._model):
            pool.shutdown(wait=wait, cancel_futures=True)

    async def _job(self, job: Coroutine[Any, Any, Value], patient: bool) -> Value:
        """A job as a task of its own: who waits for it may leave, its room is given back when its thread is done."""
        if self._closed or (self.full and not patient):
            job.close()
            if self._closed:
                raise Stopping("the server stops")
            raise Full(f"{self.jobs} photographs are waiting already; try again in {AGAIN} seconds")
        self.jobs += not patient
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, patient))
        try:
            done, _ = await asyncio.wait({task}, timeout=None if patient else self.limits.seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise Late(f"not done in {self.limits.seconds:g} seconds; try again when less is to be done")
        if task.cancelled():
            raise Stopping("the server stops")
        return task.result()

    @property
    def full(self) -> bool:
        """Whether a job that is not patient would be refused."""
        return self.jobs >= self.limits.queue

    def _ended(self, patient: bool, task: asyncio.Task[Any]) -> None:
        self.jobs -= not patient
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may have waited for it

    async def _color(self, file: File, model: Model, hints: Sequence[Hint], settings: Settings) -> Done:
        pool = self._many
        header, size = await self._threaded(pool, _header, file)
        width, height = (header.width, header.height) if header else (0, 0)
        opening.check_size(width, height, self.limits.pixels)
        async with self._held(width * height + size / 4):
            picture, new, data = await self._threaded(pool, _read, file, settings, self.limits.pixels)
            if settings.color == "skip" and picture.is_color:
                return Done(data, picture.format, (IN_COLOR,), False)
            del data
            seen = await self._threaded(pool, colorizers.see, model, eight(picture.gray), hints, new.border)
            cbcr = await self._infer(seen)
            return await self._threaded(pool, encoded, picture, cbcr, seen.artefact, settings, new)

    # --- room, threads, the model ---

    @asynccontextmanager
    async def _held(self, pixels: float, soon: bool = False) -> AsyncIterator[None]:
        """A block that holds room for so many pixels, once there is; who came before goes before, and `soon` first."""
        if (self._line and not soon) or not self._fits(pixels):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._line.appendleft if soon else self._line.append)((pixels, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it came at the same moment
                    self._give_back(pixels)
                raise
        else:
            self.pixels += pixels
        try:
            yield
        finally:
            self._give_back(pixels)

    def _fits(self, pixels: float) -> bool:
        return not self.pixels or not pixels or self.pixels + pixels <= self._room

    def _give_back(self, pixels: float) -> None:
        self.pixels -= pixels
        while self._line and (self._line[0][1].done() or self._fits(self._line[0][0])):
            wanted, turn = self._line.popleft()
            if not turn.done():  # else its job has left
                self.pixels += wanted
                turn.set_result(None)

    async def _threaded(self, pool: ThreadPoolExecutor, function: Callable[..., Value], *arguments: Any) -> Value:
        """The function's value. A task that is cancelled meanwhile ends when the function does, as its memory does."""
        job = pool.submit(function, *arguments)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not job.cancel():
                await asyncio.wait({future})
                if not future.cancelled():
                    future.exception()
            raise

    async def _infer(self, seen: Seen) -> np.ndarray:
        """Chroma, uint8 (2,S,S)."""
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._seen.append((seen, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._pumped())
        return await future

    async def _pumped(self) -> None:
        """Give the model what waits, batch by batch, until nothing does."""
        loop = asyncio.get_running_loop()
        try:
            while self._seen:
                artefact = self._seen[0][0].artefact
                batch: list[tuple[Seen, asyncio.Future[np.ndarray]]] = []
                while self._seen and self._seen[0][0].artefact is artefact and len(batch) < colorizers.most(artefact):
                    batch.append(self._seen.popleft())
                batch = [(seen, future) for seen, future in batch if not future.done()]
                if not batch:
                    continue
                found = await loop.run_in_executor(
                    self._model, colorizers.predicted, artefact, [seen for seen, _ in batch]
                )
                for (_, future), value in zip(batch, found):
                    if future.done():
                        continue
                    if isinstance(value, Exception):
                        future.set_exception(value)
                    else:
                        future.set_result(value)
        finally:
            self._pump = None


# --- what threads do -----------------------------------------------------------------------------------------------


def encoded(
    picture: pictures.Picture,
    cbcr: np.ndarray,
    artefact: runtime.Artefact,
    settings: Settings,
    new: restoring.Restored | None = None,
) -> Done:
    """A picture with chroma as a file, which says what made it, in the format of the settings, else its own.

    ValueError for a format that cannot hold it.
    """
    format = settings.format or encoders.own(picture.format)
    by = provenance.written(made(artefact, settings, new), format)
    data, notes = pictures.encode(picture, cbcr, format, settings, by)
    return Done(data, format, (*picture.notes, *notes))


def _header(file: File) -> tuple[images.Header | None, int]:
    """What a file's header says, and the file's length."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else _Open(file)
    header = images.header(cast(BinaryIO, opened))
    return header, opened.seek(0, io.SEEK_END)


class _Open:
    """A file that stays open: a plugin of Pillow may close what it reads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        pass


def _read(file: File, settings: Settings, most: int) -> tuple[pictures.Picture, restoring.Restored, bytes]:
    """A file's picture to color, what was done to it, and the file's bytes. Raises images.UnreadableImage."""
    if isinstance(file, bytes):
        data = file
    else:
        file.seek(0)
        data = file.read()
    judge = settings.color == "skip" or settings.takes_tone
    return *restored(pictures.read(data, most, judge=judge, strict=settings.strict), settings), data
