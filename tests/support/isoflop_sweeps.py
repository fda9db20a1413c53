"""isoFLOP sweeps of a known law: several sizes around the best one at each of several budgets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from planner.laws import Chinchilla

BUDGETS = np.geomspace(6e18, 3e21, 6)


def best_sizes(law: Chinchilla, budgets=BUDGETS) -> np.ndarray:
    """N of the lowest loss at C = 6 N D (Hoffmann et al. 2022, equation 4)."""
    ratio = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    return ratio * (np.asarray(budgets) / 6) ** exponent(law)


def exponent(law: Chinchilla) -> float:
    """d ln N / d ln C of the best size."""
    return law.beta / (law.alpha + law.beta)


def isoflop_runs(law, budgets=BUDGETS, sizes=9, factor=6.0, drift=0.0, noise=0.0, spread=0.0, seed=0) -> pd.DataFrame:
    """Rows as in Table.rows. factor: between the best size and the last one tried on either side.

    drift: by how much of ln factor the middle of the tried sizes moves from too small to too large over the budgets.
    spread: sd of ln C among the runs of a budget.
    """
    chance = np.random.default_rng(seed)
    away = np.linspace(-np.log(factor), np.log(factor), sizes)
    moved = np.linspace(-drift, drift, len(budgets)) * np.log(factor)
    N = (best_sizes(law, budgets)[:, None] * np.exp(away + moved[:, None])).ravel()
    C = np.repeat(budgets, sizes) * np.exp(spread * chance.normal(size=len(N)))
    loss = law.loss(N, C / (6 * N)) * np.exp(noise * chance.normal(size=len(N)))
    names = np.arange(len(N)).astype(str)
    columns = {"params": N, "tokens": C / (6 * N), "flops": C, "loss": loss, "run": names, "name": names}
    return pd.DataFrame({**columns, "method": "all", "share": 1.0, "unique": np.inf})
