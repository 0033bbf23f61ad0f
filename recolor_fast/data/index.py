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
from typing import TypeVar

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
        in_order(images.fault, paths, 8 * images.threads()),
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
