"""Workers that are started elsewhere, by hand or by any other engine; see docs/cluster.md."""

from __future__ import annotations

import shlex

from sweeps.store.access import access
from sweeps.store.base import Store
from sweeps.store.note import read_note
from sweeps.workers.base import Launcher, Workers

NAME = "external"


class External(Launcher):
    """Starts nothing: something else starts, ends and replaces the workers."""

    def start(self, store: Store, trials: int) -> Workers:
        return ExternalWorkers(store, min(trials, self.options.workers or 1))


class ExternalWorkers(Workers):
    """Workers of which nothing is known but what they leave in the store."""

    def __init__(self, store: Store, count: int) -> None:
        self.store, self._count = store, count
        self._told = False

    @property
    def count(self) -> int:
        return self._count

    def tend(self) -> list[str]:
        if self._told:
            return []
        self._told = True
        url = "" if self.store.shares_folder else read_note(self.store.directory).store
        sweep = f"results/{self.store.name} --store {shlex.quote(url)}" if url else self.store.directory.resolve()
        needed = ", ".join(access(self.store))
        return [f"waiting for workers: embed worker --sweep {sweep}{f'; they need {needed}' if needed else ''}"]

    def stop(self) -> None:
        """Nothing: they leave when all is finished."""
