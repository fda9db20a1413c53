"""The observations of a sweep as a table, for people with a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from sweeps.support.atomic import replacing, write_text
from sweeps.trial import Observation

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # OWASP's, full width too
END = "\r\n"
NESTED = ("trial", "curve", "environment", "scores")  # spread over columns of their own, and the curve left out


def write_csv(path: Path, observations: Iterable[Observation]) -> list[str]:
    """One line an observation, cheapest first; returns the columns. What an observation does not have is empty.

    A text that a spreadsheet would run as a formula begins with an apostrophe, which spreadsheets take away again.

    run: the same for observations of one trunk, which are not independent. method: its label, settings included;
    method.*: each setting by itself. training.*, score.*, environment.*: as in the record.
    """
    columns, rows = flat_rows(observations)
    cells: list[list[Any]] = [columns, *([row.get(name) for name in columns] for row in rows)]
    write_text(path, "".join(map(_line, cells)))
    return columns


def _line(cells: list[Any]) -> str:
    """A line of a CSV file. Python quotes a carriage return only where that is part of a line's end."""
    text = io.StringIO()
    csv.writer(text, lineterminator=END).writerow(map(_no_formula, cells))
    return f"{text.getvalue().removesuffix(END)}\n"


def _no_formula(cell: Any) -> Any:
    """A cell as it is; a text that begins as formulas do, after an apostrophe. Numbers are not text."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell


def write_parquet(path: Path, observations: Iterable[Observation]) -> list[str]:
    """The same table. Lists are written as JSON, and so is a column whose values are of several kinds. Raises
    ValueError where pyarrow is missing."""
    columns, rows = flat_rows(observations)
    try:
        import pandas
        import pyarrow  # noqa: F401 (pandas would say so in many lines)
    except ImportError as error:
        raise ValueError(f"{path}: Parquet needs {error.name}; pip install 'recipe-planner[parquet]'") from None
    series = {name: pandas.Series(_of_one_kind([row.get(name) for row in rows])) for name in columns}
    with replacing(path) as temporary:
        pandas.DataFrame(series).to_parquet(temporary, index=False)
    return columns


def _of_one_kind(values: list[Any]) -> list[Any]:
    kinds = {float if isinstance(value, float) else type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool}):
        return values
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


def flat_rows(observations: Iterable[Observation]) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and the rows, the cheapest first; see `write_csv`."""
    rows = [_row(each) for each in sorted(observations, key=lambda each: (each.trial.budget, each.key))]
    return list(dict.fromkeys(name for row in rows for name in row)), rows


def _row(observation: Observation) -> dict[str, Any]:
    trial, content = observation.trial, observation.to_json()
    return {
        "key": observation.key,
        "run": trial.run,
        "model": trial.model,
        "method": trial.method.label,
        **{f"method.{name}": value for name, value in {"name": trial.method.name, **trial.method.options}.items()},
        **{name: getattr(trial, name) for name in ("model_hash", "lr", "steps", "seed", "budget")},
        **{item.name: content[item.name] for item in fields(Observation) if item.name not in NESTED},
        "epochs": observation.epochs,
        **{f"training.{name}": value for name, value in content["trial"]["training"].items()},
        **{f"score.{name}": value for name, value in observation.scores.items()},
        **{f"environment.{name}": value for name, value in content["environment"].items()},
    }
