"""Laws as formulas: what is printed, computed as it stands, is the law's loss."""

from __future__ import annotations

import math
import re

import pytest

from analysis.formula import meanings, numbers, symbols
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


@pytest.mark.parametrize(
    ("family", "variables", "formula"),
    [
        ("chinchilla", ["N"], "L = E + A / N^alpha"),
        ("chinchilla", ["D"], "L = E + B / D^beta"),
        ("chinchilla", ["C"], "L = E + B / C^beta"),
        ("rectified", ["C"], "L = E + B / (D_l + C^beta)"),
    ],
)
def test_a_law_in_one_variable_has_its_term_alone(family, variables, formula):
    (law,) = [law for law in LAW_EXAMPLES if family_of(law) == family]
    assert symbols(law, variables) == formula
    assert re.fullmatch(r"L = [\d.]+ \+ [\d.]+ / \(?[\d.^NDC +]+\)?", numbers(law, variables))


def test_what_d_l_means_is_said_also_where_nothing_was_pretrained():
    of = {family_of(law): law for law in LAW_EXAMPLES}
    (told,) = meanings([of["chinchilla"], of["rectified"]])
    assert "the value of pretraining" in told and "Where nothing was pretrained" in told and "at small D" in told
    assert "at small C" in meanings([of["rectified"]], ["C"])[0]
    assert meanings([of["chinchilla"]]) == []
