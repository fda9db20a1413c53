"""Several training conditions side by side: in what they differ, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sweeps.trial import Training

FILLED_IN = ("data_hash",)  # follows from another setting


def differing(trainings: Sequence[Training]) -> tuple[str, ...]:
    """Names of the settings in which these conditions differ, in the order of Training."""
    rows = [asdict(training) for training in trainings]
    return tuple(name for name in (rows[0] if rows else ()) if name not in FILLED_IN and _several(rows, name))


def _several(rows: Sequence[dict[str, Any]], name: str) -> bool:
    return any(row[name] != rows[0][name] for row in rows)


def condition_name(training: Training, names: Sequence[str]) -> str:
    """What sets a condition apart, as in `batch_size 32, query_prompt 'query: '`; "" without names."""
    return ", ".join(f"{name} {_shown(getattr(training, name))}" for name in names)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
