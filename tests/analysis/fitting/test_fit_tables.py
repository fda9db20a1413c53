"""Laws of other people's tables: weights, and laws in one variable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from planner.laws import Chinchilla
from support.known_runs import TRUTH, grid

FRAME = grid(TRUTH, sizes=6, budgets=5, noise=0.01, seed=5)


def test_a_weight_is_worth_so_many_rows():
    times = np.arange(len(FRAME)) % 3 + 1
    repeated = FRAME.loc[FRAME.index.repeat(times)].assign(run=range(times.sum()))
    options = {"n": "N", "d": "D", "loss": "loss", "family": "chinchilla", "bootstraps": 20, "delta": 1e-2}
    by_weight = fit_laws(FRAME.assign(times=times), weights="times", **options)
    by_rows = fit_laws(repeated, run="run", **options)
    assert by_weight.laws[0].law.coefficients == pytest.approx(by_rows.laws[0].law.coefficients, rel=1e-6)
    assert by_weight.laws[0].objective == pytest.approx(by_rows.laws[0].objective, rel=1e-6)
    plain = fit_laws(FRAME, **options)
    assert plain.laws[0].law.alpha != pytest.approx(by_weight.laws[0].law.alpha, rel=1e-3)
    assert by_weight.source["columns"]["weights"] == "times"
    assert by_weight.source["rows_hash"] != plain.source["rows_hash"]


def test_weights_that_are_all_alike_change_nothing():
    options = {"n": "N", "d": "D", "loss": "loss", "family": "chinchilla", "bootstraps": 20}
    plain, twice = (fit_laws(FRAME.assign(w=2.0), **options, **more) for more in ({}, {"weights": "w"}))
    assert twice.laws[0].law.coefficients == pytest.approx(plain.laws[0].law.coefficients, rel=1e-6)
    with pytest.raises(ValueError, match="row 1: w is 0; it must be positive"):
        fit_laws(FRAME.assign(w=0.0), weights="w", **options)


@pytest.mark.parametrize("letter", ["N", "D", "C"])
def test_a_table_of_one_quantity_has_a_law_in_it_alone(letter):
    x = np.geomspace(1e8, 1e12, 12)
    noise = np.exp(np.random.default_rng(2).normal(0, 0.002, len(x)))
    frame = pd.DataFrame({"x": x * (1e9 if letter == "C" else 1), "loss": (1.5 + 300 * x**-0.3) * noise})
    book = fit_laws(frame, loss="loss", family="chinchilla", bootstraps=50, **{letter.lower(): "x"})
    law = book.laws[0].law
    assert isinstance(law, Chinchilla)
    factor, exponent, absent = (law.A, law.alpha, law.B) if letter == "N" else (law.B, law.beta, law.A)
    assert (law.E, exponent) == pytest.approx((1.5, 0.3), rel=0.05)
    assert factor > 0 and absent == 0
    assert book.source["variables"] == [letter]
    assert not {"one_size", "one_ratio"} & {caveat.code for caveat in book.warnings}
