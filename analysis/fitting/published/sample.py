"""Draws of laws that agree with all facts of a paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.published.chance import Chance
from analysis.fitting.published.draws import Draws, GroupDraws, Lines, Mask, joined, on_lines
from analysis.fitting.published.facts import Fact, Proposal
from analysis.fitting.published.facts_file import Paper
from analysis.fitting.published.grid import Grid, Group
from analysis.tables.rows import Array

LOT = 4000  # proposals at once: some 100 MB
MOST_LOTS = 500


class TooFewDraws(ValueError):
    """Hardly any draws agree with all facts."""


@dataclass
class Tally:
    """How proposals fared."""

    proposed: int = 0
    """Laws drawn from the priors and solved for the lines."""
    possible: int = 0
    """Of these such as the priors allow."""
    kept: int = 0
    """Of these such as agree with all facts."""
    alone: dict[int, int] = field(default_factory=dict)
    """Place of a fact -> possible draws that agree with it."""
    last: dict[int, int] = field(default_factory=dict)
    """Place of a fact -> possible draws that agree with all others."""

    def add(self, proposed: int, possible: int, agree: Sequence[Mask]) -> Mask:
        """Count a lot; returns which draws agree with all facts. agree: [possible draws] for every fact."""
        kept = np.logical_and.reduce([np.ones(possible, bool), *agree])
        self.proposed += proposed
        self.possible += possible
        self.kept += int(kept.sum())
        for place, one in enumerate(agree):
            others = np.logical_and.reduce([np.ones(possible, bool), *agree[:place], *agree[place + 1 :]])
            self.alone[place] = self.alone.get(place, 0) + int(one.sum())
            self.last[place] = self.last.get(place, 0) + int(others.sum())
        return kept


def sample(
    paper: Paper,
    facts: Sequence[Fact],
    draws: int,
    seed: int,
    tell: Callable[[int], None] = lambda kept: None,
    lots: int = MOST_LOTS,
    fewest: int | None = None,
) -> tuple[Draws, Tally]:
    """So many draws that agree with the facts. tell: is given the number of new ones after every lot.

    lots: proposals end after so many; fewest: draws that are enough then, by default all. Raises TooFewDraws naming the
    fact that agrees with the fewest draws when hardly any agree with all.
    """
    rng = np.random.default_rng(seed)
    parts: list[Draws] = []
    tally = Tally()
    for _ in range(lots):
        possible, _ = propose(paper, facts, Chance(rng, LOT))
        before = min(draws, tally.kept)
        kept = tally.add(LOT, len(possible), [fact.holds(possible) for fact in facts])
        parts.append(possible.take(kept))
        tell(min(draws, tally.kept) - before)
        if tally.kept >= draws:
            break
    if tally.kept >= (draws if fewest is None else fewest):
        return joined(parts, draws), tally
    strictest = min(tally.alone, key=lambda place: tally.alone[place], default=None)
    hint = "" if strictest is None else f"; fewest agree with {facts[strictest].text!r}, {tally.alone[strictest]:,}"
    raise TooFewDraws(
        f"of {tally.proposed:,} draws the priors allow {tally.possible:,} and {tally.kept:,} agree with all facts, "
        f"where {draws} are wanted{hint}: widen its tolerance or the priors"
    )


def propose(paper: Paper, facts: Sequence[Fact], chance: Chance) -> tuple[Draws, NDArray[np.int_]]:
    """Laws from the priors, solved for what the facts propose, and of which rows of `chance` they are.

    Draws that the priors forbid are left out.
    """
    proposal = Proposal(paper.grid, paper.groups, {}, chance.uniform(*paper.noise), {}, chance)
    for name, group in paper.groups.items():
        offsets = chance.uniform(0, group.apart, len(group.members))
        proposal.offsets[name] = offsets - offsets.min(axis=0)
        proposal.lines[name] = Lines(np.log(chance.uniform(*group.loss)), chance.uniform(*group.slope))
    for fact in facts:
        fact.propose(proposal)
    measured = {name for fact in facts for name in fact.measured}
    draws = Draws(paper.grid, paper.groups, {}, proposal.lines, {}, proposal.noise, chance)
    left = np.arange(chance.rows)
    for name, group in paper.groups.items():
        near = draws.laws.get(group.like)
        drawn = _from_prior(group, paper.grid, near, proposal.offsets[name][:, left], draws.chance)
        errors = _errors(group, paper.grid, draws.noise if name in measured else np.zeros(len(draws)), draws.chance)
        laws, printed, solved = on_lines(drawn, group, paper.grid, draws.lines[name], errors)
        draws = replace(draws, laws={**draws.laws, name: laws}, printed={**draws.printed, name: printed})
        kept = solved & _allowed(group, laws, drawn, draws.chance)
        draws, left = draws.take(kept), left[kept]
    return draws, left


def _from_prior(group: Group, grid: Grid, near: GroupDraws | None, offsets: Array, chance: Chance) -> GroupDraws:
    """Laws whose exponents and scale are not solved yet: the ratio of alpha to beta is drawn, their size follows.

    offsets: [settings, draws].
    """
    if near is None:
        E = chance.uniform(*group.E)
        low, high = (math.log(end) for end in group.exponents)
        alpha, beta = (np.exp(chance.uniform(low, high)) for _ in range(2))
        sizes = np.log([float(grid.models[place].params) for place in (0, -1)])
        log_size = chance.uniform(sizes[0], sizes[1])
    else:
        E, alpha, beta = (values * np.exp(group.spread * chance.normal()) for values in (near.E, near.alpha, near.beta))
        log_size = near.log_size + group.spread_size * chance.normal()
    method = next(iter(group.members.values()))
    apart = dict(zip(group.members, offsets, strict=True))
    return GroupDraws(E, alpha, beta, log_size, grid.tokens_at(method, log_size), np.zeros(len(E)), apart)


def _errors(group: Group, grid: Grid, noise: Array, chance: Chance) -> Array:
    """[draws, budgets, settings, models] errors of the runs behind a line."""
    return noise[:, None, None, None] * chance.normal(len(grid.budgets), len(group.members), len(grid.models))


def _allowed(group: Group, laws: GroupDraws, drawn: GroupDraws, chance: Chance) -> Mask:
    """Which solved laws the prior allows; near another group's exponents as often as a normal spread says."""
    low, high = group.exponents
    inside = (np.minimum(laws.alpha, laws.beta) >= low) & (np.maximum(laws.alpha, laws.beta) <= high)
    inside &= (group.E[0] <= laws.E) & (group.E[1] >= laws.E)
    if not group.like:
        return inside
    away = np.log(laws.alpha / drawn.alpha) / group.spread
    return inside & (chance.uniform(0.0, 1.0) < np.exp(-0.5 * away**2))
