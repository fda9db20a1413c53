"""Answers in sizes and tokens: they are the law's formula, its lowest point, and say what they do not know."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from planner.law_book import LawBook, MeasuredRange, MethodLaw
from planner.laws import LAWS, Chinchilla, Law, Power, Weighted
from planner.sizes import TokenCost, costs_of, optimum, point, read_point

LAW = Chinchilla(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)  # Hoffmann et al. 2022, table A.3 method 3
RANGE = MeasuredRange(flops=(1e19, 1e22), params=(5e7, 2e10), tokens=(1e9, 1e12))
RULE = TokenCost((1.0,), (6.0,))


def method_law(law: Law, spread: float = 0.02, drift: float | None = None) -> MethodLaw:
    moves = np.random.default_rng(0).normal(0, spread, (100, 2))
    some = law.parts[0] if isinstance(law, Weighted) else law
    draws = [{**some.coefficients, "A": some.A * math.exp(a), "alpha": some.alpha * (1 + b / 10)} for a, b in moves]
    made = tuple(type(some)(**draw) for draw in draws)
    return MethodLaw({"name": "all"}, "chinchilla", law, {}, made, 0.01, 50, RANGE, drift=drift)


def closed_form(law: Chinchilla, budget: float, rate: float = 6.0) -> float:
    """N of the lowest loss (Hoffmann et al. 2022, equation 4)."""
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    return g * (budget / rate) ** (law.beta / (law.alpha + law.beta))


@pytest.mark.parametrize("budget", [1e18, 1e20, 1e22, 1e25])
def test_the_best_size_is_that_of_the_closed_form(budget):
    found = optimum(method_law(LAW), budget, RULE)
    assert found.best and found.best.params == pytest.approx(closed_form(LAW, budget), rel=1e-5)
    assert found.best.tokens == pytest.approx(budget / 6 / found.best.params)
    assert found.best.loss == pytest.approx(LAW.loss(found.best.params, found.best.tokens))
    low, high = found.params_interval
    assert low and high and low < found.best.params < high
    assert found.tokens_interval == pytest.approx((budget / 6 / high, budget / 6 / low))


def test_the_best_size_of_a_mean_of_laws_is_where_its_loss_is_lowest():
    law = Weighted((LAW, LAWS["tied"](E=1.8, A=500.0, B=900.0, alpha=0.3)), (0.7, 0.3))
    found = optimum(method_law(law), 1e21, RULE)
    by_scipy = minimize_scalar(lambda x: law.loss(math.exp(x), 1e21 / 6 / math.exp(x)), bounds=(15, 30))
    assert found.best and found.best.params == pytest.approx(math.exp(by_scipy.x), rel=1e-3)


def test_costs_that_were_measured_move_the_best_size():
    cost = TokenCost((1e8, 1e10), (9.0, 6.0))
    assert [cost.rate(size) for size in (1e7, 1e8, 1e10, 1e12)] == [9.0, 9.0, 6.0, 6.0]
    assert cost.rate(1e9) == pytest.approx(math.sqrt(54))
    assert cost.flops(1e9, cost.tokens(1e20, 1e9)) == pytest.approx(1e20)
    found = optimum(method_law(LAW), 1e22, cost)
    by_scipy = minimize_scalar(
        lambda x: LAW.loss(math.exp(x), cost.tokens(1e22, math.exp(x))), bounds=(19, 25), options={"xatol": 1e-9}
    )
    assert found.best and found.best.params == pytest.approx(math.exp(by_scipy.x), rel=1e-3)


def test_a_law_without_a_best_size_says_so():
    found = optimum(method_law(Power(A=9.0, alpha=0.2, beta=0.1)), 1e21, RULE)
    assert found.best is None and "larger models are always better" in found.reason
    assert found.to_json()["best"] is None
    found = optimum(method_law(Power(A=9.0, alpha=0.1, beta=0.2)), 1e21, RULE)
    assert "smaller models are always better" in found.reason


def test_intervals_grow_with_the_model_error_beyond_what_was_measured_and_not_within():
    def width(budget: float, drift: float) -> tuple[float, float]:
        found = optimum(method_law(LAW, drift=drift), budget, RULE)
        assert found.best and found.params_interval[0] and found.params_interval[1]
        loss = found.best.interval
        return math.log(found.params_interval[1] / found.params_interval[0]), math.log(loss[1] / loss[0])

    assert width(1e21, 0.0) == width(1e21, 0.05)
    assert all(more > less for more, less in zip(width(1e26, 0.05), width(1e26, 0.0), strict=True))


def test_a_point_is_the_formula_with_its_interval():
    law = method_law(LAW)
    said = point(law, 7e9, 2e12, 6 * 7e9 * 2e12, ("N", "D"), 1.0, math.inf)
    assert said.loss == LAW.loss(7e9, 2e12)
    assert said.interval[0] < said.law_interval[0] < said.loss < said.law_interval[1] < said.interval[1]
    assert said.extrapolation.flops == pytest.approx(8.4) and said.extrapolation.params == 1
    assert said.to_json()["interval"] == list(said.interval)


def test_a_law_in_one_variable_is_told_by_it_alone():
    said = point(method_law(LAW), 1.0, 1e23, 1e23, ("C",), 1.0, math.inf)
    assert (said.params, said.tokens, said.flops) == (None, None, 1e23)
    assert said.extrapolation.to_json() == {"flops": pytest.approx(10), "params": 1, "tokens": 1}


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ({"params": [1e8]}, "params and rates"),
        ({"params": [], "rates": []}, "not empty"),
        ({"params": [1e9, 1e8], "rates": [6.0, 6.0]}, "ascending order"),
        ({"params": [1e8], "rates": [6.0, 6.0]}, "with a rate each"),
        ({"params": [1e8], "rates": [-6.0]}, "must be between"),
        ({"params": [1e8], "rates": ["six"]}, "source.cost.all.rates"),
    ],
)
def test_costs_that_make_no_sense_are_refused(cost, words):
    book = LawBook((method_law(LAW),), RANGE, source={"name": "runs.csv", "cost": {"all": cost}})
    with pytest.raises(ValueError, match=words):
        costs_of(book)


def test_a_book_without_costs_has_those_of_the_rule():
    assert costs_of(LawBook((method_law(LAW),), RANGE)) == {"all": RULE}


def test_what_is_asked_is_read_with_units_or_refused():
    assert read_point("N=7B, D = 2e12,S=0.5", "--predict") == {"N": 7e9, "D": 2e12, "S": 0.5}
    for text, words in [
        ("7e9,2e12", "it must be two of N, D and C"),
        ("N=7e9,T=2e12", "it must be two of N, D and C"),
        ("N=7e9,N=2e12", "gives N twice"),
        ("N=big,D=1", "it must be a positive number"),
        ("N=7e9,D=-2", "it must be a positive number"),
        ("N=7e9,D=2e12,S=2", "S, the trained share, must be at most 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_point(text, "--predict")
