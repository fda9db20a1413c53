"""Forms that follow from a family's formula, with coefficients held: the rest is the constrained best fit."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis import fit_laws
from analysis.fitting.solver import huber
from planner.laws import LAWS
from support.known_runs import TRUTH, grid

OPTIONS = {"n": "N", "d": "D", "loss": "loss", "bootstraps": 20}
FRAME = grid(TRUTH, sizes=6, budgets=5, noise=0.005, seed=3)
HELD = [
    ("chinchilla", {"alpha": 0.4}),
    ("chinchilla", {"E": 0.35}),
    ("chinchilla", {"E": 0.0}),
    ("chinchilla", {"alpha": 0.35, "beta": 0.33}),
    ("chinchilla", {"A": 30.0, "alpha": 0.35}),
    ("tied", {"alpha": 0.3}),
    ("rectified", {"D_l": 20.0, "beta": 0.33}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "held"), HELD, ids=str)
def test_with_coefficients_held_the_others_are_those_of_a_constrained_fit(family, held):
    book = fit_laws(FRAME, family=family, fix=held, delta=1e-2, **OPTIONS)
    law = book.laws[0]
    free = [name for name in law.law.coefficients if name not in held]
    begin = np.log([max(getattr(law.law, name), 1e-9) for name in free])

    def objective(logs: np.ndarray) -> float:
        given = LAWS[family](**held, **dict(zip(free, np.exp(logs), strict=True)))
        return float(huber(np.log(FRAME.loss) - np.log(given.loss(FRAME.N, FRAME.D)), 1e-2).sum())

    starts = [begin + np.random.default_rng(seed).normal(0, 0.2 * (seed > 0), len(free)) for seed in range(3)]
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000, "adaptive": True}
    best = min(minimize(objective, start, method="Nelder-Mead", options=options).fun for start in starts)
    assert law.objective <= best * (1 + 1e-6)
    for name, value in held.items():
        assert getattr(law.law, name) == value
        assert law.intervals[family][name] == (value, value)
        assert all(getattr(draw, name) == value for draw in law.draws)
    assert all(law.intervals[family][name][0] < law.intervals[family][name][1] for name in free)
    assert book.source["fixed"] == held


def test_held_at_its_best_a_coefficient_changes_nothing():
    free = fit_laws(FRAME, family="chinchilla", **OPTIONS).laws[0]
    held = fit_laws(FRAME, family="chinchilla", fix={"alpha": free.law.alpha}, **OPTIONS).laws[0]
    assert held.law.coefficients == pytest.approx(free.law.coefficients, rel=1e-4)
    wide, narrow = (law.intervals["chinchilla"]["A"][1] / law.intervals["chinchilla"]["A"][0] for law in (free, held))
    assert narrow < wide


def test_a_curve_in_tokens_alone_takes_held_coefficients_too():
    curve = grid(TRUTH, sizes=1, budgets=9)
    options = {"d": "D", "loss": "loss", "family": "chinchilla", "bootstraps": 20}
    law = fit_laws(curve, fix={"beta": 0.33}, **options).laws[0].law
    assert (law.A, law.alpha, law.beta) == (0, 0, 0.33)
    assert pytest.approx(TRUTH.B, rel=1e-6) == law.B


@pytest.mark.parametrize(
    ("held", "family", "words"),
    [
        ({"gamma": 1.0}, "auto", "`fix` has 'gamma'; coefficients of chinchilla: E, A, alpha, B, beta; tied: "),
        ({"beta": 0.3}, "tied", "`fix` has 'beta'; coefficients of tied: E, A, B, alpha"),
        ({"alpha": -1.0}, "auto", "`fix` has alpha=-1; it must be positive"),
        ({"alpha": 100.0}, "auto", "`fix` has alpha=100; an exponent must be at most 4"),
        ({"E": -1.0}, "auto", "`fix` has E=-1; it must be 0 or more"),
        ({"E": 0.3, "A": 30.0, "B": 200.0}, "chinchilla", "`fix` holds E, A, B: no factor is left to fit"),
    ],
)
def test_what_cannot_be_held_is_refused(held, family, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fit_laws(FRAME, family=family, fix=held, **OPTIONS)
