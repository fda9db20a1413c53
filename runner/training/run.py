"""A training under way: what it trains, what it has counted so far, and what a checkpoint keeps of that."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runner.data.pairs import Pairs, open_prepared, pools
from runner.model.encoder import Encoder, make_encoder
from runner.tasks.kinds import check_tasks
from runner.training.device import device_of
from runner.training.distributed import ALONE, Ranks, fingerprint
from runner.training.early_stopping import EarlyStopping
from runner.training.engine import Engine, Options
from runner.training.fsdp import shard
from runner.training.grad_cache import Batch, StepCost
from runner.training.trackers import Log
from sweeps.experiment.model_hash import model_hash
from sweeps.flops import Work
from sweeps.models import ModelSpec, find_model
from sweeps.store.trunks import Trunk
from sweeps.support.checks import all_numbers, check_fields
from sweeps.trial import Trial

# Names in a checkpoint's JSON record, where the first checkpoints had others than the fields.
RECORD_NAMES = {
    "sum_sq_lengths": "squares",
    "recomputed_tokens": "again",
    "frozen_tokens": "entered",
    "caches_frozen_states": "prefix",
}


LIMITS = {"seconds": (0.0, 1e12), "start_loss": (0.0, 1e9), "micro_tokens": (1, 1e12)}


@dataclass(frozen=True)
class Share:
    """What a training takes of the data of a trial, when it is one of several that become one model."""

    pairs: Pairs
    """The pairs of its source."""
    steps_before: int
    """Optimiser steps that the trainings before it took."""


@dataclass(frozen=True)
class Counts:
    """What the FLOPs of a training follow from."""

    step: int = 0
    """Optimiser steps taken."""
    tokens: int = 0
    """Real tokens trained on, never padding."""
    sum_sq_lengths: int = 0
    """Sum of the squared lengths of all texts, in tokens: what attention costs."""
    recomputed_tokens: int = 0
    """Tokens that went through the trained blocks once more; see StepCost."""
    frozen_tokens: int = 0
    """Tokens that went through the frozen blocks; see StepCost."""

    def after(self, batch: Batch, cost: StepCost) -> Counts:
        """Returns the counts after one more step."""
        return Counts(
            self.step + 1,
            self.tokens + int(batch.lengths.sum()),
            self.sum_sq_lengths + int((batch.lengths.astype(np.int64) ** 2).sum()),
            self.recomputed_tokens + cost.recomputed_tokens,
            self.frozen_tokens + cost.frozen_tokens,
        )

    def with_frozen(self, tokens: int) -> Counts:
        """Returns the counts after `tokens` more went through the frozen blocks alone."""
        return replace(self, frozen_tokens=self.frozen_tokens + tokens)

    def work(self, batch_size: int) -> Work:
        """Returns what the FLOP counts of sweeps/flops.py are asked with. batch_size: pairs in a step."""
        return Work(self.step * batch_size, self.tokens, self.sum_sq_lengths, batch_size)

    def to_record(self) -> dict[str, int]:
        """Returns the counts by their names in a checkpoint."""
        return {RECORD_NAMES.get(item.name, item.name): getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Counts:
        """Returns the counts that `to_record` wrote, among whatever else. Raises ValueError where they cannot be."""
        counts = {item.name: record[RECORD_NAMES.get(item.name, item.name)] for item in fields(cls)}
        check_fields(cls, counts, "", dict.fromkeys(counts, (0, 1e24)))
        return cls(**counts)


@dataclass
class TrainingState:
    """What a training has counted and decided so far. A checkpoint keeps all of it: a resumed one goes on alike."""

    key: str
    """Key of the trial, or in a state that trials share the name of their trunk; a checkpoint of another is refused."""
    counts: Counts = Counts()
    """What the FLOPs follow from."""
    seconds: float = 0.0
    """Time spent training, in this process and those before it."""
    curve: list[tuple[int, int, float]] = field(default_factory=list)
    """Step, tokens so far and training loss (nats per pair) of every step."""
    start_loss: float | None = None
    """Held-out loss before training, nats per pair; None: not measured yet."""
    micro_tokens: int | None = None
    """Padded tokens of a micro-batch in the last step: the cut decides the last bits of a result. None: no step yet."""
    caches_frozen_states: bool | None = None
    """Whether the states after the frozen blocks are computed once for all epochs; None: not decided yet."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """Scores and space health of each evaluation, its step included."""
    stopped: str = ""
    """Why it ends before its last step; "" where it does not."""
    data: str = ""
    """What tells the training pairs from others; "" in files of earlier versions."""
    reused: Counts | None = None
    """What another trial of the same trunk had counted up to the state that this one went on from."""

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return self.counts.step

    def to_record(self) -> dict[str, Any]:
        """Returns the JSON record of a checkpoint. What is not known yet is left out."""
        record: dict[str, Any] = {"key": self.key, "curve": self.curve, "seconds": self.seconds}
        record |= self.counts.to_record()
        for name in ("start_loss", "micro_tokens", "caches_frozen_states"):
            if getattr(self, name) is not None:
                record[RECORD_NAMES.get(name, name)] = getattr(self, name)
        record |= {"evaluations": self.evaluations, "stopped": self.stopped, "data": self.data}
        return record | ({"reused": self.reused.to_record()} if self.reused else {})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainingState:
        """Returns the state that `to_record` wrote, or that a checkpoint of an earlier version holds."""
        known = {
            item.name: record[RECORD_NAMES.get(item.name, item.name)]
            for item in fields(cls)
            if item.name not in ("counts", "curve", "reused") and RECORD_NAMES.get(item.name, item.name) in record
        }
        check_fields(cls, {"counts": None, **known}, "", LIMITS)
        all_numbers("curve", [value for row in record["curve"] for value in row])
        curve = [(step, tokens, loss) for step, tokens, loss in record["curve"]]
        reused = Counts.from_record(record["reused"]) if "reused" in record else None
        return cls(**known, counts=Counts.from_record(record), curve=curve, reused=reused)

    def as_shared(self, trunk: str) -> TrainingState:
        """Returns this state for other trials of the trunk, who count it as their own."""
        return replace(self, key=trunk, reused=None)

    def as_own(self, key: str) -> TrainingState:
        """Returns a state that another trial left, for the trial `key` to go on from."""
        # Where caching did not pay it is decided again: this training may have more epochs.
        return replace(self, key=key, reused=self.counts, caches_frozen_states=self.caches_frozen_states or None)


@dataclass
class Run:
    """A training under way: everything that a step needs, and what it has counted so far."""

    trial: Trial
    """What is trained, and how."""
    model: ModelSpec
    """Shape of the trial's backbone."""
    pairs: Pairs
    """The data: training and held-out pairs."""
    engine: Engine
    """The encoder and its optimiser."""
    state: TrainingState
    """What was counted and decided so far."""
    folder: Path | None = None
    """Where the checkpoint is kept; None: there is none."""
    trunk: Trunk | None = None
    """Where trials that differ only in their steps leave their states for one another; None: nothing is shared."""
    early_stopping: EarlyStopping | None = None
    """The evaluations during training; None: there are none."""
    log: Log | None = None
    """Is told the figures of every step and evaluation."""
    steps_before: int = 0
    """Optimiser steps of the trainings before this one, where several become one model."""

    @cached_property
    def pools(self) -> list[np.ndarray]:
        """Indices of the held-out pairs of each pool that the loss is measured in."""
        return pools(self.pairs, self.trial.training.pool_size, self.trial.training.pools)


def start(
    trial: Trial,
    folder: Path | None,
    on: str | None,
    options: Options,
    ranks: Ranks = ALONE,
    share: Share | None = None,
) -> Run:
    """Returns a training before its first step. Raises ValueError for a trial that cannot be trained.

    on: one of runner.training.device.DEVICES, by default the GPU where there is one. share: what it takes of the
    trial's data and the steps before it, where it is one of several trainings.
    """
    device, model = device_of(on), find_model(trial.model)
    _check(trial, model, ranks)
    check_tasks(trial.training.tasks)
    pairs = share.pairs if share else ranks.run_on_zero_first(lambda: open_prepared(trial.training, model.source))
    encoder = build_encoder(trial, device, torch.device("cpu") if ranks.sharded else device)
    if ranks.count > 1:
        key = int(trial.key, 16) >> 1
        ranks.must_agree({"recipe": key, "training pairs": len(pairs.train), "weights": fingerprint(encoder)})
    if ranks.sharded:
        shard(encoder, device, ranks.count)
    engine, steps_before = Engine(model, trial, encoder, options, ranks), share.steps_before if share else 0
    return Run(
        trial, model, pairs, engine, TrainingState(trial.key, data=mark_of(pairs)), folder, steps_before=steps_before
    )


def _check(trial: Trial, model: ModelSpec, ranks: Ranks) -> None:
    training, method = trial.training, trial.method
    if trial.model_hash and (found := model_hash(trial.model)) != trial.model_hash:
        raise ValueError(
            f"{model.source}: its model has hash {found}, the trial needs {trial.model_hash}: the model was replaced"
        )
    if training.context > model.context:
        raise ValueError(f"training.context is {training.context}; {model.name} reads {model.context} tokens")
    if training.warmup_steps >= trial.cooldown_start:
        raise ValueError(f"training.warmup_steps is {training.warmup_steps}; the trial has {trial.steps} steps")
    if ranks.sharded and method.bits:
        raise ValueError(f"{method.name} keeps the backbone in {method.bits} bits, which cannot be sharded")
    for name in ("learn_temperature", "patience"):
        if ranks.sharded and getattr(training, name):
            raise ValueError(f"training.{name} is {getattr(training, name)!r}, which sharded ranks cannot do")


def mark_of(pairs: Pairs) -> str:
    """Returns what tells these pairs from others: how many there are, and a checksum over a million of them."""
    sample = np.ascontiguousarray(pairs.groups[:: max(1, len(pairs) // 1_000_000)])
    return f"{len(pairs)} pairs, {zlib.crc32(sample.tobytes()):08x}"


def build_encoder(trial: Trial, device: torch.device, home: torch.device) -> Encoder:
    """Returns the encoder of a trial before its first step. device: where it runs; home: where its weights lie."""
    training, model = trial.training, find_model(trial.model)
    precision, both_ways = training.precision, training.bidirectional
    encoder = make_encoder(model, trial.method, training.pooling, device, trial.seed, precision, home, both_ways)
    if training.learn_temperature:
        encoder.learn_temperature(training.temperature)
    return encoder
