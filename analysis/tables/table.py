"""The runs that a fit is made of, from a sweep or from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from analysis.tables.projection import Projection
from analysis.tables.rate_curves import RateCurve
from analysis.tables.rows import Rows
from planner.law_book import Caveat
from sweeps.flops import Work
from sweeps.search.goal_rounds import GoalRound
from sweeps.trial import Observation, Training

NUMBERS = ["params", "tokens", "flops", "loss", "share", "unique"]
CELL = ["method", "params", "tokens", "share", "unique"]  # rows that share all that laws know are repeats of one run


@dataclass(frozen=True)
class Table:
    """Runs that enter a fit, and what is known of the others."""

    name: str
    """Name of the results folder, or of the file of runs."""
    rows: pd.DataFrame
    """One line for each run that enters.

    Columns: name, method (its label), run, params (N), tokens (D), flops (C), loss, share (trained, of the parameters)
    and unique (tokens); for a sweep also model, budget (FLOPs), pairs, squares, lr, seed, accuracy and batch (pairs).
    """
    settings: Mapping[str, Mapping[str, Any]]
    """By method label: the method's name, and its settings."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Name and reason of each run that does not enter."""
    filters: tuple[str, ...] = ()
    """What was asked of runs that enter, in words, for the record."""
    others: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What a table of runs from elsewhere holds besides, a line for each of `rows`; columns by their titles there."""
    caveats: tuple[Caveat, ...] = ()
    """Why laws of these runs may mislead."""
    training: Training | None = None
    """The one condition that the runs share; None for runs from elsewhere."""
    pair: Work | None = None
    """What one pair of texts costs on average; None for runs from elsewhere."""
    learning_rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By method label and model: the rate that won most cells."""
    rate_curves: tuple[RateCurve, ...] = ()
    """Searches of learning rates under the conditions of the runs, at any batch size."""
    measure: str = "loss"
    """What the column loss holds: "loss", or "1 - " and the name of a score."""
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Columns method, loss, params (N) and scores of all trials that were scored, whether or not they enter."""
    observations: tuple[Observation, ...] = ()
    """All of the folder, whatever became of them."""
    projection: Projection | None = None
    """An embedding space in two dimensions, where the folder has one."""
    rounds: tuple[GoalRound, ...] = ()
    """Rounds of the sweep's goal; none without one."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of runs from elsewhere: which column of the table holds what."""
    variables: tuple[str, ...] = ("N", "D")
    """What the laws are in: N and D, or one of N, D and C alone. Where it is C, `tokens` holds that."""
    held_out: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Rows that the fit is to predict; columns as in `rows`."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes of the runs, ascending, where they differ in it; () where they share one, or none is known."""
        sizes = sorted(int(size) for size in self.rows["batch"].unique()) if "batch" in self.rows else []
        return tuple(sizes) if len(sizes) > 1 else ()

    @property
    def at_best_batch(self) -> Table:
        """The table of the best batch size of every method, model, budget and seed alone, as if all had one size."""
        if not self.batch_sizes:
            return self
        cells = self.rows.groupby(["method", "model", "budget", "seed"], sort=False)["loss"]
        return self.part(self.rows.loc[cells.idxmin()].drop(columns="batch"))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, smallest first; none for runs from elsewhere."""
        if "model" not in self.rows:
            return ()
        return tuple(self.rows.sort_values("params")["model"].unique())

    @property
    def hash(self) -> str:
        """Hash of what enters: method, N, D, loss, run and weight of every row, in full precision."""
        counted = ["weight"] if "weights" in self.columns else []
        counted += ["batch"] if self.batch_sizes else []
        lines = self.rows[["method", "run", *NUMBERS, *counted]].sort_values(["method", *NUMBERS]).to_csv(index=False)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def part(self, rows: pd.DataFrame) -> Table:
        """The table of some of its rows alone."""
        others = self.others.loc[rows.index] if len(self.others) else self.others
        methods = set(rows["method"])
        settings = {label: of for label, of in self.settings.items() if label in methods}
        return replace(self, rows=rows, others=others, settings=settings)

    def others_of(self, method: str) -> pd.DataFrame:
        """The lines of `others` for the rows of a method."""
        return self.others[(self.rows["method"] == method).to_numpy()] if len(self.others) else self.others

    def of(self, methods: Iterable[str]) -> Rows:
        """The rows of these methods, numbered in this order."""
        order = {method: place for place, method in enumerate(methods)}
        some = self.rows[self.rows["method"].isin(list(order))]
        return Rows(
            N=some["params"].to_numpy(float),
            D=some["tokens"].to_numpy(float),
            loss=some["loss"].to_numpy(float),
            S=some["share"].to_numpy(float),
            U=some["unique"].to_numpy(float),
            flops=some["flops"].to_numpy(float),
            run=pd.factorize(some["method"] + "\0" + some["run"].astype(str))[0],
            group=some["method"].map(order).to_numpy(int),
            name=some["name"].to_numpy(str),
            times=some["weight"].to_numpy(float) if "weights" in self.columns else 1.0,
            B=some["batch"].to_numpy(float) if "batch" in some else 1.0,
        )
