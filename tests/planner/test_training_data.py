"""What a recipe is trained on: told, counted, or as the laws have it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from planner.training_data import training_data
from support.known_laws import PAIR, TRAINING, law_book
from support.ladder import NANO
from sweeps.data.pair_statistics import pair_statistics


def ask(training=TRAINING, named=False, pairs=math.inf, tokens=None):
    return training_data(law_book(), training, named, NANO, pairs, tokens)


@pytest.fixture
def mine(tmp_path):
    """The conditions of the laws, with two hundred pairs of somebody's."""
    rows = [{"query": f"query {i}", "positive": "word " * (i % 30 + 1), "held_out": i < 20} for i in range(200)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return replace(TRAINING, data=str(tmp_path / "a.jsonl"))


def test_without_data_the_pair_is_that_of_the_laws():
    found = ask()
    assert (found.pair, found.pairs, found.how) == (PAIR, math.inf, "")


def test_named_data_are_counted_by_the_tokenizer_of_a_model(mine):
    found, known = ask(mine, True), pair_statistics(mine, NANO[0].source)
    assert (found.pairs, found.pair.tokens, found.pair.sum_sq_lengths) == (180, known.tokens, known.sum_sq_lengths)
    assert "180 training pairs and 20 held out" in found.how and "by the tokenizer on this machine" in found.how


def test_what_is_told_is_not_counted(mine):
    assert ask(mine, True, pairs=5e6).pairs == 5e6
    assert ask(mine, True, tokens=40.0).pair.tokens == 40
    away = replace(mine, data="not-here.jsonl")
    assert ask(away, True, 5e6, 40.0).how == "40 tokens per pair, as asked"
    with pytest.raises(ValueError, match=r"not-here.jsonl'; there is no such file"):
        ask(away, True, 5e6)


def test_a_pair_that_is_told_is_as_uneven_as_those_of_the_laws_and_cut_at_the_context():
    short, long = ask(tokens=PAIR.tokens / 2), ask(tokens=1000.0)
    assert short.pair.sum_sq_lengths == pytest.approx(PAIR.sum_sq_lengths / 4)
    assert (long.pair.tokens, long.pair.sum_sq_lengths) == (2 * TRAINING.context, 2 * TRAINING.context**2)
    assert long.how.endswith(f"as asked, cut at a context of {TRAINING.context}")


def test_a_shorter_context_cuts_the_pair_of_the_laws_too():
    assert ask(replace(TRAINING, context=10)).pair.tokens == 20


def test_hard_negatives_of_the_laws_must_be_in_the_data(mine):
    with pytest.raises(ValueError, match="has none of the 2 hard negatives per pair, under which the laws of"):
        ask(replace(mine, hard_negatives=2), True)
