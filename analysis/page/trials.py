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
    curves = [thinned(o.curve, points) for o in observations]
    return {
        "count": len(observations),
        "key": [o.key for o in observations],
        "model": _words(o.trial.model for o in observations),
        "method": _words(o.trial.method.label for o in observations),
        "status": _words(o.status for o in observations),
        "reason": _words(o.reason or o.stopped for o in observations),
        "excluded": _words(excluded.get(o.key, "") for o in observations),
        "steps": [o.trial.steps for o in observations],
        "seed": [o.trial.seed for o in observations],
        "numbers": {name: packed(map(_single, values), "f") for name, values in _numbers(observations, score).items()},
        "scores": {
            name: packed((_single(o.scores.get(name)) for o in observations), "f")
            for name in sorted({_short(name) for o in observations for name in o.scores})
        },
        "evaluations": {str(i): _evaluations(o) for i, o in enumerate(observations) if o.evaluations},
        "points": points,
        "thinned": any(len(o.curve) > points for o in observations),
        "curves": {
            "lengths": [len(curve) for curve in curves],
            "steps": packed((_whole(step) for curve in curves for step, _ in curve), "I"),
            "losses": packed((_single(loss) for curve in curves for _, loss in curve), "f"),
        },
    }


def _numbers(observations: Sequence[Observation], score: str) -> dict[str, list[float | None]]:
    """flops: FLOP. loss, start: held out, nats per pair. measured: what the laws are about. seconds: training alone."""
    return {
        "lr": [o.trial.lr for o in observations],
        "loss": [o.loss for o in observations],
        "measured": [1 - o.scores[score] if score in o.scores else None if score else o.loss for o in observations],
        "start": [o.start_loss for o in observations],
        "accuracy": [o.accuracy for o in observations],
        "flops": [o.flops for o in observations],
        "tokens": [o.tokens for o in observations],
        "epochs": [o.epochs for o in observations],
        "seconds": [o.seconds for o in observations],
    }


def thinned(curve: Sequence[Sequence[float]], points: int) -> list[tuple[float, float]]:
    """(last step, mean loss) of at most `points` equal stretches of a training curve."""
    if len(curve) <= points:
        return [(row[0], row[2]) for row in curve]
    ends = [round(place * len(curve) / points) for place in range(points + 1)]
    stretches = [curve[low:high] for low, high in itertools.pairwise(ends)]
    return [(rows[-1][0], sum(row[2] for row in rows) / len(rows)) for rows in stretches]


def _evaluations(o: Observation) -> list[dict[str, float]]:
    """At most so many of the evaluations, evenly apart, the last among them."""
    rows = o.evaluations
    if len(rows) > MOST_EVALUATIONS:
        rows = tuple(rows[round((i + 1) * len(rows) / MOST_EVALUATIONS) - 1] for i in range(MOST_EVALUATIONS))
    return [{_short(name): float(f"{value:.5g}") for name, value in row.items() if _finite(value)} for row in rows]


def _words(texts: Iterable[str]) -> dict[str, Any]:
    """Texts, each different one once."""
    known: dict[str, int] = {}
    places = [known.setdefault(_short(text), len(known)) for text in texts]
    return {"words": list(known), "places": places}


def _short(text: object) -> str:
    said = str(text)
    return said if len(said) <= MOST_TEXT else f"{said[:MOST_TEXT]}… ({len(said):,} characters)"


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _single(value: object) -> float:
    """A number that four bytes hold; NaN for one that is missing, not finite or too large."""
    return float(value) if _finite(value) and abs(value) < 3.4e38 else math.nan  # type: ignore[arg-type]


def _whole(value: object) -> int:
    return int(min(max(value, 0), 2**32 - 1)) if _finite(value) else 0  # type: ignore[call-overload]
