"""The C library's allocator in a worker: what a forward pass freed is kept for the next one.

By default glibc gives freed tensors back to the kernel, which hands out zeroed pages again: about 20,000 page faults in
one predict of 32 series by DeepAR, a fifth of its time. And each thread gets a part of the heap of its own, so that the
memory of a predict is spent once for every connection that ever led one. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

MEBIBYTE = 1024 * 1024
# parameter of mallopt -> value
ARENAS = (-8, 1)  # the interpreter lock lets one thread allocate at a time anyway
# the most that it takes; larger blocks are given back at once, as before
MMAP_THRESHOLD = (
    -3,
    32 * MEBIBYTE,
)
TRIM_THRESHOLD = (-1, 128 * MEBIBYTE)  # what may be kept at the heap's end
CHOSEN = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed() -> None:
    """Where the C library is glibc and the environment does not choose otherwise; called before threads start."""
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN):
        return
    with suppress(OSError, AttributeError):  # other C libraries have no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (ARENAS, MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(parameter, value)
