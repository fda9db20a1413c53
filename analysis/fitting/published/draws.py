"""Many laws at once: how their losses and frontiers follow, and how two of their numbers follow from a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.published.chance import Chance, chained
from analysis.fitting.published.grid import Cells, Grid, Group
from analysis.tables.rows import Array

Mask = NDArray[np.bool_]
STEPS = 25  # of Newton; nine of ten draws need six
SOLVED = 1e-7  # largest error of a line's level, in log loss, and of its slope over the range of the budgets
LONGEST = 0.7  # a step in the log of a number


@dataclass(frozen=True)
class Lines:
    """Straight lines of ln(best loss) against ln(budget), one a draw."""

    level: Array
    """[draws] ln loss in the middle of the budgets."""
    slope: Array
    """[draws] change of it for each unit of ln FLOP."""

    def at(self, log_budgets: Array, centre: float) -> Array:
        """[draws, budgets] ln loss on the line."""
        return self.level[:, None] + self.slope[:, None] * (log_budgets - centre)


@dataclass(frozen=True)
class GroupDraws:
    """Laws of a group: L = exp(offset) (E + s (wa (N/N*)^-alpha + wb (D/D*)^-beta)), every array [draws].

    N* and D* are the best size and its tokens at the middle budget; that fixes the weights wa and wb.
    """

    E: Array
    """Irreducible loss, nats per pair."""
    alpha: Array
    """Exponent of N."""
    beta: Array
    """Exponent of D."""
    log_size: Array
    """ln N*."""
    log_tokens: Array
    """ln D*."""
    log_scale: Array
    """ln s: what is not irreducible at N* and D*, nats."""
    offsets: Mapping[str, Array]
    """Setting -> its log loss above that of the best setting, the same at all N and D."""

    def take(self, which: Mask | NDArray[np.int_]) -> GroupDraws:
        arrays = {item.name: getattr(self, item.name)[which] for item in fields(self) if item.name != "offsets"}
        return replace(self, **arrays, offsets={name: offset[which] for name, offset in self.offsets.items()})

    def terms(self, cells: Cells) -> tuple[Array, Array, Array, Array]:
        """The terms of size and of data, nats, and what their logs gain by a unit of ln(exponents).

        [draws, 1, models], [draws, budgets, models], and the same again.
        """
        away_size = (self.alpha[:, None] * (self.log_size[:, None] - cells.log_sizes))[:, None, :]
        away_data = self.beta[:, None, None] * (self.log_tokens[:, None, None] - cells.log_tokens)
        share = self.beta / (self.alpha + self.beta)
        size = np.exp((self.log_scale + np.log(share))[:, None, None] + away_size)
        data = np.exp((self.log_scale + np.log(1 - share))[:, None, None] + away_data)
        return size, data, away_size, away_data

    def log_losses(self, cells: Cells, member: str) -> Array:
        """[draws, budgets, models] of one setting; infinite where a cell cannot be trained."""
        size, data, _, _ = self.terms(cells)
        losses = np.log(self.E[:, None, None] + size + data) + self.offsets[member][:, None, None]
        return np.where(np.isfinite(losses), losses, np.inf)

    def coefficients(self, member: str) -> dict[str, Array]:
        """Those of the plain law, as planner.laws.Chinchilla names them."""
        share = self.beta / (self.alpha + self.beta)
        factor = np.exp(self.offsets[member])
        return {
            "E": factor * self.E,
            "A": factor * share * np.exp(self.log_scale + self.alpha * self.log_size),
            "alpha": self.alpha,
            "B": factor * (1 - share) * np.exp(self.log_scale + self.beta * self.log_tokens),
            "beta": self.beta,
        }


@dataclass(frozen=True)
class Draws:
    """Laws of all groups of a paper; draw i of each belongs together."""

    grid: Grid
    """What the paper tried."""
    groups: Mapping[str, Group]
    """The paper's methods."""
    laws: Mapping[str, GroupDraws]
    """Group -> its laws."""
    lines: Mapping[str, Lines]
    """Group -> the line that a paper with this truth would have printed."""
    printed: Mapping[str, Array]
    """Group -> [draws, budgets] ln of the best losses behind that line, a run's noise included."""
    noise: Array
    """[draws] sd of the log loss of one run."""
    chance: Chance
    """The random numbers that they were made of."""

    def __len__(self) -> int:
        return len(self.noise)

    def take(self, which: Mask | NDArray[np.int_]) -> Draws:
        return replace(
            self,
            laws={name: laws.take(which) for name, laws in self.laws.items()},
            lines={name: Lines(line.level[which], line.slope[which]) for name, line in self.lines.items()},
            printed={name: losses[which] for name, losses in self.printed.items()},
            noise=self.noise[which],
            chance=self.chance.take(which),
        )

    @cached_property
    def log_losses(self) -> Mapping[str, Array]:
        """Group -> [draws, budgets, settings, models] on the grid, without noise."""
        return {
            group: np.stack(
                [laws.log_losses(self.grid.cells(method), name) for name, method in self.groups[group].members.items()],
                axis=2,
            )
            for group, laws in self.laws.items()
        }

    @cached_property
    def best(self) -> Mapping[str, Array]:
        """Group -> [draws, budgets] ln of its lowest loss on the grid, without noise."""
        return {group: losses.min(axis=(2, 3)) for group, losses in self.log_losses.items()}


def joined(parts: Sequence[Draws], most: int) -> Draws:
    """The first `most` draws of several lots."""

    def together(arrays: Sequence[Array]) -> Array:
        return np.concatenate(list(arrays))[:most]

    first = parts[0]
    laws, lines, printed = {}, {}, {}
    for name in first.laws:
        numbers = {
            item.name: together([getattr(part.laws[name], item.name) for part in parts])
            for item in fields(GroupDraws)
            if item.name != "offsets"
        }
        members = first.laws[name].offsets
        offsets = {member: together([part.laws[name].offsets[member] for part in parts]) for member in members}
        laws[name] = GroupDraws(**numbers, offsets=offsets)
        lines[name] = Lines(
            together([part.lines[name].level for part in parts]), together([part.lines[name].slope for part in parts])
        )
        printed[name] = together([part.printed[name] for part in parts])
    noise = together([part.noise for part in parts])
    chance = chained([part.chance for part in parts], most)
    return replace(first, laws=laws, lines=lines, printed=printed, noise=noise, chance=chance)


def on_lines(
    drawn: GroupDraws, group: Group, grid: Grid, lines: Lines, errors: Array
) -> tuple[GroupDraws, Array, Mask]:
    """The laws whose best losses over the budgets have these lines, by Newton in two logs: exponents and scale.

    errors [draws, budgets, settings, models]: of the runs behind the lines. Also the best log losses [draws, budgets],
    errors included, and which draws were solved.
    """
    cells = [(grid.cells(method), drawn.offsets[name][:, None, None]) for name, method in group.members.items()]
    x = grid.log_budgets - grid.centre
    spread = float((x**2).sum())
    drawn = _start(drawn, lines)
    for _ in range(STEPS):
        best, by_exponents, by_scale = _best(drawn, cells, errors)
        missing = np.stack([lines.level - best.mean(axis=1), lines.slope - best @ x / spread], axis=1)
        solved = (np.abs(missing) * [1, x[-1] - x[0]]).max(axis=1) < SOLVED
        if solved.all():
            break
        moved = np.stack([np.stack([d.mean(axis=1), d @ x / spread], axis=1) for d in (by_exponents, by_scale)], axis=2)
        step = _two_by_two(moved, missing)
        step = np.where(solved[:, None], 0.0, np.clip(step, -LONGEST, LONGEST))
        factor = np.exp(step[:, 0])
        drawn = replace(
            drawn, alpha=drawn.alpha * factor, beta=drawn.beta * factor, log_scale=drawn.log_scale + step[:, 1]
        )
    return drawn, best, solved


def _start(drawn: GroupDraws, lines: Lines) -> GroupDraws:
    """Exponents and scale of the line in the middle of the budgets, if any size could be chosen."""
    loss = np.exp(lines.level)
    above = np.maximum(loss - drawn.E, 0.05 * loss)
    exponent = drawn.alpha * drawn.beta / (drawn.alpha + drawn.beta)
    factor = np.abs(lines.slope) * loss / above / exponent
    return replace(drawn, alpha=drawn.alpha * factor, beta=drawn.beta * factor, log_scale=np.log(above))


def _best(drawn: GroupDraws, cells: Sequence[tuple[Cells, Array]], errors: Array) -> tuple[Array, Array, Array]:
    """The lowest log losses [draws, budgets], and what they gain by a unit of ln(exponents) and of ln s."""
    losses, by_exponents, by_scale = [], [], []
    for place, (held, offset) in enumerate(cells):
        size, data, away_size, away_data = drawn.terms(held)
        total = drawn.E[:, None, None] + size + data
        noisy = np.log(total) + offset + errors[:, :, place]
        losses.append(np.where(np.isfinite(noisy), noisy, np.inf))
        by_exponents.append((size * away_size + data * away_data) / total)
        by_scale.append((size + data) / total)
    lowest = np.concatenate(losses, axis=2).argmin(axis=2)[..., None]
    best, first, second = (
        np.take_along_axis(np.concatenate(values, axis=2), lowest, axis=2)[..., 0]
        for values in (losses, by_exponents, by_scale)
    )
    return best, first, second


def _two_by_two(moved: Array, missing: Array) -> Array:
    """Solution of moved @ step = missing, each of [draws, 2, 2] and [draws, 2]; 0 where there is none."""
    (a, b), (c, d) = (moved[:, 0, 0], moved[:, 0, 1]), (moved[:, 1, 0], moved[:, 1, 1])
    determinant = a * d - b * c
    usable = np.abs(determinant) > 1e-12
    safe = np.where(usable, determinant, 1.0)
    first, second = missing[:, 0], missing[:, 1]
    step = np.stack([d * first - b * second, a * second - c * first], axis=1) / safe[:, None]
    return np.where(usable[:, None], step, 0.0)
