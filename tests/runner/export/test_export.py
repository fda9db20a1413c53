"""An exported model gives the trainer's own vectors when others load it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from runner.cli import main
from runner.data.tokenizer import load_tokenizer
from runner.export.sentence_transformers import export
from runner.model.encoder import POOLING
from runner.trainer import train_encoder
from support.backbones import examples_for
from sweeps.methods import Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Trial

NANO = find_model("nano-25k")
TEXTS = ["return the sum of two numbers", "def f(a, b):\n    return a + b", "word " * 300]


@pytest.mark.parametrize("pooling", POOLING)
@pytest.mark.parametrize("method", examples_for(NANO), ids=lambda m: m.name)
def test_a_loaded_export_gives_the_same_vectors(training, method, pooling, tmp_path):
    trial = Trial("nano-25k", method, replace(training, pooling=pooling), lr=1e-2, steps=6)
    observation, encoder = train_encoder(trial)
    encoder.eval()
    export(encoder, observation, tmp_path / "model")
    tokenizer = load_tokenizer(str(tmp_path / "model"))
    ids = [np.array(x) for x in tokenizer(TEXTS, truncation=True, max_length=training.context)["input_ids"]]
    assert len(ids[2]) == training.context
    with torch.no_grad():
        expected = encoder.embed(ids).numpy()
    assert np.abs(expected - reference_vectors(tmp_path / "model", pooling)).max() < 1e-5
    sentence_transformers = pytest.importorskip("sentence_transformers")
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert np.abs(expected - loaded.encode(TEXTS)).max() < 1e-5


def reference_vectors(folder, pooling):
    """What the folder says, done by hand: tokenizer, backbone, pooling flag, unit length."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    flags = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert flags["pooling_mode_mean_tokens"] == (pooling == "mean")
    assert flags["pooling_mode_lasttoken"] == (pooling == "last")
    assert flags["pooling_mode_weightedmean_tokens"] == (pooling == "weighted")
    vectors = []
    for text in TEXTS:
        batch = tokenizer(text, truncation=True, return_tensors="pt")
        with torch.no_grad():
            states = model(batch["input_ids"]).last_hidden_state[0]
        place = torch.arange(1, len(states) + 1.0)[:, None]
        vector = {"mean": states.mean(0), "weighted": (states * place).sum(0) / place.sum(), "last": states[-1]}[
            pooling
        ]
        vectors.append((vector / vector.norm()).numpy())
    return np.stack(vectors)


def test_a_trained_export_differs_from_its_base(training, tmp_path):
    observation, encoder = train_encoder(Trial("nano-25k", LoRA(4), training, lr=1e-2, steps=6))
    export(encoder, observation, tmp_path / "model")
    tuned = reference_vectors(tmp_path / "model", "mean")
    from transformers import AutoModel, AutoTokenizer

    source = NANO.source
    batch = AutoTokenizer.from_pretrained(source)(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        base = AutoModel.from_pretrained(source, dtype=torch.float32)(batch).last_hidden_state[0].mean(0)
    assert float(tuned[0] @ (base / base.norm()).numpy()) < 0.999


def test_a_folder_with_a_model_is_not_overwritten(training, tmp_path):
    observation, encoder = train_encoder(Trial("nano-25k", Full(), training, lr=1e-2, steps=2))
    export(encoder, observation, tmp_path)
    with pytest.raises(ValueError, match="already holds a model"):
        export(encoder, observation, tmp_path)


def test_prompts_and_two_way_attention_are_part_of_the_model(training, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    asked = replace(training, bidirectional=True, query_prompt="search: ", document_prompt="code: ")
    observation, encoder = train_encoder(Trial("nano-25k", Full(), asked, lr=1e-2, steps=6))
    encoder.eval()
    export(encoder, observation, tmp_path)
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    tokenizer = load_tokenizer(str(tmp_path))
    for call, prompt in ((loaded.encode_query, "search: "), (loaded.encode_document, "code: ")):
        ids = tokenizer([prompt + text for text in TEXTS], truncation=True, max_length=training.context)["input_ids"]
        with torch.no_grad():
            expected = encoder.embed([np.array(x) for x in ids]).numpy()
        assert np.abs(expected - call(TEXTS)).max() < 1e-5
        assert np.abs(expected[0] - call(TEXTS[0])).max() < 1e-5  # alone, where nothing is padded
    assert "search: " in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "method",
    [*(method for method in examples_for(NANO) if method.has_adapter), LoRA(4, token_table="adapter")],
    ids=lambda method: method.label,
)
def test_an_adapter_alone_gives_the_same_vectors(training, method, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    observation, encoder = train_encoder(Trial("nano-25k", method, training, lr=1e-2, steps=6))
    encoder.eval()
    ids = load_tokenizer(NANO.source)(TEXTS[:2])["input_ids"]
    with torch.no_grad():
        expected = encoder.embed([np.array(x) for x in ids]).numpy()
    export(encoder, observation, tmp_path, adapter=True)
    assert (tmp_path / "adapter_model.safetensors").exists() and not (tmp_path / "model.safetensors").exists()
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    assert np.abs(expected - loaded.encode(TEXTS[:2])).max() < 1e-5
    with pytest.raises(ValueError, match="already holds a model"):
        export(encoder, observation, tmp_path)


def test_a_method_without_an_adapter_has_none_to_write(training, tmp_path):
    observation, encoder = train_encoder(Trial("nano-25k", Full(), training, lr=1e-2, steps=2))
    with pytest.raises(ValueError, match="full has no adapter"):
        export(encoder, observation, tmp_path, adapter=True)
    assert not any(tmp_path.iterdir())


def test_a_trained_token_table_is_in_no_adapter(training, tmp_path):
    method = LoRA(4, token_table="train")
    observation, encoder = train_encoder(Trial("nano-25k", method, training, lr=1e-2, steps=2))
    with pytest.raises(
        ValueError, match="trains the whole token table, so an adapter is not enough: export the merged"
    ):
        export(encoder, observation, tmp_path, adapter=True)
    export(encoder, observation, tmp_path / "merged")


def test_an_adapter_cannot_say_that_attention_looks_both_ways(training, tmp_path):
    asked = replace(training, bidirectional=True)
    observation, encoder = train_encoder(Trial("nano-25k", LoRA(4), asked, lr=1e-2, steps=2))
    with pytest.raises(ValueError, match=r"training\.bidirectional is True; an adapter .* export the merged model"):
        export(encoder, observation, tmp_path, adapter=True)


@pytest.mark.slow
@pytest.mark.parametrize("both_ways", [False, True], ids=["causal", "two-way"])
def test_onnx_gives_the_same_states(training, tmp_path, both_ways, capsys):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    asked = replace(training, bidirectional=both_ways)
    observation, encoder = train_encoder(Trial("nano-25k", Full(), asked, lr=1e-2, steps=6))
    encoder.eval()
    export(encoder, observation, tmp_path)
    assert main(["export", str(tmp_path)]) == 0
    session = runtime.InferenceSession(str(tmp_path / "onnx" / "model.onnx"))
    batch = load_tokenizer(str(tmp_path))(TEXTS[0])["input_ids"]
    ids = np.array([batch], dtype=np.int64)
    states = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
    with torch.no_grad():
        expected = encoder.embed([np.array(batch)])[0].numpy()
    vector = states.mean(0)
    assert np.abs(vector / np.linalg.norm(vector) - expected).max() < 1e-5
    assert main(["export", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
