"""How wrong a law may be beyond its runs, learnt from how wrong it was beyond fewer of them.

What a backtest misses beyond the noise of runs, over the decades that it looked ahead, is an sd of the log loss a
decade. The windows hold fewer runs than the fit does, so part of their misses is doubt about coefficients, which the
draws carry already: SHARE of the sd is kept. Few windows make a noisy estimate, so it is drawn to USUAL. Both were
set by simulation, where runs at 10 and 100 times the compute lie in their 90 % intervals 85 to 97 times in a hundred
(tests/benchmarks/bench_forecast.py); without the drift these hold 91 and 90 % there, and 70 % on real sweeps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.backtest import Backtest
from analysis.fitting.noise import normal_sd
from analysis.tables.rows import Array
from planner.law_book import NORMAL

SHARE = 0.5
USUAL = 0.01  # sd of the log loss a decade
WORTH = 0.5  # of USUAL, in backtests
FARTHEST = 3.0  # sds beyond which a miss is counted as one of this size: a mistyped run is no drift


def learnt(backtest: Backtest, predicted: Array, noise: float) -> float | None:
    """Sd of the log loss a decade that the windows missed; None where they predict nothing beyond what they have seen.

    predicted: what they said, ln loss [windows, rows]; noise: sd of a run about the law.
    """
    beyond = backtest.tested & (backtest.away > 0)
    misses, away = np.abs(backtest.measured - predicted)[beyond], backtest.away[beyond]
    if not len(misses):
        return None
    misses = np.minimum(misses, FARTHEST * normal_sd(misses))
    return float(np.sqrt(np.maximum(misses**2 - noise**2, 0).sum() / (away**2).sum()))


def drift_of(missed: float | None) -> float:
    """Model error: sd of the log loss a decade beyond the runs. missed: as `learnt` says."""
    if missed is None:
        return USUAL
    return float(np.sqrt(((SHARE * missed) ** 2 + WORTH * USUAL**2) / (1 + WORTH)))


def coverage(backtest: Backtest, predicted: Array, noise: float, missed: float) -> float:
    """Share of the predictions of windows within 90 % by the noise of runs and what windows miss a decade."""
    inside: NDArray[np.bool_] = np.abs(backtest.measured - predicted) <= NORMAL * np.hypot(
        noise, missed * backtest.away
    )
    return float(inside[backtest.tested].mean())
