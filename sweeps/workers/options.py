"""How one worker works."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeps.machine.eligibility import MIN_SECONDS
from sweeps.workers.base import ClusterJob


@dataclass(frozen=True)
class WorkerOptions:
    """How one worker works: which trials it takes, and how long it stays."""

    resource_class: str = ""
    """The worker's class; "" takes trials of all classes."""
    takes_smaller: bool = True
    """Whether it takes trials of smaller classes too, when none of its own waits."""
    seconds: float = math.inf
    """Time that the worker has, from its start."""
    grace: float = 30.0
    """Seconds between a signal and the end, for saving."""
    patience: float = math.inf
    """Seconds that it waits for something to do before it leaves."""
    job: ClusterJob | None = None
    """The cluster's job that it runs in; None where there is none."""

    @property
    def usable(self) -> float:
        """Seconds for trials: the last ones are for saving."""
        return self.seconds - self.grace

    @property
    def min_seconds(self) -> float:
        """The least time left with which a trial is begun: of a short limit, a part."""
        return min(MIN_SECONDS, self.usable / 4)
