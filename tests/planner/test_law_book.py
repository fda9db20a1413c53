"""What law books show of themselves in Python."""

from __future__ import annotations

import matplotlib
import pytest

from planner.evidence import open_books
from planner.law_book import LawBook
from planner.palette import looks

matplotlib.use("Agg")


@pytest.fixture(scope="module", params=["reference", "ziarko2024"])
def book(request) -> LawBook:
    return open_books(request.param)[0]


def test_a_law_book_is_a_short_line_that_names_methods_and_range(book):
    assert len(repr(book)) < 400 and all(len(repr(law)) < 200 for law in book.laws)
    assert book.name in repr(book) and all(law.label in repr(book) for law in book.laws)


def test_a_frame_has_every_coefficient_with_its_interval_and_the_weight_of_its_family(book):
    frame = book.to_frame()
    for law in book.laws:
        for family, part in law.parts.items():
            own = frame[(frame["method"] == law.label) & (frame["family"] == family)]
            assert dict(zip(own["coefficient"], own["value"], strict=True)) == part.coefficients
            assert set(own["weight"]) == {law.weights[family]}
    known = frame.dropna()
    assert len(known) and (known["low"] <= known["high"]).all()


def test_a_notebook_shows_a_table_with_a_row_for_each_method(book):
    assert book._repr_html_().count("<tr>") == 1 + len(book.laws)


def test_a_picture_has_the_law_of_every_method_at_one_model(book):
    axes = book.plot(book.models[-1])
    assert [line.get_label() for line in axes.get_lines()] == [law.label for law in book.laws]
    assert book.models[-1] in axes.get_title()
    drawn = looks({law.label: law.settings for law in book.laws})
    assert [line.get_color() for line in axes.get_lines()] == [drawn[law.label].colour for law in book.laws]
    with pytest.raises(ValueError, match="`model` is 'gpt'; measured: "):
        book.plot("gpt")
