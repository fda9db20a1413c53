"""What all launchers share: how they are asked to start workers, and what is asked of the workers that were started."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sweeps.machine.cluster_file import ClusterProfile
from sweeps.store.base import Store
from sweeps.support.processes import own_code

WORKER = (sys.executable, "-P", "-m", "runner.cli", "worker")
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")  # what a training's figures can be followed in
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

    @property
    @abstractmethod
    def count(self) -> int:
        """How many trials they run at once, at most."""

    @abstractmethod
    def tend(self) -> list[str]:
        """Replace workers that died; what happened, as sentences. Raises ValueError when they cannot be started."""

    @abstractmethod
    def stop(self) -> None:
        """End all workers; trials that they run can be continued."""


class ClusterJob(ABC):
    """The job of a cluster that a worker runs in, and what the worker can ask of the cluster."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the worker's attempts note of the job, fields of store.attempts.Attempt."""

    @property
    def host(self) -> str:
        """Name or address of this node, as the job's other nodes know it."""
        return socket.gethostname()

    @property
    @abstractmethod
    def port(self) -> int:
        """A port for the ranks of this job's trial to meet at; other jobs have others."""

    @abstractmethod
    def step(self, nodes: int) -> list[str]:
        """The beginning of a command that runs once on each of the job's nodes."""

    @abstractmethod
    def requeue(self) -> bool:
        """Start this job anew unless it is being ended; True if that was done."""

    @abstractmethod
    def reap(self, store: Store) -> None:
        """Record the end of attempts whose jobs run no more."""


@dataclass(frozen=True)
class LaunchOptions:
    """How the workers of a sweep are to be started. A launcher says which of this it has a use for."""

    workers: int | None = None
    """How many at most, in each class of a cluster; None for as many as fit."""
    profile: ClusterProfile | None = None
    """The classes of resources of a cluster."""
    detach: bool = False
    """Whether workers go on when the command that started them is stopped."""
    slots: int = 1
    """Workers that share a GPU of this machine."""
    command: tuple[str, ...] = WORKER
    """What starts a worker, less the sweep."""

    def tracked_in(self, tracker: str | None) -> LaunchOptions:
        """These, with workers that log their trainings in this one of TRACKERS; None: in none."""
        return replace(self, command=(*self.command, "--track", tracker)) if tracker else self


class Launcher(ABC):
    """A way of starting workers. Workers find their trials themselves."""

    here: ClassVar[bool] = False
    """Whether its workers run on this machine; it takes slots then, and no cluster profile."""
    needs_profile: ClassVar[bool] = False
    """Whether it cannot do without a cluster profile."""
    detachable: ClassVar[bool] = False
    """Whether its workers can go on without the command that started them."""

    def __init__(self, options: LaunchOptions) -> None:
        self.options = options

    @abstractmethod
    def start(self, store: Store, trials: int) -> Workers:
        """Workers for so many trials, no more than those. Raises ValueError when they cannot be started."""

    @classmethod
    def this_job(cls) -> ClusterJob | None:
        """The job that this process runs in, if this launcher started it as one."""
        return None


def sweep_name(store: Store) -> str:
    """What the names of a sweep's jobs begin with on a cluster."""
    return f"sweep-{hashlib.sha256(str(store.directory.resolve()).encode()).hexdigest()[:12]}"


def environment(threads: int) -> dict[str, str]:
    """Variables of a worker with so many threads, that shares this program's code."""
    return thread_environment(threads) | memory_environment() | own_code()


def thread_environment(threads: int) -> dict[str, str]:
    """Variables under which libraries use so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(max(1, threads))) | {"TOKENIZERS_PARALLELISM": "false"}


def memory_environment() -> dict[str, str]:
    """The variable under which glibc uses the memory of torch's tensors again; as the user has it, where it is set."""
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", TUNABLES)}


def last_line(text: str) -> str:
    """The last line of `text` that says something; "" when none does."""
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
