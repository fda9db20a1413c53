"""Launchers that other packages bring: entry points of the group `recipe_planner.launchers`, each a Launcher."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from sweeps.store.base import Store
from sweeps.workers.base import Launcher, Workers

GROUP = "recipe_planner.launchers"


def installed(ours: Mapping[str, type[Launcher]]) -> dict[str, type[Launcher]]:
    """Launchers of other packages by name. One that has the name of another is called PACKAGE:NAME."""
    found: dict[str, type[Launcher]] = {}
    for point in entry_points(group=GROUP):
        taken = point.name in ours or point.name in found
        found[f"{_package(point)}:{point.name}" if taken else point.name] = _load(point)
    return found


def _load(point: EntryPoint) -> type[Launcher]:
    """The launcher of an entry point. One that cannot be loaded says so when it is asked for, and hinders no other."""
    try:
        kind = point.load()
    except Exception as error:  # whatever another package's own code raises
        return _broken(point, f"{type(error).__name__}: {error}")
    if isinstance(kind, type) and issubclass(kind, Launcher):
        return kind
    return _broken(point, f"{point.value} is no subclass of sweeps.workers.base.Launcher")


def _broken(point: EntryPoint, why: str) -> type[Launcher]:
    class Broken(Launcher):
        """Stands for a launcher that cannot be loaded."""

        def start(self, store: Store, trials: int) -> Workers:
            raise ValueError(f"the launcher {point.name} of the package {_package(point)} cannot be loaded: {why}")

    return Broken


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"
