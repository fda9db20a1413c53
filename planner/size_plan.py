"""`plan` on laws of somebody's table of runs: how large a model on how many tokens, and no more of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from planner.answer import FORMAT
from planner.budget import Budget, read_budget
from planner.candidates import Refusal, reasons_against, too_many
from planner.discrepancy import FARTHEST
from planner.evidence import decades_of_compute, read_books
from planner.frontier import Ends, Odds, by_regret, method_odds, ranked
from planner.law_book import Caveat, LawBook, MethodLaw
from planner.menu import check_suites, menu
from planner.plots import draw_intervals
from planner.quantities import short
from planner.size_rules import SizeRule, contradicted, heard, size_caveat
from planner.sizes import INTERVALS, ONE_SIZE, Optimum, Point, Size, TokenCost, costs_of, optimum, point
from sweeps.models import ModelSpec
from sweeps.support.frames import cell, data_frame, html_table

STEP, STEPS = 0.1, 15  # decades between the sizes of a continuum that compete, and how many lie on either side
# What such laws cannot know, and why.
UNKNOWN = {
    "learning_rate": "not in the laws; search one at the size that is chosen",
    "batch_size": "not in the laws",
    "time": "a table of runs does not contain the speed of a machine",
    "memory": "the laws know sizes, not the shapes of models",
    "recipe": "`embed train` needs training conditions, which a table of runs does not contain",
}


@dataclass(frozen=True)
class SizeAnswer:
    """A size, what it is trained on and what is expected of it."""

    model: str
    """Name of the model, of a suite; empty for a size of a continuum."""
    point: Point
    """Size, tokens and loss."""
    params_interval: Ends
    """90 % interval of the best size; of a model, its size twice."""
    tokens_interval: Ends
    """The same of the tokens."""
    best: float | None
    """Probability, 0 to 1, that it, or on a continuum its method, is the best; None without draws or too far away."""
    share: float | None
    """Expected regret against the best of the suite, a share of the loss; None as `best`, and on a continuum."""

    @property
    def far(self) -> bool:
        """Whether it lies so far from what was measured that no loss is told."""
        return self.point.extrapolation.decades > FARTHEST

    def row(self) -> dict[str, Any]:
        """The answer as a flat row: model, method, size, tokens, FLOPs, loss with its interval, and how sure it is."""
        point = self.point
        loss, (low, high) = (None, (None, None)) if self.far else (point.loss, point.interval)
        return {
            "model": self.model or None,
            "method": point.method,
            "params": point.params,
            "tokens": point.tokens,
            "flops": point.flops,
            "loss": loss,
            "low": low,
            "high": high,
            "best_probability": self.best,
            "expected_regret_share": self.share,
            "distance": point.extrapolation.distance,
        }

    def __repr__(self) -> str:
        row = {name: value for name, value in self.row().items() if value is not None}
        return f"SizeAnswer({', '.join(f'{name} {cell(value)}' for name, value in row.items())})"

    def to_json(self) -> dict[str, Any]:
        content = self.point.to_json() | ({"loss": None, "interval": None, "law_interval": None} if self.far else {})
        ends = {name: list(getattr(self, name)) for name in INTERVALS}
        chances = {"best_probability": self.best, "expected_regret_share": self.share}
        return {"model": self.model or None, **content, **ends, **chances}


@dataclass(frozen=True)
class SizePlan:
    """The answer to a budget."""

    budget: Budget
    """FLOPs to spend."""
    answers: tuple[SizeAnswer, ...]
    """The best first: one a method, or of a suite the models."""
    laws: LawBook
    """The laws that the answer rests on."""
    costs: Mapping[str, TokenCost]
    """Label of a method -> what a token costs with it."""
    suites: tuple[str, ...]
    """What was chosen from; empty for a continuum of sizes."""
    refused: tuple[Refusal, ...]
    """Models, or any size, with methods that cannot be chosen, with the reasons."""
    size: SizeRule | None
    """What isoFLOP minima say of the size; None where they were not shown to choose better than the law."""
    warnings: tuple[Caveat, ...]
    """What a reader of the answer must know."""

    def to_frame(self) -> Any:
        """The answers as a pandas.DataFrame, a row each, the best first."""
        return data_frame(answer.row() for answer in self.answers)

    def plot(self, axes: Any = None) -> Any:
        """Draws the predicted losses of the answers with their 90 % prediction intervals; returns the axes.

        axes: of matplotlib to draw on; None for new ones. Raises ValueError where no loss is predicted.
        """
        near = [answer for answer in self.answers if not answer.far]
        if not near:
            raise ValueError("no loss is predicted this far from the evidence, so there is nothing to plot")
        names = [", ".join(filter(None, [answer.model, answer.point.method])) for answer in near]
        intervals = [(answer.point.loss, *answer.point.interval) for answer in near]
        return draw_intervals(names, intervals, f"Sizes for {self.budget.flops:.3g} FLOP", "loss", axes)

    def __repr__(self) -> str:
        return f"SizePlan({self.budget.flops:.3g} FLOP: {self.answers[0]!r}; laws of {self.laws.name})"

    def _repr_html_(self) -> str:
        rows = [[cell(value) for value in answer.row().values()] for answer in self.answers]
        return html_table(f"sizes for {self.budget.flops:.3g} FLOP", list(self.answers[0].row()), rows)

    def to_json(self) -> dict[str, Any]:
        """What `plan --json` prints; what is not known is null."""
        return {
            "format": FORMAT,
            "kind": "size",
            "budget": asdict(self.budget),
            "recipe": None,
            "answer": self.answers[0].to_json(),
            "candidates": [each.to_json() for each in self.answers],
            "cost": {label: asdict(cost) for label, cost in self.costs.items()},
            "suites": list(self.suites),
            "size_rule": self.size.to_json() if self.size else None,
            "refused": [asdict(refusal) for refusal in self.refused],
            "unknown": dict(UNKNOWN),
            "warnings": [{"code": warning.code, "text": warning.text} for warning in self.warnings],
            "laws": {
                "source": self.laws.source.get("name"),
                "rows_hash": self.laws.source.get("rows_hash"),
                "filters": list(self.laws.source.get("filters", [])),
                "created_by": self.laws.created_by,
                "range": asdict(self.laws.measured),
            },
        }


def plan_sizes(
    budget: float | str,
    laws: LawBook | Path | str,
    *,
    suite: str | Sequence[str] = (),
    models: Sequence[str | ModelSpec] = (),
    methods: Sequence[str] = (),
    max_params: float = math.inf,
    top: int = 5,
) -> SizePlan:
    """The size and the tokens of the lowest loss for a budget in FLOPs, by the laws of a table of runs.

    suite, models: to choose from, by their N; without both, any size. methods: labels; all by default. max_params:
    largest N. Raises ValueError with one sentence for input that cannot be answered.
    """
    (book,) = read_books([laws])
    spent = _budget(budget, book)
    suites = (suite,) if isinstance(suite, str) else tuple(suite)
    check_suites(suites)
    of, of_one_size = _laws(book, methods)
    costs = costs_of(book)
    if suites or models:
        answers, refused = _of_models(of, menu(book, suites, models), spent.flops, costs, max_params)
    else:
        answers, refused = _of_a_continuum(of, spent.flops, costs, max_params)
    refused = [*of_one_size, *refused]
    if not answers:
        raise ValueError(f"no size fits a budget of {spent.flops:.3g} FLOP: {reasons_against(refused)}")
    cost = costs[answers[0].point.method]
    rule = _size_rule(of, answers, spent.flops, max_params, cost)
    answers = _led_by(rule, answers, of, spent.flops, cost)
    told = (*size_caveat(rule), *_warnings(book, answers[0]))
    return SizePlan(spent, tuple(answers[:top]), book, costs, suites, tuple(refused), rule, told)


def _law_of(laws: Sequence[MethodLaw], answer: SizeAnswer) -> MethodLaw:
    """The law that an answer is of."""
    return next(law for law in laws if law.label == answer.point.method)


def _size_rule(
    laws: Sequence[MethodLaw], answers: Sequence[SizeAnswer], budget: float, max_params: float, cost: TokenCost
) -> SizeRule | None:
    """What isoFLOP minima say of the size of the first answer."""
    first = answers[0]
    rule = heard(_law_of(laws, first), budget)
    assert first.point.params
    if rule is None:
        return None
    if rule.params > max_params and not rule.doubt:
        rule = replace(rule, doubt=f"N is over the limit of {max_params:.3g}")
    if not first.model:
        size = _of_size(rule.params, first, laws, budget, cost)
        told = replace(rule, law_model=f"N {short(first.point.params)}")
        return contradicted(told, size.loss / first.point.loss - 1)
    nearest = min(_of_method(answers), key=lambda each: abs(math.log((each.point.params or 1.0) / rule.params)))
    told = replace(rule, model=nearest.model, law_model=first.model)
    return contradicted(told, nearest.point.loss / first.point.loss - 1)


def _of_size(params: float, answer: SizeAnswer, laws: Sequence[MethodLaw], budget: float, cost: TokenCost) -> Point:
    """What the law of an answer says of another size at the same budget."""
    return point(_law_of(laws, answer), params, cost.tokens(budget, params), budget)


def _of_method(answers: Sequence[SizeAnswer]) -> list[SizeAnswer]:
    """The answers with the method of the first one."""
    return [each for each in answers if each.point.method == answers[0].point.method]


def _led_by(
    rule: SizeRule | None, answers: list[SizeAnswer], laws: Sequence[MethodLaw], budget: float, cost: TokenCost
) -> list[SizeAnswer]:
    """The answers, the first one of the rule's size where it chooses."""
    if rule is None or rule.doubt:
        return answers
    first = answers[0]
    if first.model:
        chosen = next(each for each in _of_method(answers) if each.model == rule.model)
        return [chosen, *[each for each in answers if each is not chosen]]
    size = _of_size(rule.params, first, laws, budget, cost)
    tokens = (cost.tokens(budget, rule.high), cost.tokens(budget, rule.low))
    return [replace(first, point=size, params_interval=(rule.low, rule.high), tokens_interval=tokens), *answers[1:]]


def _budget(budget: float | str, book: LawBook) -> Budget:
    text = budget if isinstance(budget, str) else repr(budget)
    if text[:1] == "$" or text[-1:] in tuple("sdhn"):
        raise ValueError(
            f"`budget` is {text!r}: the laws of {book.name} come from a table of runs, without a "
            "machine; give FLOP such as 1e22"
        )
    return read_budget(text)


def _laws(book: LawBook, methods: Sequence[str]) -> tuple[list[MethodLaw], list[Refusal]]:
    """The laws that are asked, and those of runs of one size. Raises ValueError where no law can choose a size."""
    if alone := book.source.get("variables"):
        raise ValueError(f"{book.name}: laws in {alone[0]} alone cannot choose a size; fit N and D, or N and C")
    labels = [law.label for law in book.laws]
    for name in methods:
        if name not in labels:
            raise ValueError(f"`methods` has {name!r}; the laws of {book.name} know only {', '.join(labels)}")
    of = [law for law in book.laws if not methods or law.label in methods]
    for law in of:
        if "S" in law.law.inputs:
            raise ValueError(
                f"{book.name}: the law {law.family} needs S, the trained share, which is not known for other sizes"
            )
    several = [law for law in of if law.measured.params[0] < law.measured.params[1]]
    if not several:
        raise ValueError(f"{book.name}: all runs have one size, so their laws cannot choose another")
    return several, [Refusal("any size", law.label, ONE_SIZE) for law in of if law not in several]


def _of_a_continuum(
    laws: Sequence[MethodLaw], budget: float, costs: Mapping[str, TokenCost], max_params: float
) -> tuple[list[SizeAnswer], list[Refusal]]:
    """The best size of each method, the lowest loss first; methods without one are refused."""
    found = {law.label: optimum(law, budget, costs[law.label]) for law in laws}
    refused = [Refusal("any size", label, each.reason) for label, each in found.items() if not each.best]
    best = [
        (law, *_limited(law, found[law.label], budget, costs[law.label], max_params))
        for law in laws
        if found[law.label].best
    ]
    ladder = [
        Size(law, size, costs[law.label].rate(size) * size)
        for law, known, *_ in best
        for size in _ladder(known.params)
        if size <= max_params
    ]
    chances = method_odds(ladder, budget) if len(best) > 1 else {}
    answers = []
    for law, known, params, tokens in best:
        told = chances and known.extrapolation.decades <= FARTHEST
        answers.append(SizeAnswer("", known, params, tokens, chances.get(law.label, 0.0) if told else None, None))
    return sorted(answers, key=lambda answer: answer.point.loss), refused


def _limited(
    law: MethodLaw, found: Optimum, budget: float, cost: TokenCost, max_params: float
) -> tuple[Point, Ends, Ends]:
    """The best size with its intervals, or the largest allowed one where that is smaller."""
    assert found.best and found.best.params
    if found.best.params <= max_params:
        return found.best, found.params_interval, found.tokens_interval
    tokens = cost.tokens(budget, max_params)
    largest = point(law, max_params, tokens, budget)
    return largest, (max_params, max_params), (tokens, tokens)


def _ladder(middle: float | None) -> list[float]:
    """Sizes about one, the size itself among them."""
    assert middle
    return [middle * 10 ** (STEP * step) for step in range(-STEPS, STEPS + 1)]


def _of_models(
    laws: Sequence[MethodLaw],
    models: Sequence[ModelSpec],
    budget: float,
    costs: Mapping[str, TokenCost],
    max_params: float,
) -> tuple[list[SizeAnswer], list[Refusal]]:
    """Models with methods, the lowest expected regret first, and those that cannot be chosen."""
    allowed, refused = [], []
    for law in laws:
        for model in models:
            params, least = float(model.params), law.measured.tokens[0]
            size = Size(law, params, costs[law.label].rate(params) * params, name=model.name, least_tokens=least)
            if reason := too_many(params, max_params) or size.refusal(budget):
                refused.append(Refusal(model.name, law.label, reason))
            else:
                allowed.append(size)
    fits = by_regret(ranked(allowed, budget), budget)
    return [_of_model(size, budget, chance) for size, chance in fits], refused


def _of_model(size: Size, budget: float, chance: Odds | None) -> SizeAnswer:
    tokens = size.tokens(budget)
    said = point(size.law, size.params, tokens, budget)
    if chance is None or said.extrapolation.decades > FARTHEST:
        return SizeAnswer(size.name, said, (size.params,) * 2, (tokens,) * 2, None, None)
    return SizeAnswer(size.name, said, (size.params,) * 2, (tokens,) * 2, chance.best, chance.share)


def _warnings(book: LawBook, answer: SizeAnswer) -> tuple[Caveat, ...]:
    """Warnings about the answer, then those of the fit."""
    told = []
    if answer.far:
        text = f"more than {10**FARTHEST:,.0f}x beyond what was measured: no loss and no probability is given"
        told.append(Caveat("too-far", text))
    elif decades_of_compute(book, answer.point.flops or 0.0):
        told.append(Caveat("extrapolated", f"{answer.point.extrapolation}; the intervals allow for it"))
    if answer.model:
        told.append(Caveat("size-alone", "models are compared by N alone, assumed to be the table's N"))
    return (*told, *book.warnings)
