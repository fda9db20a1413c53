"""A model's card says where it comes from, how it was made and used, and what was predicted and reached."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
import yaml

from runner.export.model_card import base_of, model_card
from sweeps.experiment.prediction import Predicted
from sweeps.experiment.recipe_file import read_recipe
from sweeps.methods import Full, LoRA
from sweeps.models import SUITES
from sweeps.trial import Observation, Training, Trial

TRAINING = Training(data="hf:me/pairs", data_hash="abc123", query_prompt="find: ")
TRIAL = Trial("pythia-70m", LoRA(8), TRAINING, lr=1e-3, steps=70)
SEEN = Observation(
    TRIAL,
    "done",
    loss=1.25,
    accuracy=0.5,
    start_loss=5.0,
    params=10,
    trainable=5,
    pairs=4480,
    data_pairs=9000,
    tokens=100_000,
    flops=1e12,
    scores={"x-test ndcg@10": 0.4},
)
REACHED = (Predicted("held-out loss", 1.2, 1.1, 1.3, 1.25),)


def block(text: str) -> dict[str, Any]:
    """The metadata, as a hub reads them."""
    lines = text.splitlines()
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))


def test_the_metadata_name_base_licence_data_and_tags():
    content = block(model_card(SEEN, REACHED))
    assert content["base_model"] == "EleutherAI/pythia-70m" and content["license"] == "apache-2.0"
    assert content["datasets"] == ["me/pairs"] and {"lora", "sentence-transformers"} <= set(content["tags"])


def test_the_text_holds_what_made_it_and_what_came_of_it():
    card = model_card(SEEN, REACHED)
    for words in (
        "hf:me/pairs (hash abc123)",
        "4,480 of 9,000 unique ones",
        "held-out loss 1.2500 nats per pair in pools of 256 (before training: 5.0000)",
        "x-test ndcg@10 0.400",
        "held-out loss: predicted 1.200 (90 %: 1.100 to 1.300), got 1.250: inside",
        'SentenceTransformer("path/to/this/folder")',
        '`encode_query` puts "find: " before a text',
    ):
        assert words in card
    assert "Predicted and reached" not in model_card(SEEN)


def test_what_is_trained_of_the_token_table_is_counted_beside():
    table = 50304 * 512
    for method, told in (
        (LoRA(8), "5 parameters trained |"),
        (
            LoRA(8, token_table="adapter"),
            f"5 parameters trained, and {8 * (50304 + 512):,} of the token table's adapter |",
        ),
        (Full(), f"5 parameters trained, and {table:,} of the token table |"),
    ):
        assert told in model_card(replace(SEEN, trial=replace(TRIAL, method=method)))


def test_the_recipe_in_the_card_trains_the_same_trial(tmp_path):
    text = model_card(SEEN).partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(text)["training"]["data_hash"] == "abc123"
    (tmp_path / "recipe.toml").write_text(text)
    assert read_recipe(tmp_path / "recipe.toml") == TRIAL


def test_a_base_in_a_folder_has_the_licence_that_its_card_states(tmp_path):
    assert base_of("nano-25k").licence == "apache-2.0" and not base_of("nano-25k").hub
    card = model_card(replace(SEEN, trial=replace(TRIAL, model="nano-25k")))
    assert "base_model" not in card and "The base is nano-25k. Its licence is apache-2.0." in card


@pytest.mark.parametrize("model", [suite[0].name for suite in SUITES.values()])
def test_every_suite_has_a_licence(model):
    assert base_of(model).licence
