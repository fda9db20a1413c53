"""How the scores on tasks follow the held-out loss, over all trials of a sweep that were scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit

from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import Caveat
from planner.scores import ScoreLaw
from sweeps.tasks import lowest, score_name

FEWEST = 6  # trials: two coefficients, and what they leave tells the scatter
SIZES = 3  # of models, for what their size does at the same loss


def score_laws(table: Table) -> tuple[tuple[ScoreLaw, ...], tuple[Caveat, ...]]:
    """The relation of each task of a sweep, and why each other task has none; none where laws are not of the loss."""
    if table.training is None or table.measure != "loss":
        return (), ()
    laws, caveats = [], []
    for name in map(score_name, table.training.tasks):
        found = _score_law(table, name)
        if isinstance(found, ScoreLaw):
            laws.append(found)
        else:
            caveats.append(Caveat("no_score_law", f"{name}: {found}; no score is predicted from the loss"))
    return tuple(laws), tuple(caveats)


def _score_law(table: Table, name: str) -> ScoreLaw | str:
    """The relation, or in words why there is none."""
    if name not in table.scored:
        return "no trial has this score"
    known = table.scored.dropna(subset=[name, "loss"])
    loss, score, params = (known[column].to_numpy(float) for column in ("loss", name, "params"))
    if len(loss) < FEWEST:
        return f"{len(loss)} trials were scored, {FEWEST} are needed"
    if np.ptp(loss) == 0 or np.ptp(score) == 0:
        return "loss or score is the same in all trials"
    least = lowest(name)
    fitted = _fit(np.column_stack([np.ones_like(loss), loss, np.log(params)]), score, least, _sized(loss, params))
    correlation = float(known[["loss", name]].corr("spearman").iloc[0, 1])
    if fitted.value[1] + fitted.half[1] >= 0:
        return f"it does not fall with the loss over {len(loss)} trials (Spearman {correlation:+.2f})"
    a, b, c = map(float, fitted.value)
    covariance = tuple(tuple(map(float, line)) for line in fitted.covariance)
    losses, sizes = ((float(values.min()), float(values.max())) for values in (loss, params))
    return ScoreLaw(name, least, a, b, c, covariance, fitted.noise, fitted.width, len(loss), losses, sizes, correlation)


def _sized(loss: Array, params: Array) -> bool:
    """Whether the trials can tell what the size of a model does at the same loss."""
    return len(np.unique(params)) >= SIZES and len(loss) > FEWEST


@dataclass(frozen=True)
class _Fitted:
    value: Array
    """a, b and c [3]."""
    covariance: Array
    """Theirs [3, 3]; 0 where c was not fitted."""
    noise: float
    """Scatter of a score about the curve (sd)."""
    width: float
    """Half of a 90 % interval in standard deviations."""

    @property
    def half(self) -> Array:
        """Half of the 90 % interval of each coefficient [3]."""
        return self.width * np.sqrt(np.diag(self.covariance))


def _fit(x: Array, score: Array, least: float, sized: bool) -> _Fitted:
    """The coefficients of the columns of x [trials, 3] (1, loss, ln N), by least squares in the score itself.

    In log odds a score near its least would count for too much, and one of just that for infinitely much. sized: the
    last column counts too, unless what it does cannot be told from nothing.
    """
    used = 3 if sized else 2
    centre = np.array([0.0, *x[:, 1:used].mean(0)])  # about their means the coefficients are nearly independent
    columns, share = x[:, :used] - centre, (score - least) / (1 - least)
    start = np.linalg.lstsq(columns, logit(np.clip(share, 0.01, 0.99)), rcond=None)[0]

    def off(v: Array) -> Array:
        return (1 - least) * (expit(columns @ v) - share)

    from scipy.optimize import least_squares  # only tables with scores need it, and loading it takes time

    solved = least_squares(off, start, method="lm", x_scale="jac")
    free = len(score) - used
    noise = float(np.sqrt((solved.fun**2).sum() / free))
    move = np.eye(used)
    move[0, 1:] = -centre[1:]  # from the odds at the means to those at loss 0 and N = 1
    value, covariance = np.zeros(3), np.zeros((3, 3))
    value[:used] = move @ solved.x
    covariance[:used, :used] = move @ np.linalg.pinv(solved.jac.T @ solved.jac) @ move.T * noise**2
    fitted = _Fitted(value, covariance, noise, float(stdtrit(free, 0.95)))
    if sized and abs(value[2]) < fitted.half[2]:
        return _fit(x, score, least, sized=False)
    return fitted
