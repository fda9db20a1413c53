"""Workers of a class of resources, whatever starts them: how many are wanted, and what each is told."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.machine.cluster_file import ClusterProfile, ResourceClass
from sweeps.store.base import Store
from sweeps.store.retry import MEMORY


def wanted(store: Store, classes: Sequence[str]) -> dict[str, int]:
    """How many trials are without a result, by class. classes: names, the smallest first, which has all others."""
    requirements = store.requirements()
    counts: dict[str, int] = {}
    for key in store.unfinished():
        scarce = sum(attempt.cause == MEMORY for attempt in store.attempts(key))
        name = requirements.resource_class(key, bigger=int(scarce > 1)) or classes[0]
        counts[name] = counts.get(name, 0) + 1
    return counts


def most_workers(resources: ResourceClass, workers: int | None) -> int:
    """How many jobs of a class there may be at once. workers: the most of any class, None for as many as it allows."""
    return min(resources.workers, workers) if workers else resources.workers


def worker_arguments(resources: ResourceClass, profile: ClusterProfile, stays: bool = False) -> list[str]:
    """What a worker of a class is told besides its sweep and its time. stays: until the sweep is finished, for nothing
    starts another when there is something to do again."""
    told = ["--class", resources.name, "--grace", str(profile.grace)]
    told += [] if stays else ["--patience", str(profile.patience)]
    told += ["--slots", str(resources.slots)] if resources.slots > 1 else []
    told += ["--processes", str(resources.per_node), "--nodes", str(resources.nodes)] if resources.ranks > 1 else []
    return told + (["--shard"] if resources.sharded else [])


def main_memory(resources: ResourceClass) -> float:
    """GB of main memory that a job asks for on each node; of a class without a GPU what its trials may use. 0: the
    default."""
    return resources.ram or (0.0 if resources.on_gpu else resources.memory * resources.slots * resources.per_node)
