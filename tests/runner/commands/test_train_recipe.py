"""`runner.train`: a recipe in, a Sentence Transformers model out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from runner import train
from sweeps.experiment.recipe_file import write_recipe
from sweeps.methods import Full
from sweeps.trial import Trial

sentence_transformers = pytest.importorskip("sentence_transformers")


@pytest.fixture
def trial(training) -> Trial:
    return Trial("nano-7k", Full(), training, lr=1e-2, steps=4)


def test_a_trial_gives_the_model_that_its_file_gives(trial, tmp_path):
    write_recipe(tmp_path / "recipe.toml", trial, {})
    texts = ["sort a list", "open a file"]
    from_trial = train(trial, on="cpu")
    from_file = train(tmp_path / "recipe.toml", tmp_path / "model", on="cpu")
    assert isinstance(from_trial, sentence_transformers.SentenceTransformer)
    assert (from_trial.encode(texts) == from_file.encode(texts)).all()
    assert json.loads((tmp_path / "model" / "observation.json").read_text())["status"] == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "recipe.toml"]


def test_what_holds_a_trial_is_trained(trial):
    @dataclass(frozen=True)
    class Holder:
        trial: Trial

    assert train(Holder(trial), on="cpu").encode("a text").shape == (16,)


def test_what_cannot_be_trained_is_a_value_error_and_what_diverges_a_runtime_error(trial, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.jsonl"):
        train(replace(trial, training=replace(trial.training, data="nowhere.jsonl")), on="cpu")
    with pytest.raises(RuntimeError, match="diverged"):
        train(replace(trial, lr=1e6, steps=40), tmp_path / "model", on="cpu")
    assert not (tmp_path / "model" / "model.safetensors").exists()
