"""Bad records are counted, named by file and line, and stop the run when there are too many."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from runner.readers import BAD_SHARE, data_hash, read_pairs


def rows(count: int) -> list[dict]:
    return [{"query": f"query number {i}", "positive": f"document number {i}"} for i in range(count)]


def write_lines(path, lines: list[bytes]) -> str:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


BAD_LINES = {
    b"{broken": "not JSON",
    b'"text"': "not an object",
    b'{"query": "q \xff", "positive": "p"}': "not UTF-8",
    b'{"positive": "p"}': "no 'query'",
    b'{"query": "q"}': "no 'positive'",
    b'{"query": "  ", "positive": "p"}': "'query' is empty or not text",
    b'{"query": "q", "positive": 7}': "'positive' is empty or not text",
    b'{"query": "q", "positive": null}': "'positive' is empty or not text",
    b'{"query": "q", "positive": "p", "negatives": [3]}': "a negative is empty or not text",
    b'{"query": "q", "positive": "p", "negatives": 3}': "negatives are not a list of texts",
    b'{"query": "q \\ud800", "positive": "p"}': "half of a surrogate pair",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path, line):
    good = [json.dumps(row).encode() for row in rows(200)]
    source = write_lines(tmp_path / "pairs.jsonl", [*good[:6], line, *good[6:]])
    pairs, problems = read_pairs(source)
    assert len(pairs) == 200
    assert (problems.records, problems.bad) == (201, 1)
    assert problems.named[0].startswith(f"{source}:7: ")
    assert BAD_LINES[line] in problems.named[0]


def test_too_many_bad_records_stop_the_run(tmp_path):
    good = [json.dumps(row).encode() for row in rows(100)]
    source = write_lines(tmp_path / "pairs.jsonl", good + [b"{"] * 2)
    with pytest.raises(ValueError, match=rf"2 of 102 records are bad, more than {BAD_SHARE:.0%}.*jsonl:101: not JSON"):
        read_pairs(source)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 of 0 records"):
        read_pairs(write_lines(tmp_path / "pairs.jsonl", []))


def test_every_format_gives_the_same_pairs(tmp_path):
    content = [row | {"negative": f"other {i}", "group": f"g{i % 50}"} for i, row in enumerate(rows(120))]
    lines = "\n".join(json.dumps(row) for row in content)
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as out:
        out.write(lines)
    with open(tmp_path / "a.csv", "w", newline="") as out:
        writer = csv.DictWriter(out, content[0])
        writer.writeheader()
        writer.writerows(content)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(content).to_parquet(tmp_path / "a.parquet")
    read = [read_pairs(str(tmp_path / name))[0] for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet")]
    assert read[0][3].negatives == ("other 3",)
    assert all(pairs == read[0] for pairs in read)
    assert len({data_hash(pairs) for pairs in read}) == 1


def test_a_group_is_on_one_side_of_the_split(tmp_path):
    content = [row | {"group": f"g{i // 3}"} for i, row in enumerate(rows(600))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, content)))
    pairs, _ = read_pairs(str(tmp_path / "a.jsonl"))
    train = {pair.group for pair in pairs if not pair.held_out}
    held_out = {pair.group for pair in pairs if pair.held_out}
    assert train and held_out and not train & held_out


@pytest.mark.parametrize("source", ["pairs.txt", "missing.jsonl"])
def test_an_unknown_source_names_the_choices(source):
    with pytest.raises(ValueError, match=f"data is '{source}'"):
        read_pairs(source)


def test_a_file_that_is_not_parquet_is_said_to_be_so(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_pairs(str(tmp_path / "a.parquet"))


def test_a_hub_data_set_is_read_by_name(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"  # the library takes a folder where it takes a name
    folder.mkdir()
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows(60))))
    pairs, problems = read_pairs(f"hf:{folder}")
    assert problems.records == len(pairs) == 60
    assert pairs == read_pairs(str(folder / "data.jsonl"))[0]
