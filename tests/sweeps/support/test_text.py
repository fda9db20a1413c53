"""Columns stand below one another, and what others wrote steers no terminal."""

from sweeps.support import text
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


def test_on_a_narrow_terminal_the_widest_columns_are_cut_and_no_line_is_longer(monkeypatch):
    rows = [["model", "method", "loss"], ["pythia-1.4b-deduped", "lora rank 128 alpha 0.707 dropout 0.1", "1.234"]]
    whole = table(rows)
    monkeypatch.setattr(text, "terminal_width", lambda: 50)
    narrow = table(rows)
    assert max(map(len, narrow)) == 50 and narrow[1].endswith("1.234") and "…" in narrow[1]
    monkeypatch.setattr(text, "terminal_width", lambda: 200)
    assert table(rows) == whole
    monkeypatch.setattr(text, "terminal_width", lambda: 5)
    assert max(map(len, table(rows))) == 2 * text.NARROWEST + 5 + 4  # further cuts would leave nothing to read
