"""Conditions on rows: what they mean, and that nothing but conditions is read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.tables.expressions import condition

COLUMNS = {
    "N": np.array([1e6, 1e7, 1e8]),
    "D": np.array([1e8, 1e8, np.nan]),
    "Model Size": np.array([1.0, 2.0, 3.0]),
    "optimizer": np.array(["adam", "sgd", "adam"], dtype=object),
    "failed": np.array([False, True, False]),
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("D/N > 50", [True, False, False]),
        ("not D/N > 50", [False, True, True]),
        ("1e6 < N <= 1e8", [False, True, True]),
        ("N**2 >= 1e14 and optimizer == 'adam'", [False, False, True]),
        ("N < 2e6 or `Model Size` == 2", [True, True, False]),
        ("-N + 2 * N - N == 0", [True, True, True]),
        ("not failed", [True, False, True]),
        ("failed == True", [False, True, False]),
        ("N / 0 > 1", [True, True, True]),
        ("9**9**9**9 > N", [True, True, True]),
        ("  N > 1e7  ", [False, False, True]),
    ],
)
def test_a_condition_is_true_of_the_rows_that_it_says(text, rows):
    assert condition(text, "`where`")(COLUMNS).tolist() == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("N.size > 1", "`where` has 'N.size'; it must be made of names, numbers, 'texts', + - * / **"),
        ("__import__('os').system('true') == 0", "has \"__import__('os').system('true')\""),
        ("abs(N) > 1", "has 'abs(N)'"),
        ("N[0] > 1", "has 'N[0]'"),
        ("[N for N in D] == 1", "has '[N for N in D]'"),
        ("(lambda: N)() > 1", "has '(lambda: N)()'"),
        ("N if D > 1 else D", "has 'N if D > 1 else D'"),
        ("N in (1, 2)", "has 'N in (1, 2)'"),
        ("f'{N}' == 'a'", "has \"f'{N}'\""),
        ("N > 1j", "has '1j'"),
        ("N > None", "has 'None'"),
        ("(N := 5) > 1", "has '(N := 5)'"),
        (
            "N > params",
            "`where` has 'params', which is no column; the table has: N, D, `Model Size`, optimizer, failed",
        ),
        ("`a b` > 1", "`where` has 'a b', which is no column"),
        ("N", "`where` is 'N', a number; it must be true or false"),
        ("N and D", "takes 'N' as true or false; it is a number"),
        ("optimizer + 1 > 2", "takes 'optimizer' as a number; it is a text"),
        ("optimizer > 'a'", "compares 'optimizer' (a text) with \"'a'\" (a text)"),
        ("optimizer == 1", "compares 'optimizer' (a text) with '1' (a number)"),
        ("`Model Size` == 'a'", "compares '`Model Size`' (a number)"),
        ("1/0 > 1", "`where` is '1/0 > 1', which names no column; it must be of some, such as D/N > 5"),
        ("True", "names no column"),
        ("'N' == 'N'", "names no column"),
        ("N > ", "`where` is 'N >"),
        ("N > 1; D > 2", "it must be made of"),
        ("N = 1", "it must be made of"),
        ("", "`where` is ''"),
        ("(" * 400 + "N" + ")" * 400 + " > 1", "it must be made of"),
        ("-" * 900 + "N > 1", "nested too deep"),
        ("N > 1 or " * 200 + "D > 1", "it must be made of"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_sentence(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        condition(text, "`where`")(COLUMNS)
