"""Beliefs about log losses are a normal distribution, conditioned exactly."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.goal.beliefs import SCALES, Beliefs, Places, Recorded, likeliest_scale


def some_places(count: int = 8, seed: int = 0) -> Places:
    chance = np.random.default_rng(seed)
    common = chance.normal(0, 0.5, (300, 1))
    return Places(
        draws=0.8 + common + chance.normal(0, 0.1, (300, count)),
        method=np.arange(count) % 2,
        model=np.arange(count) // 2,
        params=np.linspace(-1, 1, count),
        tokens=np.linspace(1, -1, count),
        noise=np.full(count, 0.02),
    )


def test_conditioning_is_that_of_a_normal_distribution():
    places, seen, asked = some_places(), np.array([0, 3, 3]), np.array([5, 6])
    beliefs = Beliefs(places, Recorded(seen, np.array([0.3, 0.5, 0.52])), scale=1.0)
    whole = places.covariance(np.arange(8), np.arange(8), 1.0)
    among = whole[np.ix_(seen, seen)] + 0.02**2 * np.eye(3)
    gain = whole[np.ix_(asked, seen)] @ np.linalg.inv(among)
    mean = places.mean[asked] + gain @ (np.array([0.3, 0.5, 0.52]) - places.mean[seen])
    assert beliefs.mean(asked) == pytest.approx(mean)
    left = whole[np.ix_(asked, asked)] - gain @ whole[np.ix_(seen, asked)]
    assert beliefs.covariance(asked, asked) == pytest.approx(left)
    variance, shared = beliefs.beside(np.array([1]), asked)
    assert variance == pytest.approx(np.diag(left))
    assert shared == pytest.approx(beliefs.covariance(np.array([1]), asked))


def test_what_is_to_come_narrows_and_moves_nothing():
    places, every = some_places(), np.arange(8)
    recorded = Recorded(np.array([1]), np.array([0.4]))
    now, later = Beliefs(places, recorded, scale=1.0), Beliefs(places, recorded, [4], scale=1.0)
    assert later.mean(every) == pytest.approx(now.mean(every))
    assert (np.diag(later.covariance(every, every)) < np.diag(now.covariance(every, every))).all()


def test_losses_far_from_the_laws_widen_what_the_laws_may_miss():
    places = some_places()
    expected = Recorded(np.arange(8), places.mean)
    assert likeliest_scale(places, Recorded()) == likeliest_scale(places, expected) == SCALES[0]
    zigzag = Recorded(np.arange(8), places.mean + np.where(np.arange(8) % 4 < 2, 0.6, -0.6))
    assert likeliest_scale(places, zigzag) > 2 * SCALES[0]
