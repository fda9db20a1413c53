"""Files by their ending, in any case, and folders of parts of one table."""

from __future__ import annotations

import gzip
import re

import pytest

from support.pair_files import WRITERS
from sweeps.data.formats import READERS
from sweeps.data.readers import open_source, read_pairs


def rows(count: int, first: int = 0) -> list[dict]:
    return [{"query": f"query {i}", "positive": f"document {i}"} for i in range(first, first + count)]


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("packed", ["", ".gz", ".GZ"])
def test_an_ending_is_known_in_any_case_and_packed(tmp_path, ending, packed):
    if packed and ending == ".parquet":
        pytest.skip("Parquet packs its columns itself")
    path = tmp_path / f"a{ending}"
    WRITERS[ending](path, rows(40))
    content = path.read_bytes()
    other = tmp_path / f"OTHER{ending.upper()}{packed}"
    other.write_bytes(gzip.compress(content) if packed else content)
    assert read_pairs(str(other))[0] == read_pairs(str(path))[0]


@pytest.mark.parametrize("ending", READERS)
def test_a_folder_of_shards_is_one_source_in_the_order_of_their_names(tmp_path, ending):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for shard in (2, 0, 1):
        WRITERS[ending](folder / f"train-{shard:05}-of-00003{ending}", rows(40, 40 * shard))
    (folder / "README.md").write_text("# a data set")
    pairs, problems = read_pairs(str(folder))
    assert [pair.query for pair in pairs] == [row["query"] for row in rows(120)]
    assert (problems.records, problems.bad) == (120, 0)
    assert len(open_source(str(folder)).files) == 3


def test_a_bad_record_of_a_folder_is_named_by_its_file(tmp_path):
    for shard in range(2):
        WRITERS[".jsonl"](tmp_path / f"part-{shard}.jsonl", rows(100, 100 * shard))
    with open(tmp_path / "part-1.jsonl", "a") as file:
        file.write("{broken\n")
    _, problems = read_pairs(str(tmp_path))
    assert problems.named[0].startswith(f"{tmp_path / 'part-1.jsonl'}:101: not JSON")


def test_splits_are_not_mixed_and_one_can_be_named(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for place, split in enumerate(("train", "test", "validation")):
        WRITERS[".jsonl"](folder / f"{split}-0.jsonl", rows(30, 30 * place))
    with pytest.raises(
        ValueError, match=re.escape(f"several splits, test, train, validation; name one: {folder}#test")
    ):
        open_source(str(folder))
    assert read_pairs(f"{folder}#test")[0][0].query == "query 30"
    with pytest.raises(ValueError, match="no files of the split 'dev'; splits there: test, train, validation"):
        open_source(f"{folder}#dev")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "no readable file in this folder; known extensions: .jsonl, .ndjson"),
        (("a.jsonl", "b.csv"), "several kinds, .csv, .jsonl; name one of them"),
    ],
)
def test_a_folder_that_is_no_table_is_refused(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=words):
        open_source(str(tmp_path))
