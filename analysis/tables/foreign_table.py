"""Other people's runs: which rows of a table enter a fit, in which unit, and why others do not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.tables.columns import Columns, numbers_of
from analysis.tables.table import CELL, Table
from planner.law_book import Caveat
from sweeps.data.csv_rows import DELIMITERS, delimiter
from sweeps.data.files import ending
from sweeps.data.formats import READERS, known_endings, read_rows


def read_runs(path: Path, columns: Columns, drop_highest: int = 0, best: bool = False) -> Table:
    """The table of a CSV, JSON or Parquet file. Raises ValueError naming file, column or row."""
    return runs_table(_read_frame(path), columns, drop_highest, str(path), best)


def _read_frame(path: Path) -> pd.DataFrame:
    if ending(path) not in READERS:
        raise ValueError(f"{path}: neither a results folder nor a table; known endings: {known_endings()}")
    frame = pd.DataFrame([row for _, row in read_rows(path)])
    if frame.empty:
        raise ValueError(f"{path}: has no rows")
    if ending(path) not in DELIMITERS:
        return frame
    cells = io.StringIO(frame.to_csv(index=False))  # texts so far: pandas tells which are numbers, which are missing
    return pd.read_csv(cells, decimal="," if delimiter(path) == ";" else ".")


def runs_table(
    frame: pd.DataFrame, columns: Columns, drop_highest: int = 0, name: str = "table", best: bool = False
) -> Table:
    """The table of a data frame of runs; rows are called by their place in it, the first being row 1.

    best: of rows with the same method, run, N and D keep only the lowest loss, as where learning rates were tried.
    """
    if (columns.d is None) == (columns.c is None):
        raise ValueError("name either the column of tokens (`d`) or the column of training FLOPs (`c`), not both")
    if columns.c and not columns.n:
        raise ValueError("`c` needs `n`: tokens follow as C / 6N")
    if frame.empty:
        raise ValueError(f"{name}: has no rows")
    frame = frame.rename(columns=lambda title: str(title).strip())
    rows, caveats = numbers_of(frame, columns, name)
    _check_runs(rows, columns, name)
    rows, excluded, copies = _entering(rows, columns, drop_highest, best, name)
    filters = [f"without the {drop_highest} highest losses"] * bool(drop_highest) + ["best of each N and D"] * best
    return Table(
        name=Path(name).name,
        rows=rows.reset_index(drop=True),
        others=frame.iloc[rows.index][columns.unnamed(frame)].reset_index(drop=True),
        settings={method: {"name": method} for method in rows["method"].unique()},
        excluded=tuple(excluded),
        filters=tuple(filters),
        caveats=(*caveats, *copies, *_suspicions(rows, frame, columns)),
    )


def _check_runs(rows: pd.DataFrame, columns: Columns, name: str) -> None:
    """Rows of one training run have one size: a column that tells experiments apart would make one run of each."""
    if not columns.run:
        return
    first = rows.drop_duplicates(["method", "run"]).set_index(["method", "run"])
    known = first.loc[list(zip(rows["method"], rows["run"], strict=True))]
    for place in np.flatnonzero((rows["params"].to_numpy() != known["params"].to_numpy()) & rows["params"].notna()):
        raise ValueError(
            f"{name}: {known['name'].iloc[place]} and {rows['name'].iloc[place]} have the same {columns.run} "
            f"({rows['run'].iloc[place]!r}, given as `run`) and differ in N, which no training run does; where the "
            "column tells experiments apart, name it as `method`"
        )


def _entering(
    rows: pd.DataFrame, columns: Columns, drop_highest: int, best: bool, name: str
) -> tuple[pd.DataFrame, list[tuple[str, str]], list[Caveat]]:
    """The rows that enter a fit, name and reason of each other one, and what to say of copies."""
    excluded: list[tuple[str, str]] = []
    caveats: list[Caveat] = []
    for column, title in (("params", columns.n), ("tokens", columns.d or columns.c), ("unique", columns.unique)):
        rows = _leave_out(rows, rows[column].isna(), f"its {title} is missing", excluded)
    rows = _leave_out(rows, ~np.isfinite(rows["loss"]), "its loss is missing or not finite", excluded)
    rows = _leave_out(rows, rows["tokens"] == 0, "it saw no tokens; the laws are about training", excluded)
    copies = rows.duplicated([*CELL, "run_given", "loss"])
    if copies.any():
        names = ", ".join(rows.loc[copies, "name"][:5]) + (" ..." if copies.sum() > 5 else "")
        text = f"{copies.sum()} rows repeat an earlier one to the last digit and are left out: {names}"
        caveats.append(Caveat("duplicates", text))
        rows = _leave_out(rows, copies, "it repeats an earlier row", excluded)
    if best:
        lowest = rows.sort_values("loss", kind="stable").drop_duplicates([*CELL, "run_given"]).index
        rows = _leave_out(rows, ~rows.index.isin(lowest), "another run of its N and D did better", excluded)
    if drop_highest:
        if not 0 < drop_highest < len(rows):
            raise ValueError(f"{name}: `drop_highest` is {drop_highest}; there are {len(rows)} rows")
        high = rows["loss"].rank(method="first") > len(rows) - drop_highest
        rows = _leave_out(rows, high, f"one of the {drop_highest} highest losses, dropped as asked", excluded)
    if rows.empty:
        raise ValueError(f"{name}: no row can enter a fit")
    return rows, excluded, caveats


def _leave_out(rows: pd.DataFrame, which: pd.Series, reason: str, excluded: list[tuple[str, str]]) -> pd.DataFrame:
    excluded += [(name, reason) for name in rows.loc[which, "name"]]
    return rows[~which]


RUN_TITLES = ("run", "run_id", "run_name", "run id", "run name", "experiment")
ALIKE = 0.01  # sd of the log loss of rows with the same N and D, beyond which chance is a poor explanation


def _one_size_each(rows: pd.DataFrame, labels: pd.Series) -> bool:
    """Whether all rows with one label have one N, as the checkpoints of a run do."""
    return bool((rows["params"].groupby(labels.astype(str).to_numpy()).nunique() <= 1).all())


def _suspicions(rows: pd.DataFrame, frame: pd.DataFrame, columns: Columns) -> list[Caveat]:
    """What the rows may be that nobody has said: checkpoints of one run, or runs that differ in something else."""
    suspicions = []
    runs = next((title for title in columns.unnamed(frame) if title.lower() in RUN_TITLES), None)
    if runs and columns.n and frame[runs].duplicated().any() and _one_size_each(rows, frame.iloc[rows.index][runs]):
        text = (
            f"rows share values of {runs!r}: if they are checkpoints of one run, name that column as `run`; intervals"
        )
        suspicions.append(Caveat("runs", f"{text} are too narrow without"))
    logs = np.log(rows["loss"])
    apart = (logs - logs.groupby([rows[name] for name in CELL]).transform("mean")).pow(2)
    repeated = rows.duplicated(CELL, keep=False)
    free = repeated.sum() - (~rows[repeated].duplicated(CELL)).sum()
    if free and (spread := float(np.sqrt(apart[repeated].sum() / free))) > ALIKE:
        text = f"{repeated.sum()} rows share N and D with another and differ by {100 * spread:.2g} %: if in a setting "
        suspicions.append(Caveat("repeats", f"{text}such as the learning rate, `best` keeps the lowest loss of each"))
    return suspicions
