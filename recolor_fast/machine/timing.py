"""How long short work takes where other programs keep processors busy, too."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def least(*ways: Callable[[], float], turns: int, long: float = math.inf) -> list[float]:
    """The fewest seconds that each way tells, taken in turns; a turn that takes more than `long` is the last.

    By one thread: two of a team, where others keep a processor busy, wait for each other many times as long as the work
    takes.
    """
    found, threads = [math.inf] * len(ways), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(turns):
            taken = [way() for way in ways]
            found = [min(pair) for pair in zip(found, taken)]
            if sum(taken) > long:
                break
    finally:
        torch.set_num_threads(threads)
    return found
