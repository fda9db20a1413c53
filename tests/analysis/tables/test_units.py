"""Numbers that cannot be in the unit that they are read in are asked about, and measured FLOPs are used as they are."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table

N, D = np.array([7e7, 4e8, 1.4e9]), np.array([3e9, 1e10, 8e10])
FRAME = pd.DataFrame({"params": N, "tokens": D, "flops": 6 * N * D, "loss": [3.0, 2.5, 2.0]})


def table(frame: pd.DataFrame, **columns: str):
    return runs_table(frame, Columns(loss="loss", **columns), name="runs.csv")


def test_numbers_too_small_for_any_training_are_asked_about():
    small = FRAME.assign(params=N / 1e6, tokens=D / 1e9)
    words = (
        "runs.csv: params, as parameters, is 400 and tokens, as tokens, is 10 and 6ND, as FLOP, is 2.4e+04 in the "
        "median, too little for any training; give the units: `n`='params*1e6' `d`='tokens*1e9' would "
        "make 'flops' what 6ND is (or `n`='params*1' if they are right)"
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        table(small, n="params", d="tokens")
    with pytest.raises(ValueError, match=re.escape("give the units: `d`='tokens*1e9' (or")):
        table(FRAME.assign(tokens=D / 1e9).drop(columns="flops"), n="params", d="tokens")
    with pytest.raises(ValueError, match="give the units"):
        table(FRAME.assign(params=N / 1e6), n="params", d="tokens")
    with pytest.raises(ValueError, match=re.escape("give the units: `n`='params*1e6' (or")):
        table(FRAME.assign(params=N / 1e6), n="params", c="flops")


TOLD = FRAME.assign(tokens=["1B", "2B", "4B"]).drop(columns="flops")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            ["10", "20", "30M"],
            "any training; give every cell its unit: params is '10' in row 1, without one, and '30M' in row 3 (or ",
        ),
        ([10, 20, 30], "any training; give the units: `n`='params*1e6' (or `n`='params*1' if they are right)"),
        (["1k", "2k", "3k"], "any training; correct the cells of params (or `n`='params*1' if they are right)"),
    ],
)
def test_units_are_asked_for_only_where_they_are_not_told(params, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        table(TOLD.assign(params=params), n="params", d="tokens")


@pytest.mark.parametrize(("title", "given"), [("params", "params*1e6"), ("params (M)", "params (M)")])
def test_a_unit_is_not_counted_twice(title, given):
    frame = TOLD.assign(**{title: ["10", "20M", "30M"]})
    words = f"runs.csv: row 2: {title} is '20M', with its unit in the cell; times 1e+06 it would count twice: give "
    with pytest.raises(ValueError, match=re.escape(f"{words}`n`='{title}*1', or every cell without a unit")):
        table(frame, n=given, d="tokens")
    read = table(frame.assign(**{title: ["10M", "20M", "30M"]}), n=f"{title}*1", d="tokens")
    assert read.rows["params"].tolist() == [1e7, 2e7, 3e7]


@pytest.mark.parametrize(
    ("n", "d"), [("params*1e6", "tokens*1e9"), ("params*1", "tokens"), ("params (M)", "tokens*1e9")]
)
def test_a_unit_that_was_said_is_taken(n, d):
    small = FRAME.assign(**{"params": N / 1e6, "params (M)": N / 1e6, "tokens": D / 1e9})
    assert len(table(small, n=n, d=d).rows) == 3


def test_measured_flops_beside_tokens_are_what_runs_cost():
    more = FRAME.assign(flops=FRAME.flops * [1.4, 1.2, 1.1])
    read = table(more, n="params", d="tokens", c="flops")
    assert read.rows["flops"].tolist() == pytest.approx(more.flops.tolist())
    assert read.rows["tokens"].tolist() == pytest.approx(D.tolist())
    (caveat,) = read.caveats
    assert caveat.code == "flops"
    assert caveat.text.startswith("flops is 1.2 times 6ND in the median (1.11 to 1.38 in nine of ten rows)")
    assert table(FRAME, n="params", d="tokens", c="flops").caveats == ()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_run_without_tokens_is_no_warning_of_numpy():
    read = table(FRAME.assign(tokens=[0.0, *D[1:]]), n="params", d="tokens", c="flops")
    assert len(read.rows) == 2


@pytest.mark.parametrize("factor", [1e-9, 1 / 50, 50, 1e15])
def test_flops_that_are_wildly_off_are_refused(factor):
    with pytest.raises(ValueError, match=re.escape("times 6 x params x tokens in the median: one of the three has")):
        table(FRAME.assign(flops=FRAME.flops * factor), n="params", d="tokens", c="flops")
