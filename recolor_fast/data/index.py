"""Which files are usable, found out before training starts; and the ordered thread map the loader is made of.

A decoder that meets a broken file in the middle of a run stops the run (DALI: without naming the file), so every file
is looked at once, cheaply, and those that will not do are listed with a reason.
"""

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from recolor_fast import images

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable(paths: Sequence[Path], progress: bool = True) -> tuple[list[Path], dict[Path, str]]:
    """The files of `paths` that hold a usable image, in the given order, and the reason for each of the others.

    The format is told from the content, not from the name. A JPEG has its headers parsed and its end marker looked
    for, which costs next to nothing and does not find bit rot in its pixels; any other file is decoded. The progress
    bar is on stderr, and silent where that is no terminal. Raises ValueError where no file is usable.
    """
    with tqdm(
        in_order(fault, paths, 8 * images.threads()),
        "checking files",
        len(paths),
        unit="img",
        disable=None if progress else True,
        file=sys.stderr,
        leave=False,
    ) as faults:
        found = list(zip(paths, faults))
    good = [path for path, reason in found if reason is None]
    reasons = {path: reason for path, reason in found if reason is not None}
    if not good:
        first = "; ".join(f"{path}: {reason}" for path, reason in islice(reasons.items(), 3))
        raise ValueError(f"none of {len(paths)} files is a usable image: {first or 'no file was given'}")
    return good, reasons


def fault(path: Path) -> str | None:
    """Why the file is no usable image, or None where it is one."""
    try:
        data = path.read_bytes()
        header = jpeg_header(data)
        if header is None or not header.plain or header.width * header.height > images.MAX_PIXELS:
            images.read_rgb(data)
        elif data.rfind(b"\xff\xd9", header.scan) < 0:  # no other FF D9 can follow: entropy-coded FF is stuffed
            return "truncated: the JPEG data stops before its end marker"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # images.UnreadableImage
        return str(error)
    return None


class Jpeg(NamedTuple):
    """What the headers of a JPEG say."""

    width: int
    """Pixels, before EXIF orientation."""
    height: int
    """Pixels, before EXIF orientation; 0 where only the end of the data would tell."""
    plain: bool
    """8 bits, Huffman-coded, gray or YCbCr: what every decoder reads alike."""
    scan: int
    """Offset of the first scan, where the pixels begin."""


def jpeg_header(data: bytes) -> Jpeg | None:
    """The headers of a JPEG (ITU-T T.81, annex B); None for other formats and for headers that are out of order."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    offset, frame, adobe = 2, None, None
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        segment = data[offset + 4 : offset + 2 + int.from_bytes(data[offset + 2 : offset + 4])]
        if marker == 0xDA and frame is not None:
            return _header(*frame, adobe, offset)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = (marker, segment)
        if marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or (frame and len(frame[1]) < 6):
            return None  # no segment that belongs here: let the full decoder judge
        offset += 4 + len(segment)
    return None


def _header(marker: int, frame: bytes, adobe: int | None, scan: int) -> Jpeg:
    """`frame` is the SOF segment; `adobe` the color transform of an APP14 segment (0: none, so RGB or CMYK)."""
    precision, count = frame[0], frame[5]
    rgb = frame[6::3][:count] == b"RGB" or adobe == 0
    plain = marker in (0xC0, 0xC1, 0xC2) and precision == 8 and (count == 1 or (count == 3 and not rgb))
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return Jpeg(width, height, plain and height > 0 and width > 0, scan)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file inside into a ValueError that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{path}: {reason}; repair or remove the file and start again") from error


def in_order(function: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result]:
    """`function` of each item, in order, computed by threads, with `ahead` calls or fewer not yet handed over.

    Lazy, so `items` may be endless; `ahead` 1 computes nothing before it is asked for. What a call raises is raised in
    its turn. Closing the generator cancels what has not begun and waits for its threads.
    """
    pool = ThreadPoolExecutor(min(images.threads(), ahead), thread_name_prefix="recolor_fast-data")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
