"""The trials of a sweep as the page holds them: columns, with curves thinned and packed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.page.planning import packed
from sweeps.trial import Observation

CURVES = 240_000  # points that the curves of all trials may have together: about 2.5 MB of the page
MOST_POINTS, FEWEST_POINTS = 120, 16  # of one curve
MOST_EVALUATIONS = 12  # of one trial
MOST_TEXT = 400  # characters of a name or a reason


def columns(observations: Sequence[Observation], excluded: Mapping[str, str], score: str = "") -> dict[str, Any]:
    """Every observation, those that failed among them. excluded: key -> why it is no part of a law. score: the laws are
    about 1 less this one, instead of the loss.

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
        "numbers": {name: packed(map(_single, values), "f") for name, values in _numbers(observations, score).items()},
        "scores": {
            name: packed((_single(observation.scores.get(name)) for observation in observations), "f")
            for name in sorted({_short(name) for observation in observations for name in observation.scores})
        },
        "evaluations": {
            str(i): _evaluations(observation) for i, observation in enumerate(observations) if observation.evaluations
        },
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


def thinned(curve: Sequence[Sequence[float]], points: int) -> list[tuple[float, float]]:
    """(last step, mean loss) of at most `points` equal stretches of a training curve."""
    if len(curve) <= points:
        return [(row[0], row[2]) for row in curve]
    ends = [round(place * len(curve) / points) for place in range(points + 1)]
    stretches = [curve[low:high] for low, high in itertools.pairwise(ends)]
    return [(rows[-1][0], sum(row[2] for row in rows) / len(rows)) for rows in stretches]


def _evaluations(observation: Observation) -> list[dict[str, float]]:
    """At most so many evaluations, evenly spaced, with the last."""
    rows = observation.evaluations
    if len(rows) > MOST_EVALUATIONS:
        rows = tuple(rows[round((i + 1) * len(rows) / MOST_EVALUATIONS) - 1] for i in range(MOST_EVALUATIONS))
    return [{_short(name): float(f"{value:.5g}") for name, value in row.items() if _finite(value)} for row in rows]


def _words(texts: Iterable[str]) -> dict[str, Any]:
    """Texts, each different one once."""
    known: dict[str, int] = {}
    places = [known.setdefault(_short(text), len(known)) for text in texts]
    return {"words": list(known), "places": places}


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
