"""How the scores on tasks follow the held-out loss, over all trials of a sweep that were scored."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.optimize import least_squares
from scipy.special import expit, logit

from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import Caveat
from planner.scores import ScoreLaw
from sweeps.tasks import lowest, score_name

FEWEST = 6  # trials: two coefficients, and what they leave tells the scatter


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
            caveats.append(Caveat("no_score_law", f"{name}: {found}; no score is expected from a loss"))
    return tuple(laws), tuple(caveats)


def _score_law(table: Table, name: str) -> ScoreLaw | str:
    """The relation, or in words why there is none."""
    if name not in table.scored:
        return "no trial has this score"
    known = table.scored.dropna(subset=[name, "loss"])
    loss, score = known["loss"].to_numpy(float), known[name].to_numpy(float)
    if len(loss) < FEWEST:
        return f"{len(loss)} trials were scored, {FEWEST} are needed"
    if np.ptp(loss) == 0 or np.ptp(score) == 0:
        return "loss or score is the same in all trials"
    least = lowest(name)
    (a, b), covariance, noise = _fit(loss, score, least)
    width = float(stats.t.ppf(0.95, len(loss) - 2))
    correlation = float(stats.spearmanr(loss, score).statistic)
    if b + width * np.sqrt(covariance[1, 1]) >= 0:
        return f"it does not fall with the loss over {len(loss)} trials (Spearman {correlation:+.2f})"
    shared = (float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1]))
    ends = (float(loss.min()), float(loss.max()))
    return ScoreLaw(name, least, a, b, shared, noise, width, len(loss), ends, correlation)


def _fit(loss: Array, score: Array, least: float) -> tuple[tuple[float, float], Array, float]:
    """a and b by least squares in the score itself, their covariance [2, 2], and the scatter (sd).

    In log odds a score near its least would count for too much, and one of just that for infinitely much.
    """
    share = (score - least) / (1 - least)
    start = np.polyfit(loss, logit(np.clip(share, 0.01, 0.99)), 1)[::-1]
    centre = loss.mean()  # a and b about it are nearly independent, which the solver likes

    def off(v: Array) -> Array:
        return (1 - least) * (expit(v[0] + v[1] * (loss - centre)) - share)

    solved = least_squares(off, [start[0] + start[1] * centre, start[1]], method="lm", x_scale="jac")
    noise = float(np.sqrt((solved.fun**2).sum() / (len(loss) - 2)))
    about = np.linalg.pinv(solved.jac.T @ solved.jac) * noise**2
    move = np.array([[1.0, -centre], [0.0, 1.0]])  # from the odds at the mean loss to those at loss 0
    a, b = move @ solved.x
    return (float(a), float(b)), move @ about @ move.T, noise
