"""How much each family counts in a weighted law.

A family's weight is PRIOR / (misfit**FIT * error**FORECAST): its mean absolute residual on all runs, coefficients
discounted, as so many independent runs would count it, and its mean error on runs that its windows had not seen. No
family is dropped for being a little worse than another: of those that fit alike each is right on some tables, and
their mean is never the worst.

PRIOR follows tries on simulated sweeps of 20 to 60 runs under seven truths, five of them outside every family (bent
slopes, an exponent that depends on size, noise and bias at small D, five gross outliers, checkpoints better or worse
than their size). The tied law is special and yet counts most: published exponents of size and data differ by a quarter
at most, and with little compute range freedom in both costs more than it gains. The rectified, joined and
multiplicative laws can bend where a few short runs are off, and carry that far; they have to earn their weight. Weights
twice as sharp, or without PRIOR, would predict the simulations 4 % better (of the error) and real sweeps, which follow
no simulation, worse.

300 sweeps of each of six truths (docs/forecasts.md), errors and regrets at 10 and 100 times the compute in
percent: weighed 1.6 and 3.2, 0.11 and 0.26; lowest backtest 1.6 and 3.3, 0.38 and 0.55; always plain 2.1 and 4.2, 0.17
and 0.40; always tied 3.0 and 5.4, 0.99 and 1.47; 20 tokens per parameter has a regret of 0.79 and 1.00.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.fitting.backtest import Backtest, FamilyChoice
from analysis.tables.rows import Array

PRIOR = {"tied": 2.0, "chinchilla": 1.0, "joined": 0.5, "rectified": 0.3, "multiplicative": 0.3}
FIT, FORECAST = 4, 2
LEAST = 0.02  # a smaller weight moves no prediction, but would need draws of its own
LEAST_ERROR = 1e-4  # of the log loss: runs without noise tell nothing by what the solver leaves of it


def weigh(choices: Sequence[FamilyChoice], backtest: Backtest, groups: int) -> dict[FamilyChoice, float]:
    """The weight of each choice, largest first, without those below LEAST. groups: how many methods the rows are of."""
    logs = np.array([_log_weight(choice, backtest, groups) for choice in choices])
    weights = np.exp(logs - logs.max())
    weights = np.where(weights < LEAST * weights.sum(), 0.0, weights)
    order = np.argsort(-weights, kind="stable")
    return {choices[i]: float(weights[i] / weights.sum()) for i in order if weights[i]}


def _log_weight(choice: FamilyChoice, backtest: Backtest, groups: int) -> float:
    fit = misfit(backtest.measured - backtest.fitted[choice.label], choice.size(groups))
    error = max(backtest.error(choice.label)[0], LEAST_ERROR)
    return float(np.log(PRIOR.get(choice.family, 1.0)) - FIT * np.log(fit) - FORECAST * np.log(error))


def misfit(residuals: Array, size: int) -> float:
    """Mean absolute residual [rows], discounted by the coefficients that were fitted."""
    free = max(len(residuals) - size, 1)
    return max(float(np.abs(residuals).mean() * np.sqrt(len(residuals) / free)), LEAST_ERROR)


def shares_exponents(own: Mapping[FamilyChoice, float], shared: Mapping[FamilyChoice, float], by: Backtest) -> bool:
    """Whether the means of both kinds cannot be told apart by the backtest, or shared exponents predict better."""
    errors = [by.error_of(by.mean({c.label: w for c, w in kind.items()})) for kind in (own, shared)]
    behind, se = by.summary(errors[1] - errors[0])
    return behind <= se
