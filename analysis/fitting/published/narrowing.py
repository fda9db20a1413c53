"""What each fact adds to the others: the same decision from draws that leave it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from analysis.fitting.published.choices import alternatives, by_group, odds_at
from analysis.fitting.published.draws import Draws
from analysis.fitting.published.facts import Fact
from analysis.fitting.published.facts_file import Paper
from analysis.fitting.published.sample import LOT, Tally, TooFewDraws, sample

FEWEST = 20  # draws that tell what a fact adds


@dataclass(frozen=True)
class Narrowed:
    """What a fact adds to the others."""

    fact: Fact
    """The fact."""
    agree: float
    """Share of the draws possible by the priors that agree with it, 0 to 1; what it proposes agrees by itself."""
    agree_last: float
    """Share of the draws that agree with all others and with it too."""
    top_method: str
    """The most likely group at ten times the largest budget, with all facts."""
    method_with: float
    """Its probability with all facts."""
    open_with: float
    """Choices left open there, with all facts: see `alternatives`."""
    method_without: float | None = None
    """Its probability when the fact is left out; None where hardly any draws agree with the others then."""
    open_without: float | None = None
    """Choices left open when the fact is left out."""


def narrowing(
    paper: Paper, draws: Draws, tally: Tally, count: int, seed: int, tell: Callable[[int], None] = lambda done: None
) -> list[Narrowed]:
    """What each fact adds: draws anew from all the others, so many of them. tell: is given their number."""
    budget = 10 * paper.grid.budgets[-1]
    odds = odds_at(draws, budget)
    groups = by_group(odds)
    leading = max(groups, key=lambda name: groups[name])
    lots = tally.proposed // LOT
    rows = []
    for place, fact in enumerate(paper.facts):
        others = [other for other in paper.facts if other is not fact]
        row = Narrowed(
            fact,
            tally.alone[place] / tally.possible,
            tally.kept / tally.last[place],
            leading,
            groups[leading],
            alternatives(odds),
        )
        try:
            fewest = min(FEWEST, count)
            without = odds_at(sample(paper, others, count, seed + 1 + place, lots=lots, fewest=fewest)[0], budget)
        except TooFewDraws:  # the priors propose too little of what the other facts allow
            without = {}
        if without:
            row = replace(row, method_without=by_group(without).get(leading, 0.0), open_without=alternatives(without))
        rows.append(row)
        tell(count)
    return rows
