"""Small pursuits of a goal by the bundled laws, and a truth that they meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.goal.evidence import Place, pairs_of
from analysis.goal.pursuit import Aim, Proposal, Pursuit, Tried
from planner.candidates import Candidate, Limits
from planner.evidence import shipped
from planner.law_book import LawBook
from planner.law_file import read_laws
from sweeps.methods import Method, make_method
from sweeps.models import find_model

MODELS = ("nano-25k", "nano-100k", "nano-340k")
METHODS = (make_method("full", {}), make_method("lora", {"rank": 8}))
GOAL = 1e13
BUDGETS = (5e10, 1e11, 2e11, 4e11)
RATES = {"full": (1e-3, 3e-3, 9e-3), "lora": (3e-3, 1e-2, 3e-2)}


def book() -> LawBook:
    return read_laws(shipped()["reference"])


def pairs(laws: LawBook, methods: Sequence[Method] = METHODS, data: str = "other.jsonl") -> list[Candidate]:
    assert laws.pair and laws.training
    models = [replace(find_model(name), name=name) for name in MODELS]
    return pairs_of(laws, models, methods, Limits(), "exact", laws.pair, laws.training.context, data)


def pursuit(laws: LawBook | None = None, known: bool = True, **aim: float) -> Pursuit:
    """known: whether the learning rates are; else they are searched."""
    own = pairs(laws or book())
    places = [Place(i, flops) for i in range(len(own)) for flops in BUDGETS]
    steps = np.array([float(own[place.pair].steps(place.budget)) for place in places])
    rates = {i: RATES[pair.method.name][1] for i, pair in enumerate(own)}
    searched = {i: RATES[pair.method.name] for i, pair in enumerate(own)}
    asked = Aim(GOAL, **{"limit": 0.3 * GOAL, "regret": 0.0, "thrift": 0.0} | aim)
    flops = np.array([place.budget for place in places])
    shared = np.floor(0.7 * steps)
    return Pursuit(asked, tuple(own), tuple(places), flops, steps, shared, rates if known else {}, searched)


def truth(pair: Candidate, budget: float) -> float:
    """ln loss: by the law, with half of its factors, so that it lies far from what was expected."""
    tokens = pair.tokens(budget)
    return math.log(pair.law.law.at(*pair.inputs(tokens)) * 0.5)


def measured(world: Pursuit, each: Proposal) -> Tried:
    """A trial with the loss of the truth; a rate off by a factor of 3 costs 5 %."""
    pair = world.pairs[each.place.pair]
    off = math.log(each.lr / RATES[pair.method.name][1]) / math.log(3)
    return Tried(each.place, each.lr, each.seed, truth(pair, each.place.budget) + 0.05 * off**2)
