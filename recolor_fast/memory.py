"""What this process does with memory it frees. Standard library only."""

import contextlib
import ctypes

MODERATE = 2**25  # bytes, what every glibc takes


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
