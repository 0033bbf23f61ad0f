"""What this process does with memory it frees, and how much it has had. Standard library only."""

import contextlib
import ctypes
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from recolor_fast.machine import cgroups

MODERATE = 2**25  # bytes, what every glibc takes
FILES = (  # of a cgroup, version 2 and 1: its limit, its use, and the line of memory.stat on files that were read
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def keep_freed(largest: int = 2**30) -> None:
    """Let this process keep blocks of up to `largest` bytes that it frees, to use them again.

    glibc gives blocks above 128 KiB to 32 MiB back to the system as they are freed and gets them anew, page by page:
    each float32 gradient of a layer of 1024 by 512 channels, at every step, for longer than it takes to compute; each
    row band of a photograph, which then takes five times as long to color. Without glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        # M_MMAP_THRESHOLD: smaller blocks come from the heap. Some versions allow no more than 32 MiB.
        if mallopt(-3, largest) or mallopt(-3, MODERATE):
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free bytes at the heap's end before it shrinks


def peak() -> float:
    """The most memory that this process has had at a time (resident), MiB; NaN where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):  # getrusage would begin with that of the parent
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return math.nan


def available(root: Path = cgroups.ROOT, membership: Path = cgroups.MEMBERSHIP) -> int | None:
    """Bytes of memory that this process can still take: what the system has, and what its cgroups allow; None where the
    system does not say (macOS, Windows)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([free, *(left for group in cgroups.groups("memory", root, membership) for left in _left(group))])


def _left(group: Path) -> Iterator[int]:
    """Bytes that a cgroup still allows; nothing where it has no limit."""
    for limit, used, given_way in FILES:
        with contextlib.suppress(OSError, ValueError, StopIteration):  # no such file; or "max", which is no limit
            allowed, taken = (int((group / name).read_text()) for name in (limit, used))
            stat = (group / "memory.stat").read_text().splitlines()
            cached = next(int(line.split()[1]) for line in stat if line.startswith(f"{given_way} "))
            yield max(0, allowed - taken + cached)  # files that were read give way
