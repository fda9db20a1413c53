"""Places say what the laws say, draw by draw; a method without a law borrows the nearest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.goal.beliefs import SEEN_SCALE, USUAL_SCALE
from analysis.goal.evidence import Place, law_of, places_of
from support.goal_pursuits import METHODS, book, pairs
from sweeps.methods import make_method


def test_draws_are_those_of_the_planner():
    own = pairs(book())
    asked = [Place(1, 1e12), Place(4, 3e11), Place(1, 1e15)]  # the last beyond what was measured
    places = places_of(own, asked)
    for column, place in enumerate(asked):
        pair = own[place.pair]
        tokens = pair.tokens(place.budget)
        drift = pair.drift(tokens) or [1.0] * len(pair.law.draws)
        logs = [math.log(law.at(*pair.inputs(tokens)) * far) for law, far in zip(pair.law.draws, drift, strict=True)]
        assert places.draws[:, column] == pytest.approx(np.array(logs))
        assert 10 ** places.tokens[column] == pytest.approx(tokens / math.sqrt(math.prod(pair.law.measured.tokens)))
    assert places.usual == USUAL_SCALE
    assert places_of(pairs(book(), data=""), asked).usual == SEEN_SCALE
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
        places_of(own, [Place(0, 1e12)])
