"""Laws as formulas: what is printed, computed as it stands, is the law's loss."""

from __future__ import annotations

import math
import re

import pytest

from analysis.formula import numbers, symbols
from planner.laws import family_of, worth
from support.known_laws import LAW_EXAMPLES


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=family_of)
def test_the_printed_formula_gives_the_loss_of_the_law(law):
    printed = numbers(law).removeprefix("L = ")
    written = re.sub(r"([\w.)]) (?=[\w(])", r"\1 * ", printed.replace("^", "**").replace("ln D", "log(D)"))
    N, D, S, U = 3e6, 2e8, 0.4, 1e8
    known = {"N": N, "D": D, "S": S, "log": math.log, "D_": worth(D, U, getattr(law, "repeats", 1.0))}
    loss = eval(written.replace("D'", "D_"), known)  # the formula of a class of ours
    assert loss == pytest.approx(law.at(N, D, S, U), rel=1e-3)


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=family_of)
def test_every_coefficient_stands_in_the_formula_but_what_tells_repeats_apart(law):
    named = set(re.findall(r"[A-Za-z_]\w*", symbols(law)))
    assert set(law.coefficients) - named <= {"repeats"}
