"""Draws of laws that agree with a paper's facts and predict somebody's runs.

The facts are the prior. Its draws move towards the runs by sequential Monte Carlo (Del Moral, Doucet and Jasra 2006):
the runs count a little more from round to round, draws that predict them badly give way to copies of the others, and
all wander among what agrees with the facts until copies differ. Plain weights would leave a handful of 400 draws.

What other data and another suite do to the losses is not known: factors of the laws, free within a normal spread, are
integrated out in every draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.published.chance import Chance
from analysis.fitting.published.choices import losses_at
from analysis.fitting.published.draws import Draws, GroupDraws
from analysis.fitting.published.facts_file import Paper
from analysis.fitting.published.sample import propose, sample
from analysis.tables.rows import Array
from planner.discrepancy import FACTOR_SPREAD, METHOD_SPREAD

STARTS = 4  # of so many draws one is drawn from the priors, the others are its copies that wander
HALF = 0.5  # of the draws' weight is left to each round
CHECKED = 10  # moves between looks at how far the draws have wandered
MOST_MOVES = 40  # in a round
LAST_MOVES = 400  # in the last one
WANDERED = 0.3  # correlation with where the round began, at which it ends
FEWEST = 0.25  # of the draws: an effective number below is warned of
GROWTH = 1.7  # of how much the runs count, from round to round, about: for the time that is left
NOISE_SPREAD = 0.5  # sd of the log of the noise of the runs about that of the paper's
SOLVES = 5  # of Newton, for the factors
LEVEL_SPREAD = 1.0  # sd of the log of what pools, batches and data do to all losses alike


@dataclass(frozen=True)
class Spread:
    """How the user's laws may differ from the paper's, as sd of logs."""

    level: float = 0.0
    """Of all losses alike."""
    common: float = 0.0
    """Of each factor (E, A, B), for all methods alike."""
    own: float = 0.0
    """Of each factor, for each method."""


SAME = Spread()
OTHER = Spread(LEVEL_SPREAD, FACTOR_SPREAD, METHOD_SPREAD)


@dataclass(frozen=True)
class Runs:
    """Somebody's runs, as settings of the paper's methods; arrays are [rows]."""

    place: NDArray[np.int_]
    """Number of the setting."""
    settings: tuple[tuple[str, str], ...]
    """Group and setting of each number."""
    params: Array
    """N."""
    tokens: Array
    """D."""
    log_losses: Array
    """ln of nats per pair; [draws, rows] where every draw is held against runs of its own."""
    spread: Spread
    """How the conditions may differ from the paper's."""

    def of(self, draws: NDArray[np.int_]) -> Runs:
        """The runs that these draws are held against."""
        return self if self.log_losses.ndim == 1 else replace(self, log_losses=self.log_losses[draws])

    @property
    def groups(self) -> list[str]:
        """Names of the groups that were run."""
        return list(dict.fromkeys(group for group, _ in self.settings))


@dataclass(frozen=True)
class Weighed:
    """Draws that agree with the facts and predict the runs, all alike likely."""

    draws: Draws
    """With the factors of the runs' conditions."""
    noise: Array
    """[draws] sd of the log loss of one of the user's runs."""
    effective: float
    """Effective number of those that are here: copies that differ little count for less."""
    missed: float
    """Root mean square of the runs' log losses about the laws, at the likeliest factors; median of the draws."""


@dataclass(frozen=True)
class Solved:
    """The factors of a draw's laws: normal about a middle."""

    log_likelihood: Array
    """[draws], the factors integrated out (Laplace)."""
    middle: Array
    """[draws, factors] in units of their sd."""
    precision: Array
    """[draws, factors, factors]"""
    missed: Array
    """[draws] root mean square of what the runs differ by from the laws, log loss."""


def weigh(
    paper: Paper, runs: Runs, count: int, seed: int = 0, tell: Callable[[int], None] = lambda done: None
) -> Weighed:
    """So many draws. tell: is given the percent of the way that was gone. Raises TooFewDraws as `sample` does."""
    cloud = Cloud(paper, runs, count, seed)
    copies, power, told = [cloud.wandered(STARTS, 0.0, MOST_MOVES)], 0.0, 0
    while power < 1:
        power, weights = next_power(cloud.logs, power, HALF * count)
        multiple = cloud.resample(weights)
        share = len(copies) / (len(copies) + math.log(1 / power, GROWTH) + LAST_MOVES / MOST_MOVES)
        tell(round(100 * share) - told)
        told = round(100 * share)
        copies.append(cloud.wandered(multiple, power, MOST_MOVES if power < 1 else LAST_MOVES))
    tell(100 - told)
    draws, noise = cloud.draws()
    solved = factors(draws, noise, runs)
    effective = count / (1 + sum((multiple - 1) * kept for multiple, kept in _remaining(copies)))
    return Weighed(with_factors(draws, solved, runs, cloud.rng), noise, effective, float(np.median(solved.missed)))


def log_likelihoods(draws: Draws, noise: Array, runs: Runs) -> Array:
    """[draws] how well each predicts the runs, whatever their conditions do to the factors.

    noise [draws]: sd of the log loss of one run.
    """
    return factors(draws, noise, runs).log_likelihood


class Cloud:
    """Draws on their way from the facts to the runs; without runs they stay among what agrees with the facts."""

    def __init__(self, paper: Paper, runs: Runs | None, count: int, seed: int) -> None:
        self.paper, self.runs = paper, runs
        self.rng = np.random.default_rng([seed, 1])
        first, _ = sample(paper, paper.facts, max(2, -(-count // STARTS)), seed)
        first.chance.normal()  # for the noise of the runs
        self.begin(first.chance.take(np.arange(count) % len(first)))

    def begin(self, chance: Chance) -> None:
        """Start from other draws, by the random numbers behind them."""
        self.chance = replace(chance, rng=self.rng, given=0)
        rows, draws, noise = self._made(self.chance)
        self.logs = self._predicted(draws, noise, rows)

    def _predicted(self, draws: Draws, noise: Array, rows: NDArray[np.int_]) -> Array:
        return log_likelihoods(draws, noise, self.runs.of(rows)) if self.runs else np.zeros(len(draws))

    def _made(self, chance: Chance) -> tuple[NDArray[np.int_], Draws, Array]:
        """The rows whose laws agree with all facts, these laws, and the noise of the runs."""
        draws, rows = propose(self.paper, self.paper.facts, replace(chance, given=0))
        agree = np.logical_and.reduce([fact.holds(draws) for fact in self.paper.facts])
        draws = draws.take(agree)
        return rows[agree], draws, draws.noise * np.exp(NOISE_SPREAD * draws.chance.normal())

    def draws(self) -> tuple[Draws, Array]:
        """The laws as they are now, and the noise of the runs [draws]."""
        _, draws, noise = self._made(self.chance)
        return draws, noise

    def resample(self, weights: Array) -> float:
        """As many copies of each as it weighs; returns how many a copy has on average, itself included."""
        chosen = resampled(weights, len(weights), self.rng)
        self.chance, self.logs = self.chance.take(chosen), self.logs[chosen]
        return float((np.bincount(chosen) ** 2).sum() / len(chosen))

    def wandered(self, multiple: float, power: float, moves: int) -> tuple[float, float]:
        """Wander where the runs count with this power; returns `multiple` and the correlation with the beginning."""
        begin, correlation = _decisions(self.draws()[0]), 1.0
        for _ in range(moves // CHECKED):
            self.move(CHECKED, power)
            correlation = _correlation(begin, _decisions(self.draws()[0]))
            if correlation <= WANDERED:
                break
        return multiple, correlation

    def move(self, times: int, power: float | Array, among: int = 0) -> None:
        """So many moves of every draw where the runs count with this power, 0 to 1, one for all or [draws].

        among: so many consecutive draws are of the same runs, where there are several sets of these; 0: all of them.
        """
        powers = np.broadcast_to(power, self.chance.rows)
        for _ in range(times):
            self._move(powers, among)

    def _move(self, powers: Array, among: int) -> None:
        proposed, likelier = self.chance.turned() if self.rng.random() < 0.5 else self.chance.crossed(among)
        rows, draws, noise = self._made(proposed)
        logs = self._predicted(draws, noise, rows)
        taken = np.log(self.rng.random(len(rows))) < powers[rows] * (logs - self.logs[rows]) + likelier[rows]
        chosen = np.zeros(self.chance.rows, bool)
        chosen[rows[taken]] = True
        self.chance = self.chance.where(proposed, chosen)
        self.logs[rows[taken]] = logs[taken]


def resampled(weights: Array, count: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """So many places, each as often as it weighs (systematic resampling); weights sum to 1."""
    places = (rng.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)


def next_power(logs: Array, power: float, least: float) -> tuple[float, Array]:
    """How much the runs may count for so many effective draws to remain, and the weights that lead there."""
    from scipy.optimize import brentq  # loading it takes time, and only laws with runs of one's own need it

    def weights(to: float) -> Array:
        ahead = (to - power) * (logs - logs.max())
        held = np.exp(ahead - ahead.max())
        return held / held.sum()

    def spare(to: float) -> float:
        return float(1 / (weights(to) ** 2).sum()) - least

    if spare(1.0) >= 0:
        return 1.0, weights(1.0)
    reached = float(brentq(spare, power, 1.0))
    return reached, weights(reached)


def _remaining(copies: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Copies of each round, and what of their likeness is left at the end."""
    left, found = 1.0, []
    for multiple, correlation in reversed(copies):
        left *= correlation
        found.append((multiple, left))
    return found


def _decisions(draws: Draws) -> Array:
    """[draws, choices] log losses ten times beyond the paper's budgets, about their mean: what decides there."""
    _, losses = losses_at(draws, 10 * draws.grid.budgets[-1])
    return losses - losses.mean(axis=1, keepdims=True)


def _correlation(first: Array, second: Array) -> float:
    """Mean over the choices, 0 or more."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    along = (a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0)
    return float(np.clip(along.mean(), 0.0, 1.0))


def terms(draws: Draws, runs: Runs) -> Array:
    """[draws, rows, 3] E, A / N**alpha and B / D**beta of every run."""
    parts = np.empty((len(draws), len(runs.params), 3))
    for number, (group, member) in enumerate(runs.settings):
        mine = runs.place == number
        c = {name: values[:, None] for name, values in draws.laws[group].coefficients(member).items()}
        parts[:, mine, 0] = c["E"]
        parts[:, mine, 1] = c["A"] * runs.params[mine] ** -c["alpha"]
        parts[:, mine, 2] = c["B"] * runs.tokens[mine] ** -c["beta"]
    return parts


def _reach(runs: Runs) -> tuple[Array, Array]:
    """Which run each unknown factor changes [rows, factors, 3], and the sd of its log [factors].

    One for all losses; E, A and B for all methods; E, A and B for each group that was run.
    """
    rows, groups = len(runs.params), runs.groups
    of_group = np.array([groups.index(group) for group, _ in runs.settings])[runs.place]
    reach = np.zeros((rows, 4 + 3 * len(groups), 3))
    reach[:, 0, :] = 1.0
    for term in range(3):
        reach[:, 1 + term, term] = 1.0
        reach[np.arange(rows), 4 + 3 * of_group + term, term] = 1.0
    spread = runs.spread
    return reach, np.array([spread.level, *[spread.common] * 3, *[spread.own] * (3 * len(groups))])


def factors(draws: Draws, noise: Array, runs: Runs) -> Solved:
    """The likeliest factors of every draw's laws, by Gauss-Newton, and how sharply the runs tell them."""
    parts, (reach, sd) = terms(draws, runs), _reach(runs)
    free = np.flatnonzero(sd > 0)
    reach, sd = reach[:, free], sd[free]
    unit = np.eye(len(free))
    z = np.zeros((len(draws), len(free)))
    sharp = noise[:, None] ** -2
    for _ in range(SOLVES if len(free) else 1):
        now = parts * np.exp(np.einsum("dz,rzt->drt", z * sd, reach))
        total = now.sum(axis=2)
        off = runs.log_losses - np.log(total)
        slopes = np.einsum("drt,rzt->drz", now / total[:, :, None], reach) * sd
        precision = unit + sharp[:, :, None] * np.einsum("dry,drz->dyz", slopes, slopes)
        step = np.linalg.solve(precision, (sharp * np.einsum("drz,dr->dz", slopes, off) - z)[:, :, None])[:, :, 0]
        z = z + step
    misfit = sharp[:, 0] * (off**2).sum(axis=1) + (z**2).sum(axis=1)
    log_likelihood = -0.5 * (misfit + np.linalg.slogdet(precision)[1]) - len(runs.params) * np.log(noise)
    return Solved(log_likelihood, z, precision, np.sqrt((off**2).mean(axis=1)))


def with_factors(draws: Draws, solved: Solved, runs: Runs, rng: np.random.Generator) -> Draws:
    """The laws under the runs' conditions: the factors of each draw from what the runs leave likely.

    Of groups that were not run, the factors that they share with those that were, and own ones by their spread alone.
    """
    _, sd = _reach(runs)
    logs = np.zeros((len(draws), len(sd)))
    free = np.flatnonzero(sd > 0)
    if len(free):
        lower = np.linalg.cholesky(solved.precision)
        about = np.linalg.solve(np.swapaxes(lower, 1, 2), rng.normal(size=(len(draws), len(free), 1)))[:, :, 0]
        logs[:, free] = (solved.middle + about) * sd[free]
    own: Mapping[str, Array] = {
        group: logs[:, 4 + 3 * place : 7 + 3 * place] for place, group in enumerate(runs.groups)
    }
    laws = {}
    for name, group in draws.laws.items():
        alone = own[name] if name in own else runs.spread.own * rng.normal(size=(len(draws), 3))
        laws[name] = _scaled(group, logs[:, 0], logs[:, 1:4] + alone)
    return replace(draws, laws=laws)


def _scaled(laws: GroupDraws, level: Array, logs: Array) -> GroupDraws:
    """Laws with factors whose logs are changed: level [draws] of all losses, logs [draws, 3] of E, A and B."""
    by_E, by_A, by_B = logs.T
    return replace(
        laws,
        E=laws.E * np.exp(by_E),
        log_size=laws.log_size + by_A / laws.alpha,  # A is in proportion to N* ** alpha, B to D* ** beta
        log_tokens=laws.log_tokens + by_B / laws.beta,
        offsets={member: offset + level for member, offset in laws.offsets.items()},
    )
