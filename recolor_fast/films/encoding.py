"""Frames to compressed pictures: one encoder for each segment, all set alike, so that their pictures join."""

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import av
import numpy as np

from recolor_fast.films import planes, segments
from recolor_fast.films.codecs import CODECS, depth, layout, setting
from recolor_fast.films.source import Film

os.environ.setdefault("SVT_LOG", "1")  # errors alone: it prints by itself what it is


class Coding(NamedTuple):
    """How a film's pictures are compressed."""

    codec: str
    """A key of CODECS."""
    bits: int
    """Of a sample."""
    format: str
    """FFmpeg's name for the samples."""
    step: int
    """Pixels to one of chroma, in either direction."""
    options: dict[str, str]
    """Of the encoder."""


def version() -> str:
    """PyAV's: another one may compress otherwise."""
    return av.__version__


def available() -> list[str]:
    """The keys of CODECS that this PyAV has an encoder for."""
    return [name for name, codec in CODECS.items() if _has(codec.encoder)]


def _has(encoder: str) -> bool:
    try:
        return bool(av.codec.Codec(encoder, "w"))
    except av.codec.codec.UnknownCodecError:
        return False


def coding(name: str, film: Film, quality: int) -> Coding:
    """UserError for sides that the codec does not write."""
    codec = CODECS[name]
    bits = depth(codec, film.samples.bits)
    format, step = layout(name, bits, film.width, film.height)
    return Coding(name, bits, format, step, setting(codec, quality))


def configure(context: Any, film: Film, coding: Coding, threads: int) -> None:
    """Set an encoder, or the one of a stream to write, to a film's own size, unit and color tags."""
    context.width, context.height, context.pix_fmt = film.width, film.height, coding.format
    context.time_base, context.framerate = film.time_base, film.rate
    context.color_range = planes.LIMITED if film.samples.limited else planes.FULL
    context.colorspace = film.samples.matrix
    context.color_primaries, context.color_trc = film.tags
    context.thread_count = threads
    if film.aspect:
        context.sample_aspect_ratio = film.aspect
    if tag := CODECS[coding.codec].tag:
        context.codec_tag = tag


# What MPEG calls the place of chroma: in the middle of its pixels, as a JPEG's. Most players take it for half a pixel
# to the left, whatever the file says.
PLACE = {"chroma_sample_location": "center"}


@contextmanager
def at_own_priority() -> Iterator[None]:
    """Around the opening of an encoder: SVT-AV1 gives its threads, and the one that opens it, real-time priority where
    it may, as root may: nothing else on the machine would run, and what is started later would inherit it."""
    if not hasattr(os, "sched_getscheduler"):  # Linux alone
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError):  # it has ended meanwhile
                if os.sched_getscheduler(int(thread)) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(int(thread), policy, parameter)


class Encoder:
    """A film's frames, in order, to segments in a store. One thread."""

    def __init__(self, film: Film, coding: Coding, threads: int, store: segments.Store, number: int) -> None:
        """`number`: that of the first segment it writes."""
        self.film, self.coding, self.threads, self.store, self.number = film, coding, threads, store, number
        self._context: Any = None
        self._writer: segments.Writer | None = None
        self._last = self._lasts = 0

    def put(self, frame: Any, at: int, lasts: int) -> None:
        """The next frame, a picture of `planes.frame`, shown at this time, and how long as far as it is known."""
        if self._context is None:
            self._begin()
        frame.pts, frame.time_base = at, self.film.time_base
        self._keep(self._context.encode(frame))
        self._last, self._lasts = at, lasts

    def cut(self, ends: int, state: np.ndarray | None) -> None:
        """End the segment, as the next frame, shown at `ends`, begins another, and keep the `state` it begins with."""
        if state is not None:
            self.store.keep_state(self.number + 1, state)
        self._finish(ends, final=False)
        self.store.drop_state(self.number)
        self.number += 1

    def end(self) -> bool:
        """End the film; False where there was no frame to end it with."""
        if self._writer is None:
            return False
        self._finish(self._last + (self._lasts or self.film.step), final=True)
        return True

    def drop(self) -> None:
        """Leave nothing of the segment that is not whole."""
        if self._writer is not None:
            self._writer.drop()
            self._writer = None

    def _begin(self) -> None:
        context = av.CodecContext.create(CODECS[self.coding.codec].encoder, "w")
        configure(context, self.film, self.coding, self.threads)
        context.flags |= int(av.codec.context.Flags.global_header)
        context.options = self.coding.options | PLACE
        with at_own_priority():
            context.open()
        self._context, self._writer = context, segments.Writer(self.store.path(self.number))

    def _finish(self, ends: int, final: bool) -> None:
        assert self._writer is not None
        self._keep(self._context.encode(None))
        header = bytes(self._context.extradata or b"").hex()
        writer, self._writer, self._context = self._writer, None, None
        writer.finish(ends, self._last, final, header)
        gc.collect()  # an encoder is in a cycle with its own objects, which Python takes for small

    def _keep(self, packets: list[Any]) -> None:
        assert self._writer is not None
        for packet in packets:
            data = bytes(packet)
            self._writer.add(segments.Packet(packet.pts, packet.is_keyframe, len(data)), data)


def timed(indexes: Iterable[segments.Index], delay: int, step: int) -> Iterator[tuple[int, int]]:
    """When each picture is to be decoded and how long it is shown, in the order of decoding.

    Always rising, and never later than it is shown: the times of the pictures in the order they are shown, `delay`
    pictures late, which is the most of any segment. `step`: between those that are decoded before the film begins.
    """
    before: list[int] = []
    for number, index in enumerate(indexes):
        shown = sorted(packet.at for packet in index.packets)
        if not number:
            before = [shown[0] - step * (delay - place) for place in range(delay)]
        lasts = {at: after - at for at, after in zip(shown, [*shown[1:], index.ends])}
        decoded = before + shown
        yield from ((at, lasts[packet.at]) for at, packet in zip(decoded, index.packets))
        before = decoded[len(shown) :]
