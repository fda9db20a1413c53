"""train(trial) -> Observation: one model, or one a source and their merge."""

from __future__ import annotations

from pathlib import Path

from runner.merging.per_source import train_and_merge
from runner.model.encoder import Encoder
from runner.training.distributed import ALONE, Ranks
from runner.training.engine import DEFAULTS, Options
from runner.training.trackers import Log
from runner.training.train import train_model
from sweeps.trial import Observation, Trial


def train(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
) -> Observation:
    """Returns the observation of `trial`; never raises for what training does, only for what cannot be started.

    folder: where the checkpoint is kept and looked for; in a sweep's, what other trials left of the stable phase that
    they share (their trunk) is used too. on: one of runner.training.device.DEVICES, by default the GPU. quiet: show no
    progress.
    """
    return train_encoder(trial, folder, on, quiet, options)[0]


def train_encoder(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
    ranks: Ranks = ALONE,
    log: Log | None = None,
) -> tuple[Observation, Encoder]:
    """As `train`, and the tuned encoder. The checkpoint stays: only whoever has kept the observation may drop it.

    ranks: who train it together, on one file system. Only rank 0 writes; a sharded encoder is whole on rank 0 only.
    log: is told the figures of every step and evaluation of one model.
    """
    if trial.training.merge:
        return train_and_merge(trial, folder, on, quiet, options, ranks)
    return train_model(trial, folder, on, quiet, options, ranks, log)
