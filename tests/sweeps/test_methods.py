"""What each method trains, counted against torch and against the published table."""

import copy
import math

import pytest
import torch

from support.backbones import (
    EVERY_MODEL,
    METHOD_EXAMPLES,
    OF_ARCHITECTURE,
    OWN_EXAMPLES,
    TABLE_EXAMPLES,
    build,
    count,
    outside_embeddings,
    shallow,
)
from sweeps.methods import METHODS, BiasOnly, FreezeBlocks, Full, LoRA, make_method
from sweeps.models import ModelSpec, find_model

# Ziarko et al. 2024, with the shapes of Biderman et al. 2023: bias-only n, and LoRA n at rank 32.
PUBLISHED = {
    "pythia-14m": (8_576, 393_216),
    "pythia-31m": (17_152, 786_432),
    "pythia-70m": (34_304, 1_572_864),
    "pythia-160m": (102_144, 4_718_592),
    "pythia-410m": (271_360, 12_582_912),
    "pythia-1b": (362_496, 16_777_216),
    "pythia-1.4b": (542_720, 25_165_824),
    "pythia-2.8b": (903_680, 41_943_040),
    "pythia-6.9b": (1_445_888, 67_108_864),
    "pythia-12b": (2_032_640, 94_371_840),
}
TINY = ModelSpec("tiny", "gpt_neox", 2, 128, 4, 4, 32, 512, 300, 64)


@pytest.mark.parametrize("name", PUBLISHED)
def test_trainable_matches_the_published_table(name):
    model = find_model(name)
    assert (BiasOnly().trainable(model), LoRA(rank=32).trainable(model)) == PUBLISHED[name]


def test_every_method_is_tried():
    assert {type(method) for method in METHOD_EXAMPLES} == set(METHODS.values())


@pytest.mark.parametrize(
    "model",
    [
        model if model in OF_ARCHITECTURE.values() else pytest.param(model, marks=pytest.mark.slow)
        for model in EVERY_MODEL
    ],
    ids=lambda model: model.name,
)
def test_counted_trainable_is_what_torch_counts(model):
    small = shallow(model, layers=2)
    backbone = build(small)
    has_biases = any(name.endswith(".bias") for name, _ in backbone.named_parameters())
    assert bool(BiasOnly().refusal(small)) == (not has_biases)
    # What becomes of the table is the same in all sizes of an architecture.
    tried = METHOD_EXAMPLES if model in OF_ARCHITECTURE.values() else OWN_EXAMPLES
    for method in tried:
        if not method.refusal(small):
            tuned = method.apply(copy.deepcopy(backbone))
            assert count(outside_embeddings(tuned), trainable=True) == method.trainable(small), method.label
            every = count(list(tuned.named_parameters()), trainable=True)
            assert every == method.trainable(small) + method.table_trainable(small), method.label


@pytest.mark.parametrize("method", METHOD_EXAMPLES, ids=lambda method: method.label)
def test_the_token_table_is_trained_by_those_who_say_so(method):
    table = method.apply(build(TINY)).get_input_embeddings()
    assert table.weight.requires_grad == method.trains_token_table
    trained = sum(parameter.numel() for parameter in table.parameters() if parameter.requires_grad)
    assert trained == method.table_trainable(TINY)
    assert hasattr(table, "lora_embedding_A") == (method.token_table == "adapter")


def test_what_becomes_of_the_token_table_is_named_and_keys_without_it_stay():
    assert Full() == Full(token_table="train") and Full().options == {} and Full().label == "full"
    assert LoRA(8, token_table="freeze").options == {"rank": 8, "alpha": 8.0}
    assert Full(token_table="freeze").label == "full token_table freeze"
    assert LoRA(8, token_table="adapter").label == "lora rank 8 alpha 8 token_table adapter"
    assert {method.label for method in TABLE_EXAMPLES} >= {"full token_table freeze", "bias token_table train"}


def test_without_the_table_full_tuning_trains_what_it_trained():
    model = find_model("nano-100k")
    one, other = Full(), Full(token_table="freeze")
    assert one.trainable(model) == other.trainable(model) == model.params
    assert (one.table_trainable(model), other.table_trainable(model)) == (4096 * 64, 0)
    assert LoRA(32, token_table="adapter").table_trainable(model) == 32 * (4096 + 64)


@pytest.mark.parametrize("method", METHOD_EXAMPLES, ids=lambda method: method.label)
def test_an_adapter_can_be_merged_where_the_method_says_that_it_has_one(method):
    assert hasattr(method.apply(build(TINY)), "merge_and_unload") == method.has_adapter


def test_freezing_keeps_the_first_blocks_and_trains_the_last_and_the_final_norm():
    tuned = FreezeBlocks(share=0.5).apply(build(shallow(find_model("qwen3-0.6b"), layers=4)))
    trained = [all(p.requires_grad for p in block.parameters()) for block in tuned.layers]
    still = [not any(p.requires_grad for p in block.parameters()) for block in tuned.layers]
    assert (trained, still) == ([False, False, True, True], [True, True, False, False])
    assert tuned.norm.weight.requires_grad


@pytest.mark.parametrize("layers", [2, 3, 6, 16])
@pytest.mark.parametrize("share", [0.01, 1 / 6, 0.5, 0.99])
def test_freezing_leaves_at_least_one_block_on_either_side(layers, share):
    assert 1 <= FreezeBlocks(share).frozen(layers) <= layers - 1


def test_freezing_a_single_block_is_refused():
    assert FreezeBlocks().refusal(shallow(TINY, layers=1))
    assert not FreezeBlocks().refusal(TINY)


@pytest.mark.parametrize("rank", [4, 16])
def test_adapters_change_nothing_before_the_first_step(rank):
    torch.manual_seed(0)
    backbone = build(TINY, device="cpu").eval()
    ids = torch.randint(TINY.vocab, (3, 7))
    before = backbone(input_ids=ids).last_hidden_state
    tuned = LoRA(rank=rank).apply(copy.deepcopy(backbone)).eval()
    assert torch.equal(tuned(input_ids=ids).last_hidden_state, before)


def first_change(rank: int) -> float:
    """Frobenius norm of the change to all adapted matrices together after one AdamW step, rate and alpha fixed."""
    torch.manual_seed(0)
    tuned = LoRA(rank=rank, alpha=8.0).apply(build(TINY, device="cpu"))
    ids = torch.randint(TINY.vocab, (16, 9))
    vectors = torch.nn.functional.normalize(tuned(input_ids=ids).last_hidden_state.mean(1), dim=-1)
    logits = vectors[:8] @ vectors[8:].T / 0.05
    torch.nn.functional.cross_entropy(logits, torch.arange(8)).backward()
    torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-3).step()
    adapted = [module for module in tuned.modules() if hasattr(module, "get_delta_weight")]
    assert len(adapted) == TINY.layers * len(TINY.linears)
    return math.sqrt(sum(module.get_delta_weight("default").norm().item() ** 2 for module in adapted))


def test_the_step_of_an_adapter_does_not_depend_on_its_rank():
    changes = {rank: first_change(rank) for rank in (4, 8, 16, 32, 64)}
    assert max(changes.values()) < 1.25 * min(changes.values()), changes


@pytest.mark.parametrize("method", METHOD_EXAMPLES, ids=lambda method: method.label)
def test_a_method_is_made_again_from_its_name_and_options(method):
    assert make_method(method.name, method.options) == method


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("adapter", {}, ["adapter", "full", "lora"]),
        ("lora", {"ranks": 8}, ["ranks", "rank", "alpha"]),
        ("full", {"rank": 8}, ["rank", "token_table"]),
        ("lora", {"rank": 0}, ["rank", "0"]),
        ("freeze", {"share": 1.0}, ["share", "1.0"]),
        ("full", {"token_table": "adapter"}, ["full", "token_table", "'adapter'", "train, freeze"]),
        ("dora", {"token_table": "adapter"}, ["dora", "token_table", "'adapter'", "train, freeze"]),
        ("lora", {"token_table": "adaptor"}, ["token_table", "'adaptor' (meant 'adapter'?)", "train, adapter, freeze"]),
    ],
)
def test_a_wrong_method_names_the_choices(name, options, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        make_method(name, options)
    assert all(word in str(error.value) for word in words)


def test_adapters_on_some_maps_are_named_and_keys_without_them_stay():
    assert LoRA(8).options == {"rank": 8, "alpha": 8.0}
    assert LoRA(8, only="q_proj").label == "lora rank 8 alpha 8 only q_proj"
    assert "no map 'q_proj'" in LoRA(8, only="q_proj").refusal(find_model("nano-25k"))
    with pytest.raises(ValueError, match=r"must hold one of .*q_proj, qkv_proj, query_key_value"):
        LoRA(8, only="down_proj")
