"""How many processors this process may use, and how many others keep busy. Standard library only."""

import math
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recolor_fast.machine import cgroups

WATCHED = 0.5  # seconds that `taken` looks at the machine
SPINS = "3000"  # a hundredth of the default; fewer make small networks slower on a quiet machine
FREE = 0.8  # how idle a processor must be for a thread of its own: its barriers wait for the slowest one

# Held for what is made of many operations of microseconds, on small pictures: threads would hand Python's interpreter
# lock to and fro between any two of them, and then two take as long as one, or longer, and delay all others.
one_by_one = threading.Lock()

_watched: tuple[float, float | None, float] | None = None  # what `watch` saw
_limit = 0  # threads that `limited` allows; 0: no limit


def threads() -> int:
    """Processors this process may use, at least 1: those it may run on, its cgroup's quota rounded up, and `limited`'s.

    More threads than these are slower, not faster.
    """
    count = math.ceil(min(len(_mine()), quota()))
    return max(1, min(count, _limit) if _limit else count)


def matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in units of their own (AMX), many times as fast."""
    try:
        return " amx_bf16 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def saturates() -> bool:
    """Whether products of unsigned and signed bytes are summed in 16 bits, where two large ones do not fit.

    That is an x86 processor without VNNI (AVX2, or the AVX-512 before it), or one that nothing is known of.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: what is right on all, and slower on some
        return True


@contextmanager
def limited(count: int) -> Iterator[None]:
    """In the block `threads` is at most `count`."""
    global _limit
    before, _limit = _limit, count
    try:
        yield
    finally:
        _limit = before


def spin_briefly() -> None:
    """Let OpenMP's threads sleep soon where they wait for each other. Call it before torch is imported.

    By default GNU's spin for 300,000 rounds at each barrier. Where others are busy too, two of a team may be on one
    processor, and then one spins for all of its turn while the other, which it waits for, stands in line: an iteration
    took up to 100 times as long. $GOMP_SPINCOUNT or $OMP_WAIT_POLICY, where set, decides (bench/LOG.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def free(busy: float) -> int:
    """Threads that find a processor of their own, at least 1, where others keep `busy` processors at work."""
    return max(1, min(threads(), math.floor(len(_mine()) - busy + 1 - FREE)))


def watch() -> None:
    """Begin to look how busy others are, for the next `taken`, which then need not wait while this process starts."""
    global _watched
    _watched = _look()


def taken(seconds: float = WATCHED) -> float:
    """Processors that other processes keep busy, of those this one may run on: 0 up to their number.

    Looks since `watch` was called, or from now on, for so many seconds at least, in which this process should use one
    processor at most. 0 on a system without /proc/stat.
    """
    global _watched
    (since, all_before, own_before), _watched = _watched or _look(), None
    time.sleep(max(0.0, since + seconds - time.perf_counter()))
    now, all_after, own_after = _look()
    if all_before is None or all_after is None:
        return 0.0
    return min(max((all_after - all_before - (own_after - own_before)) / (now - since), 0.0), float(len(_mine())))


def _look() -> tuple[float, float | None, float]:
    """The time, and the seconds that all have worked, and that this process has."""
    return time.perf_counter(), busy_ticks(Path("/proc/stat")), _own()


def quota(root: Path = cgroups.ROOT, membership: Path = cgroups.MEMBERSHIP) -> float:
    """Processors that the cgroups of this process allow it (Linux, versions 1 and 2); infinity where none limits it."""
    return min(map(_quota_of, cgroups.groups("cpu", root, membership)), default=math.inf)


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(limit) / float(period) if float(limit) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # no such file; or "max", which is no limit
        return math.inf


def waited() -> tuple[float, float] | None:
    """Seconds that this thread has run, and that it has waited for a processor, since it began; None where unknown."""
    try:
        ran, stood, _ = Path("/proc/thread-self/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(ran) / 1e9, int(stood) / 1e9


def _mine() -> set[int]:
    """The processors that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def busy_ticks(path: Path) -> float | None:
    """Seconds that the processors this process may run on have worked since they were started."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        mine = {f"cpu{number}" for number in _mine()}
        # user, nice, system, (idle, iowait,) irq, softirq, steal; a guest's time is in user's
        ticks = [sum(int(line[place]) for place in (1, 2, 3, 6, 7, 8)) for line in lines if line and line[0] in mine]
        return sum(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _own() -> float:
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system
