"""The forms that the solver needs follow from the formulas of the laws: a law family is one class."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from analysis import fit_laws
from analysis.fitting.derived import DerivedShape
from analysis.fitting.forms import SHAPES
from analysis.fitting.problem import Problem
from analysis.fitting.solver import solve
from planner.law_file import read_laws
from planner.laws import LAWS, Law
from support.known_laws import LAW_EXAMPLES
from support.known_runs import grid, name_of, rows_of


@pytest.mark.parametrize("truth", LAW_EXAMPLES, ids=name_of)
def test_a_form_that_follows_from_the_formula_is_the_formula(truth):
    frame, shape = grid(truth), DerivedShape(type(truth))
    problem = Problem(shape, rows_of(frame))
    theta = np.random.default_rng(0).uniform(0.1, 0.9, (3, problem.size))
    predicted = problem.predict(theta)
    for at, row in enumerate(predicted):
        law = type(truth)(**{name: values[at] for name, values in problem.coefficients(theta)[0].items()})
        expected = law.at(frame["N"].to_numpy(), frame["D"].to_numpy(), frame["S"].to_numpy(), frame["U"].to_numpy())
        assert np.exp(row) == pytest.approx(expected, rel=1e-12)
    solved = problem.coefficients(solve(problem, np.ones((1, len(frame))), 1e-3).theta)[0]
    assert {name: values[0] for name, values in solved.items()} == pytest.approx(truth.coefficients, rel=1e-6)


@dataclass(frozen=True)
class Coupled(Law):
    """L = E + A / N**alpha + B / (D_0 + D)**beta + C / (N * D) ** gamma: nobody's law, for this test."""

    factors: ClassVar[tuple[str, ...]] = ("E", "A", "B", "C")
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"D_0": (1e5, 1e9)}
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    D_0: float
    C: float
    gamma: float

    def loss(self, N, D):
        return self.E + self.A / N**self.alpha + self.B / (self.D_0 + D) ** self.beta + self.C / (N * D) ** self.gamma


def test_a_family_is_one_class_and_its_line(monkeypatch, tmp_path):
    truth = Coupled(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37, D_0=2e7, C=3000.0, gamma=0.6)
    monkeypatch.setitem(LAWS, "coupled", Coupled)
    monkeypatch.setitem(SHAPES, "coupled", DerivedShape(Coupled))
    frame = grid(truth, sizes=9, budgets=9)
    book = fit_laws(frame, family="coupled", bootstraps=20, n="N", d="D", loss="loss")
    (tmp_path / "laws.json").write_text(json.dumps(book.to_json()))
    law = read_laws(tmp_path / "laws.json").laws[0].law
    assert law.loss(1e10, 1e12) == pytest.approx(truth.loss(1e10, 1e12), rel=1e-3)
