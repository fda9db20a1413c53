"""Columns stand below one another, and what others wrote steers no terminal."""

from sweeps.support.text import plain, table


def test_columns_of_numbers_stand_to_the_right():
    rows = [["name", "loss", "note"], ["a", "0.5", "3 of 4"], ["longer", "12.25", "none"], ["b", "", ""]]
    assert table(rows) == [
        "name     loss  note",
        "a         0.5  3 of 4",
        "longer  12.25  none",
        "b",
    ]
    assert table(rows, numbers_right=False)[1] == "a       0.5    3 of 4"


def test_a_terminal_is_not_steered():
    assert plain("a\x1b[31m\tb\n") == "a?[31m\tb?"
