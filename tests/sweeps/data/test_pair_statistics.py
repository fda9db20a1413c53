"""What a plan is told of somebody's pairs: counted to the last, read as many as there is time for, kept."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from runner.data.pairs import fitting_pools, prepare
from support.pair_files import WRITERS
from sweeps.data import pair_statistics as module
from sweeps.data.formats import READERS
from sweeps.data.pair_statistics import PairStatistics, pair_statistics
from sweeps.data.readers import read_pairs
from sweeps.models import find_model
from sweeps.trial import Training

NANO = find_model("nano-7k").source


def rows(count: int) -> list[dict]:
    chance = random.Random(count)
    return [
        {"query": f"query {i}", "positive": " ".join(chance.choices(["a", "document", "of", "words"], k=i % 40 + 1))}
        for i in range(count)
    ]


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_that_is_read_whole_is_told_exactly(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, rows(500))
    pairs, _ = read_pairs(str(path))
    found = pair_statistics(Training(data=str(path)))
    assert (found.pairs, found.held_out, found.bad) == (500, sum(pair.held_out for pair in pairs), 0)
    assert found.exact and found.how.startswith("500 records counted, all read")


@pytest.mark.parametrize(
    "settings",
    [{}, {"context": 16}, {"pooling": "last"}, {"query_prompt": "find: ", "document_prompt": "text: "}],
    ids=lambda settings: ",".join(settings) or "plain",
)
def test_lengths_are_those_that_training_finds(pairs_file, training, settings):
    """By the model's own tokenizer, to the last token."""
    asked = replace(training, **settings)
    found = pair_statistics(asked, NANO)
    pairs = prepare(asked, NANO).pairs
    assert (found.tokens, found.sum_sq_lengths) == pytest.approx(pairs.mean_pair(0))
    assert (found.train_pairs, found.held_out) == (len(pairs.train), len(pairs.held_out))
    assert "by the tokenizer on this machine" in found.how


def test_negatives_count_as_far_as_they_are_used(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row | {"negatives": ["x" * 40, "y" * 40]}) for row in rows(100)))
    found = [pair_statistics(Training(data=str(path), hard_negatives=count)) for count in (0, 1, 2)]
    assert [later.tokens - found[0].tokens for later in found] == pytest.approx([0, 10, 20])
    assert found[2].sum_sq_lengths - found[0].sum_sq_lengths == pytest.approx(2 * 10**2)


@pytest.mark.parametrize("suffix", READERS)
def test_a_large_file_is_counted_to_the_last_record_and_read_in_part(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, rows(3000))
    whole = pair_statistics(Training(data=str(path)))
    monkeypatch.setattr(module, "READ_BYTES", path.stat().st_size // 7)
    monkeypatch.setattr(module, "RULES", -1)  # what was found before is not asked
    monkeypatch.setattr(module, "_samples", {})
    part = pair_statistics(Training(data=str(path)))
    assert part.pairs == whole.pairs == 3000 and not part.exact
    assert part.how.startswith("3,000 records counted, 1 in 7 read")
    assert part.tokens == pytest.approx(whole.tokens, rel=0.1)
    assert part.held_out == pytest.approx(whole.held_out, rel=0.5)


def test_bad_records_are_counted_and_too_many_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(row) for row in rows(400)]
    path.write_text("\n".join([*lines, "{broken"]))
    assert (pair_statistics(Training(data=str(path))).pairs, pair_statistics(Training(data=str(path))).bad) == (400, 1)
    path.write_text("\n".join([*lines, *["{broken"] * 40]))
    with pytest.raises(ValueError, match="40 of 440 records are bad"):
        pair_statistics(Training(data=str(path)))


def test_a_file_that_is_as_it_was_is_not_read_again_and_one_that_changed_is(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows(300))))
    first = pair_statistics(Training(data=str(path)))
    monkeypatch.setattr(module, "_samples", {})
    monkeypatch.setattr(module, "_read", lambda *_: pytest.fail("was read again"))
    assert pair_statistics(Training(data=str(path))) == first
    monkeypatch.undo()
    path.write_text("\n".join(map(json.dumps, rows(200))))
    assert pair_statistics(Training(data=str(path))).pairs == 200
    path.unlink()
    with pytest.raises(ValueError, match=r"`data` is '.*a\.jsonl'; there is no such file"):
        pair_statistics(Training(data=str(path)))


def test_a_source_of_which_all_is_held_out_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row | {"held_out": True}) for row in rows(20)))
    with pytest.raises(ValueError, match="all are held out"):
        pair_statistics(Training(data=str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize("row", [rows(1)[0], rows(1)[0] | {"held_out": False}], ids=["drawn", "marked"])
def test_a_source_of_which_nothing_is_held_out_is_refused_as_training_does(tmp_path, row):
    source = str(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps(row)] * 300))
    training = Training(data=source)
    prepared = prepare(training, NANO, judged=False).pairs
    for refuse in (lambda: pair_statistics(training), lambda: fitting_pools(prepared, training)):
        with pytest.raises(ValueError, match="has 0 distinct held-out pairs; a pool of the held-out loss takes"):
            refuse()


def test_the_mean_pair_of_several_sources_is_weighted_as_they_are(tmp_path):
    for name, words in (("short", 1), ("long", 20)):
        lines = [json.dumps({"query": f"{i:04}", "positive": "word " * words}) for i in range(100)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    short, long = (tmp_path / "short.jsonl", tmp_path / "long.jsonl")
    alone = [pair_statistics(Training(data=str(path))).tokens for path in (short, long)]
    both = pair_statistics(Training(data=f"{short}*3 + {long}"))
    assert both.tokens == pytest.approx((3 * alone[0] + alone[1]) / 4)
    assert both.pairs == 200


def test_without_a_tokenizer_lengths_come_from_bytes_and_that_is_said(tmp_path):
    path, row = tmp_path / "a.jsonl", {"query": "q" * 40, "positive": "p" * 400}
    path.write_text("\n".join(json.dumps(row | {"held_out": i == 0}) for i in range(50)))
    found = pair_statistics(Training(data=str(path), context=75), str(tmp_path))
    assert isinstance(found, PairStatistics) and "from bytes, 4 per token" in found.how
    assert found.tokens == pytest.approx(10 + 75)  # the document is cut at the context


def test_a_source_is_read_once_for_trainings_of_any_context(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows(300))))
    long = pair_statistics(Training(data=str(path), context=200))
    monkeypatch.setattr(module, "_read", lambda *_: pytest.fail("was read again"))
    short = pair_statistics(Training(data=str(path), context=8))
    assert short.pairs == long.pairs and short.tokens < long.tokens
