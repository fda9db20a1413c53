"""Places say what the laws say, draw by draw; a method without a law borrows the nearest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.goal.beliefs import SEEN_SCALE, USUAL_SCALE
from analysis.goal.evidence import Place, law_of, places_of
from planner.laws import scaled
from support.goal_pursuits import METHODS, book, pairs
from sweeps.methods import make_method

POOL = 256


def test_draws_are_those_of_the_planner():
    own = pairs(book())
    asked = [Place(1, 1e12), Place(4, 3e11), Place(1, 1e15)]  # the last beyond what was measured
    places = places_of(own, asked, POOL)
    for column, place in enumerate(asked):
        pair = own[place.pair]
        tokens = pair.tokens(place.budget)
        drift = pair.drift(tokens) or [1.0] * len(pair.law.draws)
        logs = [math.log(law.at(*pair.inputs(tokens)) * far) for law, far in zip(pair.law.draws, drift, strict=True)]
        assert places.draws[:, column] == pytest.approx(np.array(logs))
    tokens = [own[place.pair].tokens(place.budget) for place in asked]
    assert 10**places.tokens == pytest.approx(np.array(tokens) / math.sqrt(min(tokens) * max(tokens)))
    assert places.usual == USUAL_SCALE
    assert places_of(pairs(book(), data=""), asked, POOL).usual == SEEN_SCALE
    assert [pair.method.label for pair in own].count(METHODS[1].label) == 3


def test_a_method_without_a_law_borrows_the_nearest():
    laws = book()
    assert law_of(laws, METHODS[1]).law == next(law.law for law in laws.laws if "rank 8" in law.label)
    assert law_of(laws, make_method("lora", {"rank": 24})).law == law_of(laws, make_method("lora", {"rank": 32})).law
    assert law_of(laws, make_method("dora", {"rank": 8})).law == law_of(laws, METHODS[0]).law
    alone = replace(laws, laws=tuple(law for law in laws.laws if law.settings["name"] == "bias"))
    with pytest.raises(ValueError, match=r"know neither full nor full fine-tuning, only bias"):
        law_of(alone, METHODS[0])


def test_laws_without_draws_are_refused():
    own = [replace(pair, law=replace(pair.law, draws=())) for pair in pairs(book())]
    with pytest.raises(ValueError, match="no draws"):
        places_of(own, [Place(0, 1e12)], POOL)


def of_another_suite(laws):
    return [replace(pair, unseen=("nano",)) for pair in pairs(laws)]


def test_slopes_are_doubted_where_the_suite_was_not_seen_and_only_there():
    ends = [Place(0, 1e11), Place(0, 4e11)]

    def slopes(own):
        return np.diff(places_of(own, ends, 10**9).draws, axis=1)  # chance is far

    seen = slopes(pairs(book()))
    unseen = slopes(of_another_suite(book()))
    assert unseen.std() > 1.2 * seen.std()
    assert unseen.mean() == pytest.approx(seen.mean(), rel=0.3)
    other_data = [replace(pair, unseen=("other.jsonl",)) for pair in pairs(book())]
    assert (slopes(other_data) == seen).all()


def test_on_another_suite_no_loss_exceeds_that_of_chance_and_small_ones_stay():
    laws = book()
    asked = [Place(0, 1e11), Place(0, 1e13)]
    dear = replace(laws, laws=tuple(replace(law, draws=_times(law.draws, 100.0)) for law in laws.laws))
    assert (places_of(of_another_suite(dear), asked, POOL).draws < math.log(math.log(POOL))).all()
    assert places_of(pairs(dear), asked, POOL).draws.max() > math.log(math.log(POOL))
    cheap = replace(laws, laws=tuple(replace(law, draws=_times(law.draws, 0.001)) for law in laws.laws))
    far, near = (places_of(of_another_suite(cheap), asked, pool).draws for pool in (10**9, POOL))
    assert near == pytest.approx(far, abs=0.01)


def _times(draws, times):
    return tuple(scaled(draw, dict.fromkeys(draw.factors, times)) for draw in draws)
