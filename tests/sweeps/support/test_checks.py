"""What is wrong in a file is named with its place, its value and the choices; the rest comes through as it is."""

from dataclasses import dataclass

import pytest

from sweeps.support import checks
from sweeps.support.checks import brief, from_table


@dataclass(frozen=True)
class Written:
    """As under `from __future__ import annotations`."""

    name: "str"
    dims: "tuple[int, ...]" = ()


@dataclass(frozen=True)
class Record:
    name: str
    share: float
    count: int = 3
    dims: tuple[int, ...] = ()
    texts: str | tuple[str, ...] = ""


def from_text(**table) -> Record:
    return from_table(Record, table, "records[0]")


def test_a_table_becomes_its_class_and_a_whole_number_a_share():
    made = from_text(name="a", share=1)
    assert made == Record("a", 1.0) and isinstance(made.share, float)
    assert from_text(name="a", share=0.5, count=7, dims=[1, 2], texts=["x"]).texts == ["x"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"name": "a", "share": 1, "cuont": 2}, "has no key 'cuont' (meant 'count'?); known: name, share, count, dims"),
        ({"name": "a"}, "records[0] has no share"),
        ({}, "records[0] has no name and no share"),
        ({"name": 1, "share": 1}, "records[0].name is 1; it must be of type str"),
        ({"name": "a", "share": True}, "records[0].share is True; it must be of type float"),
        ({"name": "a", "share": 1, "count": 2.0}, "records[0].count is 2.0; it must be of type int"),
        (
            {"name": "a", "share": 1, "dims": [1, "2"]},
            "records[0].dims is [1, '2']; it must be a list of whole numbers",
        ),
        ({"name": "a", "share": 1, "texts": [1]}, "records[0].texts is [1]; it must be a string or a list of strings"),
        ({"name": "x" * 9999, "share": "y"}, "records[0].share is 'y'"),
    ],
)
def test_what_does_not_fit_is_named(table, said):
    with pytest.raises(ValueError, match="records") as caught:
        from_text(**table)
    assert said in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("check", "values", "said"),
    [
        (checks.number, [0, -1, "1", True, None, float("nan")], "it must be a positive number"),
        (checks.whole, [0, 1.0, "1", True, None], "it must be a whole number of at least 1"),
        (checks.strings, ["a", [1], None], "it must be a list of strings"),
        (checks.numbers, [[], 1, None], "it must be a list of positive numbers, not empty"),
        (checks.numbers, [[1, 2, 1.0]], "x names 1.0 twice"),
    ],
)
def test_each_check_refuses(check, values, said):
    for value in values:
        with pytest.raises(ValueError, match=r"^x ") as caught:
            check("x", value)
        assert said in str(caught.value)


def test_types_are_known_whether_annotations_are_evaluated_or_not():
    for table, said in (({"name": 1}, "of type str"), ({"name": "a", "dims": ["1"]}, "a list of whole numbers")):
        with pytest.raises(ValueError, match=said):
            from_table(Written, table, "written")


def test_a_range_and_a_choice_name_what_is_allowed():
    assert checks.whole("x", 3600, 1, 3600) == 3600
    with pytest.raises(ValueError, match="x is 3601; it must be a whole number between 1 and 3,600"):
        checks.whole("x", 3601, 1, 3600)
    with pytest.raises(ValueError, match=r"x is 'meen' \(meant 'mean'\?\); known: mean, last"):
        checks.choice("x", "meen", ["mean", "last"])
    with pytest.raises(ValueError, match=r"x is \['mean'\] .*known: mean"):
        checks.choice("x", ["mean"], ["mean"])


def test_values_are_shown_briefly():
    assert [brief(value) for value in (1e12, 0.001, 10**12, "a")] == ["1e+12", "0.001", "1000000000000", "'a'"]
    assert len(brief("x" * 10_000)) < 100 and len(brief(list(range(10_000)))) < 100
