"""A backbone in 4 bits: trains, counts and exports what was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from runner.data.pairs import prepare
from runner.export.sentence_transformers import export
from runner.model.encoder import count_trainable, load_backbone, make_encoder
from runner.trainer import train_encoder
from sweeps.memory import training_memory
from sweeps.methods import LoRA, QLoRA
from sweeps.models import find_model
from sweeps.trial import Trial

MODEL = find_model("nano-100k")


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("runner.model.quantized.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"qlora .*recipe-planner\[quantized\]"):
        make_encoder(MODEL, QLoRA(4), "mean", torch.device("cpu"), 0)


def test_widths_that_do_not_fill_a_block_are_refused():
    assert "96 inputs" in QLoRA().refusal(find_model("nano-340k"))
    assert not QLoRA().refusal(find_model("pythia-410m"))


def test_a_large_backbone_takes_less_memory():
    model = find_model("pythia-2.8b")
    assert training_memory(model, QLoRA(8)).fixed() < 0.35 * training_memory(model, LoRA(8)).fixed()


@pytest.mark.parametrize("table", QLoRA.token_tables())
def test_it_trains_and_the_export_gives_the_trained_vectors(training, tmp_path, table):
    pytest.importorskip("bitsandbytes", reason="needs the extra `quantized`")
    from sentence_transformers import SentenceTransformer

    conditions = replace(training, data_hash=prepare(training, MODEL.source).data_hash)
    trial = Trial(MODEL.name, QLoRA(4, token_table=table), conditions, lr=1e-2, steps=25)
    observation, encoder = train_encoder(trial)
    assert observation.status == "done" and observation.loss < observation.start_loss - 0.2
    assert count_trainable(encoder) == QLoRA(4).trainable(MODEL)
    encoder.eval()
    export(encoder, observation, tmp_path / "model")
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    texts = ["return the sum of two numbers", "def f(a, b):\n    return a + b"]
    ids = [np.array(x) for x in loaded.tokenizer(texts)["input_ids"]]
    with torch.no_grad():
        expected = torch.cat([encoder.embed([one]) for one in ids])
        plain = make_encoder(MODEL, LoRA(4), "mean", torch.device("cpu"), 0).embed(ids)
    vectors = torch.from_numpy(loaded.encode(texts, normalize_embeddings=True))
    assert (vectors * expected).sum(1).min() > 0.999
    assert (vectors * plain).sum(1).max() < 0.99


def test_loading_without_bits_is_untouched():
    loaded = load_backbone(MODEL)
    assert loaded.dtype == torch.float32 and not getattr(loaded, "is_quantized", False)
