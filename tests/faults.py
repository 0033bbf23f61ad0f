"""Faults that tests inject."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file can grow past `size` bytes in the block: writing fails as on a full disk (EFBIG for ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def damaged(data: bytes, count: int = 40) -> Iterator[bytes]:
    """A file with a few bytes of it overwritten, so many times, each time others."""
    random = np.random.default_rng(0)
    for _ in range(count):
        bad = bytearray(data)
        for at in random.integers(0, len(bad), 3):
            bad[at] = random.integers(256)
        yield bytes(bad)
