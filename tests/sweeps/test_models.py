"""Shapes and counts against published tables and against what transformers builds."""

import json

import pytest
import torch

from support.backbones import EVERY_MODEL, build, count, outside_embeddings, shallow
from sweeps.models import ARCHITECTURES, SUITES, find_model, from_config, read_model

# Biderman et al. 2023, table 1, and the model cards; 14m and 31m from their training files' shapes.
PYTHIA_PARAMS = {
    "pythia-14m": 1_189_888,
    "pythia-31m": 4_739_072,
    "pythia-70m": 18_915_328,
    "pythia-160m": 85_056_000,
    "pythia-410m": 302_311_424,
    "pythia-1b": 805_736_448,
    "pythia-1.4b": 1_208_602_624,
    "pythia-2.8b": 2_517_652_480,
    "pythia-6.9b": 6_444_163_072,
    "pythia-12b": 11_327_027_200,
}

# Parameters of the whole language model as its publisher's weight files count them, output table included if untied.
PUBLISHED_TOTALS = {
    "pythia-14m": 14_067_712,
    "pythia-31m": 30_494_720,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "pythia-6.9b": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "gemma2-2b": 2_614_341_888,
    "phi3-mini": 3_821_079_552,
    "olmo3-7b": 7_298_011_136,
    "smollm3-3b": 3_075_098_624,
    "gpt2": 124_439_808,
    "falcon-7b": 7_217_189_760 - 65024 * 4544,  # its files hold the table twice
    "granite-3.1-2b": 2_533_531_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "gemma3-270m": 268_098_176,
    "gemma3-1b": 999_885_952,
    # The text presets are published with 262144 rows of the token table; the checkpoints have 64 more, for images.
    "gemma3-4b": 3_880_099_328 + 64 * 2560,
    "gemma3-12b": 11_765_788_416 + 64 * 3840,
    "gemma3-27b": 27_009_002_240 + 64 * 5376,
    "olmo2-1b": 1_484_916_736,
    "olmo2-7b": 7_298_617_344,
    "olmo2-13b": 13_716_198_400,
    "olmo2-32b": 32_234_279_936,
}
# What their publishers call these, to 2 %: names and tables say no more.
ROUNDED_TOTALS = {
    "ettin-17m": 17e6,
    "ettin-32m": 32e6,
    "ettin-68m": 68e6,
    "ettin-150m": 149e6,
    "ettin-400m": 395e6,
    "ettin-1b": 1.028e9,
    "cerebras-gpt-111m": 111e6,
    "cerebras-gpt-256m": 256e6,
    "cerebras-gpt-590m": 590e6,
    "cerebras-gpt-1.3b": 1.316e9,
    "cerebras-gpt-2.7b": 2.652e9,
    "cerebras-gpt-6.7b": 6.658e9,
    "cerebras-gpt-13b": 12.85e9,
}
BY_NAME = {model.name: model for model in EVERY_MODEL}
QWEN2 = BY_NAME["qwen2.5-0.5b"]

# As published: transformers fills in the rest.
GEMMA_12B_CONFIG = {
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "model_type": "gemma3_text",
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
    },
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
}


@pytest.mark.parametrize("name", PYTHIA_PARAMS)
def test_params_match_the_published_table(name):
    assert find_model(name).params == PYTHIA_PARAMS[name]


@pytest.mark.parametrize("name", PUBLISHED_TOTALS)
def test_totals_match_the_published_weights(name):
    model = BY_NAME[name]
    tables = 1 if model.tied else 2
    assert model.params + tables * model.embedding_params == PUBLISHED_TOTALS[name]


@pytest.mark.parametrize("name", ROUNDED_TOTALS)
def test_totals_are_what_the_model_is_called_after(name):
    model = BY_NAME[name]
    assert model.tied and model.params + model.embedding_params == pytest.approx(ROUNDED_TOTALS[name], rel=0.02)


def test_every_published_model_has_its_total_checked():
    assert set(PUBLISHED_TOTALS) | set(ROUNDED_TOTALS) == {
        model.name for model in EVERY_MODEL if model not in SUITES["nano"]
    }


def test_every_architecture_is_tried():
    assert {model.architecture for model in EVERY_MODEL} == set(ARCHITECTURES)


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: model.name)
def test_transformers_builds_the_same_shape(model):
    small = shallow(model, layers=2)
    backbone = build(small)
    assert from_config(backbone.config.to_dict(), model.name) == small
    parameters = outside_embeddings(backbone)
    assert count(parameters) == small.params
    assert count([(name, p) for name, p in parameters if name.endswith(".bias")]) == small.biases
    tables = [module.weight.numel() for module in backbone.modules() if isinstance(module, torch.nn.Embedding)]
    assert sum(tables) == small.embedding_params
    matrices = sum(p.numel() for name, p in parameters if p.ndim == 2)
    assert matrices == small.layers * small.block_weights


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_rises_in_size(suite):
    sizes = [model.params for model in SUITES[suite]]
    assert sizes == sorted(set(sizes))


def test_nano_spans_at_least_forty_times():
    assert SUITES["nano"][-1].params >= 40 * SUITES["nano"][0].params


def test_names_are_unique():
    assert len(BY_NAME) == len(EVERY_MODEL)


def test_a_decoder_inside_a_vision_model_is_read_with_its_unwritten_defaults():
    model = from_config(GEMMA_12B_CONFIG, "gemma3-12b", source="google/gemma-3-12b-pt")
    assert model == find_model("gemma3-12b")


def test_a_folder_is_read_and_found(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(build(shallow(QWEN2)).config.to_dict()))
    model = find_model(str(tmp_path))
    assert model.source == str(tmp_path)
    assert (model.kv_heads, model.params) == (2, shallow(QWEN2).params)


def config(**changes):
    plain = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 100,
        "max_position_embeddings": 32,
    }
    return {**plain, **changes}


def test_heads_default_to_ungrouped_ones_that_fill_the_width():
    model = from_config(config(head_dim=None), "plain")
    assert (model.kv_heads, model.head_dim) == (4, 16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mamba"}, ["mamba", "gpt_neox", "llama"]),
        ({"attention_bias": True}, ["attention_bias", "True", "llama"]),
        ({"mlp_bias": True}, ["mlp_bias"]),
        ({"model_type": "gpt_neox", "use_parallel_residual": False}, ["use_parallel_residual", "False"]),
        ({"model_type": "gpt_neox", "attention_bias": False}, ["attention_bias"]),
        ({"hidden_size": "64"}, ["hidden_size", "'64'"]),
        ({"num_hidden_layers": 0}, ["num_hidden_layers", "0"]),
        ({"vocab_size": None}, ["vocab_size", "None"]),
    ],
)
def test_a_shape_that_would_be_miscounted_is_refused(changes, words):
    with pytest.raises(ValueError, match="mine") as error:
        from_config(config(**changes), "mine")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", "\udcff"])
def test_a_broken_config_is_named(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"config\.json"):
        read_model(tmp_path)


def test_an_unknown_model_error_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"pythia-15m.*nano-100k.*pythia-14m"):
        find_model("pythia-15m")
