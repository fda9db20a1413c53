"""What glibc does with memory that is freed; elsewhere nothing is changed."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
NEVER = 2**31 - 1
VARIABLE, TUNABLES = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"


def begin() -> None:
    """What a command does first: start this process anew with `TUNABLES`, unless it has tunables; keep what is freed.

    torch's tensors are aligned, so that glibc cuts slivers off both their ends. Freed, these wait in lists for small
    requests and part the tensors' room for good: the next tensor of the same size does not fit there. Without the lists
    a step of 4,096 pairs with gradient cache takes 1.10 times the memory of one of 256, not 1.23 times
    (tests/benchmarks/bench_memory.py), and no more time. The lists can only be switched off before a process begins.
    """
    if platform.libc_ver()[0] == "glibc" and VARIABLE not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {VARIABLE: TUNABLES})
    keep_freed()


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
