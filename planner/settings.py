"""Settings of a method between those that were measured, where its law is one in the share that is trained.

Such a law speaks for every share (Ziarko et al. 2024, section 4.3): for any number of frozen blocks, with full tuning
as share 1, and for any rank. A recipe has what the model can realise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from planner.candidates import Candidate
from planner.law_book import LawBook, MeasuredRange, MethodLaw
from planner.laws import Law
from planner.quantiles import quantile
from sweeps.methods import Method
from sweeps.models import ModelSpec

WHOLE = {"full": "freeze"}  # method -> that which it is a setting of
PROBE = (1e6, 1e8, 0.5)  # N, D and S: laws that agree there are the same
PLACES = 200  # shares between the smallest and the largest at which the law is asked for the best


def with_settings_between(book: LawBook, models: Sequence[ModelSpec]) -> LawBook:
    """The book, with a law for every setting between those measured that some of the models can realise."""
    added = []
    for group in _groups(book.laws):
        for method in _between([law.method for law in group], models):
            added.append(_nearest(group, method, models))
    return replace(book, laws=(*book.laws, *added)) if added else book


def _groups(laws: Iterable[MethodLaw]) -> list[list[MethodLaw]]:
    """The laws in the trained share, those together that are one law of several settings."""
    groups: list[list[MethodLaw]] = []
    for law in laws:
        if "S" not in law.law.inputs:
            continue
        own = next((group for group in groups if one_law(group[0], law)), None)
        if own is None:
            groups.append([law])
        else:
            own.append(law)
    return groups


def one_law(one: MethodLaw, other: MethodLaw) -> bool:
    """Whether two laws in the trained share are one law of several settings of a method; freezing of nothing is full
    tuning."""
    names = [WHOLE.get(law.settings["name"], law.settings["name"]) for law in (one, other)]
    known = ["S" in law.law.inputs for law in (one, other)]
    return names[0] == names[1] and all(known) and one.law.at(*PROBE) == other.law.at(*PROBE)


def _between(methods: Sequence[Method], models: Sequence[ModelSpec]) -> list[Method]:
    """Settings that on some model train more than the least of `methods`, less than the most, and as none of them."""
    found: dict[str, Method] = {}
    for model in models:
        known = [method.trainable(model) for method in methods if not method.refusal(model)]
        for each in {other.name: other for other in methods}.values():
            for method in each.settings_on(model) if known else ():
                inside = min(known) < method.trainable(model) < max(known)
                if inside and method.trainable(model) not in known:
                    found.setdefault(method.label, method)
    return list(found.values())


def _nearest(group: Sequence[MethodLaw], method: Method, models: Sequence[ModelSpec]) -> MethodLaw:
    """The law of a group for a setting that was not measured, with the rates of the measured one closest to it."""
    alike = [law for law in group if law.method.name == method.name]
    able = next(model for model in models if not method.refusal(model))

    def apart(law: MethodLaw) -> float:
        return abs(math.log(law.method.trainable(able) / method.trainable(able)))

    near = min(alike, key=apart)
    rule = near.rate_rule and replace(near.rate_rule, tried={})
    ranges = [(law.measured.flops, law.measured.params, law.measured.tokens) for law in group]
    flops, params, tokens = (
        (min(low for low, _ in own), max(high for _, high in own)) for own in zip(*ranges, strict=True)
    )
    return replace(
        near,
        settings={"name": method.name, **method.options},
        rows=sum(law.rows for law in group),
        measured=MeasuredRange(flops, params, tokens),
        rate_rule=rule,
        rates_from=near.rates_from or f"of {near.label}, the nearest setting that was measured",
        isoflop={},
    )


def distinct(possible: Iterable[Candidate]) -> list[Candidate]:
    """The candidates without settings that come to the same on their model, as shares of few blocks do."""
    kept: list[Candidate] = []
    seen: list[str] = []
    for candidate in possible:
        law, method = candidate.law, candidate.method
        trained = f"{candidate.model.name} {law.settings['name']} {method.bits} {method.trainable(candidate.model)}"
        if "S" not in law.law.inputs or trained not in seen:
            kept.append(candidate)
        seen.append(trained)
    return kept


def best_share(fits: Sequence[Candidate], best: Candidate, budget: float) -> tuple[float, float, float] | None:
    """The share of the parameters whose training has the lowest loss at a budget (FLOPs) on the model of the answer,
    were every share possible, and its 90 % interval by the draws; None where its law knows no shares.

    Between shares that the model can realise the tokens that a budget buys go on along a line.
    """
    if "S" not in best.law.law.inputs:
        return None
    own = [each for each in fits if each.model == best.model and one_law(each.law, best.law)]
    points = sorted([(each.trained_share, each.tokens(budget)) for each in own])
    points = [point for place, point in enumerate(points) if place == 0 or point[0] > points[place - 1][0]]
    if len(points) < 2:
        return None
    low, high = points[0][0], points[-1][0]
    shares = [low + (high - low) * place / PLACES for place in range(PLACES + 1)]
    tokens = [_along(points, share) for share in shares]
    drawn = sorted([_lowest(law, best.params, shares, tokens) for law in best.law.draws])
    most_likely = _lowest(best.law.law, best.params, shares, tokens)
    return most_likely, quantile(drawn or [most_likely], 0.05), quantile(drawn or [most_likely], 0.95)


def _lowest(law: Law, params: float, shares: Sequence[float], tokens: Sequence[float]) -> float:
    """The share with the lowest loss."""
    losses = [law.at(params, D, S) for S, D in zip(shares, tokens, strict=True)]
    return shares[losses.index(min(losses))]


def _along(points: Sequence[tuple[float, float]], share: float) -> float:
    """The value at `share` on the lines through (share, value)."""
    place = 1
    while place < len(points) - 1 and share > points[place][0]:
        place += 1
    (low, first), (high, second) = points[place - 1], points[place]
    return first + (second - first) * (share - low) / (high - low)
