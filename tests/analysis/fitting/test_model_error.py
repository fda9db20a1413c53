"""Model error: what the backtest missed beyond the noise, a decade."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import fit_laws
from analysis.fitting.model_error import SHARE, USUAL, WORTH, coverage, drift_of, learnt
from planner.discrepancy import drift
from support.known_backtests import backtest_of
from support.simulated_sweeps import TRUTHS, sweep, usual

CHANCE = np.random.default_rng(0)


def test_misses_beyond_the_noise_are_learnt_a_decade():
    misses = np.hypot(0.03, 0.01) * CHANCE.normal(size=4000)
    backtest = backtest_of(np.arange(4000), law=misses)
    predicted = backtest.predicted["law"]
    assert learnt(backtest, predicted, noise=0.01) == pytest.approx(0.03, rel=0.05)
    assert learnt(backtest, predicted, noise=0.2) == 0
    assert coverage(backtest, predicted, 0.01, 0.03) == pytest.approx(0.9, abs=0.02)


def test_one_mistyped_run_is_no_drift():
    misses = 0.01 * CHANCE.normal(size=100)
    calm = backtest_of(np.arange(100), law=misses)
    misses[3] = 2.0
    wild = backtest_of(np.arange(100), law=misses)
    gap = learnt(wild, wild.predicted["law"], 0.0) - learnt(calm, calm.predicted["law"], 0.0)
    assert abs(gap) < 0.002


def test_a_few_windows_are_drawn_to_what_is_usual():
    assert drift_of(None) == USUAL
    assert drift_of(0.0) == pytest.approx(USUAL * np.sqrt(WORTH / (1 + WORTH)))
    assert 0.9 * SHARE / np.sqrt(1 + WORTH) < drift_of(0.2) / 0.2 < SHARE


def held(names, sweeps: int) -> dict[float, float]:
    """Factor beyond the largest budget -> share of runs in their 90 % interval, over simulated sweeps of each truth."""
    inside: dict[float, list[bool]] = {10.0: [], 100.0: []}
    for name in names:
        for seed in range(sweeps):
            truth, frame, ladder, noise = sweep(name, seed)
            law = fit_laws(frame, n="N", d="D", loss="loss", bootstraps=50).laws[0]
            chance = np.random.default_rng(seed)
            for factor, found in inside.items():
                budget = factor * frame["C"].max()
                sizes = ladder[usual(ladder, budget)]
                losses = truth(sizes, budget / 6 / sizes)
                best = int(np.argmin(losses))
                N, D = float(sizes[best]), float(budget / 6 / sizes[best])
                low, high = law.interval(N, D, drift=drift(law, budget, N, D))
                found.append(low <= losses[best] * np.exp(chance.normal(0, noise)) <= high)
    return {factor: float(np.mean(found)) for factor, found in inside.items()}


# The bench simulates 300 of each (tests/benchmarks/bench_forecast.py). Of 60 runs 90 % is 54, and fewer than 48 once in
# a hundred times.
@pytest.mark.slow
def test_nine_in_ten_intervals_hold_a_run_at_ten_and_a_hundred_times_the_compute():
    shares = held(TRUTHS, sweeps=10)
    assert min(shares.values()) >= 0.8
