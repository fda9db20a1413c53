"""Kinds of facts that papers print, each with what it does to draws of laws. FACTS lists them.

A fact restricts: `holds` says which draws agree with it. Where hardly any draw would agree by chance, `propose` draws
what was printed within its rounding, and the laws are solved for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.fitting.published.chance import Chance
from analysis.fitting.published.draws import Draws, Lines, Mask
from analysis.fitting.published.grid import Grid, Group
from analysis.tables.rows import Array
from sweeps.support.checks import choice, distinct, require


@dataclass
class Proposal:
    """What is drawn before any law: lines and noise of so many papers."""

    grid: Grid
    """What they tried."""
    groups: dict[str, Group]
    """Their methods."""
    lines: dict[str, Lines]
    """Group -> the lines that they would print."""
    noise: Array
    """[draws] sd of the log loss of one run."""
    offsets: dict[str, Array]
    """Group -> [settings, draws] log loss of each setting above the best one, at equal N and D."""
    chance: Chance
    """Where random numbers come from."""


@dataclass(frozen=True, kw_only=True)
class Fact(ABC):
    """Something that a paper printed."""

    kind: ClassVar[str]
    """What facts files call it."""
    text: str
    """The fact in a sentence."""
    citation: str
    """The place in the paper."""
    assumed: str = ""
    """What of its numbers was not printed but is our reading of the words; "" where all was printed."""

    @property
    def named(self) -> tuple[str, ...]:
        """Groups that it speaks of."""
        return ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Groups whose printed line comes from single runs, with their noise."""
        return ()

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        """Refuse names that the file does not define. Raises ValueError with the place and the choices."""
        for name in self.named:
            choice(where, name, list(groups))

    def propose(self, proposal: Proposal) -> None:
        """Draw what was printed."""
        return

    @abstractmethod
    def holds(self, draws: Draws) -> Mask:
        """[draws] whether the laws agree with the fact."""


@dataclass(frozen=True, kw_only=True)
class Line(Fact):
    """ln(best loss) = slope * ln(budget) + intercept over the budgets, as printed."""

    kind: ClassVar[str] = "line"
    group: str
    """Whose best loss it is."""
    slope: float
    """Printed slope."""
    intercept: float
    """Printed ln loss at a budget of 1 FLOP."""
    tolerance: float
    """Half a unit of the last printed place of both."""
    straight: float
    """Largest distance of a best log loss from the line."""

    @property
    def named(self) -> tuple[str, ...]:
        return (self.group,)

    @property
    def measured(self) -> tuple[str, ...]:
        return (self.group,)

    def propose(self, proposal: Proposal) -> None:
        slope = proposal.chance.uniform(self.slope - self.tolerance, self.slope + self.tolerance)
        intercept = proposal.chance.uniform(self.intercept - self.tolerance, self.intercept + self.tolerance)
        proposal.lines[self.group] = Lines(intercept + slope * proposal.grid.centre, slope)

    def holds(self, draws: Draws) -> Mask:
        line, centre = draws.lines[self.group], draws.grid.centre
        intercept = line.level - line.slope * centre
        printed = (np.abs(line.slope - self.slope) <= self.tolerance) & (
            np.abs(intercept - self.intercept) <= self.tolerance
        )
        away = draws.printed[self.group] - line.at(draws.grid.log_budgets, centre)
        return printed & (np.abs(away).max(axis=1) <= self.straight)


@dataclass(frozen=True, kw_only=True)
class Crossover(Fact):
    """The lines of two groups cross at a budget."""

    kind: ClassVar[str] = "crossover"
    below: str
    """Group with the lower loss at smaller budgets."""
    above: str
    """Group with the lower loss at larger budgets."""
    flops: float
    """The budget."""
    tolerance: float
    """Half a unit of its last printed place."""

    @property
    def named(self) -> tuple[str, ...]:
        return (self.below, self.above)

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        super().check(where, grid, groups)
        require(f"{where}.tolerance", self.tolerance, 0 < self.tolerance < self.flops, "above 0 and below flops")

    def propose(self, proposal: Proposal) -> None:
        """The intercept of the group above stays as it was drawn, its slope follows from the crossing."""
        centre = proposal.grid.centre
        first, second = proposal.lines[self.below], proposal.lines[self.above]
        place = np.log(proposal.chance.uniform(self.flops - self.tolerance, self.flops + self.tolerance))
        intercept = second.level - second.slope * centre
        slope = (first.level + first.slope * (place - centre) - intercept) / place
        proposal.lines[self.above] = Lines(intercept + slope * centre, slope)

    def holds(self, draws: Draws) -> Mask:
        first, second = draws.lines[self.below], draws.lines[self.above]
        turns = second.slope < first.slope
        gap = np.where(turns, first.slope - second.slope, 1.0)
        place = draws.grid.centre + (second.level - first.level) / gap
        low, high = np.log(self.flops - self.tolerance), np.log(self.flops + self.tolerance)
        return turns & (place >= low - 1e-6) & (place <= high + 1e-6)


@dataclass(frozen=True, kw_only=True)
class BestSize(Fact):
    """Where in the grid the best sizes lie, and that they grow with the budget."""

    kind: ClassVar[str] = "best-size"
    groups: tuple[str, ...]
    """Of which methods."""
    grows_by: int
    """Sizes of the grid between the best at the smallest and at the largest budget, at least."""
    first_at_most: str
    """Largest model that may be the best at the smallest budget."""
    last_at_least: str
    """Smallest model that may be the best at the largest budget."""
    last_at_most: str
    """Largest model that may be the best at the largest budget."""

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.groups)

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        super().check(where, grid, groups)
        models = [model.name for model in grid.models]
        for key in ("first_at_most", "last_at_least", "last_at_most"):
            choice(f"{where}.{key}", getattr(self, key), models)

    def holds(self, draws: Draws) -> Mask:
        names = [model.name for model in draws.grid.models]
        agree = np.ones(len(draws), bool)
        for group in self.groups:
            losses = draws.log_losses[group].min(axis=2)
            sizes = losses.argmin(axis=2)
            first, last = sizes[:, 0], sizes[:, -1]
            agree &= (np.diff(sizes, axis=1) >= 0).all(axis=1) & (last - first >= self.grows_by)
            agree &= first <= names.index(self.first_at_most)
            agree &= (last >= names.index(self.last_at_least)) & (last <= names.index(self.last_at_most))
        return agree


@dataclass(frozen=True, kw_only=True)
class Margin(Fact):
    """By which share the best loss of a group lies above the lowest or the highest of others, at every budget."""

    kind: ClassVar[str] = "margin"
    group: str
    """Which group lies above."""
    of: tuple[str, ...]
    """The others."""
    side: str
    """"lowest": above the best of the others; "highest": above all of them."""
    low: float
    """Smallest share, such as 0."""
    high: float
    """Largest share, such as 0.1."""

    @property
    def named(self) -> tuple[str, ...]:
        return (self.group, *self.of)

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        super().check(where, grid, groups)
        choice(f"{where}.side", self.side, ("lowest", "highest"))
        require(f"{where}.low", self.low, 0 <= self.low < self.high, "0 or more and below high")

    def propose(self, proposal: Proposal) -> None:
        """A line whose two ends lie within the margin."""
        grid = proposal.grid
        others = np.stack([proposal.lines[name].at(grid.log_budgets, grid.centre) for name in self.of])
        edge = self._edge(others)
        first, last = (np.log1p(proposal.chance.uniform(self.low, self.high)) for _ in range(2))
        first, last = edge[:, 0] + first, edge[:, -1] + last
        x = grid.log_budgets - grid.centre
        slope = (last - first) / (x[-1] - x[0])
        proposal.lines[self.group] = Lines(first - slope * x[0], slope)

    def holds(self, draws: Draws) -> Mask:
        above = draws.best[self.group] - self._edge(np.stack([draws.best[name] for name in self.of]))
        return ((above >= np.log1p(self.low)) & (above <= np.log1p(self.high))).all(axis=1)

    def _edge(self, others: Array) -> Array:
        return others.min(axis=0) if self.side == "lowest" else others.max(axis=0)


@dataclass(frozen=True, kw_only=True)
class Floor(Fact):
    """The best loss of a group stays above a number at every budget."""

    kind: ClassVar[str] = "floor"
    group: str
    """Whose best loss it is."""
    above: float
    """The number, nats per pair."""

    @property
    def named(self) -> tuple[str, ...]:
        return (self.group,)

    def holds(self, draws: Draws) -> Mask:
        return np.exp(draws.best[self.group]).min(axis=1) > self.above


@dataclass(frozen=True, kw_only=True)
class Ranking(Fact):
    """Some settings of a group are the best in nearly every cell, and each of the others is worse on the frontier."""

    kind: ClassVar[str] = "ranking"
    group: str
    """Whose settings are compared."""
    best: tuple[str, ...]
    """The settings that are best."""
    share: float
    """Share of the cells in which one of them is, at least."""
    each: float
    """Share of the cells in which each single one of them is, at least."""

    @property
    def named(self) -> tuple[str, ...]:
        return (self.group,)

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        super().check(where, grid, groups)
        members = list(groups[self.group].members)
        for name in self.best:
            choice(f"{where}.best", name, members)
        distinct(f"{where}.best", self.best, self.best)
        require(f"{where}.best", self.best, 0 < len(self.best) < len(members), "some of the settings, not all")
        require(f"{where}.share", self.share, 0 < self.share <= 1, "above 0 and at most 1")
        most = self.share / len(self.best)
        require(
            f"{where}.each", self.each, 0 <= self.each <= most, f"0 or more and at most {most:.3g}, its part of share"
        )

    def propose(self, proposal: Proposal) -> None:
        """The lowest offsets go to the settings that are best, in any order."""
        members = list(proposal.groups[self.group].members)
        chosen = [members.index(name) for name in self.best]
        ordered = np.sort(proposal.offsets[self.group], axis=0)
        offsets = np.empty_like(ordered)
        others = [place for place in range(len(members)) if place not in chosen]
        for places, lowest in ((chosen, ordered[: len(chosen)]), (others, ordered[len(chosen) :])):
            offsets[places] = np.take_along_axis(lowest, proposal.chance.order(len(places)), axis=0)
        proposal.offsets[self.group] = offsets

    def holds(self, draws: Draws) -> Mask:
        losses = draws.log_losses[self.group]
        members = list(draws.groups[self.group].members)
        trained = np.isfinite(losses).any(axis=(0, 2))  # by budget and model
        winner = losses.argmin(axis=2)[:, trained]
        chosen = [members.index(name) for name in self.best]
        wins = np.stack([(winner == place).mean(axis=1) for place in chosen])
        frontier = losses.min(axis=3)
        others = np.delete(frontier, chosen, axis=2).min(axis=2)
        ahead = (frontier[:, :, chosen].min(axis=2) < others).all(axis=1)
        return (wins.sum(axis=0) >= self.share) & (wins >= self.each).all(axis=0) & ahead


@dataclass(frozen=True, kw_only=True)
class Noise(Fact):
    """How much the log loss of a run differs from seed to seed."""

    kind: ClassVar[str] = "noise"
    low: float
    """Smallest sd."""
    high: float
    """Largest sd."""

    def check(self, where: str, grid: Grid, groups: dict[str, Group]) -> None:
        require(f"{where}.low", self.low, 0 <= self.low < self.high, "0 or more and below high")

    def propose(self, proposal: Proposal) -> None:
        proposal.noise = proposal.chance.uniform(self.low, self.high)

    def holds(self, draws: Draws) -> Mask:
        return (draws.noise >= self.low) & (draws.noise <= self.high)


FACTS: dict[str, type[Fact]] = {kind.kind: kind for kind in (Line, Crossover, BestSize, Margin, Floor, Ranking, Noise)}
