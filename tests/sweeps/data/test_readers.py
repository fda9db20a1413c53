"""Bad records are counted, named by file and line, and stop the run when there are too many."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from support.pair_files import WRITERS
from sweeps.data import formats
from sweeps.data.formats import READERS
from sweeps.data.pair import BAD_SHARE, data_hash
from sweeps.data.readers import Source, open_source, read_pairs, survey

ROOT = Path(__file__).resolve().parents[3]


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
    b'{"query": "q", "positive": "p", "negatives": 3}': "negatives must be a list of texts",
    b'{"query": "q \\ud800", "positive": "p"}': "unpaired surrogate",
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
    with pytest.raises(
        ValueError, match=rf"2 of 102 records are bad, more than {BAD_SHARE:.0%}.*jsonl:101, 102: not JSON"
    ):
        read_pairs(source)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"pairs\.jsonl: holds no records$"):
        read_pairs(write_lines(tmp_path / "pairs.jsonl", []))


def test_every_reader_has_a_writer_here():
    assert set(WRITERS) == set(READERS)


@pytest.mark.parametrize("suffix", READERS)
def test_every_format_gives_the_same_pairs(tmp_path, suffix):
    content = [row | {"negative": f"other {i}", "group": f"g{i % 50}"} for i, row in enumerate(rows(120))]
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, content)
    pairs, problems = read_pairs(str(path))
    assert [(pair.query, pair.positive, pair.negatives, pair.group) for pair in pairs] == [
        (row["query"], row["positive"], (row["negative"],), row["group"]) for row in content
    ]
    assert (problems.records, problems.bad) == (120, 0)
    (tmp_path / "same.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    assert data_hash(pairs) == data_hash(read_pairs(str(tmp_path / "same.jsonl"))[0])


def test_a_packed_file_gives_the_same_pairs(tmp_path):
    WRITERS[".jsonl"](tmp_path / "a.jsonl", rows(120))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    assert read_pairs(str(tmp_path / "a.jsonl.gz"))[0] == read_pairs(str(tmp_path / "a.jsonl"))[0]


def test_a_group_is_on_one_side_of_the_split(tmp_path):
    content = [row | {"group": f"g{i // 3}"} for i, row in enumerate(rows(600))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, content)))
    pairs, _ = read_pairs(str(tmp_path / "a.jsonl"))
    train = {pair.group for pair in pairs if not pair.held_out}
    held_out = {pair.group for pair in pairs if pair.held_out}
    assert train and held_out and not train & held_out


@pytest.mark.parametrize("source", ["pairs.txt", "missing.jsonl"])
def test_an_unknown_source_names_the_choices(source):
    with pytest.raises(ValueError, match=f"`data` is '{source}'"):
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


HUB_CARD = """---
configs:
- config_name: code
  data_files:
  - {split: train, path: code.jsonl}
- config_name: faq
  data_files:
  - {split: train, path: faq.jsonl}
  - {split: test, path: faq-test.jsonl}
---
"""


def test_a_hub_data_set_names_a_subset_and_a_split(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "README.md").write_text(HUB_CARD)
    for place, name in enumerate(("code", "faq", "faq-test")):
        content = [{"anchor": f"{name} {i}", "positive": f"document {i}"} for i in range(20 + place)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
    for part, first, count in (("#faq:test", "faq-test 0", 22), ("#faq", "faq 0", 21), ("#code:train", "code 0", 20)):
        pairs, _ = read_pairs(f"hf:{folder}{part}")
        assert (pairs[0].query, len(pairs)) == (first, count)
    mapped = f"hf:{folder}#faq:test?query=positive&positive=anchor"
    assert read_pairs(mapped)[0][0].query == "document 0"
    for part, words in (("", "code"), ("#none", "faq"), ("#faq:dev", "train")):  # what there is, is named
        with pytest.raises(ValueError, match=rf"`data` is 'hf:{folder}{part}': .*{words}.*hf:owner/name#SUBSET:SPLIT"):
            open_source(f"hf:{folder}{part}")


@pytest.mark.parametrize("name", ["hf:", "hf:#x", "hf:/", "hf:?query=q"])
def test_a_hub_data_set_without_a_name_is_refused_before_the_library_is_loaded(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=rf"^`data` is '{re.escape(name)}'; give hf:owner/name or hf:owner/name#"):
        open_source(name)


def test_nothing_is_fetched_for_a_plan(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    code = "from sweeps.data.readers import open_source; open_source('hf:nobody/nothing', offline=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert "`data` is 'hf:nobody/nothing': " in done.stderr and "nothing is fetched for a plan" in done.stderr


def write_rows(path, content: list[dict]) -> Source:
    path.write_text("\n".join(map(json.dumps, content)))
    return open_source(str(path))


def test_a_survey_says_what_a_reading_says(tmp_path):
    source = write_rows(tmp_path / "a.jsonl", [*rows(300), {"query": "no document"}])
    pairs, problems = read_pairs(source.name)
    found = survey(source)
    assert (found.data_hash, found.pairs) == (data_hash(pairs), 300)
    assert found.problems == {"records": 301, "bad": 1, "named": problems.named}


def test_a_file_that_is_as_it_was_is_not_read_again(tmp_path):
    source = write_rows(tmp_path / "a.jsonl", rows(300))
    first = survey(source)
    read = []
    counting = Source(source.name, source.files, lambda *rest: read.append(1) or source.read(*rest))
    assert survey(counting) == first and not read


def test_a_file_that_changes_in_nothing_but_its_content_is_read_again(tmp_path):
    """Size and time of writing can be those of another content; the time of the last change cannot."""
    path = tmp_path / "a.jsonl"
    first = survey(write_rows(path, rows(300)))
    stat = path.stat()
    second = rows(300)
    second[7]["query"] = second[7]["query"].replace("query", "quest")
    changed = write_rows(path, second)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert survey(changed).data_hash == data_hash(read_pairs(str(path))[0]) != first.data_hash


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path):
    path = tmp_path / "a.jsonl"
    source = write_rows(path, rows(300))

    def disturbed(*rest):
        yield from source.read(*rest)
        write_rows(path, rows(200))

    survey(Source(source.name, source.files, disturbed))
    assert survey(open_source(str(path))).pairs == 200


@pytest.mark.parametrize("suffix", [*READERS, ".jsonl.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(formats, "ROWS_AT_ONCE", 100)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}{suffix}"
        WRITERS[suffix.removesuffix(".gz")](path, rows(count))
        if suffix.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        tracemalloc.start()
        survey(open_source(str(path)))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)  # imports
    few, many = peak(1000), peak(6000)
    assert many < few + 300_000  # 5,000 pairs as objects take 2 MB


def test_a_packed_file_that_is_cut_off_is_said_to_be_damaged(tmp_path):
    packed = gzip.compress("\n".join(map(json.dumps, rows(200))).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:-40])
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz: damaged"):
        read_pairs(str(tmp_path / "a.jsonl.gz"))


def test_a_csv_may_hold_long_documents(tmp_path):
    with open(tmp_path / "a.csv", "w", newline="") as out:
        csv.writer(out).writerows([("query", "positive"), ("q", "long " * 50_000)])
    assert len(read_pairs(str(tmp_path / "a.csv"))[0][0].positive) == 250_000
