"""The columns that people's tables have are read, others are mapped, and an error says which there are."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from sweeps.data.columns import ROLES, columns_of, mapping_of, with_columns
from sweeps.data.pair import pairs_of

QUERIES = [name for line in ROLES["query"] for name in line]
POSITIVES = [name for line in ROLES["positive"] for name in line]
NEGATIVES = ROLES["negative"][0]


def pair(row: dict, mapped: tuple = ()):
    """The one pair of a row."""
    (found,) = pairs_of(row, mapped)
    return found


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("positive", POSITIVES)
def test_the_names_that_people_have_are_read(query, positive):
    found = pair({"id": "7", query: "the query", positive: "the document"})
    assert (found.query, found.positive, found.negatives) == ("the query", "the document", ())


@pytest.mark.parametrize("name", NEGATIVES)
@pytest.mark.parametrize(("value", "negatives"), [("one", ("one",)), (["one", "two"], ("one", "two")), ([], ())])
def test_negatives_are_one_text_or_a_list(name, value, negatives):
    assert pair({"query": "q", "positive": "p", name: value}).negatives == negatives


def test_negatives_in_numbered_columns_are_taken_in_their_order_and_may_be_fewer():
    row = {"query": "q", "positive": "p", "negative_10": "ten", "negative_2": "two", "negative_1": "one"}
    assert pair(row).negatives == ("one", "two", "ten")
    assert pair(row | {"negative_2": None}).negatives == ("one", "ten")
    assert pair(row | {"negative_2": ""}).negatives == ("one", "ten")


def test_an_empty_list_does_not_hide_another_column():
    assert pair({"query": "q", "positive": "p", "negatives": [], "negative": "one"}).negatives == ("one",)


def test_several_positives_make_a_pair_each_and_one_group():
    found = pairs_of({"query": "q", "pos": ["first", "second"], "neg": ["other"]})
    assert [(one.query, one.positive, one.negatives) for one in found] == [
        ("q", "first", ("other",)),
        ("q", "second", ("other",)),
    ]
    assert len({one.group for one in found}) == len({one.held_out for one in found}) == 1


def test_passages_have_their_title_before_their_text():
    passages = [{"docid": "1", "title": "Title", "text": "text"}, {"docid": "2", "title": "", "text": "bare"}]
    row = {"query_id": "0", "query": "q", "positive_passages": passages[:1], "negative_passages": passages}
    found = pair(row)
    assert (found.positive, found.negatives) == ("Title text", ("Title text", "bare"))
    assert pairs_of(row | {"positive_passages": [{"docid": "3"}]}) == "'positive_passages' is empty or not text"


def test_answers_beside_passages_are_not_trained_on():
    row = {"query": "q", "answers": ["short"], "positive_passages": [{"title": "", "text": "passage"}]}
    assert pair(row).positive == "passage"


def test_case_and_spaces_do_not_count():
    found = pair({" Question": "q", "ANSWER ": "p", "Negative_1": "n"})
    assert (found.query, found.positive, found.negatives) == ("q", "p", ("n",))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("title", "body"), "no 'query'; the file has: title, body"),
        (("query", "body"), "no 'positive'; the file has: query, body"),
        (("question", "answer", "passage"), "'answer' and 'passage' may each be the positive"),
        (("sentence1", "sentence2", "score"), "'score' is a similarity score"),
        (tuple(f"c{i}" for i in range(30)), "c19 and 10 more"),
        ((), "the file has: nothing"),
    ],
)
def test_an_error_says_which_columns_there_are(names, reason):
    assert reason in columns_of(names)


@pytest.mark.parametrize("text", ['["a", "b"]', "['a', 'b']", "[ 'a' ]", '["a"]'])
@pytest.mark.parametrize("name", ["negatives", "positive"])
def test_a_list_written_as_a_text_is_no_text(text, name):
    assert "a list written as one text" in pairs_of({"query": "q", "positive": "p", name: text})


@pytest.mark.parametrize("text", ["[sic] he said", "[1] 'a' and 'b'", "['quoted] not a list", "a ['b']"])
def test_a_text_in_brackets_is_a_text(text):
    assert pair({"query": "q", "positive": text}).positive == text


@pytest.mark.parametrize("mark", [True, 1, 1.0, "true", "True", "TRUE", "1", " true "])
def test_a_marked_pair_is_held_out(mark):
    assert pair({"query": "q", "positive": "p", "held_out": mark}).held_out is True


@pytest.mark.parametrize("mark", [False, 0, 0.0, "false", "False", "0"])
def test_a_pair_marked_otherwise_is_not(mark):
    for query in map(str, range(60)):  # some of which would be drawn
        assert pair({"query": query, "positive": "p", "held_out": mark}).held_out is False


@pytest.mark.parametrize("mark", [None, "", float("nan")])
def test_without_a_mark_it_is_drawn_by_the_group(mark):
    drawn = [pair({"query": f"q{i}", "positive": "p"}).held_out for i in range(400)]
    assert drawn == [pair({"query": f"q{i}", "positive": "p", "held_out": mark}).held_out for i in range(400)]
    assert 5 < sum(drawn) < 40


@pytest.mark.parametrize("mark", ["maybe", "yes", 2, -1, 0.5, [1], {}])
def test_any_other_mark_is_a_bad_record(mark):
    assert pairs_of({"query": "q", "positive": "p", "held_out": mark}).startswith("'held_out' is ")


def test_mapped_columns_are_read_and_the_usual_names_are_not():
    name = with_columns(
        "a.csv", {"query": "Frage & Titel", "positive": "Antwort", "negative": ["n 1", "n*2"]}, "columns"
    )
    assert " " not in name and "*" not in name  # it may stand among several sources, with a weight
    plain, mapped = mapping_of(name)
    row = {
        "Frage & Titel": "q",
        "Antwort": "p",
        "n 1": "one",
        "n*2": "two",
        "positive": "not this",
        "negative": "nor this",
    }
    assert plain == "a.csv"
    assert (pair(row, mapped).query, pair(row, mapped).positive, pair(row, mapped).negatives) == (
        "q",
        "p",
        ("one", "two"),
    )
    assert "no 'Antwort'; the file has: Frage & Titel" in pairs_of({"Frage & Titel": "q"}, mapped)


def test_of_several_mapped_columns_the_first_that_is_there_is_the_query():
    _, mapped = mapping_of(f"a.csv?query={quote('titel')}&query=name")
    assert pair({"name": "q", "positive": "p"}, mapped).query == "q"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "data[0].columns is {}; it must be a table"),
        ({"querry": "x"}, "data[0].columns has no key 'querry' (meant 'query'?); known: query, positive, negative"),
        ({"query": 3}, "data[0].columns.query is 3; it must be the name of a column, or a list of names"),
        ({"query": []}, "data[0].columns.query is []"),
    ],
)
def test_a_mapping_that_maps_nothing_is_refused(columns, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        with_columns("a.csv", columns, "data[0].columns")


@pytest.mark.parametrize("name", ["a.csv?frage=query", "a.csv?query", "a.csv?query=", "a.csv?"])
def test_a_name_that_maps_nothing_is_refused(name):
    with pytest.raises(ValueError, match="maps no column; give ROLE=COLUMN, roles: query, positive, negative"):
        mapping_of(name)
