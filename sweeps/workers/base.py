"""What all launchers share: the command of a worker, its environment, and what is asked of those that were started."""

from __future__ import annotations

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
    return dict.fromkeys(THREAD_VARIABLES, str(max(1, threads))) | {"TOKENIZERS_PARALLELISM": "false"}


def last_line(text: str) -> str:
    """The last line of `text` that says something; "" when none does."""
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
