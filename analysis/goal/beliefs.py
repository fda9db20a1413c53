"""What is believed of the log losses of places, by draws of laws, how far laws may miss, and the losses recorded.

A place is a model with a method at a number of tokens. The draws of the laws give the prior mean and most of the
covariance. What no law says is added to it (a discrepancy, Kennedy and O'Hagan 2001): slopes in ln N and ln D that
differ from the laws', smooth misfit between places, checkpoints that are better or worse than their size says. Its
scale follows from the recorded losses by their likelihood, so that evidence which is wrong is believed less. All is
jointly normal in log loss, and conditioning is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from analysis.tables.rows import Array

Indices = NDArray[np.int64]

# Sd of the log loss by which places may differ from what the laws say, at scale 1: in common for all methods, and for
# each method besides.
METHOD_LEVEL = 0.06  # everywhere
SLOPE, METHOD_SLOPE = 0.06, 0.07  # for every decade of N, and of D, from the middle of the places
BEND, METHOD_BEND = 0.03, 0.025  # for every decade of N times every decade of D: larger models have other slopes in D
SMOOTH, METHOD_SMOOTH = 0.05, 0.03  # alike within LENGTH decades of N and of D
LENGTH = 1.1
CHECKPOINT, TUNED_CHECKPOINT = 0.012, 0.025  # for a model, and for a model with a method
TUNED_SLOPE = 0.025  # for a model with a method, for every decade of D
SCALES = (1.0, 1.4, 2.0, 2.8, 4.0, 8.0)  # times the usual one, that the likelihood chooses from; never less
USUAL_SCALE, SEEN_SCALE = 1.0, 0.5  # before any loss: of a suite or data that the laws have not seen, and of seen ones
SCALE_SPREAD = 1.0  # sd of the log of the scale about the usual one
SURPRISING = 4.0  # times the usual scale: the recorded losses contradict the evidence
FEW = 1000  # places between which all covariances are kept


@dataclass(frozen=True)
class Places:
    """Where a loss can be asked. Arrays have one entry a place [P]."""

    draws: Array
    """ln loss in each draw of the laws [draws, P]."""
    method: Indices
    """Number of the method."""
    model: Indices
    """Number of the model."""
    params: Array
    """log10 of N, less that of the middle of the places."""
    tokens: Array
    """log10 of D, likewise."""
    noise: Array
    """Sd of the log loss of one run about its expectation."""
    usual: float = USUAL_SCALE
    """Scale of the discrepancy before any loss is known."""

    @cached_property
    def mean(self) -> Array:
        """ln loss expected before any is recorded [P]."""
        return np.asarray(self.draws.mean(axis=0))

    @cached_property
    def deviations(self) -> Array:
        """Draws about their mean, so scaled that their products add up to covariances [P, draws]."""
        scaled = (self.draws - self.mean) / np.sqrt(max(len(self.draws) - 1, 1))
        return np.ascontiguousarray(scaled.T)  # a place is a row, so that some of many are picked fast

    @cached_property
    def _variance_of_laws(self) -> Array:
        """Of ln loss, by the draws [P]."""
        return np.einsum("pd,pd->p", self.deviations, self.deviations)

    def covariance(self, these: Indices, those: Indices, scale: float) -> Array:
        """Prior covariance of the log losses [these, those]; scale: of the discrepancy."""
        if len(self.mean) <= FEW:
            of_laws, unsaid = (whole[np.ix_(these, those)] for whole in self._between_all)
        else:
            of_laws, unsaid = self.deviations[these] @ self.deviations[those].T, self._unsaid(these, those)
        return np.asarray(of_laws + scale**2 * unsaid)

    @cached_property
    def _between_all(self) -> tuple[Array, Array]:
        """The two parts of the covariance between all places [P, P]."""
        every = np.arange(len(self.mean))
        return self.deviations @ self.deviations.T, self._unsaid(every, every)

    def _unsaid(self, these: Indices, those: Indices) -> Array:
        """Covariance of what the laws do not say [these, those], at scale 1."""
        n, m = self.params[these][:, None], self.params[those][None]
        d, e = self.tokens[these][:, None], self.tokens[those][None]
        method = self.method[these][:, None] == self.method[those][None]
        model = self.model[these][:, None] == self.model[those][None]
        near = np.exp(-((n - m) ** 2 + (d - e) ** 2) / (2 * LENGTH**2))
        return _discrepancy(n * m, d * e, near, model, method)

    def variance(self, these: Indices, scale: float) -> Array:
        """The diagonal of `covariance` [these]."""
        sizes, lengths = self.params[these] ** 2, self.tokens[these] ** 2
        unsaid = _discrepancy(sizes, lengths, 1.0, 1.0, 1.0)
        return np.asarray(self._variance_of_laws[these] + scale**2 * unsaid)


def _discrepancy(
    sizes: Array, lengths: Array, near: Array | float, model: Array | float, method: Array | float
) -> Array:
    """Covariance of what the laws do not say between places, at scale 1.

    Their common level is no part of it. The draws of the laws spread it, and with it the slopes, which are flat where
    losses are near that of chance; a level apart from them would let trials tell of the one and not of the other.

    sizes: products of their log10 N. lengths: of their log10 D. near: 1 where N and D are the same, towards 0 apart.
    model, method: 1 where they are the same, else 0.
    """
    slopes, bends = sizes + lengths, sizes * lengths
    common = SLOPE**2 * slopes + BEND**2 * bends + SMOOTH**2 * near + CHECKPOINT**2 * model
    own = METHOD_LEVEL**2 + METHOD_SLOPE**2 * slopes + METHOD_BEND**2 * bends + METHOD_SMOOTH**2 * near
    tuned = TUNED_CHECKPOINT**2 + TUNED_SLOPE**2 * lengths
    return np.asarray(common + method * (own + tuned * model))


@dataclass(frozen=True)
class Recorded:
    """Losses that were recorded, a trial an entry."""

    place: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    """Where each was."""
    log_loss: Array = field(default_factory=lambda: np.zeros(0))
    """ln of the held-out loss."""

    def __len__(self) -> int:
        return len(self.place)


class Beliefs:
    """The places given what was recorded, and given that trials are run whose losses are still to come."""

    def __init__(self, places: Places, recorded: Recorded, pending: Sequence[int] = (), scale: float = 0.0) -> None:
        """pending: places of trials to come, which narrow what is believed and move nothing. scale: of the discrepancy;
        0: the likeliest."""
        self.places, self.recorded = places, recorded
        self.scale = scale or likeliest_scale(places, recorded)
        self.seen = np.concatenate([recorded.place, np.asarray(pending, np.int64)])
        covariance = places.covariance(self.seen, self.seen, self.scale)
        self._root = np.linalg.cholesky(covariance + np.diag(places.noise[self.seen] ** 2))
        surprise = np.zeros(len(self.seen))
        surprise[: len(recorded)] = recorded.log_loss - places.mean[recorded.place]
        self._surprise = _solve(self._root, surprise[:, None])[:, 0]
        if len(pending):  # what is to come is expected to be as believed
            known = Beliefs(places, recorded, (), self.scale)
            surprise[len(recorded) :] = known.mean(np.asarray(pending)) - places.mean[np.asarray(pending)]
            self._surprise = _solve(self._root, surprise[:, None])[:, 0]

    def _whitened(self, these: Indices) -> Array:
        """What the seen trials tell of these places, in independent parts [seen, these]."""
        return _solve(self._root, self.places.covariance(self.seen, these, self.scale))

    def mean(self, these: Indices) -> Array:
        """Expected ln loss [these]."""
        return np.asarray(self.places.mean[these] + self._whitened(these).T @ self._surprise)

    def covariance(self, these: Indices, those: Indices) -> Array:
        """Of the log losses [these, those]."""
        told = self._whitened(these).T @ self._whitened(those)
        return np.asarray(self.places.covariance(these, those, self.scale) - told)

    def beside(self, goals: Indices, these: Indices) -> tuple[Array, Array]:
        """Variance of each log loss [these], and its covariances with those of the goals [goals, these]."""
        white = self._whitened(these)
        variance = self.places.variance(these, self.scale) - np.einsum("st,st->t", white, white)
        covariance = self.places.covariance(goals, these, self.scale) - self._whitened(goals).T @ white
        return np.maximum(variance, 1e-12), covariance


def _solve(root: NDArray[Any], values: Array) -> Array:
    """The lower triangle's system solved; nothing where nothing is seen."""
    return np.asarray(solve_triangular(root, values, lower=True, check_finite=False)) if len(root) else values


def likeliest_scale(places: Places, recorded: Recorded) -> float:
    """The scale of the discrepancy under which the recorded losses are likeliest, those about the usual one first."""
    if not len(recorded):
        return places.usual
    surprise = recorded.log_loss - places.mean[recorded.place]
    noise = np.diag(places.noise[recorded.place] ** 2)

    def doubt(times: float) -> float:
        scale = times * places.usual
        root = np.linalg.cholesky(places.covariance(recorded.place, recorded.place, scale) + noise)
        white = _solve(root, surprise[:, None])[:, 0]
        return float(white @ white / 2 + np.log(np.diag(root)).sum() + (np.log(times) / SCALE_SPREAD) ** 2 / 2)

    return min(SCALES, key=doubt) * places.usual
