"""Whether the numbers of a table can be in the unit that they are read in: nothing is guessed, what is odd is asked."""

from __future__ import annotations

import itertools
from collections.abc import Container

import numpy as np
import pandas as pd

from analysis.tables.columns import Columns, says_unit, states_unit
from analysis.tables.rows import Array
from planner.law_book import Caveat

# Below these medians a table of parameters and tokens counts in another unit, or says that it does not ('size*1').
LEAST_PARAMS = 1e4
LEAST_TOKENS = 1e3
LEAST_FLOPS = 1e9
MOST_RATIO = 30.0  # of C to 6ND, either way: frozen blocks make it a third, wide embeddings several times
PLAUSIBLE = {"params": (1e5, 1e13), "tokens": (1e6, 1e14), "tokens per parameter": (0.1, 1e5)}
UNITS = (1.0, 1e3, 1e6, 1e9, 1e12)


def check_units(rows: pd.DataFrame, columns: Columns, name: str) -> None:
    """Raises ValueError for less than one parameter or token: a number in another unit."""
    params, tokens = rows["params"].to_numpy(), rows["tokens"].to_numpy()
    for place in np.flatnonzero((params < 1) & (columns.n is not None)):
        raise ValueError(
            f"{name}: row {place + 1}: {columns.n} is {params[place]:g} parameters; if it has another unit, "
            f"give it: `n`='{columns.n}*1e9'"
        )
    for place in np.flatnonzero((tokens < 1) & (tokens > 0)):
        by_flops = columns.c and not columns.d
        what = f"C / 6N, with {columns.c} as C," if by_flops else columns.d
        raise ValueError(
            f"{name}: row {place + 1}: {what} is {tokens[place]:g} tokens; if a column has another unit, "
            f"give it: `{'c' if by_flops else 'd'}`='{columns.c if by_flops else columns.d}*1e9'"
        )


def check_scale(frame: pd.DataFrame, rows: pd.DataFrame, columns: Columns, name: str) -> list[Caveat]:
    """What to say of measured FLOPs beside 6ND.

    Raises ValueError where they differ wildly, or where sizes, tokens and FLOPs are smaller than any training's and no
    column says its unit.
    """
    params, tokens, flops = (rows[column].to_numpy() for column in ("params", "tokens", "flops"))
    if columns.variables != ("N", "D"):
        return []
    by_rule = 6 * params * tokens
    if not (states_unit(frame, columns.n) or states_unit(frame, columns.d)):
        small = {columns.n: (f"as parameters, is {_median(params):.3g}", _median(params) < LEAST_PARAMS)}
        if columns.d:
            small[columns.d] = (f"as tokens, is {_median(tokens):.3g}", _median(tokens) < LEAST_TOKENS)
            small["6ND"] = (f"as FLOP, is {_median(by_rule):.3g}", _median(by_rule) < LEAST_FLOPS)
        if odd := {str(what): f"{what}, {text}" for what, (text, less) in small.items() if less}:
            raise ValueError(
                f"{name}: {' and '.join(odd.values())} in the median, too little for any training; "
                f"{_proposal(frame, columns, params, tokens, odd)} (or `n`='{columns.n}*1' if they are right)"
            )
    with np.errstate(divide="ignore"):  # a run may have no tokens
        return _beside_the_rule(flops / by_rule, columns, name) if columns.c and columns.d else []


def _beside_the_rule(ratio: Array, columns: Columns, name: str) -> list[Caveat]:
    """What to say of C / 6ND [rows] where all three are given."""
    known = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not len(known):
        return []
    middle, (low, high) = _median(known), np.quantile(known, [0.05, 0.95])
    if not 1 / MOST_RATIO < middle < MOST_RATIO:
        raise ValueError(
            f"{name}: {columns.c} is {middle:.3g} times 6 x {columns.n} x {columns.d} in the median: one of the three "
            f"has another unit; give it: `n`='{columns.n}*1e6', `d`='{columns.d}*1e9' or `c`='{columns.c}*1e18'"
        )
    if max(high - 1, 1 - low) < 0.01:
        return []
    text = f"{columns.c} is {middle:.3g} times 6ND in the median ({low:.3g} to {high:.3g} in nine of ten rows); "
    return [Caveat("flops", f"{text}costs are counted in it, not in 6ND")]


def _proposal(frame: pd.DataFrame, columns: Columns, params: Array, tokens: Array, odd: Container[str]) -> str:
    """How the units might be said: those that make a further column of the table C = 6ND, or an example.

    odd: which columns hold too little, or 6ND alone, to which both may have led. Cells that have a unit need no other.
    """
    given = [title for title in (columns.n, columns.d) if title]
    at_fault = [title for title in given if title in odd] or given
    if mixed := [told for title in at_fault if (told := _some_with_unit(frame[title]))]:
        return f"give every cell its unit: {'; '.join(mixed)}"
    said = [title for title in given if says_unit(frame[title]).any()]
    if fitting := _by_flops(frame, columns, params, tokens) if columns.d and not said else "":
        return f"give the units: {fitting}"
    examples = {columns.n: f"`n`='{columns.n}*1e6'", columns.d: f"`d`='{columns.d}*1e9'"}
    wanting = [examples[title] for title in at_fault if title not in said]
    return f"give the units: {' '.join(wanting)}" if wanting else f"correct the cells of {' and '.join(at_fault)}"


def _some_with_unit(cells: pd.Series) -> str:
    """A cell without a unit and one with, in words, where a column has both; else ""."""
    cells = cells.dropna()
    said = says_unit(cells)
    if said.all() or not said.any():
        return ""
    bare, full = said.idxmin(), said.idxmax()
    return f"{cells.name} is '{cells[bare]}' in row {bare + 1}, without one, and '{cells[full]}' in row {full + 1}"


def _by_flops(frame: pd.DataFrame, columns: Columns, params: Array, tokens: Array) -> str:
    """The units that make a further column of the table C = 6ND, in words; "" where none do."""
    for title in frame.columns.difference([columns.n, columns.d, columns.loss]):
        if not pd.api.types.is_numeric_dtype(frame[title]) or pd.api.types.is_bool_dtype(frame[title]):
            continue
        with np.errstate(all="ignore"):
            logs = np.log10(frame[title].to_numpy(float) / (6 * params * tokens))
        logs = logs[np.isfinite(logs)]
        if not len(logs) or np.std(logs) > 0.3:
            continue
        fitting = [
            (n, d)
            for n, d in itertools.product(UNITS, UNITS)
            if abs(np.log10(n * d) - np.median(logs)) < 0.5 and _plausible(n * _median(params), d * _median(tokens))
        ]
        if len(fitting) == 1:
            (n, d) = fitting[0]
            return f"`n`='{columns.n}*{_unit(n)}' `d`='{columns.d}*{_unit(d)}' would make {title!r} what 6ND is"
    return ""


def _plausible(params: float, tokens: float) -> bool:
    """Whether somebody may have trained so many parameters on so many tokens."""
    given = {"params": params, "tokens": tokens, "tokens per parameter": tokens / params}
    return all(low < given[name] < high for name, (low, high) in PLAUSIBLE.items())


def _unit(value: float) -> str:
    return f"{value:.0e}".replace("e+0", "e").replace("e+", "e").replace("1e0", "1")


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan
