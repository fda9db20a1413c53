"""What a file says of the sources of its pairs."""

from __future__ import annotations

import re

import pytest

from sweeps.experiment.sources import with_sources


def test_columns_become_part_of_the_name_of_a_source():
    table = {"data": "a.csv", "columns": {"query": "Frage", "positive": "Antwort"}, "context": 32}
    assert with_sources(table, None) == {"data": "a.csv?query=Frage&positive=Antwort", "context": 32}
    sources = [{"source": "a.csv", "columns": {"query": "Frage 1"}}, {"source": "b.csv", "weight": 3}]
    assert with_sources({}, sources)["data"] == "a.csv?query=Frage%201*1 + b.csv*3"


@pytest.mark.parametrize(
    ("training", "sources", "words"),
    [
        ({"columns": {"query": "q"}}, None, "training.columns belongs to training.data, one source"),
        ({"columns": {"query": "q"}, "data": "a.csv + b.csv"}, None, "in [[data]] each table has its own"),
        (
            {"columns": {"frage": "q"}, "data": "a.csv"},
            None,
            "training.columns has no key 'frage'; known: query",
        ),
        ({}, [{"source": "a.csv", "columns": 3}, {"source": "b"}], "data[0].columns is 3; it must be a table"),
    ],
)
def test_columns_of_nothing_are_refused(training, sources, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        with_sources(training, sources)
