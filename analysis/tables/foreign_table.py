"""Other people's runs: which rows of a CSV, JSONL or Parquet file enter a fit, in which unit, and why others do not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.tables.sweep_table import CELL, Table
from planner.laws import Caveat


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of somebody else's runs, a factor behind them (`size*1e9`); None: not there.

    n: parameters (None: a law in tokens alone). d: training tokens, or c: training FLOPs, then D = C / 6N. run: rows
    of one training run share its value. share: trained share of the parameters. unique: unique tokens.
    """

    loss: str
    n: str | None = None
    d: str | None = None
    c: str | None = None
    method: str | None = None
    run: str | None = None
    share: str | None = None
    unique: str | None = None


def read_runs(path: Path, columns: Columns, drop_highest: int = 0, best: bool = False) -> Table:
    """The table of a CSV, TSV, JSONL or Parquet file. Raises ValueError naming file, column or row."""
    return runs_table(_read_frame(path), columns, drop_highest, str(path), best)


def _read_frame(path: Path) -> pd.DataFrame:
    reader = next((READERS[ending] for ending in READERS if path.name.lower().endswith(ending)), None)
    if reader is None:
        raise ValueError(f"{path}: neither a results folder nor a table; known endings: {', '.join(READERS)}")
    try:
        return reader(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a table: {error}") from None
    except ImportError:
        raise ValueError(f"{path}: reading Parquet needs pyarrow: pip install 'recipe-planner[parquet]'") from None
    except Exception as error:
        if type(error).__module__.startswith("pyarrow"):  # its errors share no importable base without pyarrow
            raise ValueError(f"{path}: cannot be read as Parquet: {error}") from None
        raise


def _read_csv(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path)
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):  # where the comma is the decimal point
        return pd.read_csv(path, sep=";", decimal=",")
    return frame


READERS = {
    ".csv": _read_csv,
    ".csv.gz": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


def runs_table(
    frame: pd.DataFrame, columns: Columns, drop_highest: int = 0, name: str = "table", best: bool = False
) -> Table:
    """The table of a data frame of runs; rows are called by their place in it, the first being row 1.

    best: of rows with the same method, run, N and D keep only the lowest loss, as where learning rates were tried.
    """
    if (columns.d is None) == (columns.c is None):
        raise ValueError("name either the column of tokens (--d) or the column of training FLOPs (--c), not both")
    if columns.c and not columns.n:
        raise ValueError("--c needs --n: tokens follow as C / 6N")
    if frame.empty:
        raise ValueError(f"{name}: has no rows")
    made, notices = _numbers(frame.rename(columns=lambda title: str(title).strip()), columns, name)
    excluded: list[tuple[str, str]] = []
    for column, title in (("params", columns.n), ("tokens", columns.d or columns.c), ("unique", columns.unique)):
        made = _leave_out(made, made[column].isna(), f"its {title} is missing", excluded)
    made = _leave_out(made, ~np.isfinite(made["loss"]), "its loss is missing or not finite", excluded)
    made = _leave_out(made, made["tokens"] == 0, "it saw no tokens; the laws are about training", excluded)
    copies = made.duplicated(["method", "run_given", "params", "tokens", "loss"])
    if copies.any():
        names = ", ".join(made.loc[copies, "name"][:5]) + (" ..." if copies.sum() > 5 else "")
        text = f"{copies.sum()} rows repeat an earlier one to the last digit and are left out: {names}"
        notices.append(Caveat("duplicates", text))
        made = _leave_out(made, copies, "it repeats an earlier row", excluded)
    if best:
        lowest = made.sort_values("loss", kind="stable").drop_duplicates([*CELL, "run_given"]).index
        made = _leave_out(made, ~made.index.isin(lowest), "another run of its N and D did better", excluded)
    if drop_highest:
        if not 0 < drop_highest < len(made):
            raise ValueError(f"{name}: --drop-highest is {drop_highest}; there are {len(made)} rows")
        high = made["loss"].rank(method="first") > len(made) - drop_highest
        made = _leave_out(made, high, f"one of the {drop_highest} highest losses, dropped as asked", excluded)
    if made.empty:
        raise ValueError(f"{name}: no row can enter a fit")
    filters = [f"without the {drop_highest} highest losses"] * bool(drop_highest) + ["best of each N and D"] * best
    return Table(
        name=Path(name).name,
        rows=made.reset_index(drop=True),
        settings={method: {"name": method} for method in made["method"].unique()},
        excluded=tuple(excluded),
        filters=tuple(filters),
        notices=(*notices, *_suspicions(made, frame, columns)),
    )


def _leave_out(rows: pd.DataFrame, which: pd.Series, reason: str, excluded: list[tuple[str, str]]) -> pd.DataFrame:
    excluded += [(name, reason) for name in rows.loc[which, "name"]]
    return rows[~which]


RUN_TITLES = ("run", "run_id", "run_name", "run id", "run name", "experiment")
ALIKE = 0.01  # sd of the log loss of rows with the same N and D, beyond which chance is a poor explanation


def _suspicions(made: pd.DataFrame, frame: pd.DataFrame, columns: Columns) -> list[Caveat]:
    """What the rows may be that nobody has said: checkpoints of one run, or runs that differ in something else."""
    found = []
    runs = next((str(title) for title in frame if str(title).strip().lower() in RUN_TITLES), None)
    if runs and not columns.run and columns.n and frame[runs].duplicated().any():
        text = f"rows share values of {runs!r}: if they are checkpoints of one run, say --run {runs!r}, else intervals"
        found.append(Caveat("runs", f"{text} are too narrow"))
    logs = np.log(made["loss"])
    apart = (logs - logs.groupby([made[name] for name in CELL]).transform("mean")).pow(2)
    repeated = made.duplicated(CELL, keep=False)
    free = repeated.sum() - (~made[repeated].duplicated(CELL)).sum()
    if free and (spread := float(np.sqrt(apart[repeated].sum() / free))) > ALIKE:
        text = f"{repeated.sum()} rows share N and D with another and differ by {100 * spread:.2g} %: if in a setting "
        found.append(Caveat("repeats", f"{text}such as the learning rate, --best keeps the lowest loss of each"))
    return found


UNITS = {
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "million": 1e6,
    "b": 1e9,
    "billion": 1e9,
    "g": 1e9,
    "t": 1e12,
    "trillion": 1e12,
}
TITLE_UNIT = re.compile(r"[(\[](?:in )?(k|thousand|m|million|b|billion|g|t|trillion)s?[)\]]", re.IGNORECASE)
NUMBER = re.compile(r"\s*([0-9][0-9,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)\s*")


def _find(frame: pd.DataFrame, option: str, title: str, name: str) -> tuple[str, float, str]:
    """The column that a flag names, the factor its numbers are to be multiplied by, and what to say of that.

    The factor is written behind the name, `size*1e9`, or in the column's own title, `params (M)`.
    """
    if title in frame.columns:
        unit = TITLE_UNIT.search(title) if option in ("n", "d", "c", "unique") else None
        factor = UNITS[unit[1].lower()] if unit else 1.0
        return title, factor, f"{title!r} is read in units of {factor:g}, as its title says" if unit else ""
    plain, star, factor = title.rpartition("*")
    if star and plain.strip() in frame.columns and NUMBER.fullmatch(factor):
        return plain.strip(), _number(factor), ""
    known = ", ".join(map(str, frame.columns))
    raise ValueError(f"{name}: has no column {title!r} (--{option}); it has: {known}")


def _number(text: object) -> float:
    """70M, 1.4B, 1,000,000 or 3e9 as a number; NaN where it is none."""
    found = NUMBER.fullmatch(str(text))
    return float(found[1].replace(",", "")) * UNITS.get(found[2].lower(), 1.0) if found else np.nan


def _numbers(frame: pd.DataFrame, columns: Columns, name: str) -> tuple[pd.DataFrame, list[Caveat]]:
    """The frame's numbers under our names; what is missing is NaN, what cannot be is refused."""
    notices: list[Caveat] = []

    def column(option: str, lowest: float, missing: float) -> np.ndarray:
        asked = getattr(columns, option)
        if asked is None:
            return np.full(len(frame), missing)
        title, factor, said = _find(frame, option, asked, name)
        notices.extend([Caveat("units", said)] if said else [])
        given = frame[title]
        values = pd.to_numeric(given, errors="coerce").to_numpy(float, copy=True)
        unread = np.isnan(values) & given.notna().to_numpy()
        values[unread] = [_number(text) for text in given[unread]]
        for place in np.flatnonzero(np.isnan(values) & given.notna().to_numpy()):
            raise ValueError(f"{name}: row {place + 1}: {title} is {given.iloc[place]!r}, not a number")
        values *= factor
        strict = option != "d"
        wrong = values <= lowest if strict else values < lowest
        if option != "loss":  # an infinite loss is a run that failed, and is left out with that reason
            wrong = wrong | np.isinf(values)
        for place in np.flatnonzero(wrong):
            wanted = "positive" if strict else "0 or more"
            raise ValueError(f"{name}: row {place + 1}: {title} is {values[place]:g}; it must be {wanted}")
        return values

    for option in ("method", "run"):
        if getattr(columns, option) is not None:
            _find(frame, option, getattr(columns, option), name)
    params, loss = column("n", 0, 1.0), column("loss", 0, 1.0)
    tokens = column("c", 0, 1.0) / (6 * params) if columns.c else column("d", 0, 1.0)
    _check_units(params, tokens, columns, name)
    labels = [f"row {place + 1}" for place in range(len(frame))]
    given = frame[columns.run].astype(str) if columns.run else pd.Series([""] * len(frame))
    made = {
        "name": labels,
        "method": frame[columns.method].astype(str).to_numpy() if columns.method else "all",
        "run": given.to_numpy() if columns.run else labels,
        "run_given": given.to_numpy(),
        "params": params,
        "tokens": tokens,
        "flops": column("c", 0, 1.0) if columns.c else 6 * params * tokens,
        "loss": loss,
        "share": np.minimum(column("share", 0, 1.0), 1.0),
        "unique": column("unique", 0, np.inf),
    }
    return pd.DataFrame(made), list(dict.fromkeys(notices))


def _check_units(params: np.ndarray, tokens: np.ndarray, columns: Columns, name: str) -> None:
    """Less than one parameter or token is a number in another unit."""
    for place in np.flatnonzero((params < 1) & (columns.n is not None)):
        raise ValueError(
            f"{name}: row {place + 1}: {columns.n} is {params[place]:g} parameters; where it counts in another unit, "
            f"say so: --n '{columns.n}*1e9'"
        )
    for place in np.flatnonzero((tokens < 1) & (tokens > 0)):
        what = f"C / 6N, with {columns.c} as C," if columns.c else columns.d
        raise ValueError(
            f"{name}: row {place + 1}: {what} is {tokens[place]:g} tokens; where a column counts in another unit, "
            f"say so: --{'c' if columns.c else 'd'} '{columns.c or columns.d}*1e9'"
        )
