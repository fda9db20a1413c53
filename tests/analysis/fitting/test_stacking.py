"""Weights of families: each counts as it fits and predicts, none decides alone, and draws carry the doubt."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.describe import turns_of
from analysis.fitting.forms import SHAPES
from analysis.fitting.stacking import PRIOR, weigh
from planner.laws import Joined, Repeated, Weighted, family_of
from support.known_backtests import backtest_of
from support.known_runs import TRUTH, grid

COLUMNS = {"n": "N", "d": "D", "loss": "loss"}


def choices(*families: str) -> list[FamilyChoice]:
    return [FamilyChoice(name, SHAPES[name]) for name in families]


def weights_of(families, **errors) -> dict[str, float]:
    places = np.arange(len(next(iter(errors.values()))))
    weights = weigh(choices(*families), backtest_of(places, **errors), 1)
    return {choice.family: weight for choice, weight in weights.items()}


def test_families_that_predict_alike_count_by_what_simulations_taught():
    errors = np.full(1000, 0.01)
    weights = weights_of(PRIOR, **dict.fromkeys(PRIOR, errors))
    assert sum(weights.values()) == pytest.approx(1)
    total = sum(PRIOR.values())
    assert weights == pytest.approx({name: prior / total for name, prior in PRIOR.items()}, rel=0.02)


def test_a_better_family_counts_more_and_one_that_is_far_off_nothing():
    errors = np.random.default_rng(0).normal(0, 0.01, 1000)
    near = weights_of(("tied", "chinchilla"), tied=errors * 1.5, chinchilla=errors)
    assert near["chinchilla"] > near["tied"] > 0.02
    far = weights_of(("tied", "chinchilla"), tied=errors * 5, chinchilla=errors)
    assert far == {"chinchilla": 1.0}


def test_turns_follow_the_weights_from_the_first_few_on():
    weights = [0.6, 0.3, 0.1]
    for count in (10, 100, 250):
        shares = np.bincount(turns_of(weights, count), minlength=3) / count
        assert shares == pytest.approx(weights, abs=1 / count)


def test_the_law_is_the_mean_and_its_draws_are_of_all_families():
    law = fit_laws(grid(TRUTH, noise=0.01), bootstraps=200, **COLUMNS).laws[0]
    assert isinstance(law.law, Weighted)
    assert law.family == next(iter(law.weights)) == family_of(law.law.parts[0])
    alone = sum(weight * law.parts[family].loss(1e7, 1e10) for family, weight in law.weights.items())
    assert law.law.loss(1e7, 1e10) == pytest.approx(alone)
    drawn = Counter(family_of(draw) for draw in law.draws)
    assert {name: count / len(law.draws) for name, count in drawn.items()} == pytest.approx(law.weights, abs=0.02)
    assert set(law.intervals) == set(law.weights)
    assert {name: tried["weight"] for name, tried in law.backtest["tried"].items() if tried["weight"]} == law.weights


def test_methods_have_the_same_weights_and_draws_of_the_same_families():
    frame = pd.concat([grid(TRUTH, noise=0.01, seed=i).assign(kind=f"method {i}") for i in range(2)])
    first, second = fit_laws(frame, bootstraps=50, method="kind", exponents="own", **COLUMNS).laws
    assert first.weights == second.weights
    assert list(map(family_of, first.draws)) == list(map(family_of, second.draws))


def test_a_family_that_is_asked_for_stands_alone():
    law = fit_laws(grid(TRUTH, noise=0.01), bootstraps=20, family="tied", **COLUMNS).laws[0]
    assert law.weights == {"tied": 1.0}
    assert law.drift > 0


def test_runs_in_which_size_and_tokens_interact_are_given_the_law_that_knows_it():
    truth = Joined(E=0.5, A=30.0, alpha=0.35, beta=0.36, k=0.5, r=30.0)
    law = fit_laws(grid(truth, 8, 6, noise=0.003), bootstraps=20, **COLUMNS).laws[0]
    assert law.family == "joined"


@pytest.mark.parametrize("repeats", [8.0, 1e9])
def test_repeats_are_told_by_their_own_family_or_by_none(repeats):
    """Where runs repeat their data, the family that knows it is never part of a mean in N and D."""
    frame = grid(Repeated(E=0.5, A=30.0, alpha=0.3, B=300.0, beta=0.35, repeats=repeats), noise=0.01)
    law = fit_laws(frame, bootstraps=20, unique="U", **COLUMNS).laws[0]
    assert "repeated" in law.backtest["tried"]
    worth_less = repeats == 8.0
    assert (law.weights == {"repeated": 1.0}) == worth_less == ("repeated" in law.weights)
