"""JSON as people have it: lines, arrays, whatever the ending says; what cannot be read is named."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from sweeps.data import json_rows as module
from sweeps.data.files import Meter
from sweeps.data.json_rows import json_rows

ROWS = [{"query": f"q{i}", "positive": f"p{i} \u00fc\u4e16\U0001f600 " + "x" * (i % 7)} for i in range(50)]
SPELLINGS = {
    "lines": "\n".join(map(json.dumps, ROWS)),
    "lines with a mark": "\ufeff" + "\r\n".join(map(json.dumps, ROWS)) + "\r\n",
    "array": json.dumps(ROWS),
    "array with a mark": "\ufeff" + json.dumps(ROWS),
    "array over lines": "\n\n " + json.dumps(ROWS, indent=2, ensure_ascii=False) + "\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "A.JSONL", "a.json.gz", "a.JSONL.GZ"])
@pytest.mark.parametrize("chunk", [7, 2**16])
def test_every_spelling_gives_the_same_rows_under_every_name(tmp_path, monkeypatch, spelling, name, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    content = SPELLINGS[spelling].encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    rows = list(json_rows(tmp_path / name, Meter()))
    assert [row for _, row in rows] == ROWS
    assert [number for number, _ in rows] == list(range(1, 51))


def test_objects_over_several_lines_are_read_from_a_json(tmp_path):
    (tmp_path / "a.json").write_text("\n".join(json.dumps(row, indent=1) for row in ROWS))
    assert [row for _, row in json_rows(tmp_path / "a.json", Meter())] == ROWS


def test_one_object_is_one_row_that_says_what_it_holds(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "data": ROWS}, indent=1))
    ((_, row),) = json_rows(tmp_path / "a.json", Meter())
    assert list(row) == ["version", "data"]


@pytest.mark.parametrize("chunk", [16, 2**16])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"query": "a"}, {"query": "b"', "a.json:2: not JSON"),
        ('[{"query": "a"}, {"query": b"}, {"query": "c is long enough"}]', "a.json:2: not JSON (Expecting value)"),
        ('[{"query": "a"}', "a.json:2: not JSON"),
        ('[{"query": "a"}]\n[{"query": "b"}]', "has text after its array: '[{"),
    ],
)
def test_an_array_that_cannot_be_read_on_is_an_error_that_names_the_record(tmp_path, monkeypatch, text, words, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        list(json_rows(tmp_path / "a.json", Meter()))


def test_what_is_no_object_is_a_bad_row(tmp_path):
    (tmp_path / "a.json").write_text('[{"query": "a"}, ["b", "c"], 7, {"query": "d"}]')
    assert list(json_rows(tmp_path / "a.json", Meter())) == [
        (1, {"query": "a"}),
        (2, "a list, not an object"),
        (3, "a int, not an object"),
        (4, {"query": "d"}),
    ]


def test_a_broken_first_line_costs_that_line_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text('{broken\n{"query": "a"}\n')
    assert [row for _, row in json_rows(tmp_path / "a.jsonl", Meter())][1] == {"query": "a"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_line_or_value_that_does_not_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "MOST_LINE", 1000)
    monkeypatch.setattr(module, "CHUNK", 100)
    rows = [{"query": "q" * 900}, {"query": "q" * 5000}]
    text = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}:2: has more than 1,000 (bytes in one line|characters in one value)"):
        list(json_rows(tmp_path / name, Meter()))


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, "9" * 5000], ids=["deep", "digits"])
def test_what_no_program_writes_is_a_bad_row_or_ends_an_array_with_its_place(tmp_path, value):
    lines, array = tmp_path / "a.jsonl", tmp_path / "b.json"
    lines.write_text(f'{{"query": {value}}}\n{{"query": "q"}}\n')
    (_, bad), (_, good) = json_rows(lines, Meter())
    assert re.search("too deep|thousands of digits", bad) and good == {"query": "q"}
    array.write_text(f'[{{"query": "q"}}, {{"query": {value}}}]')
    with pytest.raises(ValueError, match=r"b\.json:2: .*the rest cannot be read"):
        list(json_rows(array, Meter()))
