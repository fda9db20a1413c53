"""Which trials of a sweep enter a fit, and why the others do not; foreign_table.py does it for runs from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.best_rates import best_rates, winning_rates
from analysis.tables.conditions import conditions, of_condition
from analysis.tables.projection import PROJECTION, read_projection
from analysis.tables.rate_curves import rate_curves
from analysis.tables.table import NUMBERS, Table
from planner.law_book import Caveat
from sweeps.admission import MAX_EPOCHS, MIN_STEPS
from sweeps.conditions import differing
from sweeps.flops import Work
from sweeps.search.goal_rounds import read_rounds
from sweeps.store.records import BrokenLine, observation_lines
from sweeps.trial import Observation, Training

BROKEN_SHARE = 0.05  # of the lines of an observations file; beyond it the file is not to be trusted
IN_LAWS = ("batch_size",)  # settings in which the runs of one law may differ: the law knows them
COLUMNS = ["name", "method", "model", "run", *NUMBERS, "budget", "pairs", "squares", "lr", "seed", "accuracy", "batch"]


def read_sweep(
    folder: Path, min_steps: int = MIN_STEPS, max_epochs: float = MAX_EPOCHS, score: str = "", condition: str = ""
) -> Table:
    """The table of a results folder. Raises ValueError naming file, line or field, or FileNotFoundError.

    condition: name of one, where lists under [training] span several; without one they may differ in batch size alone.
    """
    table = sweep_table(folder, min_steps, max_epochs, score, condition)
    if table.rows.empty:
        reasons = "; ".join(sorted({reason for _, reason in table.excluded})) or "the file is empty"
        raise ValueError(f"{folder}: no observation can enter a fit: {reasons}")
    return table


def sweep_table(
    folder: Path, min_steps: int = MIN_STEPS, max_epochs: float = MAX_EPOCHS, score: str = "", condition: str = ""
) -> Table:
    """The table of a results folder, maybe without rows: there may be trials to look at that enter no fit.

    Raises ValueError or FileNotFoundError as `read_sweep` does.
    """
    everything, caveats = read_observations(folder / "observations.jsonl")
    observations = everything
    known = conditions(observations)
    if condition:
        observations = of_condition(observations, known, condition)
    _check_score(folder, observations, score)
    entering, excluded = _admit(observations, min_steps, max_epochs, score)
    measured = partial(_measured, score=score)
    best = best_rates(entering, measured)
    training = _shared_training(folder, best.observations, bool(known) and not condition) if entering else None
    rows = pd.DataFrame([row_of(observation, score) for observation in best.observations], columns=COLUMNS)
    methods = {observation.trial.method.label: observation.trial.method for observation in best.observations}
    return Table(
        name=", ".join(filter(None, (folder.resolve().name, condition))),
        rows=rows,
        settings={label: {"name": method.name, **method.options} for label, method in methods.items()},
        excluded=(*excluded, *best.beaten),
        filters=(
            f"at least {min_steps} optimiser steps",
            f"at most {max_epochs:g} epochs",
            "best learning rate of a cell",
        ),
        caveats=(*caveats, *best.caveats),
        training=training,
        pair=_mean_pair(rows, training) if training else None,
        learning_rates=winning_rates(rows[rows["batch"] == training.batch_size]) if training else {},
        rate_curves=rate_curves(everything, training, measured, min_steps) if training else (),
        measure=f"1 - {score}" if score else "loss",
        scored=pd.DataFrame(
            {
                "method": observation.trial.method.label,
                "loss": observation.loss,
                "params": observation.params,
                **observation.scores,
            }
            for observation in observations
            if observation.status == "done" and observation.scores
        ),
        observations=tuple(observations),
        projection=read_projection(folder / PROJECTION),
        rounds=tuple(read_rounds(folder)),
    )


def _mean_pair(rows: pd.DataFrame, training: Training) -> Work:
    pairs = rows["pairs"].sum()
    return Work(1, rows["tokens"].sum() / pairs, rows["squares"].sum() / pairs, training.batch_size)


def _check_score(folder: Path, observations: Sequence[Observation], score: str) -> None:
    known = sorted({name for observation in observations for name in observation.scores})
    if score and score not in known:
        raise ValueError(
            f"{folder}: no observation has a score {score!r}; known: {', '.join(known) or 'none'} (training.score = "
            "true in the sweep file measures them)"
        )


def _measured(observation: Observation, score: str) -> float:
    """What the laws are about: the loss, or 1 less a score; NaN where the observation has none."""
    if score:
        return 1 - observation.scores.get(score, np.nan)
    return np.nan if observation.loss is None else observation.loss


def read_observations(path: Path) -> tuple[list[Observation], tuple[Caveat, ...]]:
    """All observations of a file; lines that cannot be read are named in a caveat, too many of them are refused."""
    lines = list(observation_lines(path))
    broken = [line for line in lines if isinstance(line, BrokenLine)]
    texts = [f"{line.where}: {' '.join(line.reason.split())[:120]}" for line in broken]
    if len(broken) > BROKEN_SHARE * len(lines):
        raise ValueError(f"{len(broken)} of {len(lines)} lines are no observations; the first: {texts[0]}")
    read = [line for line in lines if isinstance(line, Observation)]
    return read, tuple(Caveat("broken_line", text) for text in texts)


def _admit(
    observations: Sequence[Observation], min_steps: int, max_epochs: float, score: str
) -> tuple[list[Observation], list[tuple[str, str]]]:
    """The observations that can enter, and key and reason of each other one."""
    entering: list[Observation] = []
    excluded: list[tuple[str, str]] = []
    keys: set[str] = set()
    for observation in observations:
        reason = _reason_against(observation, min_steps, max_epochs, score)
        if observation.key in keys:
            reason = "the same trial is recorded on an earlier line"
        keys.add(observation.key)
        if reason:
            excluded.append((observation.key, reason))
        else:
            entering.append(observation)
    return entering, excluded


def _reason_against(observation: Observation, min_steps: int, max_epochs: float, score: str) -> str:
    if observation.status != "done":
        return f"{observation.status}: {observation.reason}" if observation.reason else observation.status
    value = _measured(observation, score)
    if not np.isfinite(value) or value <= 0:
        return f"its {f'1 - {score}' if score else 'loss'} is {value}, not a positive number"
    if min(observation.params, observation.tokens, observation.flops, observation.pairs) <= 0:
        return "params, tokens, pairs or flops are missing"
    if observation.trial.steps < min_steps:
        return f"fewer than {min_steps} optimiser steps ({observation.trial.steps})"
    if observation.epochs > max_epochs:
        return f"more than {max_epochs:g} epochs over its pairs ({observation.epochs:.1f})"
    return ""


def _shared_training(folder: Path, observations: Sequence[Observation], spanned: bool) -> Training:
    trainings = list(dict.fromkeys(observation.trial.training for observation in observations))
    if differing(trainings) == IN_LAWS:
        return sorted(trainings, key=lambda training: training.batch_size)[len(trainings) // 2]
    first = asdict(observations[0].trial.training)
    instead = "name one of them with `condition`" if spanned else "give each its own folder"
    for observation in observations:
        for name, value in asdict(observation.trial.training).items():
            if value != first[name]:
                raise ValueError(
                    f"{folder}: observations differ in training.{name}: {first[name]!r} and {value!r}; "
                    f"a law holds under one condition, so {instead}"
                )
    return observations[0].trial.training


def row_of(observation: Observation, score: str = "") -> dict[str, Any]:
    """The line of `Table.rows` of one observation; score: what `loss` holds in its place, as in `_measured`."""
    trial, budget = observation.trial, observation.trial.budget or observation.flops
    unique = observation.tokens * observation.data_pairs / observation.pairs if observation.data_pairs else np.inf
    return {
        "name": f"{trial.model} at {budget:.3g} FLOP ({observation.key})",
        "method": trial.method.label,
        "model": trial.model,
        "run": trial.run,
        "params": observation.params,
        "tokens": observation.tokens,
        "flops": observation.flops,
        "loss": _measured(observation, score),
        "share": min(1.0, observation.trainable / observation.params),
        "unique": unique,
        "budget": budget,
        "pairs": observation.pairs,
        "squares": observation.squares,
        "lr": trial.lr,
        "seed": trial.seed,
        "batch": trial.training.batch_size,
        "accuracy": np.nan if observation.accuracy is None else observation.accuracy,
    }
