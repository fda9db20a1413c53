"""Tokenised pairs: real tokens in mapped files, a stream of epochs that can be sought, fixed pools."""

from __future__ import annotations

import json
import mmap
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from runner.cli import main
from runner.data.pairs import (
    PERMUTED_PAIRS,
    Pairs,
    batch_indices,
    fitting_pools,
    open_prepared,
    pools,
    pools_by_source,
    prepare,
)
from runner.data.tokenizer import load_tokenizer
from sweeps.data.readers import read_pairs
from sweeps.machine.measured import cache_folder
from sweeps.models import find_model
from sweeps.trial import Training

SOURCE = find_model("nano-25k").source
SWEEP = """
suite = "nano"
models = ["nano-25k"]
budgets = [1e10]

[training]
data = {data}
batch_size = 16
context = 48
pool_size = 32
pools = 1

[[methods]]
name = "full"
lr = 1e-3
"""


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
    tokens, sum_sq_lengths = pairs.mean_pair(0)
    lengths = [(len(pairs.query[i]), len(pairs.positive[i])) for i in pairs.train]
    assert tokens == pytest.approx(np.mean([q + p for q, p in lengths]))
    assert sum_sq_lengths == pytest.approx(np.mean([q**2 + p**2 for q, p in lengths]))


def test_last_token_pooling_ends_every_text_with_the_end_token(training):
    pairs = prepare(replace(training, pooling="last"), SOURCE).pairs
    end = load_tokenizer(SOURCE).eos_token_id
    assert all(pairs.query[i][-1] == end for i in range(50))
    assert pairs.positive.lengths.max() == training.context


def test_prepared_data_is_opened_by_its_hash_and_another_is_refused(prepared, training):
    named = replace(training, data_hash=prepared.data_hash)
    assert np.array_equal(open_prepared(named, SOURCE).positive.ids, prepared.pairs.positive.ids)
    with pytest.raises(ValueError, match="the data changed"):
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


def test_up_to_a_stated_size_an_epoch_is_numpys_permutation():
    """What was observed with these orders keeps its losses."""
    for size, epoch, seed in ((3000, 0, 0), (3000, 2, 5), (PERMUTED_PAIRS, 1, 1)):
        order = np.random.default_rng([seed, epoch]).permutation(size)
        step = size * epoch // 8 + 1
        at = step * 8 - size * epoch
        assert np.array_equal(batch_indices(np.arange(size), 8, step, seed), order[at : at + 8])


def test_beyond_that_size_epochs_hold_every_pair_once_too():
    size = PERMUTED_PAIRS + 1
    train = np.arange(size) * 3
    batch = 2**15
    steps = [batch_indices(train, batch, step, seed=1) for step in range(2 * size // batch + 1)]
    stream = np.concatenate(steps)
    assert np.array_equal(np.sort(stream[:size]), train)
    assert np.array_equal(np.sort(stream[size : 2 * size]), train)
    assert not np.array_equal(stream[:size], stream[size : 2 * size])
    assert np.array_equal(batch_indices(train, 100, 3, seed=1), stream[300:400])


def test_drawing_takes_no_memory_that_grows_with_the_pairs():
    def peak(size: int) -> int:
        train = np.broadcast_to(np.arange(1), size)  # as many pairs as wanted, without their memory
        tracemalloc.start()
        batch_indices(train, 256, step=5, seed=9)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(10**10) <= peak(PERMUTED_PAIRS + 1) + 1000


def test_open_data_is_mapped_and_not_read(prepared, training):
    pairs = open_prepared(replace(training, data_hash=prepared.data_hash), SOURCE)
    arrays = [
        getattr(column, name) for column in (pairs.query, pairs.positive) for name in ("ids", "offsets", "hashes")
    ]
    for array in (*arrays, pairs.negative_start, pairs.groups, pairs.train, pairs.held_out):
        assert type(array) is np.ndarray and not array.flags.writeable
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array, mmap.mmap)


def test_texts_are_gathered_end_to_end(prepared):
    chosen = np.array([5, 3, 3, 41])
    ids, lengths = prepared.pairs.positive.gather(chosen)
    texts = [prepared.pairs.positive[i] for i in chosen]
    assert ids.tolist() == np.concatenate(texts).tolist() and lengths.tolist() == [len(text) for text in texts]
    none, lengths = prepared.pairs.positive.gather(chosen[:0])
    assert len(none) == len(lengths) == 0


def test_hard_negatives_are_those_of_the_pair(tmp_path, training):
    rows = [
        {"query": f"question {i}", "positive": f"answer {i}", "negatives": [f"wrong {i} {k}" for k in range(i % 4)]}
        for i in range(900)
    ]
    (tmp_path / "hard.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = prepare(replace(training, data=str(tmp_path / "hard.jsonl"), pool_size=8), SOURCE).pairs
    tokenizer = load_tokenizer(SOURCE)
    chosen = np.array([7, 4, 2, 899])
    texts = [text for i in chosen for text in rows[i]["negatives"][:2]]
    found = [pairs.negative[i].tolist() for i in pairs.negatives(chosen, 2)]
    assert found == tokenizer(texts)["input_ids"]
    assert len(pairs.negatives(np.array([0, 4]), 2)) == 0


def test_pools_are_held_out_fixed_and_hold_no_document_twice(prepared):
    pairs = prepared.pairs
    [first] = pools(pairs, 32, 1)
    assert set(first) <= set(pairs.held_out)
    assert len({int(h) for h in pairs.positive.hashes[first]}) == 32
    assert np.array_equal(first, pools(pairs, 32, 1)[0])


def test_the_order_of_the_data_changes_no_pool(prepared, training, tmp_path, pairs_file):
    lines = pairs_file.read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\n".join(reversed(lines)))
    turned = prepare(replace(training, data=str(tmp_path / "turned.jsonl")), SOURCE).pairs
    for one, other in zip(pools(prepared.pairs, 16, 3), pools(turned, 16, 3), strict=True):
        assert np.array_equal(prepared.pairs.positive.hashes[one], turned.positive.hashes[other])


def test_too_little_held_out_data_is_refused(training):
    with pytest.raises(ValueError, match=r"training\.pool_size is 4096"):
        prepare(replace(training, pool_size=4096), SOURCE)


def held_out(count: int, same: int = 0) -> Pairs:
    """Pairs of which `count` are held out, `same` of them with one document."""
    hashes = np.arange(count + 10, dtype=np.uint64) + 1
    documents = hashes.copy()
    documents[:same] = documents[0]
    columns = {"query": SimpleNamespace(hashes=hashes), "positive": SimpleNamespace(hashes=documents)}
    at = np.arange(count)
    return Pairs(
        **columns,
        negative=None,
        negative_start=None,
        groups=hashes,
        sources=np.zeros(count + 10, int),
        train=np.arange(count, count + 10),
        held_out=at,
    )


@pytest.mark.parametrize(
    ("pairs", "asked", "fitted"),
    [
        (held_out(600), {}, (256, 2)),
        (held_out(300), {}, (256, 1)),
        (held_out(15), {}, (15, 1)),
        (held_out(40, same=10), {}, (31, 1)),  # a document is in a pool once
        (held_out(600), {"evaluate_every": 9}, (256, 1)),  # the second pool watches the training
        (held_out(300), {"evaluate_every": 9}, (150, 1)),
        (held_out(4), {}, (4, 1)),
        (held_out(3), {"pool_size": 3}, (3, 1)),
    ],
)
def test_pools_shrink_to_what_the_held_out_pairs_fill(pairs, asked, fitted):
    training = Training(**asked)
    size, pools = fitting_pools(pairs, training)
    assert (size, pools) == fitted
    assert len(pools_by_source(pairs, size, pools + 1)[0]) >= pools + bool(training.evaluate_every)


@pytest.mark.parametrize(
    ("pairs", "asked"), [(held_out(3), {}), (held_out(7), {"evaluate_every": 9}), (held_out(0), {})]
)
def test_fewer_held_out_pairs_than_any_pool_takes_are_refused(pairs, asked):
    with pytest.raises(ValueError, match="distinct held-out pairs; a pool of the held-out loss takes at least 4"):
        fitting_pools(pairs, Training(**asked))


@pytest.fixture
def sweep_file(training, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP.format(data=json.dumps(training.data)))
    return str(path)


def test_what_was_prepared_is_reported(sweep_file, prepared, capsys):
    assert main(["prepare", sweep_file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["data_hash"] == prepared.data_hash
    assert said["train_pairs"] + said["held_out_pairs"] == len(prepared.pairs)
    assert said["made_pairs"] == 0 and said["pairs_per_second"] is None  # it was there
    assert said["bytes_per_pair"] == pytest.approx(prepared.disk_bytes / len(prepared.pairs))


def test_what_is_prepared_for_the_first_time_has_a_speed(training, prepared, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RECIPE_PLANNER_CACHE", str(tmp_path / "empty"))
    made = prepare(training, SOURCE)
    assert made.made_pairs == len(made.pairs) == len(prepared.pairs) and made.seconds > 0
    assert np.array_equal(made.pairs.positive.ids, prepared.pairs.positive.ids)


def test_a_plan_for_more_pairs_is_measured_and_leaves_nothing(sweep_file, prepared, capsys):
    before = set(cache_folder().iterdir())
    plans = []
    for pairs in ("1e6", "1e8"):
        assert main(["prepare", sweep_file, "--pairs", pairs, "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    small, large = plans
    assert set(cache_folder().iterdir()) == before
    assert large["sample_pairs"] == len(prepared.pairs) and large["pairs"] == 1e8
    assert large["bytes_per_pair"] == pytest.approx(prepared.disk_bytes / len(prepared.pairs), rel=0.01)
    assert large["disk_bytes"] == pytest.approx(100 * small["disk_bytes"])
    assert large["seconds"] == pytest.approx(1e8 / large["read"] + 1e8 / large["tokenised"])
    share = len(prepared.pairs.held_out) / len(prepared.pairs)
    assert large["memory_bytes"] - small["memory_bytes"] < 1e8 * share * 100 + 1e9
    assert main(["prepare", sweep_file, "--pairs", "1e8"]) == 0
    assert "100,000,000 pairs" in capsys.readouterr().out


@pytest.mark.parametrize("pairs", ["many", "0", "-3", "inf", "nan"])
def test_a_plan_for_no_number_of_pairs_is_refused(sweep_file, pairs, capsys):
    with pytest.raises(SystemExit) as end:
        main(["prepare", sweep_file, "--pairs", pairs])
    assert end.value.code == 2 and f"--pairs: {pairs!r} must be a number of pairs" in capsys.readouterr().err


def write(path, rows: list) -> Training:
    """The conditions of a training on these rows."""
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return Training(data=str(path), batch_size=16, context=16, pool_size=4, pools=1)


def rows_with(counts: list[int]) -> list[dict]:
    """Rows that have so many hard negatives; the first ten are held out."""
    rows = []
    for i, count in enumerate(counts):
        negatives = {f"negative_{n}": f"n{i} {n}" for n in range(count)}
        rows.append({"query": f"q{i}", "positive": f"p{i}", "held_out": i < 10} | negatives)
    return rows


def test_bad_records_are_told_and_stay_with_the_pairs(tmp_path):
    training = write(tmp_path / "a.jsonl", [*rows_with([0] * 200), "{broken"])
    made = prepare(training, SOURCE)
    place = tmp_path / "a.jsonl"
    (note,) = made.notes
    assert note.startswith(f"1 of 201 records could not be used: {place}:201: not JSON (")
    known = open_prepared(replace(training, data_hash=made.data_hash), SOURCE)
    assert known.problems == made.pairs.problems == made.problems
    assert known.problems["bad"] == 1
    write(place, rows_with([0] * 200))  # the same pairs, and nothing is wrong any more
    assert prepare(training, SOURCE).notes == ()
    assert open_prepared(replace(training, data_hash=made.data_hash), SOURCE).problems == {}


def test_hard_negatives_that_are_not_there_are_refused(tmp_path):
    training = replace(write(tmp_path / "a.jsonl", rows_with([2] * 10 + [0] * 90)), hard_negatives=2)
    with pytest.raises(ValueError, match=r"training.hard_negatives is 2 and no training pair of data '.*' has a hard"):
        prepare(training, SOURCE)  # those that are held out are no help
    assert prepare(replace(training, hard_negatives=0), SOURCE).notes == ()


def test_hard_negatives_that_some_pairs_lack_are_counted(tmp_path):
    some = write(tmp_path / "a.jsonl", rows_with([0] * 10 + [2] * 50 + [1] * 30 + [0] * 20))
    (note,) = prepare(replace(some, hard_negatives=2), SOURCE).notes
    assert note == f"50 of 100 training pairs of {some.data} have 2 hard negatives, 30 have fewer, 20 none"
    full = write(tmp_path / "b.jsonl", rows_with([0] * 10 + [3] * 40))
    assert prepare(replace(full, hard_negatives=2), SOURCE).notes == ()
