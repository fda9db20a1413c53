"""Tables of runs whose losses follow a known law, for the tests and the benchmark of the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.tables.rows import Rows
from planner.laws import LAWS, Chinchilla, Law

TRUTH = Chinchilla(E=0.3, A=30.0, alpha=0.35, B=200.0, beta=0.33)
UNEVEN = Chinchilla(E=0.4, A=9.0, alpha=0.25, B=4000.0, beta=0.5)  # tokens matter more, and longer


def grid(law: Law, sizes=8, budgets=6, noise=0.0, seed=0, low=1e12, step=4.0) -> pd.DataFrame:
    """Runs of a full grid of sizes and budgets (C = 6 N D), their losses from a law."""
    N = np.repeat(np.geomspace(25e3, 25e3 * 2.1 ** (sizes - 1), sizes), budgets)
    C = np.tile(low * step ** np.arange(budgets), sizes)
    D = C / (6 * N)
    U = np.where(np.arange(len(N)) % 3 == 0, D / 8, D * 2)
    S = np.tile([0.1, 0.3, 0.6, 1.0], len(N))[: len(N)]
    loss = law.at(N, D, S, U) * np.exp(np.random.default_rng(seed).normal(0, noise, len(N)) if noise else 0)
    return pd.DataFrame({"N": N, "D": D, "C": C, "S": S, "U": U, "loss": loss})


def columns(law: Law) -> dict[str, str]:
    """The columns of `grid` that a fit of this law needs, as options of `fit_laws`."""
    options = {"N": "n", "D": "d", "S": "share", "U": "unique"}
    return {"loss": "loss", **{options[name]: name for name in law.inputs}}


def name_of(law: Law) -> str:
    return next(name for name, kind in LAWS.items() if kind is type(law))


def rows_of(frame: pd.DataFrame) -> Rows:
    """The runs of `grid` as the solver takes them, every row a run of its own."""
    k = len(frame)
    numbers = [frame[name].to_numpy(float) for name in ("N", "D", "loss", "S", "U", "C")]
    return Rows(*numbers, np.arange(k), np.zeros(k, int), np.arange(k).astype(str))
