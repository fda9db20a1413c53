"""Mined negatives are near the query, never an answer to it, and never from what is held out."""

from __future__ import annotations

import json

import pytest

from runner.cli import main
from runner.evaluation.hard_negatives import mine
from sweeps.data.readers import read_pairs

WORDS = ["cat", "dog", "sun", "rain", "tree", "stone", "river", "bird"]


class Letters:
    """Embeds a text by its letters, so that what is near is known."""

    similarity_fn_name, device = "cosine", "cpu"

    def encode(self, texts, **_):
        import numpy as np

        vectors = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_query = encode_document = encode

    def similarity(self, one, other):
        import torch

        return torch.as_tensor(one) @ torch.as_tensor(other).T

    def similarity_pairwise(self, one, other):
        import torch

        return (torch.as_tensor(one) * torch.as_tensor(other)).sum(1)


@pytest.fixture
def pairs(tmp_path):
    rows = [{"query": w, "positive": f"a {w}", "group": w[0]} for w in WORDS]
    rows += [{"query": f"held {w}", "positive": f"out {w}", "held_out": True} for w in WORDS]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"held_out": False, **row}) + "\n" for row in rows))
    return path


def test_negatives_are_other_documents_of_other_groups(pairs, tmp_path):
    found = mine(str(pairs), Letters(), tmp_path / "mined.jsonl", count=2, margin=0.05)
    mined, problems = read_pairs(str(tmp_path / "mined.jsonl"))
    assert found.pairs == len(mined) == 16 and problems.bad == 0
    by_text = {pair.positive: pair for pair in mined}
    trained = [pair for pair in mined if not pair.held_out]
    assert found.with_negatives == sum(bool(pair.negatives) for pair in trained) > 4
    for pair in trained:
        assert pair.positive not in pair.negatives
        assert all(by_text[text].group != pair.group and not by_text[text].held_out for text in pair.negatives)
    assert not any(pair.negatives for pair in mined if pair.held_out)
    assert [(p.query, p.held_out) for p in mined] == [(p.query, p.held_out) for p in read_pairs(str(pairs))[0]]


def test_ones_own_negatives_stay_in_front_and_why_pairs_got_none_is_said(pairs, tmp_path, capsys, monkeypatch):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    rows[0]["negative"], rows[8]["negatives"] = "my own", ["held, too", "another"]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("runner.evaluation.evaluate.load_model", lambda _: Letters())
    out = tmp_path / "mined.jsonl"
    assert main(["mine", str(pairs), "--model", "m", "--out", str(out), "--negatives", "2", "--margin", "0.3"]) == 0
    printed = capsys.readouterr().out
    mined, _ = read_pairs(str(out))
    assert mined[0].negatives[0] == "my own" and mined[8].negatives == ("held, too", "another")
    got = sum(bool(set(pair.negatives) - {"my own"}) for pair in mined if not pair.held_out)
    assert (
        f"16 pairs, {sum(bool(p.negatives) for p in mined)} of them with negatives: {got} got mined ones, 3" in printed
    )
    assert "8 got none: held out" in printed
    assert f"hard_negatives = {max(len(pair.negatives) for pair in mined)} under" in printed
    told = [int(line.split()[0]) for line in printed.splitlines() if " got none: " in line]
    assert got + sum(told) == 16  # every pair is accounted for


def test_every_reason_is_told_apart(tmp_path):
    rows = [{"query": w, "positive": f"a {w}", "group": "one", "held_out": False} for w in WORDS]
    path = tmp_path / "alike.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = mine(str(path), Letters(), tmp_path / "group.jsonl", count=1, margin=0.05)
    assert found.mined == 0 and "all candidates belong to the pair's own group" in found.without
    near = mine(str(path), Letters(), tmp_path / "near.jsonl", count=1, margin=0.99)
    assert "fewer than 1 of the 10 nearest documents lie below 1 % of the cosine of the pair's own" in near.without


def test_what_cannot_be_mined_is_said_and_nothing_is_overwritten(pairs, tmp_path, capsys):
    with pytest.raises(ValueError, match="too few to take 9 negatives"):
        mine(str(pairs), Letters(), tmp_path / "mined.jsonl", count=9, margin=0.05)
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        mine(str(pairs), Letters(), tmp_path / "there.jsonl", count=1, margin=0.05)
    assert (tmp_path / "there.jsonl").read_text() == "mine"
    assert main(["mine", str(pairs), "--model", str(tmp_path / "none"), "--out", str(tmp_path / "x.jsonl")]) == 2
    assert "neither a folder nor a name" in capsys.readouterr().err
