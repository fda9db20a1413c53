"""The record of isoFLOP minima in a law file: what is wrong with it is named before `plan` reckons with it."""

from __future__ import annotations

import copy

import pytest

from planner.isoflop import check_isoflop

LINE = {
    "budget": 1e19,
    "largest": 1e20,
    "exponent": 0.5,
    "log_params": 20.0,
    "draws": {"exponent": [0.49, 0.51], "log_params": [19.9, 20.1]},
}
VERDICT = {
    "decisions": 8,
    "gap": 0.01,
    "error": 0.001,
    "given_away": {"law": 0.02, "isoflop": 0.01},
    "worst": {"law": 0.03, "isoflop": 0.02},
}
GOOD = {"bottoms": [], "exponents": None, "line": LINE, "verdict": VERDICT}


@pytest.mark.parametrize("record", [{}, GOOD, {**GOOD, "line": None, "verdict": None}, {"bottoms": []}])
def test_records_of_this_and_of_earlier_versions_are_read(record):
    check_isoflop(record, "laws[0].isoflop")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("line",), [1], "line is [1]; it must be an object"),
        (("line", "budget"), 0.0, "line.budget"),
        (("line", "budget"), "1e19", "line.budget is '1e19'"),
        (("line", "exponent"), 1e300, "line.exponent"),
        (("line", "draws"), 3, "line.draws is 3"),
        (("line", "draws", "exponent"), [], "columns of one length"),
        (("line", "draws", "log_params"), [1e9, 2.0], "line.draws.log_params"),
        (("line", "draws", "log_params"), ["x", 2.0], "line.draws.log_params"),
        (("verdict", "decisions"), 2.5, "verdict.decisions is 2.5"),
        (("verdict", "gap"), None, "verdict.gap is None"),
        (("verdict", "worst"), [], "verdict.worst is []; it must be an object"),
        (("verdict", "given_away"), {"law": 1.0, "isoflop": "no"}, "verdict.given_away.isoflop is 'no'"),
    ],
)
def test_what_is_wrong_is_named(path, value, words):
    record = copy.deepcopy(GOOD)
    place = record
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_isoflop(record, "laws[0].isoflop")
    assert words in str(caught.value) and str(caught.value).startswith("laws[0].isoflop")
