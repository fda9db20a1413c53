"""Rows of several experiments are told by the column that tells them apart; columns of clean tables are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.experiments import experiments
from planner.laws import Chinchilla
from support.clean_sweeps import DELTAS, SWEEPS, clean, everyone, solved
from support.known_runs import TRUTH, grid

OPTIONS = {"n": "N", "d": "D", "loss": "loss", "family": "chinchilla", "bootstraps": 20}


def idle_columns(count: int, seed: int) -> pd.DataFrame:
    """Columns that have nothing to do with the loss."""
    chance = np.random.default_rng(seed)
    columns = {f"column{k}": chance.choice([f"v{v}" for v in range(k)], count) for k in range(2, 7)}
    return pd.DataFrame({**columns, "comment": [f"note {i}" for i in range(count)], "cluster": "only one"}).assign(
        remark=lambda frame: frame.column2.where(frame.column3 == "v0")  # texts, and cells without one
    )


@pytest.mark.slow
@pytest.mark.parametrize("delta", DELTAS)
def test_at_most_two_of_a_hundred_clean_tables_with_eight_columns_are_suspected(delta):
    told = [
        experiments("all", sweep, everyone(sweep), idle_columns(36, seed)) for seed, sweep in enumerate(clean(delta))
    ]
    assert sum(map(bool, told)) <= 0.02 * SWEEPS


def test_the_column_and_its_values_are_named():
    frame = grid(TRUTH, 8, 6, 0.01, seed=4)
    frame["optimizer"] = np.random.default_rng(4).choice(["adam", "muon", "lion"], len(frame))
    frame["loss"] *= np.where(frame.optimizer == "muon", 0.97, 1.0)
    book = fit_laws(frame.assign(other=idle_columns(len(frame), 0).column2), **OPTIONS)
    text = next(caveat.text for caveat in book.warnings if caveat.code == "experiments")
    assert "'optimizer'" in text and "`method`" in text and "column2" not in text
    told = text.split("'muon' ")[1]
    below = float(told.split(" %")[0])
    assert "below" in told.split(",")[0] and below == pytest.approx(3, abs=1)


def test_experiments_that_differ_in_an_exponent_are_told_too():
    other = Chinchilla(E=TRUTH.E, A=TRUTH.A, alpha=TRUTH.alpha, B=TRUTH.B * 1.9, beta=TRUTH.beta * 1.05)
    both = [grid(law, 6, 6, 0.01, seed).assign(experiment=seed) for seed, law in enumerate((TRUTH, other))]
    book = fit_laws(pd.concat(both, ignore_index=True), **OPTIONS)
    codes = {caveat.code: caveat.text for caveat in book.warnings}
    assert "'experiment'" in codes["experiments"]
    assert "runs" not in codes  # that advice would make one run of each experiment


def test_experiments_with_sizes_and_budgets_of_their_own_are_told_too():
    other = Chinchilla(E=TRUTH.E * 1.5, A=TRUTH.A, alpha=TRUTH.alpha, B=TRUTH.B, beta=TRUTH.beta)
    runs = [grid(law, 6, 5, 0.005, seed, low=1e12 * (1 + seed)) for seed, law in enumerate((TRUTH, other))]
    runs[1]["N"] *= 1.3
    frame = pd.concat([run.assign(source=f"paper {i}") for i, run in enumerate(runs)], ignore_index=True)
    text = " ".join(caveat.text for caveat in fit_laws(frame, **OPTIONS).warnings if caveat.code == "experiments")
    assert "'source'" in text and "'paper 1'" in text


def test_a_column_that_follows_from_the_size_tells_no_experiments():
    frame = grid(TRUTH, 8, 8, 0.002, seed=2)
    n, d = (np.log(frame[name]) - np.log(frame[name]).mean() for name in "ND")
    frame["loss"] *= np.exp(0.02 * np.sin(3 * n) + 0.02 * n * d)
    frame["layers"] = np.unique(frame.N, return_inverse=True)[1] % 3
    frame["cluster"] = np.where(frame.C.rank() < 32, "small", "large")
    assert "experiments" not in [caveat.code for caveat in fit_laws(frame, **OPTIONS).warnings]


def test_eight_runs_that_scatter_by_half_are_told_to_be_no_experiment():
    frame = grid(TRUTH, 4, 2, 0.48, seed=3)
    sweep = solved(frame)
    caveats = experiments("all", sweep, everyone(sweep), pd.DataFrame())
    assert [caveat.code for caveat in caveats] == ["scattered"]


def test_runs_of_several_sizes_are_no_run():
    frame = pd.concat([grid(TRUTH, 4, 4).assign(cluster=name) for name in "ab"], ignore_index=True)
    with pytest.raises(
        ValueError, match=r"row 1 and row 5 have the same cluster \('a', given as `run`\) and differ in N"
    ):
        fit_laws(frame, run="cluster", **OPTIONS)
