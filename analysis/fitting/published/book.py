"""From draws to a law book that `plan` reads: labelled as published, never as measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields

import numpy as np

from analysis.fitting.describe import intervals
from analysis.fitting.fit import created_by
from analysis.fitting.published.choices import losses_at
from analysis.fitting.published.draws import Draws
from analysis.fitting.published.facts import Fact
from analysis.fitting.published.facts_file import Paper
from analysis.fitting.published.narrowing import Narrowed, narrowing
from analysis.fitting.published.sample import Tally, sample
from analysis.tables.rows import Array
from planner.law_book import Caveat, LawBook, MeasuredRange, MethodLaw
from planner.laws import Chinchilla

DRAWS = 400  # in a law file
TRIED = 60  # draws behind what a fact adds
DIGITS = 7  # of coefficients: more would say nothing, and the file would be twice as long
NEAREST = 0.1  # of the draws: those nearest to the median losses, of which one stands for all
BEYOND = (1.0, 10.0, 100.0)  # times the largest budget, besides the paper's own, at which decisions are compared


def fit_facts(
    paper: Paper, draws: int = DRAWS, seed: int = 0, tell: Callable[[int], None] = lambda done: None
) -> tuple[LawBook, list[Narrowed]]:
    """The law book of a paper's facts, and what each fact adds. tell: is given the pieces of `work` that were done.

    Raises ValueError when hardly any laws agree with all facts.
    """
    kept, tally = sample(paper, paper.facts, draws, seed, tell)
    rows = narrowing(paper, kept, tally, min(TRIED, draws), seed, tell)
    return law_book(paper, kept, tally, rows, seed), rows


def work(paper: Paper, draws: int = DRAWS) -> int:
    """Pieces of work in `fit_facts`: draws to keep."""
    return draws + min(TRIED, draws) * len(paper.facts)


def law_book(paper: Paper, draws: Draws, tally: Tally, rows: Sequence[Narrowed], seed: int) -> LawBook:
    """The draws as laws, one a setting; a single draw stands for all in every one of them."""
    laws = laws_of(draws, paper.citation)
    return LawBook(
        laws=tuple(laws),
        measured=covering([law.measured for law in laws]),
        models=tuple(model.name for model in paper.grid.models),
        training=paper.training,
        pair=paper.grid.pair,
        source={
            "name": paper.name,
            "kind": "published",
            "citation": paper.citation,
            "title": paper.title,
            "grid": paper.grid_citation,
            "observations": 0,
            "measure": "loss",
            "filters": [],
            "largest_budget": paper.grid.budgets[-1],
            "unique_tokens": paper.grid.max_pairs * paper.grid.pair.tokens,
            "seed": seed,
            "draws": {"proposed": tally.proposed, "possible": tally.possible, "agree": tally.kept},
            "facts": [_record(row) for row in rows],
        },
        warnings=(
            Caveat(
                "published",
                f"not measured by us: {len(draws)} sets of laws that agree with the facts printed in "
                f"{paper.citation}; its range is that paper's grid, and its intervals are what those facts leave open",
            ),
        ),
        created_by=created_by(),
    )


def laws_of(draws: Draws, citation: str) -> list[MethodLaw]:
    """One law a setting, in the order of the groups; a single draw stands for all in every one of them."""
    middle = central(draws)
    return [
        _law(draws, group, member, middle, citation) for group, held in draws.groups.items() for member in held.members
    ]


def covering(ranges: Sequence[MeasuredRange]) -> MeasuredRange:
    """From the lowest to the highest of several."""
    names = [item.name for item in fields(MeasuredRange)]
    ends = [list(zip(*(getattr(one, name) for one in ranges), strict=True)) for name in names]
    return MeasuredRange(*((min(low), max(high)) for low, high in ends))


def _law(draws: Draws, name: str, member: str, middle: int, citation: str) -> MethodLaw:
    group, grid = draws.groups[name], draws.grid
    method = group.members[member]
    columns = {key: _rounded(values) for key, values in draws.laws[name].coefficients(member).items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    cells = grid.cells(method)
    held = np.isfinite(cells.log_tokens)
    sizes = cells.log_sizes[held.any(axis=0)]
    tokens = cells.log_tokens[held]
    return MethodLaw(
        settings={"name": method.name, **method.options},
        family="chinchilla",
        law=Chinchilla(**rows[middle]),
        intervals={"chinchilla": intervals({key: np.array(values) for key, values in columns.items()}, 0.90)},
        intervals_95={"chinchilla": intervals({key: np.array(values) for key, values in columns.items()}, 0.95)},
        draws=tuple(Chinchilla(**row) for row in rows),
        noise=_rounded([float(draws.noise.mean())])[0],
        rows=0,
        measured=MeasuredRange(grid.exact_range(method), _ends(sizes), _ends(tokens)),
        learning_rates=group.learning_rates or {},
        rates_from=f"published: {group.rates_from} ({citation})" if group.rates_from else "",
    )


def _rounded(values: Sequence[float] | Array) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _ends(logs: Array) -> tuple[float, float]:
    low, high = _rounded(np.exp([logs.min(), logs.max()]))
    return low, high


def printed(fact: Fact) -> dict[str, object]:
    """A fact as JSON, without what does not apply."""
    return {"kind": fact.kind, **{key: value for key, value in asdict(fact).items() if value != ""}}


def _record(row: Narrowed) -> dict[str, object]:
    added = {key: value for key, value in asdict(row).items() if key != "fact"}
    narrows = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in added.items()}
    return {**printed(row.fact), "narrows": narrows}


def central(draws: Draws) -> int:
    """The draw that stands for all: of those nearest to the median losses the one whose decisions give least away.

    A mean of coefficients would be a law of no draw, for they hang together.
    """
    largest = draws.grid.budgets[-1]
    budgets = sorted({*draws.grid.budgets, *(factor * largest for factor in BEYOND)})
    away, regret = np.zeros(len(draws)), np.zeros(len(draws))
    for budget in budgets:
        _, losses = losses_at(draws, budget)
        away += np.abs(losses - np.median(losses, axis=0)).mean(axis=1)
        given_away = (losses - losses.min(axis=1, keepdims=True)).mean(axis=0)  # by each choice, over all draws
        regret += given_away[losses.argmin(axis=1)]
    near = np.argsort(away, kind="stable")[: max(1, round(NEAREST * len(draws)))]
    return int(near[np.argmin(regret[near])])
