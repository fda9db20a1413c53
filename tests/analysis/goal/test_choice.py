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


def test_a_single_place_compares_nothing_and_is_not_tried_first():
    places, goals = many_places(60, 200), np.arange(54, 60)
    only = np.where(np.arange(60) == 7, 1.0, np.inf)
    assert next_trials(places, Recorded(), goals, lambda chosen: np.full(60, np.inf) if chosen else only, 4) == []
    seen = Recorded(np.array([3]), np.array([1.0]))
    assert next_trials(places, seen, goals, lambda chosen: np.full(60, np.inf) if chosen else only, 4) == [7]
    assert len(next_trials(places, Recorded(), goals, lambda _: np.ones(60), 1)) == 1


def test_of_two_with_the_same_middle_the_surer_one_is_chosen():
    chance = np.random.default_rng(0)
    draws = np.column_stack([chance.normal(0, sd, 4000) for sd in (0.4, 0.1, 0.4)])
    draws -= draws.mean(axis=0)
    zeros = np.zeros(3)
    places = Places(draws, np.arange(3), np.arange(3), zeros, zeros, np.full(3, 0.01), usual=0.01)
    assert standing(Beliefs(places, Recorded()), np.arange(3)).chosen == 1


@pytest.mark.slow
def test_a_round_among_10000_places_takes_at_most_2_seconds():
    places, goals = many_places(10_000, 500), np.arange(9_940, 10_000)
    recorded = Recorded(np.arange(0, 2000, 40), np.full(50, 1.0))
    prices = np.linspace(1, 100, 10_000)
    began = time.process_time()
    assert len(next_trials(places, recorded, goals, lambda _: prices, 4)) == 4
    assert time.process_time() - began < 2
