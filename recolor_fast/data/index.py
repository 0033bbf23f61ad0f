"""Which files are usable, found out before training starts; what becomes of those that break later; and the ordered
thread map the loader is made of.

Every file is looked at once, cheaply, and those that will not do are listed with a reason. What breaks or vanishes
after that is replaced by another photograph, as the run is worth more than the file.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from recolor_fast.data import checked, shards
from recolor_fast.machine import bars, processors
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible
from recolor_fast.photographs import gray_photographs, images

Item = TypeVar("Item")
Result = TypeVar("Result")


CHECKS = ("header", "full")
PART = 10_000  # files of which is held at a time what the cache knows: it is more than their paths take


class Unusable(UserError):
    """A file that cannot be read or decoded, or not any more."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; repair or remove the file")
        self.reason = reason


class NoneUsable(UserError):
    """Not one file is a usable image."""

    def __init__(self, reasons: dict[Path, str]) -> None:
        first = "; ".join(f"{path}: {reason}" for path, reason in islice(reasons.items(), 3))
        super().__init__(f"none of {len(reasons)} files is a usable image: {first or 'no file was given'}")
        self.reasons = reasons


class Looked(NamedTuple):
    """What files turn out to be."""

    good: list[Path]
    """Those that hold a usable image, in the given order."""
    unusable: dict[Path, str]
    """The reason for each of the others."""
    gray: dict[Path, float]
    """The mean Lab chroma of each of `good` that holds no color (gray_photographs.py), where that was asked for."""


def usable(paths: Sequence[Path], check: str = "header", progress: bool = True) -> tuple[list[Path], dict[Path, str]]:
    """The files of `paths` that hold a usable image, in the given order, and the reason for each of the others.

    The format is told from the content, not from the name. With `check` "header", a JPEG has its headers parsed and its
    end marker looked for, which costs next to nothing and does not find bit rot in its pixels; any other file is
    decoded. With "full" every file is, see `images.check`. The results are kept until a file changes
    (checked.py). Progress is on stderr (bars.py). Raises NoneUsable where no file is.
    """
    return look(paths, check, colors=False, progress=progress)[:2]


def look(paths: Sequence[Path], check: str = "header", colors: bool = True, progress: bool = True) -> Looked:
    """As `usable`, and with `colors` also which of the files hold none; that of a JPEG which cannot be decoded after
    all is not known, and it counts as in color."""
    if check not in CHECKS:
        raise UserError(f"check {check!r}: expected one of {', '.join(CHECKS)}")
    good, reasons, gray = [], {}, {}
    looked = closing(_looks(paths, check, colors))
    with looked as files, bars.bar(files, "checking files", len(paths), show=progress) as results:
        for path, reason, chroma in results:
            if reason is not None:
                reasons[path] = reason
                continue
            good.append(path)
            if chroma < gray_photographs.COLORLESS:
                gray[path] = chroma
    if not good:
        raise NoneUsable(reasons)
    return Looked(good, reasons, gray)


def _looks(paths: Sequence[Path], check: str, colors: bool) -> Generator[tuple[Path, str | None, float]]:
    """Each path, why it is unusable, if it is, and its mean chroma, NaN where that is not known.

    What is known and what is found is held for PART of them at a time.
    """
    for first in range(0, len(paths), PART):
        part = paths[first : first + PART]
        with (
            checked.memory(part, check) as (known, fresh),
            checked.memory(part if colors else [], "chroma") as (known_chroma, fresh_chroma),
        ):

            def settled(key: checked.Key) -> bool:
                return key in known and bool(known[key] or not colors or key in known_chroma)

            def before(key: checked.Key) -> tuple[str | None, float]:
                return known[key], float(known_chroma.get(key) or math.nan)

            def one(key: checked.Key) -> tuple[str | None, float]:
                path, state = key
                try:
                    data = shards.read(path)
                    pixels = None if key in known else images.check(data, strict=check == "full")
                except (OSError, ValueError) as error:
                    reason = images.why(error)
                    of_content = isinstance(error, images.UnreadableImage)
                    if of_content and not isinstance(error.__cause__, MemoryError) and state:
                        fresh[key] = reason
                    return reason, math.nan
                if state and key not in known:
                    fresh[key] = None
                if not colors:
                    return None, math.nan
                try:
                    chroma = gray_photographs.judged(data, pixels)
                except (images.UnreadableImage, MemoryError):
                    return None, math.nan
                if state:
                    fresh_chroma[key] = repr(chroma)
                return None, chroma

            # What is known is looked up here: a thread would take longer to be asked.
            keys = [(path, shards.state(path)) for path in part]
            others = (key for key in keys if not settled(key))
            with closing(in_order(one, others, 8 * processors.threads())) as results:
                for key in keys:
                    reason, chroma = before(key) if settled(key) else next(results)
                    yield key[0], reason, chroma


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file inside into an Unusable, which names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise Unusable(path, images.why(error)) from error


def reader(read: Callable[..., Result], paths: Sequence[Path], strict: bool) -> Callable[..., Result]:
    """`read` of a path and more arguments, as a function of a position in `paths` and these arguments.

    `strict`: what `read` raises is raised. Otherwise the next of `paths`, the first one coming after the last, takes
    the place of each for which it raises Unusable: the same one whenever and however often it is asked for, with a
    warning on stderr the first time. UserError where none can be read. Safe to call from several threads.
    """
    gone: set[int] = set()  # positions that could not be read: no need to try them for another one again
    told: set[int] = set()
    lock = Lock()

    def one(position: int, *arguments: Any) -> Result:
        try:
            result = read(paths[position], *arguments)
        except Unusable as error:
            if strict:
                raise
            return instead(position, error, *arguments)
        gone.discard(position)
        return result

    def instead(position: int, error: Unusable, *arguments: Any) -> Result:
        gone.add(position)
        for other in chain(range(position + 1, len(paths)), range(position)):
            if other in gone:
                continue
            try:
                result = read(paths[other], *arguments)
            except Unusable:
                gone.add(other)
                continue
            with lock:
                new = position not in told
                told.add(position)
            if new:
                warn(f"{paths[position]}: {error.reason}; {paths[other]} takes its place")
            return result
        raise UserError(f"none of {len(paths)} photographs can be read any more: {error}") from error

    return one


def warn(text: str) -> None:
    """A warning on stderr, above any progress bar."""
    tqdm.write(f"warning: {legible(text)}", file=sys.stderr)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result]:
    """`function` of each item, in order, computed by threads, with `ahead` calls or fewer not yet handed over.

    Lazy, so `items` may be endless; `ahead` 1 computes nothing before it is asked for. What a call raises is raised in
    its turn. Closing the generator cancels what has not begun and waits for its threads.
    """
    pool = ThreadPoolExecutor(min(processors.threads(), ahead), thread_name_prefix="recolor_fast-data")
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
