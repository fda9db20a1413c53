"""From laws and a sweep file to places: every model with every method, at the goal and at budgets below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.goal.beliefs import SEEN_SCALE, USUAL_SCALE, Places
from analysis.tables.rows import Array
from planner.candidates import Candidate, Limits, candidates
from planner.law_book import LawBook, MethodLaw
from planner.laws import LAWS, Law, coefficients_of, family_of
from sweeps.flops import Work
from sweeps.methods import Method
from sweeps.models import ModelSpec

NEAR = ("rank", "share")  # settings by which the nearest law of a method is found


@dataclass(frozen=True)
class Place:
    """Where a trial can be."""

    pair: int
    """Number of its model with its method."""
    budget: float
    """What the trial is cut for, FLOPs."""


def law_of(book: LawBook, method: Method) -> MethodLaw:
    """The law that speaks for a method: its own, or that of its name with the nearest setting, or else full tuning's.

    Raises ValueError where the book has neither.
    """
    own = [law for law in book.laws if law.label == method.label]
    named = [law for law in book.laws if law.settings["name"] == method.name]
    full = [law for law in book.laws if law.settings["name"] == "full"]
    if not (own or named or full):
        known = ", ".join(law.label for law in book.laws)
        raise ValueError(f"the laws of {book.name} know neither {method.label} nor full fine-tuning, only {known}")
    nearest = min(own or named or full, key=lambda law: _apart(law, method))
    return replace(nearest, settings={"name": method.name, **method.options})


def _apart(law: MethodLaw, method: Method) -> float:
    """How far the settings of a law are from those of a method, in logs."""
    theirs = [
        (law.settings[name], method.options[name]) for name in NEAR if name in law.settings and name in method.options
    ]
    return sum(abs(math.log(float(one) / float(other))) for one, other in theirs)


def pairs_of(
    book: LawBook,
    models: Sequence[ModelSpec],
    methods: Sequence[Method],
    limits: Limits,
    count: str,
    pair: Work,
    context: int,
    data: str,
) -> list[Candidate]:
    """Every model with every method that can tune it, by the laws that are nearest."""
    spoken = replace(book, laws=tuple(law_of(book, method) for method in methods))
    names = list(dict.fromkeys(method.name for method in methods))
    possible, _ = candidates(spoken, models, names, limits, count, 1, False, pair, context, data)
    labels = {method.label for method in methods}
    return [candidate for candidate in possible if candidate.method.label in labels and not candidate.borrows]


def places_of(pairs: Sequence[Candidate], places: Sequence[Place]) -> Places:
    """What the laws say of these places. Raises ValueError for laws without draws."""
    methods = list(dict.fromkeys(pair.method.label for pair in pairs))
    models = list(dict.fromkeys(pair.model.name for pair in pairs))
    own: list[list[int]] = [[] for _ in pairs]
    for i, place in enumerate(places):
        own[place.pair].append(i)
    count = min(len(pair.law.draws) for pair in pairs)
    if not count:
        raise ValueError("the laws have no draws, which a goal needs")
    draws, tokens = np.zeros((count, len(places))), np.zeros(len(places))
    for pair, which in zip(pairs, own, strict=True):
        if which:
            D = [pair.tokens(places[i].budget) for i in which]
            draws[:, which], tokens[which] = _log_losses(pair, D, count), np.log10(D)
    of = np.array([place.pair for place in places], np.int64)
    measured = [pair.law.measured for pair in pairs]
    middle_n = np.log10([math.sqrt(ends.params[0] * ends.params[1]) for ends in measured])
    middle_d = np.log10([math.sqrt(ends.tokens[0] * ends.tokens[1]) for ends in measured])
    numbers = np.log10([float(pair.params) for pair in pairs])
    return Places(
        draws=draws,
        method=np.array([methods.index(pair.method.label) for pair in pairs], np.int64)[of],
        model=np.array([models.index(pair.model.name) for pair in pairs], np.int64)[of],
        params=(numbers - middle_n)[of],
        tokens=tokens - middle_d[of],
        noise=np.array([max(pair.law.noise, 1e-3) for pair in pairs])[of],
        usual=USUAL_SCALE if any(pair.unseen for pair in pairs) else SEEN_SCALE,
    )


def _log_losses(pair: Candidate, tokens: Sequence[float], count: int) -> Array:
    """ln loss of a pair at numbers of tokens in each draw [count, tokens]."""
    given = np.array([pair.arguments(D) for D in tokens])  # [tokens, inputs]
    losses = np.zeros((count, len(tokens)))
    laws = pair.law.draws[:count]
    families = np.array([family_of(law) for law in laws])
    for family in dict.fromkeys(families):
        which = np.flatnonzero(families == family)
        losses[which] = _together(str(family), [laws[i] for i in which]).loss(*(column[None] for column in given.T))
    drift = [pair.drift(D) for D in tokens]
    logs = np.log(losses)
    for column, factors in enumerate(drift):
        if factors:
            logs[:, column] += np.log(np.asarray(factors[:count]))
    return np.asarray(logs)


def _together(family: str, laws: Sequence[Law]) -> Law:
    """Laws of one family as one, whose coefficients are columns [laws, 1]."""
    columns = {name: np.array([getattr(law, name) for law in laws])[:, None] for name in coefficients_of(LAWS[family])}
    return LAWS[family](**columns)
