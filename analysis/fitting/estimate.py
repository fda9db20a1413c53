"""One problem solved: coefficients, noise, and bootstrap draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analysis.fitting.noise import Noise, noise_of, normal_sd
from analysis.fitting.problem import Problem
from analysis.fitting.shape import EXPONENT_RANGE
from analysis.fitting.solver import RESAMPLED, best_of, polish, starts
from analysis.tables.rows import Array
from planner.batch_law import TERMS
from planner.laws import LAWS, coefficients_of

FEW_RUNS = 20  # below it resamples of runs too often hold too few sizes; see `_resample`
LARGEST_SCALE = 5.0  # of the noise in a resample: one degree of freedom would now and then leave it open to any size
HUBER_NORMAL = 1.345  # delta in noise units that keeps 95 % efficiency under normal noise (Huber 1981)
USUAL_NOISE = 0.02  # of the loss of one run, before the fit has measured it


@dataclass(frozen=True)
class Settings:
    """How to fit."""

    family: str = "auto"
    """A name of planner.laws.LAWS, or auto: the mean of several, weighed by how they fit and predict."""
    delta: float | None = None
    """Where the Huber loss turns linear, in log loss, positive; None for 1.345 sd of the noise."""
    bootstraps: int = 1000
    """Resamples behind the intervals, at least 20; more make their ends steadier."""
    seed: int = 0
    """Seed of the resamples."""
    shared: bool | None = None
    """Whether methods share exponents; None lets the backtest decide."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Coefficients that are held and not fitted, with their values: exponents above 0, at most 4; factors 0 or more."""
    batch_form: str = ""
    """What batch size is worth, a name of planner.batch_law.TERMS; "": judged by backtest where runs differ in batch
    size."""
    profile: str = ""
    """Coefficients to profile, separated by commas; weak: those that the bootstrap does not identify."""

    def __post_init__(self) -> None:
        if self.family not in ("auto", *LAWS):
            raise ValueError(f"`family` is {self.family!r}; known: auto, {', '.join(LAWS)}")
        if self.batch_form not in ("", *TERMS):
            raise ValueError(f"`batch_form` is {self.batch_form!r}; known: {', '.join(TERMS)}")
        if self.delta is not None and not 0 < self.delta < np.inf:
            raise ValueError(f"`delta` is {self.delta}; it must be positive and finite")
        self._check_fixed()
        if self.bootstraps < 20:
            raise ValueError(f"`bootstraps` is {self.bootstraps}; a 90 % interval needs at least 20")

    def _check_fixed(self) -> None:
        kinds = LAWS if self.family == "auto" else {self.family: LAWS[self.family]}
        known = {name: coefficients_of(kind) for name, kind in kinds.items()}
        for name, value in self.fixed.items():
            if not any(name in names for names in known.values()):
                listed = "; ".join(f"{family}: {', '.join(names)}" for family, names in known.items())
                raise ValueError(f"`fix` has {name!r}; coefficients of {listed}")
            factor = any(name in kind.factors for kind in kinds.values())
            if not (value >= 0 if factor else value > 0) or not value < np.inf:
                raise ValueError(f"`fix` has {name}={value:g}; it must be {'0 or more' if factor else 'positive'}")
            exponent = not factor and not any(name in kind.ranges for kind in kinds.values())
            if exponent and value > EXPONENT_RANGE[1]:
                raise ValueError(f"`fix` has {name}={value:g}; an exponent must be at most {EXPONENT_RANGE[1]:g}")

    @property
    def first_delta(self) -> float:
        """Delta before the noise is known."""
        return self.delta or HUBER_NORMAL * USUAL_NOISE


@dataclass(frozen=True)
class Estimate:
    """One solved problem: the best parameters, and how far they and a run may be off."""

    problem: Problem
    """Rows and form."""
    theta: Array
    """The best parameters [1, size]."""
    draws: Array
    """The best parameters of each bootstrap resample [bootstraps, size]."""
    delta: float
    """Where the Huber loss turned linear, in log loss."""
    scatter: Noise
    """How far single runs lie from the law, and which are too far off to be noise."""
    settled: bool
    """Whether the solver met its tolerance."""

    @property
    def noise(self) -> float:
        """Sd of the log loss of one run about the law."""
        return self.scatter.sd

    @property
    def residuals(self) -> Array:
        """Measured less predicted ln loss [rows]."""
        return np.asarray(self.problem.residuals(self.theta)[0])


def fit_problem(problem: Problem, settings: Settings, resamples: int | None = None) -> Estimate:
    """Solve, measure the noise, solve again with a delta in its units, and bootstrap.

    resamples: how many, where not as many as the settings say.
    """
    all_rows = np.ones((1, len(problem.rows)))
    delta = settings.first_delta
    begin = starts(problem, all_rows, delta)
    solution = best_of(problem, all_rows, begin, delta)
    if settings.delta is None:
        delta = max(HUBER_NORMAL * _typical(problem.residuals(solution.theta)[0], problem), 1e-6)
        begin = np.concatenate([begin, solution.theta[:, None]], axis=1)
        solution = best_of(problem, all_rows, begin, delta)
    scatter = noise_of(problem.residuals(solution.theta)[0], problem.size)
    count = settings.bootstraps if resamples is None else resamples
    target, weights = _resample(problem, solution.theta, scatter.sd, settings.seed, count)
    found = np.repeat(solution.theta, count, axis=0)
    draws = polish(problem, target, weights, found, delta, RESAMPLED).theta
    return Estimate(problem, solution.theta, draws, delta, scatter, bool(solution.settled[0]))


def _typical(residuals: Array, problem: Problem) -> float:
    """Sd of log residuals from their median size, the fitted coefficients discounted."""
    free = max(len(residuals) - problem.size, 1)
    return normal_sd(residuals) * float(np.sqrt(len(residuals) / free))


def _resample(problem: Problem, theta: Array, noise: float, seed: int, count: int) -> tuple[Array, Array]:
    """ln losses and weights of the bootstrap resamples.

    Whole runs are drawn with replacement within each method, fewer by its coefficients: residuals of a fit are smaller
    than errors by as much. With few runs, resamples would often lose the sizes that
    identify an exponent; then every row stays and gets fresh noise, its sd drawn from what the residuals leave open
    (chi squared). tests/analysis/fitting/test_fit.py simulates the coverage of both.
    """
    rows, generator = problem.rows, np.random.default_rng(seed)
    shape = (count, len(rows))
    runs = int(rows.run.max()) + 1
    per_method = [np.unique(rows.run[rows.group == g]) for g in range(problem.groups)]
    if min(len(own) for own in per_method) < FEW_RUNS:
        free = max(runs - problem.size, 1)
        scale = noise * np.minimum(np.sqrt(free / generator.chisquare(free, (count, 1))), LARGEST_SCALE)
        fresh = generator.normal(size=(count, runs))[:, rows.run]
        return problem.predict(theta) + scale * fresh, np.ones(shape)
    counts = np.zeros((count, runs))
    for own in per_method:
        free = len(own) - problem.size // problem.groups
        counts[:, own] = generator.multinomial(free, np.full(len(own), 1 / len(own)), size=count)
    return np.log(rows.loss)[None], counts[:, rows.run]
