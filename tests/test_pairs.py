"""Tokenised pairs: real tokens, a stream of epochs that can be sought, fixed pools."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runner.pairs import batch_indices, load_tokenizer, open_prepared, pools, prepare
from runner.readers import read_pairs
from sweeps.models import find_model

SOURCE = find_model("nano-25k").source


@pytest.fixture(scope="module")
def prepared(training):
    return prepare(training, SOURCE)


def test_the_kept_tokens_are_those_of_the_tokenizer(prepared, training):
    texts, _ = read_pairs(training.data)
    tokenizer = load_tokenizer(SOURCE)
    for index in (0, 7, len(texts) - 1):
        expected = tokenizer(texts[index].positive, truncation=True, max_length=training.context)["input_ids"]
        assert prepared.pairs.positive[index].tolist() == expected


def test_the_mean_pair_counts_real_tokens(prepared):
    pairs = prepared.pairs
    tokens, squares = pairs.mean_pair(0)
    lengths = [(len(pairs.query[i]), len(pairs.positive[i])) for i in pairs.train]
    assert tokens == pytest.approx(np.mean([q + p for q, p in lengths]))
    assert squares == pytest.approx(np.mean([q**2 + p**2 for q, p in lengths]))


def test_last_token_pooling_ends_every_text_with_the_end_token(training):
    pairs = prepare(replace(training, pooling="last"), SOURCE).pairs
    end = load_tokenizer(SOURCE).eos_token_id
    assert all(pairs.query[i][-1] == end for i in range(50))
    assert pairs.positive.lengths.max() == training.context


def test_prepared_data_is_opened_by_its_hash_and_another_is_refused(prepared, training):
    named = replace(training, data_hash=prepared.data_hash)
    assert np.array_equal(open_prepared(named, SOURCE).positive.ids, prepared.pairs.positive.ids)
    with pytest.raises(ValueError, match="it changed"):
        prepare(replace(training, data_hash="0" * 16), SOURCE)


def test_each_epoch_holds_every_pair_once_and_any_step_can_be_sought():
    train = np.arange(100, 145)
    stream = np.concatenate([batch_indices(train, 8, step, seed=3) for step in range(45)])
    for epoch in range(8):
        assert sorted(stream[epoch * 45 : (epoch + 1) * 45]) == list(train)
    assert np.array_equal(batch_indices(train, 8, 17, seed=3), stream[17 * 8 : 18 * 8])
    assert not np.array_equal(stream[:45], stream[45:90])


def test_a_batch_larger_than_the_data_still_fills():
    assert sorted(batch_indices(np.arange(3), 7, 2, seed=0).tolist()).count(0) in (2, 3)


def test_pools_are_held_out_fixed_and_hold_no_document_twice(prepared):
    pairs = prepared.pairs
    [first] = pools(pairs, 32, 1)
    assert set(first) <= set(pairs.held_out)
    assert len({int(h) for h in pairs.positive.hashes[first]}) == 32
    assert np.array_equal(first, pools(pairs, 32, 1)[0])


def test_too_little_held_out_data_is_refused(training):
    with pytest.raises(ValueError, match=r"training\.pool_size is 4096"):
        prepare(replace(training, pool_size=4096), SOURCE)
