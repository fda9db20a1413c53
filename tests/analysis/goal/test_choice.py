"""What a trial is worth: it tells the candidates apart, or it is worth nothing."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from analysis.goal.beliefs import Beliefs, Places, Recorded
from analysis.goal.choice import next_trials, standing, worth_of


def many_places(count: int, draws: int) -> Places:
    chance = np.random.default_rng(0)
    method, model = np.arange(count) % 6, np.arange(count) // 6 % 10
    slopes = chance.normal(0, 0.1, (draws, 6))
    tokens = np.linspace(-2, 0, count)
    drawn = 1.0 + chance.normal(0, 0.3, (draws, 1)) + slopes[:, method] * tokens + 0.02 * model
    return Places(drawn, method, model, np.log10(model + 1.0), tokens, np.full(count, 0.02))


def test_a_trial_that_tells_nothing_is_worth_nothing():
    places = many_places(60, 200)
    goals = np.array([54, 55])
    sure = replace(places, noise=np.where(np.arange(60) == 10, 1e6, 0.02))
    gains = worth_of(Beliefs(sure, Recorded()), goals, np.array([4, 10]), np.ones(2))
    assert gains[1] < 1e-6 < gains[0]


def test_trials_narrow_the_expected_regret_and_the_cheap_ones_go_first():
    places, goals = many_places(60, 200), np.arange(54, 60)
    before = standing(Beliefs(places, Recorded()), goals)
    prices = np.where(np.arange(60) < 30, 1.0, 100.0)
    chosen = next_trials(places, Recorded(), goals, lambda _: prices, 4)
    assert len(chosen) == 4 and max(chosen) < 30
    after = standing(Beliefs(places, Recorded(), chosen), goals)
    assert 0 < after.regret < before.regret
    assert before.best.sum() == pytest.approx(1)
    nothing_left = np.full(60, np.inf)
    assert next_trials(places, Recorded(), goals, lambda _: nothing_left, 4) == []


def test_an_unknown_level_keeps_the_first_round_from_nothing():
    places, goals, prices = many_places(60, 200), np.arange(54, 60), np.ones(60)
    unsure, sure = (replace(places, level=level) for level in (50.0, 0.0))
    alone = worth_of(Beliefs(unsure, Recorded()), goals, np.arange(54), prices[:54])
    assert alone.max() < 0.1 * worth_of(Beliefs(sure, Recorded()), goals, np.arange(54), prices[:54]).max()
    first = next_trials(unsure, Recorded(), goals, lambda _: prices, 4)
    assert len(first) == 4 and first == next_trials(sure, Recorded(), goals, lambda _: prices, 4)


@pytest.mark.slow
def test_a_round_among_10000_places_takes_at_most_2_seconds():
    places, goals = many_places(10_000, 500), np.arange(9_940, 10_000)
    recorded = Recorded(np.arange(0, 2000, 40), np.full(50, 1.0))
    prices = np.linspace(1, 100, 10_000)
    began = time.process_time()
    assert len(next_trials(places, recorded, goals, lambda _: prices, 4)) == 4
    assert time.process_time() - began < 2
