"""Which trials of a sweep enter a fit, and why the others do not.

foreign_table.py does it for other tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.projection import PROJECTION, Projection, read_projection
from analysis.tables.rows import Rows
from planner.laws import Caveat
from sweeps.flops import Work
from sweeps.trial import Observation, Training

BROKEN_SHARE = 0.05  # of the lines of an observations file; beyond it the file is not to be trusted
NUMBERS = ["params", "tokens", "flops", "loss", "share", "unique"]
COLUMNS = ["name", "method", "model", "run", *NUMBERS, "budget", "pairs", "squares", "lr", "seed"]
CELL = ["method", "params", "tokens"]  # rows that share these are repeats of one run


@dataclass(frozen=True)
class Table:
    """Runs that enter a fit.

    rows: one line each; columns name, method (label), run, params, tokens, flops, loss, share, unique, and for our own
    sweeps model, lr, seed. settings: of each method label. excluded: (name, reason). filters: in words, for the record.
    measure: what the column loss holds: the loss, or 1 less a score. scored: method, loss and scores of all trials that
    were scored, whether or not they enter. observations: all of the folder, whatever became of them. projection: of an
    embedding space, where the folder has one.
    """

    name: str
    rows: pd.DataFrame
    settings: Mapping[str, Mapping[str, Any]]
    excluded: tuple[tuple[str, str], ...] = ()
    filters: tuple[str, ...] = ()
    notices: tuple[Caveat, ...] = ()
    training: Training | None = None
    pair: Work | None = None
    learning_rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    measure: str = "loss"
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)
    observations: tuple[Observation, ...] = ()
    projection: Projection | None = None

    @property
    def models(self) -> tuple[str, ...]:
        if "model" not in self.rows:
            return ()
        return tuple(self.rows.sort_values("params")["model"].unique())

    @property
    def hash(self) -> str:
        """Of what enters: method, N, D, loss and run of every row, in full precision."""
        lines = self.rows[["method", "run", *NUMBERS]].sort_values(["method", *NUMBERS]).to_csv(index=False)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def of(self, methods: Iterable[str]) -> Rows:
        """The rows of these methods, numbered in this order."""
        order = {method: place for place, method in enumerate(methods)}
        some = self.rows[self.rows["method"].isin(list(order))]
        columns = [some[name].to_numpy(float) for name in ("params", "tokens", "loss", "share", "unique", "flops")]
        run = pd.factorize(some["method"] + "\0" + some["run"].astype(str))[0]
        group = some["method"].map(order).to_numpy(int)
        return Rows(*columns, run, group, some["name"].to_numpy(str))


def read_sweep(folder: Path, min_steps: int = 50, max_epochs: float = 4.0, score: str = "") -> Table:
    """The table of a results folder. Raises ValueError naming file, line or field, or FileNotFoundError."""
    table = sweep_table(folder, min_steps, max_epochs, score)
    if table.rows.empty:
        reasons = "; ".join(sorted({reason for _, reason in table.excluded})) or "the file is empty"
        raise ValueError(f"{folder}: no observation can enter a fit: {reasons}")
    return table


def sweep_table(folder: Path, min_steps: int = 50, max_epochs: float = 4.0, score: str = "") -> Table:
    """As `read_sweep`, but a table without rows is one too: there may be trials to look at that enter no fit."""
    observations, notices = read_observations(folder / "observations.jsonl")
    _check_score(folder, observations, score)
    entering, excluded = _admit(observations, min_steps, max_epochs, score)
    entering, beaten, edges = _best_rates(entering, score)
    training = _shared_training(folder, entering) if entering else None
    rows = pd.DataFrame([_row(observation, score) for observation in entering], columns=COLUMNS)
    return Table(
        name=folder.resolve().name,
        rows=rows,
        settings={o.trial.method.label: {"name": o.trial.method.name, **o.trial.method.options} for o in entering},
        excluded=(*excluded, *beaten),
        filters=(
            f"at least {min_steps} optimiser steps",
            f"at most {max_epochs:g} epochs",
            "best learning rate of a cell",
        ),
        notices=(*notices, *edges),
        training=training,
        pair=_mean_pair(rows, training) if training else None,
        learning_rates=_rates(rows),
        measure=f"1 - {score}" if score else "loss",
        scored=pd.DataFrame(
            {"method": o.trial.method.label, "loss": o.loss, **o.scores}
            for o in observations
            if o.status == "done" and o.scores
        ),
        observations=tuple(observations),
        projection=read_projection(folder / PROJECTION),
    )


def _mean_pair(rows: pd.DataFrame, training: Training) -> Work:
    pairs = rows["pairs"].sum()
    return Work(1, rows["tokens"].sum() / pairs, rows["squares"].sum() / pairs, training.batch_size)


def _check_score(folder: Path, observations: list[Observation], score: str) -> None:
    known = sorted({name for o in observations for name in o.scores})
    if score and score not in known:
        raise ValueError(
            f"{folder}: no observation has a score {score!r}; known: {', '.join(known) or 'none'} (training.score = "
            "true in the sweep file measures them)"
        )


def _measured(o: Observation, score: str) -> float | None:
    """What the laws are about: the loss, or 1 less a score."""
    if not score:
        return o.loss
    return 1 - o.scores[score] if score in o.scores else None


def read_observations(path: Path) -> tuple[list[Observation], tuple[Caveat, ...]]:
    """All observations of a file; lines that cannot be read are named in a notice, too many of them are refused."""
    read, broken = [], []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read.append(Observation.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(f"{path}:{number}: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
    if len(broken) > BROKEN_SHARE * len(lines):
        raise ValueError(f"{len(broken)} of {len(lines)} lines are no observations; the first: {broken[0]}")
    return read, tuple(Caveat("broken_line", text) for text in broken)


def _admit(observations: list[Observation], min_steps: int, max_epochs: float, score: str) -> tuple[list, list]:
    entering, excluded, seen = [], [], set()
    for o in observations:
        reason = _refusal(o, min_steps, max_epochs, score)
        if o.key in seen:
            reason = "the same trial is recorded on an earlier line"
        seen.add(o.key)
        if reason:
            excluded.append((o.key, reason))
        else:
            entering.append(o)
    return entering, excluded


def _refusal(o: Observation, min_steps: int, max_epochs: float, score: str) -> str:
    if o.status != "done":
        return f"{o.status}: {o.reason}" if o.reason else o.status
    value = _measured(o, score)
    if value is None or not np.isfinite(value) or value <= 0:
        return f"its {f'1 - {score}' if score else 'loss'} is {value}, not a positive number"
    if min(o.params, o.tokens, o.flops, o.pairs) <= 0:
        return "params, tokens, pairs or flops are missing"
    if o.trial.steps < min_steps:
        return f"fewer than {min_steps} optimiser steps ({o.trial.steps})"
    if o.epochs > max_epochs:
        return f"more than {max_epochs:g} epochs over its pairs ({o.epochs:.1f})"
    return ""


def _best_rates(observations: list[Observation], score: str) -> tuple[list, list, tuple[Caveat, ...]]:
    """The best rate of each cell (model, method, steps, seed), why the others stay out, and winners at an edge."""
    cells: dict[tuple, list[Observation]] = {}
    for o in observations:
        cells.setdefault((o.trial.model, o.trial.method.label, o.trial.steps, o.trial.seed), []).append(o)
    best, beaten, edges = [], [], []
    for (model, method, steps, _), tried in cells.items():
        winner = min(tried, key=lambda o: _measured(o, score))
        best.append(winner)
        reason = f"another learning rate did better in its cell ({winner.trial.lr:g})"
        beaten += [(o.key, reason) for o in tried if o is not winner]
        rates = sorted(o.trial.lr for o in tried)
        if len(rates) > 1 and winner.trial.lr in (rates[0], rates[-1]):
            side = "lowest" if winner.trial.lr == rates[0] else "highest"
            edges.append((method, f"{model} at {steps} steps ({side} of {', '.join(f'{r:g}' for r in rates)})"))
    notices = []
    for method in dict.fromkeys(method for method, _ in edges):
        where = [text for name, text in edges if name == method]
        more = f" and {len(where) - 3} cells more" if len(where) > 3 else ""
        text = f"{method}: the best learning rate lies at the edge of the tried ones for {'; '.join(where[:3])}{more}"
        notices.append(Caveat("rate_edge", text, method))
    if cells and all(len(tried) == 1 for tried in cells.values()) and len({o.trial.lr for o in observations}) == 1:
        rate = observations[0].trial.lr
        notices.append(
            Caveat("one_rate", f"every run used learning rate {rate:g}: exponents may be off where it was not the best")
        )
    return best, beaten, tuple(notices)


def _shared_training(folder: Path, observations: list[Observation]) -> Training:
    first = asdict(observations[0].trial.training)
    for o in observations:
        for name, value in asdict(o.trial.training).items():
            if value != first[name]:
                raise ValueError(
                    f"{folder}: observations differ in training.{name}: {first[name]!r} and {value!r}; "
                    "a law holds under one condition, so give each its own folder"
                )
    return observations[0].trial.training


def _row(o: Observation, score: str) -> dict[str, Any]:
    return {
        "name": f"{o.trial.model} at {o.trial.budget or o.flops:.3g} FLOP ({o.key})",
        "method": o.trial.method.label,
        "model": o.trial.model,
        "run": o.trial.run,
        "params": o.params,
        "tokens": o.tokens,
        "flops": o.flops,
        "loss": _measured(o, score),
        "share": min(1.0, o.trainable / o.params),
        "unique": o.tokens * o.data_pairs / o.pairs if o.data_pairs else np.inf,
        "budget": o.trial.budget or o.flops,
        "pairs": o.pairs,
        "squares": o.squares,
        "lr": o.trial.lr,
        "seed": o.trial.seed,
    }


def _rates(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Per method and model the rate that won most cells; of equals, the one that won with more compute."""
    rates: dict[str, dict[str, float]] = {}
    for (method, model), cells in rows.groupby(["method", "model"], sort=False):
        wins = cells.groupby("lr").agg(cells=("loss", "size"), flops=("flops", "max"))
        rates.setdefault(method, {})[model] = float(wins.sort_values(["cells", "flops"]).index[-1])
    return rates
