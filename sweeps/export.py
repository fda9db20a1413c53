"""The observations of a sweep as a table, for people with a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from sweeps.recipe_file import write_text
from sweeps.trial import Observation

NESTED = ("trial", "curve", "environment")  # spread over columns of their own, and the curve left out


def write_csv(path: Path, observations: Iterable[Observation]) -> list[str]:
    """One line an observation, cheapest first; returns the columns. What an observation does not have is empty.

    run: the same for observations of one trunk, which are not independent. method: its label, settings included.
    training.*, environment.*: as in the record.
    """
    rows = [_row(seen) for seen in sorted(observations, key=lambda seen: (seen.trial.budget, seen.key))]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
    return columns


def _row(seen: Observation) -> dict[str, Any]:
    trial, content = seen.trial, seen.to_json()
    return {
        "key": seen.key,
        "run": trial.run,
        "model": trial.model,
        "method": trial.method.label,
        **{name: getattr(trial, name) for name in ("lr", "steps", "seed", "budget")},
        **{item.name: content[item.name] for item in fields(Observation) if item.name not in NESTED},
        "epochs": seen.epochs,
        **{f"training.{name}": value for name, value in content["trial"]["training"].items()},
        **{f"environment.{name}": value for name, value in content["environment"].items()},
    }
