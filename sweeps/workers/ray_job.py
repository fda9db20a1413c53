"""The Ray actor that a worker runs in, as its job: one actor runs one worker, and has a name of its own."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping
from typing import Any

from sweeps.store.base import Store
from sweeps.workers.base import ClusterJob

NAMESPACE = "recipe-planner"  # in which a cluster's actors of ours have their names
# Variables of a worker: its actor's name, which cluster that is in, where that is to be reached, and its own node.
NAME, HEAD, ADDRESS, HOST = "SWEEP_RAY_ACTOR", "SWEEP_RAY_HEAD", "SWEEP_RAY_ADDRESS", "SWEEP_RAY_HOST"


def job_of(name: str, head: str) -> str:
    """What attempts note of an actor. head: id of the cluster's head, for another cluster may know that name too."""
    return f"{name}@{head[:16]}"


class Actor(ClusterJob):
    """The actor of this worker."""

    def __init__(self, name: str, head: str, host: str) -> None:
        self.name, self.head, self._host = name, head, host

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"job": job_of(self.name, self.head)}

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        return 20000 + zlib.crc32(self.name.encode()) % 12000  # below those that Linux gives to whoever asks

    def step(self, nodes: int) -> list[str]:
        return [sys.executable, "-P", "-m", "sweeps.workers.ray_step", str(nodes), "--"]

    def requeue(self) -> bool:
        """Never: `sweep run` starts other actors where there are trials for them."""
        return False

    def reap(self, store: Store) -> None:
        """Nothing: `sweep run`, without which no actor lives, does that."""


def this_actor() -> Actor | None:
    """The actor that this process runs in; None outside Ray."""
    name, head, host = (os.environ.get(variable, "") for variable in (NAME, HEAD, HOST))
    return Actor(name, head, host) if name and head and host else None
