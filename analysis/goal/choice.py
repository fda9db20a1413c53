"""Which trials lower the expected regret of the coming choice most for what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from analysis.goal.beliefs import Beliefs, Indices, Places, Recorded
from analysis.tables.rows import Array

SAMPLES = 512  # of the candidates' losses, behind regrets and probabilities
SHORTLIST = 256  # places whose worth is reckoned in full, by a cheaper bound
DIGITS = 6  # to which worths are compared, so that the order of additions decides nothing


@dataclass(frozen=True)
class Standing:
    """What is believed of the candidates at the goal. Arrays have one entry a candidate."""

    mean: Array
    """Expected ln loss."""
    sd: Array
    """Its sd."""
    best: Array
    """Probability of being the best."""
    chosen: int
    """The candidate of the lowest expected loss."""
    regret: float
    """Expected regret of the choice, nats."""


def _lowest(mean: Array, variance: Array) -> int:
    """The candidate of the lowest expected loss, which is that of the lowest expected regret: of two with the same
    middle the surer one. The first of several, however their last digits were rounded.

    mean, variance: of ln loss.
    """
    return int(np.argmin(np.round(mean + variance / 2, 9)))


@cache
def _normals(columns: int) -> Array:
    """The same normal numbers every time [SAMPLES, columns], in pairs of opposite sign."""
    half = np.random.default_rng(0).normal(size=(SAMPLES // 2, columns))
    return np.concatenate([half, -half])


def _samples(mean: Array, covariance: Array) -> Array:
    """Draws of jointly normal log losses [SAMPLES, candidates]."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))  # [candidates, parts]
    return np.asarray(mean + _normals(len(mean)) @ (vectors @ root.T))


def standing(beliefs: Beliefs, goals: Indices) -> Standing:
    """What is believed of the candidates, which are the places `goals`."""
    mean, covariance = beliefs.mean(goals), beliefs.covariance(goals, goals)
    drawn = _samples(mean, covariance)
    wins = np.bincount(drawn.argmin(axis=1), minlength=len(goals)) / len(drawn)
    chosen = _lowest(mean, np.diag(covariance))
    losses = np.exp(drawn)
    regret = float((losses[:, chosen] - losses.min(axis=1)).mean())
    return Standing(mean, np.sqrt(np.maximum(np.diag(covariance), 0)), wins, chosen, regret)


def next_trials(
    places: Places,
    recorded: Recorded,
    goals: Indices,
    cost: Callable[[list[int]], Array],
    together: int,
) -> list[int]:
    """Places of the next trials, those first that are worth most for what they cost.

    goals: places of the candidates at the goal. cost: what a trial at each place would cost beside the chosen ones
    [P], infinite where it is not to be had. together: how many at most.

    A first trial alone tells the level of all losses and little of their differences: where no second place is to be
    had beside it, there is none.
    """
    first = not len(recorded)
    chosen: list[int] = []
    scale = Beliefs(places, recorded).scale
    while len(chosen) < (max(together, 2) if first else together):
        beliefs = Beliefs(places, recorded, chosen, scale)
        prices = cost(chosen)
        open_ = np.flatnonzero(np.isfinite(prices))
        if not len(open_):
            break
        gains = worth_of(beliefs, goals, open_, prices[open_])
        rates = gains / prices[open_]
        best = int(np.argmax(_rounded(rates)))
        if not rates[best] > 0:
            break
        chosen.append(int(open_[best]))
    return [] if first and len(set(chosen)) < 2 else chosen[:together]


def _rounded(values: Array) -> Array:
    """To DIGITS significant digits."""
    exponents = np.floor(np.log10(np.maximum(np.abs(values), 1e-300)))
    return np.asarray(np.round(values / 10**exponents, DIGITS) * 10**exponents)


def worth_of(beliefs: Beliefs, goals: Indices, these: Indices, prices: Array) -> Array:
    """By how many nats a trial at each of `these` places lowers the regret that is expected of the candidates' spread
    [these]; 0 for those that a bound leaves out.

    What a trial will show moves the means of the candidates and narrows their spread: samples of the candidates are
    drawn together with its outcome, and the part that the outcome tells is taken out of them.
    """
    mean, covariance = beliefs.mean(goals), beliefs.covariance(goals, goals)
    variance, shared = beliefs.beside(goals, these)
    spread = np.sqrt(variance + beliefs.places.noise[these] ** 2)
    told = shared / spread  # [candidates, these]: sd of what the outcome moves
    chosen = _lowest(mean, np.diag(covariance))
    bound = _bound(mean, covariance, told, chosen) / prices
    short = np.argsort(-bound, kind="stable")[:SHORTLIST]
    drawn = _samples(mean, covariance)  # [samples, candidates]
    outcome = _outcomes(drawn - mean, covariance, told[:, short])  # [samples, short]
    height = np.exp(mean[chosen])
    before = height * (drawn[:, chosen] - drawn.min(axis=1)).mean()
    gains = np.zeros(len(these))
    for part in np.array_split(np.arange(len(short)), max(1, len(short) // 32)):
        gains[short[part]] = before - height * _given_away(drawn, outcome[:, part], told[:, short[part]], chosen)
    return np.maximum(gains, 0)


def _given_away(drawn: Array, outcome: Array, told: Array, chosen: int) -> Array:
    """What the chosen candidate lies above the lowest, on average over samples, without what each outcome tells
    [outcomes]: a candidate at a time, so that all stays in the cache.

    drawn [samples, candidates]; outcome [samples, outcomes]; told [candidates, outcomes].
    """
    kept = drawn[:, chosen, None] - outcome * told[chosen]
    least, left = kept.copy(), np.empty_like(kept)
    for sample, moved in zip(drawn.T, told, strict=True):
        np.multiply(outcome, moved, out=left)
        np.minimum(least, np.subtract(sample[:, None], left, out=left), out=least)
    return np.asarray((kept - least).mean(axis=0))


def _bound(mean: Array, covariance: Array, told: Array, chosen: int) -> Array:
    """About how much each outcome shrinks the regret of the chosen candidate against each other [these]."""
    gaps = mean - mean[chosen]
    own = np.diag(covariance)
    sd = np.sqrt(np.maximum(own + own[chosen] - 2 * covariance[chosen], 1e-16))
    slope = np.exp(-((gaps / sd) ** 2) / 2) / sd  # of the expected improvement in the variance, but for a constant
    slope[chosen] = 0
    return np.asarray(slope @ (told - told[chosen]) ** 2)


def _outcomes(deviations: Array, covariance: Array, told: Array) -> Array:
    """Standard normal outcomes of trials [samples, trials] that go with samples of the candidates.

    told [candidates, trials]: covariances of the outcomes with the candidates.
    """
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)
    weights = inverse @ told
    explained = np.clip((told * weights).sum(axis=0), 0, 1)
    rest = np.random.default_rng(1).normal(size=(len(deviations), 1))  # common to all, so that they compare
    return np.asarray(deviations @ weights + np.sqrt(1 - explained) * rest)
