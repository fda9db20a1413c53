"""Processes that train trials, and the launchers that start them."""

from __future__ import annotations

from sweeps.workers.base import ClusterJob, Launcher
from sweeps.workers.external import External
from sweeps.workers.local import Local
from sweeps.workers.slurm import Slurm

LAUNCHERS: dict[str, type[Launcher]] = {"local": Local, "slurm": Slurm, "external": External}


def this_job() -> ClusterJob | None:
    """The cluster's job that this process runs in; None outside of all."""
    return next((job for launcher in LAUNCHERS.values() if (job := launcher.this_job())), None)
