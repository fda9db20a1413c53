"""From laws and a sweep file to places: every model with every method, at the goal and at budgets below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.goal.beliefs import SEEN_SCALE, USUAL_SCALE, Places
from analysis.tables.rows import Array
from planner.candidates import Candidate, Limits, candidates
from planner.discrepancy import FACTOR_SPREAD, normals
from planner.law_book import LawBook, MethodLaw
from planner.laws import LAWS, Law, coefficients_of, family_of
from planner.menu import suite_of
from sweeps.flops import Work
from sweeps.methods import Method
from sweeps.models import ModelSpec

NEAR = ("rank", "share")  # settings by which the nearest law of a method is found
# Exponents of laws differ on a suite that was not measured as much as their factors do, in common for all methods:
# sd of their logs (docs/goal.md, "What laws may miss").
EXPONENT_SPREAD = FACTOR_SPREAD


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


def places_of(pairs: Sequence[Candidate], places: Sequence[Place], pool: int) -> Places:
    """What the laws say of these places. pool: pairs in a pool of the held-out loss. Raises ValueError for laws without
    draws."""
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
            draws[:, which], tokens[which] = _log_losses(pair, D, count, pool), np.log10(D)
    of = np.array([place.pair for place in places], np.int64)
    params = np.log10([float(pair.params) for pair in pairs])[of]
    return Places(
        draws=draws,
        method=np.array([methods.index(pair.method.label) for pair in pairs], np.int64)[of],
        model=np.array([models.index(pair.model.name) for pair in pairs], np.int64)[of],
        params=params - (params.min() + params.max()) / 2,
        tokens=tokens - (tokens.min() + tokens.max()) / 2,
        noise=np.array([max(pair.law.noise, 1e-3) for pair in pairs])[of],
        usual=USUAL_SCALE if any(pair.unseen for pair in pairs) else SEEN_SCALE,
    )


def _log_losses(pair: Candidate, tokens: Sequence[float], count: int, pool: int) -> Array:
    """ln loss of a pair at numbers of tokens in each draw [count, tokens]."""
    given = np.array([pair.inputs(D) for D in tokens]).T[:, None]  # N, D, S, U [4, 1, tokens]
    far = bool({pair.model.name, suite_of(pair.model.name)} & set(pair.unseen))
    inputs = dict(zip("NDSU", _stretched(pair, given, count) if far else np.repeat(given, count, axis=1), strict=True))
    losses = np.zeros((count, len(tokens)))
    laws = pair.law.draws[:count]
    families = np.array([family_of(law) for law in laws])
    for family in dict.fromkeys(families):
        which = np.flatnonzero(families == family)
        own = [inputs[name][which] for name in pair.law.law.inputs]
        losses[which] = _together(str(family), [laws[i] for i in which]).loss(*own)
    drift = [pair.drift(D) for D in tokens]
    for column, factors in enumerate(drift):
        if factors:
            losses[:, column] *= np.asarray(factors[:count])
    return np.log(_below_chance(losses, pool) if far else losses)


def _stretched(pair: Candidate, given: Array, count: int) -> Array:
    """N, D, S, U for each draw [4, count, tokens], from those of a pair [4, 1, tokens], on a suite that was not seen.

    In a draw all exponents of N are multiplied by one number and all of D by another, as if both lay farther from the
    middle of what was measured, or nearer to it.
    """
    inputs = np.repeat(given, count, axis=1)
    for row, ends, name in ((0, pair.law.measured.params, "N"), (1, pair.law.measured.tokens, "D")):
        middle = math.sqrt(ends[0] * ends[1])
        times = np.exp(EXPONENT_SPREAD * np.array(normals(f"exponents of {name}", count)))[:, None]
        moved = middle * (inputs[row] / middle) ** times
        if name == "D":
            inputs[3] *= moved / inputs[row]  # as many passes over the unique tokens as before
        inputs[row] = moved
    return inputs


def _below_chance(losses: Array, pool: int) -> Array:
    """Losses that approach that of chance, ln of the pairs in a pool, which no contrastive loss exceeds for long.

    A law that is carried to much smaller models does not know it.
    """
    return np.asarray(1 / (1 / losses + 1 / math.log(pool)))


def _together(family: str, laws: Sequence[Law]) -> Law:
    """Laws of one family as one, whose coefficients are columns [laws, 1]."""
    columns = {name: np.array([getattr(law, name) for law in laws])[:, None] for name in coefficients_of(LAWS[family])}
    return LAWS[family](**columns)
