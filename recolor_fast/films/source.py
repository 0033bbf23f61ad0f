"""A film's file: what it says of itself, and its frames in the order and at the times they are shown."""

import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from recolor_fast.coloring.folder import Verdict
from recolor_fast.films import planes
from recolor_fast.photographs.tones import judged

SAMPLES = 9  # frames, evenly picked, that say whether a film is in color
MARGIN = 2  # seconds before a place from which decoding begins: what it shows may depend on frames before it
READERS = (  # FFmpeg's, of files that hold their own pictures: none that lists other files or addresses
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,asf,flv,live_flv,ogg,mxf,dv,yuv4mpegpipe,rm,ivf,nut,h264,hevc,obu,vc1,"
    "flic,swf,wtv,gxf,mjpeg,nsv,smk,bink,roq"
)
ONLY = {"format_whitelist": READERS, "protocol_whitelist": "file"}
MICROSECOND = Fraction(1, 1_000_000)  # FFmpeg's unit where no stream's is meant
DEINTERLACE = "give a deinterlaced copy (ffmpeg -i IN -vf bwdif -c:v ffv1 OUT.mkv)"


class Film(NamedTuple):
    """What is to be kept of a film, as its file and its first frame tell it."""

    path: Path
    width: int
    """Pixels as they are stored; `orientation` may lay them on their side."""
    height: int
    samples: planes.Samples
    """How its luma is stored, and what it means."""
    tags: tuple[int, int]
    """Primaries and transfer, numbers of ITU-T H.273; 2 says nothing."""
    aspect: Fraction | None
    """Width of a pixel over its height; None where the file does not say."""
    matrix: tuple[int, ...] | None
    """Nine numbers by which a player turns and mirrors the frames; None where it does not."""
    orientation: int
    """What `matrix` means as EXIF's tag; 1 where it is no eighth of those."""
    time_base: Fraction
    """Seconds, the unit of its frames' times."""
    rate: Fraction
    """Frames a second, on average."""
    total: int
    """Frames as the file says or its length tells; 0 where neither is known."""
    seconds: float
    """Length; 0 where the file does not say."""

    @property
    def step(self) -> int:
        """A frame in its unit, at least 1."""
        return max(1, round(1 / (self.rate * self.time_base)))


class Frame(NamedTuple):
    """A picture of a film."""

    luma: np.ndarray
    """(height,width), as `Film.samples` says."""
    at: int
    """When it is shown: in the film's unit, rising."""
    lasts: int
    """In the film's unit; 0 where the file does not say."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A film's container and its stream of moving pictures. Verdict where it has none or cannot be read."""
    try:
        container = av.open(f"file:{path}", options=ONLY, metadata_errors="replace")
    except (av.error.FFmpegError, UnicodeError) as error:
        raise Verdict("failed", f"it cannot be read as a film ({said(error)}): is it whole?") from None
    with container:
        stream = moving(container)
        if stream is None:
            kinds = ", ".join(sorted({str(one.type) for one in container.streams})) or "nothing"
            raise Verdict("failed", f"it has no moving pictures, only {kinds}: it is no film")
        if stream.codec_context is None:
            raise Verdict("failed", "this PyAV has no decoder for its pictures: convert it first")
        stream.thread_type = "AUTO"
        yield container, stream


def moving(container: Any) -> Any:
    """The stream of a film's pictures, covers left out; None where there is none."""
    best = container.streams.best("video")
    several = [one for one in container.streams.video if not one.disposition & av.stream.Disposition.attached_pic]
    return best if best in several else next(iter(several), None)


def look(path: Path, max_pixels: int) -> Film:
    """What is to be kept of a film. Verdict for what is not colored: broken, encrypted, interlaced, of unknown
    samples."""
    with opened(path) as (container, stream):
        first = next(_decoded(container, stream, Counter()), None)
        if first is None:
            raise Verdict("failed", "no frame of it can be decoded: it is empty or damaged")
        if first.interlaced_frame:
            raise Verdict("failed", f"it is interlaced, and its fields are not colored one by one: {DEINTERLACE}")
        if first.width * first.height > max_pixels:
            size = f"{first.width} x {first.height} pixels"
            raise Verdict("failed", f"its frames have {size}, more than the {max_pixels:,} of --max-pixels")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = _seconds(container, stream)
        side = next((bytes(one) for one in first.side_data if one.type.name == "DISPLAYMATRIX"), b"")
        matrix = tuple(np.frombuffer(side, np.int32).tolist()) if side else None
        return Film(
            path=path,
            width=first.width,
            height=first.height,
            samples=planes.told(first, stream.codec_context.name),
            tags=(int(first.color_primaries), int(first.color_trc)),
            aspect=stream.sample_aspect_ratio or None,
            matrix=matrix,
            orientation=ORIENTATIONS.get(_signs(matrix), 1) if matrix else 1,
            time_base=stream.time_base or Fraction(1, 90_000),
            rate=rate,
            total=stream.frames or round(seconds * rate),
            seconds=seconds,
        )


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float((container.duration or 0) * MICROSECOND)


ORIENTATIONS: dict[
    tuple[int, ...], int
] = {  # EXIF's, by the signs of a, b, c, d: a frame's (x, y) is shown at (a x + c y, b x + d y)
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def _signs(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.sign(matrix[place])) for place in (0, 1, 3, 4))


def frames(film: Film, found: Counter[str], after: int | None = None) -> Generator[Frame]:
    """The frames of a film in order; `found` counts what a user should know.

    `after`: those later than the one at this time, found without decoding what is before where the file allows it.
    Verdict where the frames change their size or kind.
    """
    with opened(film.path) as (container, stream):
        last = None
        if after is not None:
            last = after
            if not _placed(film, after):
                yield from _rest(film, found, after)
                return
            _seek(container, stream, after, film)
        yield from _timed(film, container, stream, found, last)


def _placed(film: Film, after: int) -> bool:
    """Whether decoding can begin near a frame: from there it is met at its own time."""
    with opened(film.path) as (container, stream):
        try:
            _seek(container, stream, after, film)
            return any(frame.pts == after for frame in _until(container, stream, after))
        except av.error.FFmpegError:
            return False


def _seek(container: Any, stream: Any, at: int, film: Film) -> None:
    container.seek(at - round(MARGIN / film.time_base), stream=stream, backward=True)


def _until(container: Any, stream: Any, at: int) -> Iterator[Any]:
    for frame in _decoded(container, stream, Counter()):
        yield frame
        if frame.pts is None or frame.pts >= at:
            return


def _rest(film: Film, found: Counter[str], after: int) -> Iterator[Frame]:
    """The frames later than one, from the film's begin: where a file has no index, or its frames no times."""
    early = Counter[str]()
    with opened(film.path) as (container, stream):
        for frame in _timed(film, container, stream, early, None):
            if frame.at > after:
                found.update(early)
                yield frame
            early.clear()  # what is found up to `after` was counted when it was colored
    found.update(early)


def _timed(film: Film, container: Any, stream: Any, found: Counter[str], last: int | None) -> Iterator[Frame]:
    """Frames with times that rise: one without is counted on by the film's rate, one out of order by a tick."""
    step = film.step
    begun, sought = last is None, last
    damage = Counter[str]()
    for frame in _decoded(container, stream, damage):
        if not begun and frame.pts is not None and frame.pts <= (sought or 0):
            damage.clear()  # it was counted when that was colored
            continue
        begun = True
        found.update(damage)
        damage.clear()
        at = frame.pts
        if at is None:
            at = 0 if last is None else last + step
            found["frames without a time, counted on by the film's rate"] += 1
        elif last is not None and at <= last:
            if (last - at) * film.time_base > BACK:
                where = f"{float(last * film.time_base):.1f} s"
                raise Verdict("failed", f"its clock goes back at {where}: cut it there, color each part")
            at = last + 1
            found["frames shown no later than the one before, moved on by a tick"] += 1
        if (frame.width, frame.height) != (film.width, film.height) or frame.format.name != film.samples.format:
            where = f"{float(at * film.time_base):.1f} s"
            raise Verdict("failed", f"its frames change their size or kind at {where}: cut it there, color each part")
        last = at
        found["frames that are interlaced, colored as they are"] += frame.interlaced_frame
        found["frames with closed captions among their pixels' data, which are not kept"] += any(
            one.type.name == "A53_CC" for one in frame.side_data
        )
        yield Frame(planes.luma(frame, film.samples), at, frame.duration or 0)
    found.update(damage)


def _decoded(container: Any, stream: Any, found: Counter[str]) -> Iterator[Any]:
    """What can be decoded. Verdict for what is encrypted."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            found[DAMAGED] += 1
            with suppress(av.error.FFmpegError):
                yield from stream.codec_context.decode(None)  # what the decoder holds back
            return
        if packet.has_sidedata("encryption_info") or packet.has_sidedata("encryption_init_info"):
            raise Verdict("failed", "it is encrypted: give a copy without protection")
        try:
            decoded = packet.decode()
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            found[DAMAGED] += 1
            continue
        for frame in decoded:
            found[DAMAGED] += frame.is_corrupt
            yield frame


def parts(path: Path) -> str:
    """A hash of a file's begin, middle and end: films of one length may be of one size, as tapes' are."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for at in (0, max(0, size // 2 - PART // 2), max(0, size - PART)):
            file.seek(at)
            digest.update(file.read(PART))
    return digest.hexdigest()[:16]


PART = 2**20  # bytes
BACK = 1  # second; more is no disorder: films were put one behind the other
DAMAGED = "damaged places of the film, where frames may be missing or wrong"


def in_color(film: Film) -> tuple[int, int]:
    """How many of some frames are in color, and how many there are: SAMPLES where the file can be sought in."""
    seen: list[bool] = []
    with opened(film.path) as (container, stream):
        begin = stream.start_time or 0
        for number in range(SAMPLES):
            if film.seconds:
                at = begin + round((number + 0.5) / SAMPLES * film.seconds / film.time_base)
                with suppress(av.error.FFmpegError):
                    container.seek(at, stream=stream, backward=True)
            frame = next(_decoded(container, stream, Counter()), None)
            if frame is not None:
                seen.append(judged(frame.to_ndarray(format="rgb24"))[0])
    return sum(seen), len(seen)


def said(error: Exception) -> str:
    return getattr(error, "strerror", "") or type(error).__name__
