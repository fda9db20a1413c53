"""CSV as Excel, pandas and people write it: no row and no half of a text is lost without a word."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.data import csv_rows as module
from sweeps.data.csv_rows import csv_rows, delimiter
from sweeps.data.files import Meter

HEAD = "query,positive\n"


def read(path, text: str | bytes) -> list:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(csv_rows(path, Meter()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.csv"


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_stands_between_cells_is_found_in_the_first_line(path, between, mark, end):
    lines = [["query", "positive"], ["q", "p"], ['"a b"', "c"]]
    rows = read(path, mark + "".join(between.join(cells) + end for cells in lines))
    assert rows == [(2, {"query": "q", "positive": "p"}), (3, {"query": "a b", "positive": "c"})]
    assert delimiter(path) == between


def test_cells_of_a_tsv_may_hold_commas(tmp_path):
    assert read(tmp_path / "a.tsv", "query\tpositive, or not\nq, r\tp\n") == [
        (2, {"query": "q, r", "positive, or not": "p"})
    ]


def test_cells_between_semicolons_may_hold_commas(path):
    assert read(path, "query;positive\nq, r;p, s\n") == [(2, {"query": "q, r", "positive": "p, s"})]


UNCLOSED = [
    'q2,"opens and is never closed',
    '"q2, opens in the first cell,p',
    'q2,"closes" and goes on',
]


@pytest.mark.parametrize("line", UNCLOSED)
@pytest.mark.parametrize("quoted_later", [True, False])
def test_a_quote_that_is_not_closed_costs_its_own_line_alone(path, line, quoted_later):
    rest = [f'q{i},"a, b {i}"' if quoted_later else f"q{i},p{i}" for i in range(3, 60)]
    rows = read(path, HEAD + "\n".join(["q1,p1", line, *rest]) + "\n")
    assert rows[1] == (3, "unmatched quotes: one is not closed, or one within a cell is not doubled")
    assert [row["query"] for number, row in rows if number != 3] == ["q1", *(f"q{i}" for i in range(3, 60))]
    assert [number for number, _ in rows] == list(range(2, 61))


def test_a_cell_may_go_over_lines_and_the_number_is_that_of_the_first(path):
    rows = read(path, HEAD + 'q1,"one\ntwo ""quoted""\n\nthree"\nq2,p2\n')
    assert rows == [
        (2, {"query": "q1", "positive": 'one\ntwo "quoted"\n\nthree'}),
        (6, {"query": "q2", "positive": "p2"}),
    ]


@pytest.mark.parametrize("line", ["q,p, and more", "q", "q,p,", '"q,p"'])
def test_a_row_with_more_or_fewer_cells_than_columns_is_a_bad_one(path, line):
    rows = read(path, f"{HEAD}a,b\n{line}\nc,d\n")
    assert [row for number, row in rows if number != 3] == [
        {"query": "a", "positive": "b"},
        {"query": "c", "positive": "d"},
    ]
    assert dict(rows)[3] == f"{len(next(csv.reader([line])))} cells, the first line has 2"


def test_empty_lines_are_no_rows(path):
    assert [number for number, _ in read(path, f"{HEAD}\na,b\n\n\nc,d\n\n")] == [3, 6]


def test_a_line_break_in_a_bare_cell_is_a_bad_row(path):
    assert read(path, b"query,positive\nq,p\nbro\rken,p\nr,p\n")[1] == (
        3,
        "a line break in a cell without quotes",
    )


def test_what_is_not_utf8_is_a_bad_row(path):
    assert [row for _, row in read(path, b"query,positive\nq,\xff\nr,p\n")] == [
        "not UTF-8",
        {"query": "r", "positive": "p"},
    ]


def test_utf16_is_told_as_that(path):
    with pytest.raises(ValueError, match=r"a\.csv: is UTF-16; save it as UTF-8"):
        read(path, f"{HEAD}q,p\n".encode("utf-16"))


def test_a_column_named_twice_is_refused(path):
    with pytest.raises(ValueError, match="names the column 'query' twice"):
        read(path, "query,query\na,b\n")


def test_a_record_that_would_swallow_the_file_is_ended(path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 200)
    rows = read(path, HEAD + 'q0,"opens\n' + "".join(f"q{i},p\n" for i in range(1, 300)) + 'q300,"closes"\n')
    assert [number for number, row in rows if isinstance(row, str)] == [2]
    assert len(rows) == 301


@settings(max_examples=200)
@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))] * 2), min_size=1)
)
def test_whatever_python_writes_is_read_again(tmp_path_factory, pairs):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("query", "positive"), *pairs])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    rows = [row for _, row in read(path, out.getvalue())]
    kept = [pair for pair in pairs if any(pair)]
    assert rows == [dict(zip(("query", "positive"), pair, strict=True)) for pair in kept]


def test_a_line_that_does_not_end_is_refused_before_it_fills_the_memory(path, monkeypatch):
    monkeypatch.setattr(module, "MOST_LINE", 1000)
    assert len(read(path, HEAD + "q," + "p" * 900 + "\n")) == 1
    with pytest.raises(ValueError, match=r"a\.csv:3: has 1,000 characters or more in one line"):
        read(path, HEAD + "q,p\nq," + "p" * 1000 + "\n")
