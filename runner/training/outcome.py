"""What a training ends with: its held-out loss, its scores, whether it diverged, and the Observation of all that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runner.data.pairs import pools_by_source
from runner.model.encoder import count_trainable
from runner.tasks.score import BrokenVectors
from runner.training.early_stopping import evaluate_pools
from runner.training.grad_cache import held_out
from runner.training.measure import environment, peak_memory
from runner.training.run import Counts, Run
from runner.training.task_scores import task_scores
from sweeps.flops import exact_flops, paper_flops
from sweeps.trial import Observation, Training, parts_of

CURVE_POINTS = 50

_start_losses: dict[tuple[str, str, Training, str], float] = {}


@dataclass(frozen=True)
class Outcome:
    """How good a trained encoder is on held-out pairs."""

    diverged: str
    """Why the training counts as diverged; "" where it does not."""
    loss: float = math.nan
    """Held-out loss, nats per pair; not finite where there is none."""
    accuracy: float = math.nan
    """Share of held-out queries whose own document is the nearest in its pool."""
    scores: dict[str, float] = field(default_factory=dict)
    """Tasks, retrieval, space health and the loss of each source, by name, where they were asked for."""


def measure_start_loss(run: Run) -> None:
    """Note the held-out loss before training: no setting of a method changes it, so a worker measures it once a method.

    Most methods start from the same vectors, up to rounding; one that keeps the backbone in 4 bits does not.
    """
    name = (run.trial.model_hash or run.model.source, run.trial.method.name, run.trial.training, run.engine.device.type)
    if run.state.start_loss is None and name not in _start_losses:
        _start_losses[name] = held_out_loss(run, run.pools)[0]
    if run.state.start_loss is None:
        run.state.start_loss = _start_losses[name]


def judge(run: Run, diverged: str) -> Outcome:
    """Returns how good the run's encoder is. diverged: why its training ended without one, or ""."""
    if diverged:
        return Outcome(diverged)
    loss, accuracy = held_out_loss(run, run.pools)
    chance = math.log(run.trial.training.pool_size)
    try:
        scores = _scores(run) if math.isfinite(loss) else {}  # also of one that is said to have diverged
    except BrokenVectors as error:
        return Outcome(str(error), loss, accuracy)
    return Outcome(_why_diverged(loss, run.state.start_loss, chance), loss, accuracy, scores)


def held_out_loss(run: Run, pools: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns the loss (nats per pair) and accuracy@1 in these pools of pair indices."""
    engine = run.engine
    engine.encoder.eval()
    temperature, tokens = run.trial.training.held_out_temperature, 4 * engine.micro_tokens
    loss, accuracy = held_out(engine.encoder, run.pairs, pools, temperature, tokens, engine.ranks)
    engine.encoder.train()
    return loss, accuracy


def _why_diverged(loss: float, start: float | None, chance: float) -> str:
    if not math.isfinite(loss):
        return f"held-out loss is {loss}"
    if start is not None and loss > max(start, chance):
        return f"held-out loss ended at {loss:.3f}, above its start ({start:.3f}) and above chance ({chance:.3f})"
    return ""


def _scores(run: Run) -> dict[str, float]:
    """Returns tasks, retrieval and health where they are asked for; of several sources the held-out loss of each."""
    training, engine = run.trial.training, run.engine
    tokens = 4 * engine.micro_tokens
    scores = task_scores(engine.encoder, training, run.model.source, tokens, engine.ranks)
    if training.score:
        scores |= evaluate_pools(engine.encoder, run.pairs, run.pools, tokens, engine.ranks)
    sources = parts_of(training.data)
    if len(sources) > 1:
        by_source = pools_by_source(run.pairs, training.pool_size, training.pools)
        for (name, _), pools in zip(sources, by_source, strict=True):
            scores[f"loss {name}"] = held_out_loss(run, pools)[0]
    return scores


def observe(run: Run, outcome: Outcome, total_seconds: float, **known: Any) -> Observation:
    """Returns the observation of a run. known: fields that do not follow from what the run has counted."""
    state, trial, batch_size = run.state, run.trial, run.trial.training.batch_size
    every = max(1, trial.steps // CURVE_POINTS)
    counted = {
        "loss": _if_finite(outcome.loss),
        "accuracy": _if_finite(outcome.accuracy),
        "start_loss": _if_finite(state.start_loss),
        "flops": _flops(run, state.counts),
        "reused_flops": _flops(run, state.reused) if state.reused else 0.0,
        "paper_flops": paper_flops(run.model, trial.method, state.counts.work(batch_size)),
        "params": run.model.params,
        "trainable": count_trainable(run.engine.encoder),
        "tokens": state.counts.tokens,
        "squares": state.counts.sum_sq_lengths,
        "pairs": state.step * batch_size,
        "data_pairs": len(run.pairs.train),
        "problems": run.pairs.problems,
        "seconds": round(state.seconds, 3),
        "total_seconds": round(total_seconds, 3),
        "peak_bytes": peak_memory(run.engine.device),
        "curve": tuple(point for point in state.curve if point[0] % every == 0 or point[0] == trial.steps),
        "scores": outcome.scores,
        "evaluations": tuple(state.evaluations),
        "stopped": state.stopped,
        "environment": environment(run.engine.device, trial.training.precision, run.engine.ranks.count),
    }
    status = "diverged" if outcome.diverged else "done"
    return Observation(trial, status, outcome.diverged, **(counted | known))


def _if_finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _flops(run: Run, counts: Counts) -> float:
    """Returns the exact FLOPs of what was counted."""
    tokens, work = max(1, counts.tokens), counts.work(run.trial.training.batch_size)
    return exact_flops(
        run.model, run.trial.method, work, counts.recomputed_tokens / tokens, counts.frozen_tokens / tokens
    )
