"""The trials of a sweep as the page holds them: columns, with curves thinned and packed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.page.planning import once, packed
from planner.law_book import LawBook, MethodLaw
from sweeps.trial import Observation

CURVES = 240_000  # points that the curves of all trials may have together: about 2.5 MB of the page
MOST_POINTS, FEWEST_POINTS = 120, 16  # of one curve
MOST_EVALUATIONS = 12  # of one trial
MOST_TEXT = 400  # characters of a name or a reason


def columns(
    observations: Sequence[Observation], excluded: Mapping[str, str], score: str = "", book: LawBook | None = None
) -> dict[str, Any]:
    """Every observation, those that failed among them. excluded: key -> why it is no part of a law. score: the laws are
    about 1 less this one, instead of the loss. book: the laws; None where there are none.

    Measured numbers keep the seven digits of four bytes. curves: the points of all trials on end, with how many each
    trial has; a point is the mean over its stretch, `points` of them at most.
    """
    points = max(FEWEST_POINTS, min(MOST_POINTS, CURVES // max(1, len(observations))))
    curves = [thinned(observation.curve, points) for observation in observations]
    return {
        "count": len(observations),
        "key": [observation.key for observation in observations],
        "model": _words(observation.trial.model for observation in observations),
        "method": _words(observation.trial.method.label for observation in observations),
        "status": _words(observation.status for observation in observations),
        "reason": _words(observation.reason or observation.stopped for observation in observations),
        "excluded": _words(excluded.get(observation.key, "") for observation in observations),
        "steps": [observation.trial.steps for observation in observations],
        "seed": [observation.trial.seed for observation in observations],
        "batch": [observation.trial.training.batch_size for observation in observations],
        "numbers": {
            name: packed(map(_single, values), "f")
            for name, values in {
                **_numbers(observations, score),
                "predicted": _predicted(observations, excluded, book),
            }.items()
        },
        "scores": {
            name: packed((_single(observation.scores.get(name)) for observation in observations), "f")
            for name in sorted({_short(name) for observation in observations for name in observation.scores})
        },
        "evaluations": _evaluations(observations),
        "points": points,
        "thinned": any(len(observation.curve) > points for observation in observations),
        "curves": {
            "lengths": [len(curve) for curve in curves],
            "steps": packed((_whole(step) for curve in curves for step, _ in curve), "I"),
            "losses": packed((_single(loss) for curve in curves for _, loss in curve), "f"),
        },
    }


def _numbers(observations: Sequence[Observation], score: str) -> dict[str, list[float | None]]:
    """flops: FLOP. loss, start: held out, nats per pair. measured: what the laws are about. seconds: training alone."""
    return {
        "lr": [observation.trial.lr for observation in observations],
        "loss": [observation.loss for observation in observations],
        "measured": [
            1 - observation.scores[score] if score in observation.scores else None if score else observation.loss
            for observation in observations
        ],
        "start": [observation.start_loss for observation in observations],
        "accuracy": [observation.accuracy for observation in observations],
        "flops": [observation.flops for observation in observations],
        "tokens": [observation.tokens for observation in observations],
        "epochs": [observation.epochs for observation in observations],
        "seconds": [observation.seconds for observation in observations],
    }


def _predicted(
    observations: Sequence[Observation], excluded: Mapping[str, str], book: LawBook | None
) -> list[float | None]:
    """What the law of a trial's method says of it, as the laws measure; None for trials that entered none."""
    laws = {law.label: law for law in book.laws} if book else {}
    return [
        None if observation.key in excluded else _by_law(laws.get(observation.trial.method.label), observation)
        for observation in observations
    ]


def _by_law(law: MethodLaw | None, observation: Observation) -> float | None:
    if law is None or min(observation.params, observation.tokens, observation.pairs) <= 0:
        return None
    spent, params = observation.tokens, observation.params
    unique = spent * observation.data_pairs / observation.pairs if observation.data_pairs else math.inf
    share = min(1.0, observation.trainable / params)
    return law.at_batch(observation.trial.training.batch_size).law.at(params, spent, share, unique)


def thinned(curve: Sequence[Sequence[float]], points: int) -> list[tuple[float, float]]:
    """(last step, mean loss) of at most `points` equal stretches of a training curve."""
    if len(curve) <= points:
        return [(row[0], row[2]) for row in curve]
    ends = [round(place * len(curve) / points) for place in range(points + 1)]
    stretches = [curve[low:high] for low, high in itertools.pairwise(ends)]
    return [(rows[-1][0], sum(row[2] for row in rows) / len(rows)) for rows in stretches]


def _evaluations(observations: Sequence[Observation]) -> dict[str, Any]:
    """At most so many evaluations of each trial, evenly spaced, with the last.

    names: the columns of each kind of trial, each once. trials: place of a trial -> place of its columns, and its rows,
    where a number that is missing is None.
    """
    kinds: dict[tuple[str, ...], int] = {}
    trials = {}
    for place, observation in enumerate(observations):
        if rows := _spaced(observation.evaluations):
            names = tuple(dict.fromkeys(_short(name) for row in rows for name in row))
            cells = [{_short(name): _rounded(value) for name, value in row.items()} for row in rows]
            kind = kinds.setdefault(names, len(kinds))
            trials[str(place)] = [kind, [[row.get(name) for name in names] for row in cells]]
    return {"names": [list(names) for names in kinds], "trials": trials}


def _spaced(rows: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    if len(rows) <= MOST_EVALUATIONS:
        return rows
    return [rows[round((i + 1) * len(rows) / MOST_EVALUATIONS) - 1] for i in range(MOST_EVALUATIONS)]


def _rounded(value: object) -> float | None:
    return float(f"{value:.4g}") if _finite(value) else None


def _words(texts: Iterable[str]) -> dict[str, Any]:
    return once(map(_short, texts))


def _short(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= MOST_TEXT else f"{whole[:MOST_TEXT]}… ({len(whole):,} characters)"


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _single(value: object) -> float:
    """A number that four bytes hold; NaN for one that is missing, not finite or too large."""
    return float(value) if _finite(value) and abs(value) < 3.4e38 else math.nan  # type: ignore[arg-type]


def _whole(value: object) -> int:
    return int(min(max(value, 0), 2**32 - 1)) if _finite(value) else 0  # type: ignore[call-overload]
