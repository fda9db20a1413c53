"""Rows are left out where it was asked, with the reason and its record; held out are those that a fit is to predict."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from analysis.tables.columns import Columns
from analysis.tables.filters import Filters
from analysis.tables.foreign_table import runs_table

FRAME = pd.DataFrame(
    {
        "size": [1.0, 10.0, 100.0, 100.0],
        "d": [1e8, 1e9, 1e9, 1e9],
        "loss": [3.0, 2.5, 2.0, 2.1],
        "run": ["a", "b", "c", "d"],
        "lr": [0.1, 0.1, 0.1, 0.2],
    }
)
COLUMNS = Columns(loss="loss", n="size*1e6", d="d")


def test_a_condition_names_the_quantities_as_read_and_the_columns_as_they_came():
    table = runs_table(FRAME, COLUMNS, Filters(where=("D/N > 50 or size > 50", "lr < 0.15")))
    assert table.rows["name"].tolist() == ["row 1", "row 2", "row 3"]
    table = runs_table(FRAME, COLUMNS, Filters(where=("C > 6.1e14", "D/N > 50")))
    assert table.rows["name"].tolist() == ["row 2"]
    assert dict(table.excluded) == {
        "row 1": "where C > 6.1e14: false",
        "row 3": "where D/N > 50: false",
        "row 4": "where D/N > 50: false",
    }
    assert table.filters == ("where C > 6.1e14", "where D/N > 50")


def test_held_out_rows_do_not_enter_and_are_kept():
    table = runs_table(FRAME, COLUMNS, Filters(holdout="N > 5e7"))
    assert table.held_out["name"].tolist() == ["row 3", "row 4"]
    assert table.held_out["params"].tolist() == [1e8, 1e8]
    assert table.rows["name"].tolist() == ["row 1", "row 2"]
    assert table.filters == ("held out: N > 5e7",)
    assert dict(table.excluded)["row 3"] == "held out: N > 5e7"
    with pytest.raises(ValueError, match=re.escape("`holdout` N > 1e9 holds of 0 of 4 rows")):
        runs_table(FRAME, COLUMNS, Filters(holdout="N > 1e9"))


@pytest.mark.parametrize("run", [None, "run"])
def test_the_best_of_each_cell_is_so_whatever_the_runs_are_called(run):
    table = runs_table(FRAME, Columns(loss="loss", n="size*1e6", d="d", run=run), Filters(best=True))
    assert dict(table.excluded) == {"row 4": "another run with its N and D has a lower loss"}


def test_of_a_law_in_one_variable_only_that_one_is_known():
    frame = FRAME.assign(flops=[1e17, 1e18, 1e19, 1e20])
    table = runs_table(frame, Columns(loss="loss", c="flops"), Filters(where=("C < 5e19",)))
    assert table.variables == ("C",) and len(table.rows) == 3
    with pytest.raises(ValueError, match="`where` has 'N', which is no column; the table has: C, loss, size, d, run"):
        runs_table(frame, Columns(loss="loss", c="flops"), Filters(where=("N > 1",)))


def test_where_nothing_is_left_the_reasons_are_told():
    with pytest.raises(ValueError, match="no row can enter a fit: where N > 1e10: false"):
        runs_table(FRAME, COLUMNS, Filters(where=("N > 1e10",)))
