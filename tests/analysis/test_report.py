"""What `fit` prints of a law book: the winner, its weight, the formulas, and what the numbers rest on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis import report
from planner.law_book import LawBook
from planner.laws import family_of
from support.known_laws import FULL, LAW_EXAMPLES, law_book, mean_of_three, method_law, weighted_book


def told(book: LawBook) -> str:
    return report.text(replace(book, source={"name": "known", "observations": 80}))


def test_the_winner_and_its_weight_are_said_first():
    text = told(weighted_book())
    assert "law       chinchilla 0.62, tied 0.25, rectified 0.13: mean of" in text
    assert "rectified   L = E + A / N^alpha + B / (D_l + D^beta)" in text
    assert "laws.json also holds the coefficients of tied and rectified" in text
    assert "model error per decade" in text and "2.0 %" in text


def test_a_single_weighted_law_is_printed_with_all_its_numbers():
    text = told(law_book(method_law(mean_of_three(FULL), {"name": "full"}, objective=0.0173, delta=1e-3)))
    assert "tied        L = 0.5 + 30 / N^0.33 + 400 / D^0.33" in text
    assert "rectified 0.13" in text and "38.8 to 41.2" in text
    assert "objective" in text and "0.0173" in text
    assert "model error per decade" not in text


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=family_of)
def test_any_family_is_printed_with_its_numbers(law):
    text = told(law_book(method_law(law, {"name": "full"})))
    assert f"law       {family_of(law)}\n          L = " in text
    assert all(name in text for name in law.coefficients)


def test_what_is_printed_for_programs_has_the_winner_at_its_top():
    weighted = method_law(mean_of_three(FULL), {"name": "full"})
    content = report.document(law_book(weighted))
    assert content["family"] == "chinchilla" and content["weights"]["tied"] == 0.25
    assert content["coefficients"] == FULL.coefficients
    assert content["laws"][0]["coefficients"]["rectified"]["D_l"] == 40.0
    assert content["formula"]["tied"] == "L = 0.5 + 30 / N^0.33 + 400 / D^0.33"
    assert "draws" not in content["laws"][0]


def test_of_a_table_what_was_asked_of_rows_and_coefficients_is_said():
    source = {
        "name": "runs.csv",
        "observations": 80,
        "columns": {"n": "N", "d": "D", "loss": "loss", "weights": "seeds"},
        "filters": ["where D/N > 5", "held out: C > 1e21"],
        "fixed": {"alpha": 0.35},
        "delta": 1e-3,
    }
    text = report.text(replace(law_book(method_law(FULL, {"name": "all"})), source=source))
    line = (
        "fitted: where D/N > 5; held out: C > 1e21; rows weighted by seeds; alpha = 0.35 fixed; lowest Huber loss of ln"
    )
    assert line in text and "delta 0.001" in text
    row = next(line for line in text.splitlines() if line.startswith("  90 % interval"))
    assert "fixed" in row
    assert "fitted:" not in told(weighted_book())


def test_a_reason_with_brackets_is_counted_whole():
    reasons = [(f"row {i}", "where (D/N > 5 or N < 1e9): false") for i in range(3)]
    reasons += [(f"trial {i}", f"fewer than 50 optimiser steps ({i})") for i in range(2)]
    text = told(replace(weighted_book(), excluded=tuple(reasons)))
    assert "left out  3 x where (D/N > 5 or N < 1e9): false" in text
    assert "left out  2 x fewer than 50 optimiser steps\n" in text + "\n"
