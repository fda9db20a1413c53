"""Model error: what the backtest missed beyond the noise, a decade."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.fitting.model_error import SHARE, USUAL, WORTH, coverage, drift_of, learnt
from support.known_backtests import backtest_of

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
