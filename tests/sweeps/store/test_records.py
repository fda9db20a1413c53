"""A line of observations is read or told to be broken, wherever it is read."""

from __future__ import annotations

import json

import pytest

from support.toy_stores import wanted_trials
from support.toy_sweeps import observe
from sweeps.store.records import BrokenLine, observation_lines, read_observations


def test_every_line_is_an_observation_or_says_why_it_is_none(tmp_path):
    whole = observe(wanted_trials(tmp_path / "sweep.toml", 1)[0])
    text = json.dumps(whole.to_json()).encode()
    path = tmp_path / "observations.jsonl"
    path.write_bytes(b"\n".join([text, b"", b'{"torn', b"\xff", b'{"status": "done"}', b"3", text]))
    lines = list(observation_lines(path))
    assert [line for line in lines if not isinstance(line, BrokenLine)] == [whole, whole]
    broken = [(line.where, line.reason) for line in lines if isinstance(line, BrokenLine)]
    assert [where for where, _ in broken] == [f"{path}:{number}" for number in (3, 4, 5, 6)]
    starts = ("not JSON: ", "not UTF-8: ", "has no 'trial'", "'int' object has no")
    assert all(reason.startswith(start) for (_, reason), start in zip(broken, starts, strict=True)), broken
    with pytest.raises(ValueError, match=r"observations.jsonl:3: not JSON"):
        list(read_observations(path))


def test_without_a_file_there_are_no_observations(tmp_path):
    assert list(read_observations(tmp_path / "observations.jsonl")) == []
    with pytest.raises(FileNotFoundError):
        list(observation_lines(tmp_path / "observations.jsonl"))
