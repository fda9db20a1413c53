"""What fitted laws say of sizes, budgets and held-out rows of a table."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.fitting.queries import held_out, optima, predictions, token_cost
from analysis.tables.columns import Columns
from analysis.tables.filters import Filters
from analysis.tables.foreign_table import runs_table
from planner.laws import Chinchilla

LAW = Chinchilla(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)
SETTINGS = Settings("chinchilla", bootstraps=60)
COLUMNS = Columns(loss="loss", n="N", d="D")


def runs(seed: int = 0, noise: float = 0.005) -> pd.DataFrame:
    N = np.repeat(np.geomspace(5e7, 2e10, 7), 6)
    C = np.tile(np.geomspace(1e19, 1e22, 6), 7)
    scatter = np.exp(np.random.default_rng(seed).normal(0, noise, len(N)))
    return pd.DataFrame({"N": N, "D": C / 6 / N, "loss": LAW.loss(N, C / 6 / N) * scatter})


@pytest.fixture(scope="module")
def book():
    return fit_table(runs_table(runs(), COLUMNS), SETTINGS)


@pytest.mark.parametrize("asked", ["N=7e9,D=2e12", "N=7B,C=8.4e22", "D=2T,C=8.4e22"])
def test_a_prediction_is_the_formula_whichever_two_are_given(book, asked):
    (said,) = predictions(book, asked)
    assert said.loss == pytest.approx(book.laws[0].law.loss(7e9, 2e12))
    assert (said.params, said.tokens, said.flops) == pytest.approx((7e9, 2e12, 8.4e22))
    assert said.interval[0] < LAW.loss(7e9, 2e12) < said.interval[1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("N=7e9", "for these laws it must give two of N, D and C"),
        ("N=7e9,D=2e12,C=1e22", "for these laws it must give two of N, D and C"),
        ("N=7e9,D=2e12,S=0.5", "the law chinchilla takes no S"),
        ("N=7e9,D=2e12,U=1e9", "the law chinchilla takes no U"),
    ],
)
def test_what_a_law_cannot_be_asked_is_refused(book, asked, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        predictions(book, asked)


def test_the_optimum_of_a_fit_is_near_that_of_the_truth(book):
    ((label, found),) = optima(book, "1e22")
    g = (LAW.alpha * LAW.A / (LAW.beta * LAW.B)) ** (1 / (LAW.alpha + LAW.beta))
    best = g * (1e22 / 6) ** (LAW.beta / (LAW.alpha + LAW.beta))
    low, high = found.params_interval
    assert label == "all" and low and high and low < best < high
    assert found.best and found.best.params == pytest.approx(best, rel=0.3)
    with pytest.raises(ValueError, match="`optimum` is 'lots'; it must be a positive number of FLOP"):
        optima(book, "lots")


@pytest.mark.parametrize(
    ("columns", "asked", "words"),
    [
        (Columns(loss="loss", d="D"), "N=1e9", "for these laws it must give D"),
        (Columns(loss="loss", c="D"), "D=1e9", "for these laws it must give C"),
    ],
)
def test_laws_in_one_variable_are_asked_for_it_and_have_no_optimum(columns, asked, words):
    curve = pd.DataFrame({"D": np.geomspace(1e8, 1e12, 9)}).assign(loss=lambda f: 1.5 + 200 / f.D**0.3)
    book = fit_table(runs_table(curve, columns), Settings("chinchilla", bootstraps=20))
    letter = columns.variables[0]
    (said,) = predictions(book, f"{letter}=1e13")
    assert said.loss == pytest.approx(1.5 + 200 / 1e13**0.3, rel=1e-4)
    with pytest.raises(ValueError, match=words):
        predictions(book, asked)
    with pytest.raises(ValueError, match=f"`optimum`: laws in {letter} alone have no best size"):
        optima(book, "1e22")


def test_the_trained_share_is_asked_for_where_a_law_takes_it():
    N = np.repeat(np.geomspace(1e6, 1e9, 5), 9)
    D = np.tile(np.repeat(np.geomspace(1e8, 1e10, 3), 3), 5)
    S = np.tile([0.1, 0.5, 1.0], 15)
    frame = pd.DataFrame({"N": N, "D": D, "S": S, "loss": 0.5 + 30 / N**0.3 + (40 * (1 - S) ** 2 + 90) / D**0.3})
    table = runs_table(frame, Columns(loss="loss", n="N", d="D", share="S"))
    book = fit_table(table, Settings("trainable", bootstraps=20))
    (said,) = predictions(book, "N=1e8,D=1e9,S=0.5")
    assert said.loss == pytest.approx(book.laws[0].law.at(1e8, 1e9, 0.5))
    with pytest.raises(ValueError, match="also needs S, the trained share"):
        predictions(book, "N=1e8,D=1e9")
    with pytest.raises(ValueError, match="`optimum`: the law trainable also needs S"):
        optima(book, "1e20")


def test_costs_are_those_of_the_runs():
    frame = runs().assign(C=lambda f: f.N * f.D * (6 + 6 * (5e7 / f.N) ** 0.5))
    table = runs_table(frame, Columns(loss="loss", n="N", d="D", c="C"))
    cost = token_cost(table.of(["all"]))
    assert [cost.rate(size) for size in sorted(set(frame.N))] == pytest.approx(
        [6 + 6 * (5e7 / size) ** 0.5 for size in sorted(set(frame.N))]
    )
    book = fit_table(table, SETTINGS)
    (said,) = predictions(book, "N=5e7,D=1e10")
    assert said.flops == pytest.approx(12 * 5e7 * 1e10)
    assert book.source["cost"]["all"]["params"] == pytest.approx(sorted(set(frame.N)))


def test_each_method_has_costs_of_its_own():
    some = [
        runs(seed).assign(C=lambda f, k=k: k * f.N * f.D, way=way)
        for seed, (way, k) in enumerate([("a", 6.0), ("b", 4.0)])
    ]
    columns = Columns(loss="loss", n="N", d="D", c="C", method="way")
    book = fit_table(runs_table(pd.concat(some, ignore_index=True), columns), SETTINGS)
    assert [said.flops for said in predictions(book, "N=1e9,D=1e11")] == pytest.approx([6e20, 4e20])
    assert [found.best.tokens for _, found in optima(book, "1e21") if found.best] == pytest.approx(
        [1e21 / k / found.best.params for (_, found), k in zip(optima(book, "1e21"), (6, 4), strict=True) if found.best]
    )


def test_held_out_rows_are_scored_and_their_intervals_hold_nine_of_ten():
    inside, count, errors = 0, 0, []
    for seed in range(12):
        table = runs_table(runs(seed), COLUMNS, Filters(holdout="C > 1e21"))
        tested = held_out(table, fit_table(table, SETTINGS), "C > 1e21")
        assert len(tested.runs) == len(table.held_out) == 14 and tested.without_law == 0
        assert tested.error is not None and tested.bias is not None
        assert tested.error == pytest.approx(np.mean(np.abs(tested.logs)))
        content = tested.to_json()
        assert content["coverage"] == tested.inside / 14 and content["runs"][0]["N"] == table.held_out["params"][0]
        inside, count, errors = inside + tested.inside, count + 14, [*errors, tested.error]
    assert inside / count >= 0.85
    assert np.mean(errors) < 0.01
    nothing = table.held_out.assign(method="another")
    assert held_out(
        table.__class__(**{**vars(table), "held_out": nothing}), fit_table(table, SETTINGS), "x"
    ).without_law


def test_rows_that_are_held_out_do_not_touch_the_fit():
    frame = runs()
    high = 6 * frame.N * frame.D > 1e21
    wild = frame.assign(loss=frame.loss.where(~high, 9.0))
    books = [fit_table(runs_table(f, COLUMNS, Filters(holdout="C > 1e21")), SETTINGS) for f in (frame, wild)]
    assert books[0].laws[0].law == books[1].laws[0].law
    assert "held out: C > 1e21" in books[0].source["filters"]
