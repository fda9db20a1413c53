"""FLOPs against torch's own counter, and the budgets that follow."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from torch.utils.flop_counter import FlopCounterMode

from runner.model.adapted_table import adapt_table
from runner.model.folded_lora import fold
from support.backbones import METHOD_EXAMPLES, OTHERS, OWN_EXAMPLES, build, narrow, shallow
from sweeps.flops import (
    FLOPS,
    PAPER_PAIR,
    Work,
    exact_flops,
    forward_flops,
    paper_flops,
    steps_for,
)
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA
from sweeps.models import ARCHITECTURES, find_model

# One of each architecture, and of each way heads may be grouped or fill the width.
SHAPES = ["nano-25k", "pythia-1b", "qwen3-0.6b", "smollm2-360m", "smollm2-1.7b", "gemma3-1b", "olmo2-1b", "olmo2-32b"]
SHAPES += ["qwen2.5-0.5b", "ettin-32m", "cerebras-gpt-256m"]
QUICK = ("nano-25k", "smollm2-360m")  # of two kinds of block, under few methods; the others take minutes
MODELS = [*(shallow(find_model(name)) for name in SHAPES), *map(shallow, OTHERS)]
# Texts of one length go through the model together: how many, and how long. Queries, then documents.
QUERIES = [(6, 5)]
DOCUMENTS = [(6, 23)]
WORK = Work(
    pairs=6,
    tokens=sum(texts * length for texts, length in QUERIES + DOCUMENTS),
    sum_sq_lengths=sum(texts * length**2 for texts, length in QUERIES + DOCUMENTS),
    batch_size=6,
)


def embed(backbone, texts) -> torch.Tensor:
    pooled = [backbone(input_ids=torch.zeros(shape, dtype=torch.long)).last_hidden_state.mean(1) for shape in texts]
    return normalize(torch.cat(pooled), dim=-1)


def tuned(method, backbone):
    """The backbone as the trainer runs it: adapters folded."""
    made = method.apply(backbone)
    if method.foldable:
        fold(made)
    adapt_table(made)
    return made


def counted(backbone, queries=QUERIES, documents=DOCUMENTS, second_forward: bool = False) -> int:
    """FLOPs of one training step of a contrastive loss as torch counts them, from shapes alone on the meta device."""
    with backbone.device, FlopCounterMode(display=False) as counter:
        if second_forward:
            with torch.no_grad():
                embed(backbone, queries + documents)
        logits = embed(backbone, queries) @ embed(backbone, documents).T / 0.05
        truth = torch.arange(len(logits))
        (cross_entropy(logits, truth) + cross_entropy(logits.T, truth)).backward()
    return counter.get_total_flops()


def test_every_architecture_is_tried():
    assert {model.architecture for model in MODELS} == set(ARCHITECTURES)


@pytest.mark.parametrize(
    "model",
    [model if model.name in QUICK else pytest.param(model, marks=pytest.mark.slow) for model in MODELS],
    ids=lambda model: model.name,
)
def test_exact_flops_are_what_torch_counts(model):
    model = narrow(model)  # on a CPU that takes a third of the time that the whole width does on the meta device
    backbone = build(model, "cpu").float()
    # What becomes of the table is the same in all shapes of an architecture.
    last = {each.architecture: each.name for each in MODELS}
    tried = METHOD_EXAMPLES if model.name in last.values() else OWN_EXAMPLES
    for method in tried:
        if not method.refusal(model):
            truth = counted(tuned(method, copy.deepcopy(backbone)))
            assert exact_flops(model, method, WORK) == pytest.approx(truth, rel=0.001), method.label


@pytest.mark.parametrize("only", ["q_proj", "q_proj,v_proj", "k_proj,down_proj"])
def test_adapters_on_some_maps_are_counted(only):
    model, method = shallow(find_model("smollm2-360m")), LoRA(rank=8, only=only)
    backbone = tuned(method, build(model))
    entries = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert method.trainable(model) == entries
    assert exact_flops(model, method, WORK) == pytest.approx(counted(backbone), rel=0.01)


@pytest.mark.parametrize(
    "method",
    [Full(), LoRA(rank=8), LoRA(rank=8, token_table="adapter"), FreezeBlocks(share=0.5)],
    ids=lambda method: method.label,
)
def test_a_second_forward_pass_is_counted(method):
    model = find_model("nano-340k")
    truth = counted(tuned(method, build(model)), second_forward=True)
    assert exact_flops(model, method, WORK, second_forward=1.0, frozen_share=2.0) == pytest.approx(truth, rel=0.001)


def test_the_similarities_of_a_large_batch_are_counted():
    model = find_model("nano-25k")
    work = Work(pairs=1024, tokens=2048, sum_sq_lengths=2048, batch_size=1024)
    truth = counted(build(model), queries=[(1024, 1)], documents=[(1024, 1)])
    assert exact_flops(model, Full(), work) == pytest.approx(truth, rel=0.001)


def test_paper_flops_follow_the_published_formulas():
    model = find_model("pythia-410m")
    N, D = model.params, PAPER_PAIR.tokens
    active = FreezeBlocks(share=0.5).trainable(model)
    assert paper_flops(model, Full(), PAPER_PAIR) == 6 * N * D
    assert paper_flops(model, FreezeBlocks(share=0.5), PAPER_PAIR) == (2 * N + 4 * active) * D
    assert paper_flops(model, LoRA(rank=32), PAPER_PAIR) == (4 * N + 2 * 12_582_912) * D
    assert paper_flops(model, BiasOnly(), PAPER_PAIR) == (4 * N + 2 * 271_360) * D


@pytest.mark.parametrize(
    ("name", "budget", "steps"),  # Ziarko et al. 2024: the corner cells of their grid, at 1024 pairs a step
    [
        ("pythia-14m", 1.5e15, 2630),
        ("pythia-160m", 1.5e15, 37),
        ("pythia-1b", 3.8e17, 984),
        ("pythia-2.8b", 1.5e18, 1240),
    ],
)
def test_steps_of_the_published_grid(name, budget, steps):
    assert steps_for(budget, find_model(name), Full(), PAPER_PAIR, count="paper") == pytest.approx(steps, rel=0.01)


@pytest.mark.parametrize("count", FLOPS)
@pytest.mark.parametrize("method", METHOD_EXAMPLES, ids=lambda method: method.label)
def test_steps_spend_the_budget(method, count):
    model, pair = find_model("pythia-70m"), Work(pairs=1, tokens=78, sum_sq_lengths=4292, batch_size=64)
    steps = steps_for(1e15, model, method, pair, count)
    assert FLOPS[count](model, method, pair.times(64 * steps)) == pytest.approx(1e15, rel=0.5 / steps + 1e-9)


def test_cheaper_methods_cost_less_than_full_tuning():
    model = find_model("pythia-410m")
    full = exact_flops(model, Full(), PAPER_PAIR)
    for method in (LoRA(rank=8), FreezeBlocks(share=0.5), BiasOnly()):
        assert forward_flops(model, PAPER_PAIR) < exact_flops(model, method, PAPER_PAIR) < full
