"""A line of observations is read or told to be broken, wherever it is read."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import pytest

from support.damage import ABSURD
from support.toy_stores import wanted_trials
from support.toy_sweeps import observe
from sweeps.store.records import BrokenLine, observation_lines, read_observations
from sweeps.trial import Observation


def test_every_line_is_an_observation_or_says_why_it_is_none(tmp_path):
    whole = observe(wanted_trials(tmp_path / "sweep.toml", 1)[0])
    text = json.dumps(whole.to_json()).encode()
    path = tmp_path / "observations.jsonl"
    path.write_bytes(b"\n".join([text, b"", b'{"torn', b"\xff", b'{"status": "done"}', b"3", text]))
    lines = list(observation_lines(path))
    assert [line for line in lines if not isinstance(line, BrokenLine)] == [whole, whole]
    broken = [(line.where, line.reason) for line in lines if isinstance(line, BrokenLine)]
    assert [where for where, _ in broken] == [f"{path}:{number}" for number in (3, 4, 5, 6)]
    starts = ("not JSON: ", "not UTF-8: ", "has no trial", "it is 3; it must be an object")
    assert all(reason.startswith(start) for (_, reason), start in zip(broken, starts, strict=True)), broken
    with pytest.raises(ValueError, match=r"observations.jsonl:3: not JSON"):
        list(read_observations(path))


def test_without_a_file_there_are_no_observations(tmp_path):
    assert list(read_observations(tmp_path / "observations.jsonl")) == []
    with pytest.raises(FileNotFoundError):
        list(observation_lines(tmp_path / "observations.jsonl"))


NUMBERS = [item.name for item in fields(Observation) if item.type in ("float", "int", "float | None")]


@pytest.mark.parametrize("name", [*NUMBERS, "status", "reason", "curve", "scores", "evaluations", "trial", "merged"])
def test_no_absurd_value_is_an_observation(tmp_path, name):
    """It is refused with the file, the line and the field, or it is one that the field may have."""
    whole = replace(observe(wanted_trials(tmp_path / "sweep.toml", 1)[0]), params=1000, tokens=10**6, flops=6e9)
    path, refused = tmp_path / "observations.jsonl", 0
    for value in ABSURD:
        path.write_text(json.dumps({**whole.to_json(), name: value}) + "\n")
        (line,) = observation_lines(path)
        if isinstance(line, BrokenLine):
            refused += 1
            assert line.where == f"{path}:1" and "\n" not in line.reason
            continue
        read = getattr(line, name)
        assert not isinstance(read, bool) and read not in (1e308, -1e308, 10**400) and read == read, value
        assert name not in NUMBERS or read is None or isinstance(read, (int, float)), value
    assert refused >= 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "1.2"}, "loss is '1.2'; it must be of type float"),
        ({"loss": None}, "loss is None; it must be a number where the status is done"),
        ({"flops": 1e30}, "flops is 1e+30; it must be what 1,000 params and 1,000,000 tokens can take"),
        ({"reused_flops": 7e9}, "reused_flops is 7e+09; it must be no more than flops"),
        ({"curve": [[1, 2]]}, "curve is [[1, 2]]; it must be a list of rows of three numbers"),
        ({"scores": {"ndcg@10": "x"}}, "scores.ndcg@10 is 'x'; it must be a finite number"),
        ({"status": "ok"}, "status is 'ok'; it must be one of done"),
        ({"new": 1}, "it has no key 'new'"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_must_be(tmp_path, changes, words):
    whole = replace(observe(wanted_trials(tmp_path / "sweep.toml", 1)[0]), params=1000, tokens=10**6, flops=6e9)
    path = tmp_path / "observations.jsonl"
    path.write_text(json.dumps(whole.to_json() | changes) + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}:1: {words}")):
        list(read_observations(path))


@pytest.mark.parametrize("place", ["lr", "steps", "seed", "budget", "model", "method", "training"])
def test_no_absurd_value_is_a_trial(tmp_path, place):
    trial = wanted_trials(tmp_path / "sweep.toml", 1)[0]
    refused = 0
    for value in ABSURD:
        path = tmp_path / "observations.jsonl"
        path.write_text(json.dumps({"trial": {**trial.to_json(), place: value}, "status": "failed"}))
        (line,) = observation_lines(path)
        if isinstance(line, BrokenLine):
            refused += 1
        elif place != "training":  # {} is all of its defaults
            assert type(getattr(line.trial, place)) in (int, float, str)
            assert getattr(line.trial, place) not in (1e308, 10**400)
    assert refused >= 10
