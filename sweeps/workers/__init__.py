"""Processes that train trials, and the launchers that start them."""

from __future__ import annotations

from sweeps.workers import external
from sweeps.workers.base import ClusterJob, Launcher
from sweeps.workers.installed import installed
from sweeps.workers.local import Local
from sweeps.workers.ray import Ray
from sweeps.workers.slurm import Slurm

DEFAULT = "local"  # how workers start where nobody says
# `ray` before `slurm`: a Ray cluster may run inside a job of Slurm's, whose workers are Ray's to begin and to end.
LAUNCHERS: dict[str, type[Launcher]] = {DEFAULT: Local, "ray": Ray, "slurm": Slurm, external.NAME: external.External}
LAUNCHERS |= installed(LAUNCHERS)


def this_job() -> ClusterJob | None:
    """The cluster's job that this process runs in; None outside of all."""
    return next((job for launcher in LAUNCHERS.values() if (job := launcher.this_job())), None)
