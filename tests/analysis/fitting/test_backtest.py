"""The backtest: what windows have not seen is predicted, and runs that miss together count once."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.fitting.backtest import FamilyChoice, score
from analysis.fitting.forms import SHAPES
from planner.laws import Chinchilla
from support.known_backtests import backtest_of
from support.known_runs import grid, rows_of


def test_the_family_that_made_the_runs_predicts_best():
    truth = Chinchilla(E=0.5, A=30.0, alpha=0.25, B=9000.0, beta=0.55)
    rows = rows_of(grid(truth, noise=0.005))
    backtest = score([FamilyChoice(name, SHAPES[name]) for name in ("power", "tied", "chinchilla")], rows, 0.01)
    assert min(backtest.errors, key=backtest.error) == "chinchilla"


def test_runs_that_miss_together_count_once():
    """Ten copies of every error tell no more than one, and the standard error knows it."""
    errors = np.random.default_rng(0).normal(1, 0.3, 30)
    places = np.arange(30)
    alone = backtest_of(places, a=errors).error("a")[1]
    copied = backtest_of(np.repeat(places, 10), a=np.repeat(errors, 10)).error("a")[1]
    assert copied == pytest.approx(alone, rel=0.01)
    assert alone == pytest.approx(0.3 / 30**0.5, rel=0.2)


def test_decades_ahead_are_those_in_compute_size_and_tokens_together():
    rows = rows_of(grid(Chinchilla(E=0.5, A=30.0, alpha=0.25, B=9000.0, beta=0.55)))
    backtest = score([FamilyChoice("tied", SHAPES["tied"])], rows, 0.01)
    for tested, away in zip(backtest.tested, backtest.away, strict=True):
        seen = ~tested
        for values in (rows.flops, rows.N, rows.D):
            beyond = np.log10(values[tested] / values[seen].max())
            assert (away[tested] >= beyond - 1e-9).all()
        assert (away[seen] == 0).all()
