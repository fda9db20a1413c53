"""A ladder of language models can be made from any text, and the one that ships is what its card says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from runner.pretraining import pretrain
from runner.pretraining.ladder import Ladder, Rung
from runner.pretraining.pretrain import make_ladder
from sweeps.models import NANO, NANO_FOLDER, read_model

SMALL = Rung("small", layers=1, width=32, heads=1, lr=1e-2)
LARGE = Rung("large", layers=1, width=64, heads=2, lr=5e-3)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory) -> Ladder:
    """Two sizes on the text of a few standard modules, for some hundred steps."""
    import argparse
    import logging
    import pydoc
    import tarfile

    folder = tmp_path_factory.mktemp("text")
    for module in (argparse, logging, pydoc, tarfile):
        Path(folder / f"{module.__name__}.txt").write_text(Path(module.__file__).read_text())
    names = tuple(str(path) for path in sorted(folder.iterdir()))
    return Ladder("test", 40_000, (SMALL, LARGE), text=names, vocab=400, context=64, batch=8)


@pytest.fixture(scope="module")
def made(ladder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    return folder, make_ladder(ladder, folder)


def test_a_ladder_learns_more_than_letter_frequencies(made, ladder):
    _, results = made
    for result in results:
        assert result["loss"] < math.log(ladder.vocab) - 1.5
        assert result["tokens"] == ladder.steps * ladder.batch * ladder.context
        assert result["curve"][0][1] > result["curve"][-1][1]


def test_its_models_load_as_any_other(made):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, results = made
    for result in results:
        model = AutoModelForCausalLM.from_pretrained(folder / result["name"])
        assert read_model(folder / result["name"]).params == result["params"]
        assert model.dtype == torch.bfloat16
        tokenizer = AutoTokenizer.from_pretrained(folder / result["name"])
        text = "def f(x):\n    return x  # ünïcode 漢字"
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.slow
def test_an_interrupted_pretraining_ends_with_the_same_bits(ladder, made, tmp_path, monkeypatch):
    folder, results = made
    step = pretrain._train_step
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(pretrain, "CHECKPOINT_STEPS", 50)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain, "_train_step", interrupted)
        make_ladder(ladder, tmp_path, ["small"])
    [resumed] = make_ladder(ladder, tmp_path, ["small"])
    assert resumed["loss"] == results[0]["loss"]
    assert (tmp_path / "small/model.safetensors").read_bytes() == (folder / "small/model.safetensors").read_bytes()


def test_an_unknown_size_names_the_choices(ladder, tmp_path):
    with pytest.raises(ValueError, match="no size 'huge' in the ladder; known: small, large"):
        make_ladder(ladder, tmp_path, ["huge"])


def test_the_shipped_suite_is_small_and_loss_falls_with_size():
    records = [json.loads((NANO_FOLDER / model.name / "pretraining.json").read_text()) for model in NANO]
    weights = [NANO_FOLDER / model.name / "model.safetensors" for model in NANO]
    assert sum(path.stat().st_size for path in weights) < 20e6
    assert NANO[-1].params / NANO[0].params > 40
    losses = [record["loss"] for record in records]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == len(losses)
    assert len({record["tokens"] for record in records}) == 1


@pytest.mark.parametrize("model", NANO, ids=lambda m: m.name)
def test_the_shipped_shapes_are_those_in_the_suite(model):
    read = read_model(NANO_FOLDER / model.name)
    assert (read.params, read.vocab, read.context, read.tied) == (model.params, model.vocab, model.context, model.tied)


def test_the_shipped_models_predict_code():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "def add(self, other):\n    return self.value + other.value\n\nif __name__ == '__main__':\n    main()\n"
    losses = []
    for model in (NANO[0], NANO[-1]):
        tokenizer = AutoTokenizer.from_pretrained(model.source)
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        lm = AutoModelForCausalLM.from_pretrained(model.source, dtype=torch.float32)
        with torch.no_grad():
            losses.append(lm(ids, labels=ids).loss.item())
    assert losses[1] < losses[0] < math.log(4096) - 3
