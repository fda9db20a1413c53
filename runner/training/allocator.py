"""What glibc does with memory that is freed; elsewhere nothing is changed.

The variable GLIBC_TUNABLES, which a process reads once, before it begins, is set by sweeps/workers/base.py.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
NEVER = 2**31 - 1


def keep_freed() -> None:
    """Keep what is freed for what comes next.

    glibc would hand the memory of every step back and fetch it again: 25 steps of nano-340k had 180,000 page faults and
    took 6 % more CPU time.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, NEVER)
        mallopt(MMAP_THRESHOLD, NEVER)


def give_back() -> None:
    """Give back now what is kept."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
