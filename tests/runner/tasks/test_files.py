"""Evaluation sets from files: what is wrong with one is said, and nothing is left out without a word."""

from __future__ import annotations

import gzip
import re
from functools import partial

import pytest

from runner.tasks.files import read_retrieval, read_similarity
from runner.tasks.kinds import find_task
from support.retrieval_sets import DOCUMENTS, PAIRS, QRELS, lines, write_retrieval

HEAD = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def similarity(tmp_path):
    def write(rows) -> str:
        (tmp_path / "sts.jsonl").write_text(lines(rows))
        return str(tmp_path / "sts.jsonl")

    return write


@pytest.fixture
def folder(tmp_path):
    return partial(write_retrieval, tmp_path / "set")


def test_sentence_pairs_are_read_and_a_split_is_chosen(similarity, tmp_path):
    task = read_similarity(similarity([*PAIRS, {**PAIRS[0], "split": "train"}]) + "#test")
    assert task.first == ["a0", "a1", "a2", "a3"] and task.scores == [0, 1, 2, 3] and not task.skipped
    with gzip.open(tmp_path / "packed.jsonl.gz", "wt") as file:
        file.write(lines(PAIRS))
    assert read_similarity(str(tmp_path / "packed.jsonl.gz")).scores == task.scores


def test_rows_without_a_score_are_skipped_and_counted(similarity):
    task = read_similarity(similarity([*PAIRS, {**PAIRS[0], "score": float("nan")}, {**PAIRS[0], "score": None}]))
    assert len(task.scores) == 4
    assert task.skipped[0].startswith("2 skipped: no score (first at ") and task.skipped[0].endswith("sts.jsonl:5)")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{**PAIRS[0], "score": "high"}], ":1: score is 'high', not a number"),
        ([{**PAIRS[0], "score": float("inf")}], "must be finite"),
        ([{**PAIRS[0], "sentence1": None}], ":1: sentence1 is None, not text"),
        ([{"sentence1": "a", "score": 1}], "has no 'sentence2'; it has: sentence1, score"),
        (PAIRS[:2], "2 sentence pairs with a score"),
        ([], "0 sentence pairs with a score"),
        ([{**row, "score": 1} for row in PAIRS], "every score is 1"),
    ],
)
def test_bad_sentence_pairs_are_refused_in_a_sentence(similarity, rows, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        read_similarity(similarity(rows))


def test_a_retrieval_folder_is_read(folder):
    task = read_retrieval(folder())
    assert task.corpus == {"d1": "One first", "d2": "second"}
    assert task.relevant == {"q1": {"d1"}, "q2": {"d2"}} and task.name == "set-test"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_judgements_without_a_header_keep_their_first_line(folder, mark):
    bare = QRELS.partition("\n")[2]
    assert read_retrieval(folder(qrels=mark + bare)).relevant == read_retrieval(folder(qrels=mark + QRELS)).relevant


def test_a_text_that_is_null_is_no_text(folder):
    corpus = [*DOCUMENTS, {"_id": "d3", "text": None}, {"_id": "d4", "title": "Four", "text": None}]
    found = read_retrieval(folder(corpus=corpus)).corpus
    assert (found["d3"], found["d4"]) == ("", "Four")
    with pytest.raises(ValueError, match="_id is None, not text"):
        read_retrieval(folder(corpus=[*DOCUMENTS, {"_id": None, "text": "third"}]))


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    text = "sentence1,sentence2,score\n" + "".join(f"a{i},b{i},{i}\n" for i in range(4))
    (tmp_path / "sts.csv").write_text(text, encoding="utf-8-sig")
    assert read_similarity(str(tmp_path / "sts.csv")).scores == [0, 1, 2, 3]


def test_unknown_names_in_judgements_are_skipped_and_counted(folder):
    task = read_retrieval(folder(qrels=QRELS + "q9\td1\t1\nq1\td9\t1\nq1\td8\t1\n"))
    assert [said.partition(" (")[0] for said in task.skipped] == [
        "1 skipped: a judgement of an unknown query",
        "2 skipped: a judgement of an unknown document",
    ]
    assert task.relevant == {"q1": {"d1"}, "q2": {"d2"}}


def test_queries_without_a_judgement_are_left_out(folder):
    assert set(read_retrieval(folder(qrels=HEAD + "q1\td1\t1\n")).queries) == {"q1"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"corpus": []}, "corpus.jsonl: is empty"),
        ({"queries": []}, "queries.jsonl: is empty"),
        ({"corpus": [*DOCUMENTS, DOCUMENTS[0]]}, "corpus.jsonl:3: _id 'd1' occurs twice"),
        ({"corpus": DOCUMENTS[:1]}, "the corpus has 1 document"),
        ({"corpus": [{"_id": "d1"}]}, "corpus.jsonl:1: has no 'text'"),
        ({"qrels": HEAD + "q1\td9\t1\n"}, "no query has a relevant document"),
        ({"qrels": HEAD}, "no query has a relevant document"),
        ({"qrels": HEAD + "q1 d1 1\n"}, "test.tsv:2: 'q1 d1 1' is not query, document and grade"),
        ({"qrels": HEAD + "q1\td1\tNaN\n"}, "test.tsv:2:"),
        ({"qrels": HEAD + "q1\td1\tyes\n"}, "score is 'yes', not a number"),
    ],
)
def test_a_bad_retrieval_folder_is_refused_in_a_sentence(folder, files, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        read_retrieval(folder(**files))


def test_missing_files_and_splits_are_named(folder, tmp_path):
    where = folder()
    with pytest.raises(ValueError, match=r"dev\.tsv: no such file; splits there: test"):
        read_retrieval(where + "#dev")
    with pytest.raises(ValueError, match="is not the name of a split"):
        read_retrieval(where + "#../../x")
    with pytest.raises(ValueError, match="no such folder"):
        read_retrieval(str(tmp_path / "nothing"))
    (tmp_path / "set" / "queries.jsonl").unlink()
    with pytest.raises(ValueError, match=r"has no queries\.jsonl"):
        read_retrieval(where)
    with pytest.raises(ValueError, match="no such file"):
        read_similarity(str(tmp_path / "nothing.jsonl"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sts:", "is incomplete: sts:PATH"),
        ("mteb", "is incomplete: mteb:NAME"),
        ("nothing-there", "known kinds: sts, retrieval, code-search, mteb"),
        ("rank:file", "known kinds"),
    ],
)
def test_a_task_that_is_none_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        find_task(text)
