"""What all launchers share: the command of a worker, its environment, and what is asked of those that were started."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod

WORKER = (sys.executable, "-m", "runner.cli", "worker")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
# torch's tensors are aligned, so that glibc cuts slivers off both their ends. Freed, these wait in lists for small
# requests and part the tensors' memory for good: the next tensor of the same size does not fit there. Without the lists
# a step of 4,096 pairs with gradient cache takes 1.10 times the memory of one of 256, not 1.23 times
# (tests/benchmarks/bench_memory.py), and no more time. They can only be switched off before a process begins.
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"


class Workers(ABC):
    """The workers of a sweep, from their start until `stop`."""

    count: int

    @abstractmethod
    def tend(self) -> list[str]:
        """Replace workers that died; what happened, as sentences. Raises ValueError when they cannot be started."""

    @abstractmethod
    def stop(self) -> None:
        """End all workers; trials that they run can be continued."""


def environment(threads: int) -> dict[str, str]:
    """Variables of a worker with so many threads."""
    variables = dict.fromkeys(THREAD_VARIABLES, str(max(1, threads))) | {"TOKENIZERS_PARALLELISM": "false"}
    return variables | memory_environment()


def memory_environment() -> dict[str, str]:
    """The variable under which glibc uses the memory of torch's tensors again; as the user has it, where it is set."""
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", TUNABLES)}


def last_line(text: str) -> str:
    """The last line of `text` that says something; "" when none does."""
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
