"""Other people's runs: which rows of a table enter a fit, in which unit, and why others do not."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.tables.columns import Columns, numbers_of
from analysis.tables.filters import Filters, sift
from analysis.tables.table import CELL, Table
from analysis.tables.units import check_scale, check_units
from planner.law_book import Caveat
from sweeps.data.csv_rows import DELIMITERS, delimiter
from sweeps.data.files import ending
from sweeps.data.formats import READERS, known_endings, read_rows


def read_runs(path: Path, columns: Columns, filters: Filters = Filters()) -> Table:
    """The table of a CSV, JSON or Parquet file. Raises ValueError naming file, column or row."""
    return runs_table(_read_frame(path), columns, filters, str(path))


def _read_frame(path: Path) -> pd.DataFrame:
    if ending(path) not in READERS:
        raise ValueError(f"{path}: neither a results folder nor a table; known extensions: {known_endings()}")
    frame = pd.DataFrame([row for _, row in read_rows(path)])
    if frame.empty:
        raise ValueError(f"{path}: has no rows")
    if ending(path) not in DELIMITERS:
        return frame
    cells = io.StringIO(frame.to_csv(index=False))  # texts so far: pandas tells which are numbers, which are missing
    return pd.read_csv(cells, decimal="," if delimiter(path) == ";" else ".")


def _titles(frame: pd.DataFrame) -> str:
    return ", ".join(str(title).strip() for title in frame.columns)


def titles_of(path: Path) -> str:
    """The titles of the columns of a file, comma-separated."""
    return _titles(_read_frame(path))


def runs_table(frame: pd.DataFrame, columns: Columns, filters: Filters = Filters(), name: str = "table") -> Table:
    """The table of a data frame of runs; rows are called by their place in it, the first being row 1."""
    if not columns.variables:
        raise ValueError(
            f"{name}: neither tokens (`d`) nor training FLOPs (`c`) nor parameters (`n`) are named: name the columns "
            f"of parameters and of tokens or FLOPs, or one of the three for a law in it alone; it has: {_titles(frame)}"
        )
    if frame.empty:
        raise ValueError(f"{name}: has no rows")
    frame = frame.rename(columns=lambda title: str(title).strip()).reset_index(drop=True)
    rows, caveats = numbers_of(frame, columns, name)
    _check_runs(rows, columns, name)
    caveats += check_scale(frame, rows, columns, name)
    check_units(rows, columns, name)
    sieve = sift(rows, frame, columns, filters, name)
    rows = sieve.rows.reset_index(drop=True)
    _check_alone(rows, columns, name)
    return Table(
        name=Path(name).name,
        rows=rows,
        others=frame.iloc[sieve.rows.index][columns.unnamed(frame)].reset_index(drop=True),
        settings={method: {"name": method} for method in rows["method"].unique()},
        excluded=tuple(sieve.excluded),
        filters=filters.words(columns.variables),
        caveats=(*caveats, *sieve.caveats, *_suspicions(rows, frame, columns)),
        columns={field: title for field, title in asdict(columns).items() if title},
        variables=columns.variables,
        held_out=sieve.held_out,
    )


def _check_runs(rows: pd.DataFrame, columns: Columns, name: str) -> None:
    """Rows of one training run have one size: a column that tells experiments apart would make one run of each."""
    if not columns.run:
        return
    rows = rows[rows["run"].notna() & rows["method"].notna()]
    first = rows.drop_duplicates(["method", "run"]).set_index(["method", "run"])
    known = first.loc[list(zip(rows["method"], rows["run"], strict=True))]
    for place in np.flatnonzero((rows["params"].to_numpy() != known["params"].to_numpy()) & rows["params"].notna()):
        raise ValueError(
            f"{name}: {known['name'].iloc[place]} and {rows['name'].iloc[place]} have the same {columns.run} "
            f"({rows['run'].iloc[place]!r}, given as `run`) and differ in N, which is impossible in one training "
            "run; if the column separates experiments, name it as `method`"
        )


def _check_alone(rows: pd.DataFrame, columns: Columns, name: str) -> None:
    """Raises ValueError for a law in N alone where runs of one size differ too much to be alike in all else."""
    spread = float(np.sqrt((_from_mean(rows) ** 2).mean()))
    if columns.variables == ("N",) and spread > ALONE:
        raise ValueError(
            f"{name}: neither tokens (`d`) nor training FLOPs (`c`) are named, and losses at one {columns.n} differ by "
            f"{100 * spread:.2g} %: a law in parameters alone is of runs that are alike in all else"
        )


RUN_TITLES = ("run", "run_id", "run_name", "run id", "run name", "experiment")
ALONE = 0.05  # the same, of runs of one size in a law in N alone
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
    apart = _from_mean(rows).pow(2)
    repeated = rows.duplicated(CELL, keep=False)
    free = repeated.sum() - (~rows[repeated].duplicated(CELL)).sum()
    if free and (spread := float(np.sqrt(apart[repeated].sum() / free))) > ALIKE:
        same = " and ".join(columns.variables)
        text = f"{repeated.sum()} rows share {same} with another and differ by {100 * spread:.2g} %: if in a setting "
        suspicions.append(Caveat("repeats", f"{text}such as the learning rate, `best` keeps the lowest loss of each"))
    return suspicions


def _from_mean(rows: pd.DataFrame) -> pd.Series:
    """Log losses less the mean of the rows that are repeats of one another."""
    logs = np.log(rows["loss"])
    return logs - logs.groupby([rows[name] for name in CELL]).transform("mean")
