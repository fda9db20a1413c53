"""What is written reads the ids that were trained on and gives the trainer's vectors, whatever the tokenizer."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from runner.data.pairs import prepare
from runner.data.tokenizer import SAMPLES, load_tokenizer, save_tokenizer, tokenizer_settings, training_tokenizer
from runner.data.tokens import Tokenise
from runner.export import sentence_transformers as writer
from runner.export.loaded import must_be_writable
from runner.export.sentence_transformers import export
from runner.trainer import train_encoder
from support.backbones import examples_for, write_base
from support.tokenizer_shapes import SHAPES, write_shape
from sweeps.data.readers import read_pairs
from sweeps.methods import Full, LoRA
from sweeps.models import ARCHITECTURES, read_model
from sweeps.trial import POOLINGS, Trial

ROWS = 24  # of the data that are compared, besides the samples


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Returns the folder of a tokenizer shape."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = write_shape(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


def must_be_the_trained_one(base, method, training, folder, adapter) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    observation, encoder = train_encoder(Trial(str(base), method, training, lr=1e-3, steps=2))
    encoder.eval()
    column = prepare(training, str(base)).pairs.positive
    with torch.no_grad():  # one at a time, as no mask or padding can change it
        own = np.concatenate([encoder.embed([column[row]]).numpy() for row in range(ROWS)])
    export(encoder, observation, folder, adapter)
    loaded = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    texts = [pair.positive for pair in read_pairs(training.data)[0][:ROWS]]
    read = load_tokenizer(str(folder))(texts, truncation=True, max_length=training.context)["input_ids"]
    assert read == [column[row].tolist() for row in range(ROWS)]
    assert loaded.tokenizer(texts, truncation=True)["input_ids"] == read
    assert np.abs(own - loaded.encode(texts, batch_size=ROWS)).max() < 1e-5
    if not adapter:  # and it is a base again, which adds no second end token
        again = Tokenise(tokenizer_settings(training_tokenizer(str(folder), training.pooling), training))
        assert np.split(again(texts)[0], np.cumsum(again(texts)[1])[:-1])[0].tolist() == read[0]


# The others, with this method and pooling among all, are below.
@pytest.mark.parametrize("name", ["llama3", "unigram", "padding-beyond-the-table", "cut-and-padded-in-the-file"])
def test_a_tokenizer_is_written_as_it_was_trained_with(training, bases, tmp_path, name):
    must_be_the_trained_one(bases(name), LoRA(4), replace(training, pooling="last"), tmp_path / "out", False)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_tokenizer_method_and_pooling(training, bases, tmp_path, name, pooling):
    """Each two of them together; all three would take three times as long."""
    methods = examples_for(replace(read_model(bases(name)), name=name))
    assert len(methods) >= 4
    turn = -[*SHAPES].index(name) - POOLINGS.index(pooling)
    for method in methods[turn % len(POOLINGS) :: len(POOLINGS)]:
        for adapter in (False, True) if method.has_adapter else (False,):
            folder = tmp_path / f"{method.name}-{adapter}"
            must_be_the_trained_one(bases(name), method, replace(training, pooling=pooling), folder, adapter)


QUICK = ("qwen3",)  # the others take as long together as a tenth of all quick tests


@pytest.mark.parametrize(
    "architecture",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES],
)
def test_every_architecture_is_written_as_it_was_trained(training, tmp_path, architecture):
    base = write_base(architecture, tmp_path / "base")
    must_be_the_trained_one(base, Full(), replace(training, bidirectional=True), tmp_path / "whole", False)
    must_be_the_trained_one(base, LoRA(4), training, tmp_path / "merged", False)
    must_be_the_trained_one(base, LoRA(4), training, tmp_path / "adapter", True)
    table = LoRA(4, token_table="adapter")
    must_be_the_trained_one(base, table, training, tmp_path / "table-merged", False)
    must_be_the_trained_one(base, table, training, tmp_path / "table-adapter", True)


def test_a_model_that_looks_both_ways_by_itself_is_written_so(training, tmp_path):
    base = write_base("gemma3_text", tmp_path / "base", use_bidirectional_attention=True)
    for name, method in (("full", Full()), ("lora", LoRA(4))):
        must_be_the_trained_one(base, method, training, tmp_path / name, adapter=method.has_adapter)
    again = read_model(tmp_path / "full")
    assert again.two_way and again == replace(read_model(base), name="full", source=again.source)


def test_a_model_that_would_embed_otherwise_is_not_written(training, bases, tmp_path, monkeypatch):
    observation, encoder = train_encoder(Trial(str(bases("llama3")), Full(), training, lr=1e-3, steps=2))

    def other_pooling(training, *rest):
        return settings(replace(training, pooling="weighted"), *rest)

    settings = writer._write_settings
    monkeypatch.setattr(writer, "_write_settings", other_pooling)
    with pytest.raises(ValueError, match=r"differs from the trained one: it embeds .* away"):
        export(encoder, observation, tmp_path)


def test_a_model_that_would_read_otherwise_is_not_written(training, bases, tmp_path, monkeypatch):
    observation, encoder = train_encoder(Trial(str(bases("llama3")), Full(), training, lr=1e-3, steps=2))

    def without_the_first(tokenizer, *rest):
        tokenizer = training_tokenizer(str(bases("llama3")), "mean")
        tokenizer.backend_tokenizer.post_processor = None
        save_tokenizer(tokenizer, *rest)

    monkeypatch.setattr(writer, "save_tokenizer", without_the_first)
    with pytest.raises(
        ValueError, match=r"reads 'return the sum of two numbers' as \[\d+, .*the training used \[4096, "
    ):
        export(encoder, observation, tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_a_tokenizer_is_tried_before_the_training(training, bases, name):
    for pooling in POOLINGS:
        must_be_writable(str(bases(name)), replace(training, pooling=pooling))


def test_without_sentence_transformers_the_model_is_loaded_by_transformers(training, bases, tmp_path, monkeypatch):
    asked = replace(training, pooling="last", bidirectional=True)
    observation, encoder = train_encoder(Trial(str(bases("llama3")), Full(), asked, lr=1e-3, steps=2))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    export(encoder, observation, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").exists() and len(SAMPLES) > 2
