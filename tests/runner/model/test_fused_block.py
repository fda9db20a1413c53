"""A block run as one node of the graph is transformers' own block, in vectors and gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from runner.model import fused_block
from runner.model.encoder import make_encoder
from runner.model.folded_lora import unfold
from runner.model.fused_attention import LONGEST, make_row
from runner.model.fused_block import Block, Parts
from support.backbones import build, examples_for
from support.ladder import NANO
from sweeps.methods import Full, LoRA
from sweeps.models import find_model

CPU = torch.device("cpu")
METHODS = [*examples_for(NANO[1]), LoRA(2, only="query_key_value,dense_4h_to_h")]
TEXTS = [np.random.default_rng(n).integers(2, 4096, size=n) for n in (5, LONGEST + 2, 1, 30, 30, LONGEST, 7, 7)]


def whole_as_one_node(method, precision="auto"):
    """An encoder whose blocks run so; a method that has none runs transformers' own, which test_encoder looks at."""
    encoder = make_encoder(NANO[1], method, "mean", CPU, 0, precision)
    if not encoder.fused:
        pytest.skip(f"{method.label} runs transformers' own blocks")
    return encoder


def test_blocks_of_most_methods_are_one_node():
    fused = {method.name for method in METHODS if make_encoder(NANO[1], method, "mean", CPU, 0).fused}
    assert fused >= {"full", "lora", "freeze", "bias"}


def tuned(method, fused):
    """A double-precision encoder whose adapters are not zero."""
    encoder = whole_as_one_node(method).double()
    encoder.fused = fused
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.01 * torch.randn_like(parameter) * parameter.requires_grad
    return encoder


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
def test_an_encoder_embeds_and_learns_as_with_transformers_own(method):
    found = []
    for fused in (True, False):
        encoder = tuned(method, fused)
        vectors = encoder.embed(TEXTS)
        (vectors @ torch.arange(vectors.shape[1], dtype=torch.float64)).sum().backward()
        found.append((vectors.detach(), {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}))
        with torch.no_grad():
            torch.testing.assert_close(encoder.embed(TEXTS), vectors, rtol=0, atol=1e-14)
    (mine, gradients), (theirs, others) = found
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == others.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-9, atol=1e-12, msg=name)


def test_its_gradient_is_the_numerical_one():
    torch.manual_seed(0)
    backbone = Full().apply(build(replace(find_model("pythia-14m"), width=8, heads=2, mlp_width=12, layers=1), "cpu"))
    parts = Parts.of(backbone.layers[0].double())
    with torch.no_grad():
        for parameter in parts.trained:
            parameter += 0.3 * torch.randn_like(parameter)
    steps = torch.arange(3, dtype=torch.float64)[:, None].expand(3, 2)
    row = make_row([3, 2], steps.cos(), steps.sin(), 1, 2)
    states = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    assert len(parts.trained) == 12
    assert torch.autograd.gradcheck(
        lambda it, *trained: Block.apply(it, parts, row, *trained), (states, *parts.trained)
    )


def test_a_graph_holds_less_than_that_of_transformers():
    from runner.training.engine import graph_bytes

    kept = []
    for fused in (True, False):
        encoder = make_encoder(NANO[1], Full(), "mean", CPU, 0)
        encoder.fused = fused
        kept.append(graph_bytes(encoder, [np.arange(2, 40)] * 8))
    assert kept[0] < 0.7 * kept[1]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
def test_bf16_products_are_as_near_to_exact_ones_as_under_autocast(method):
    exact, mine, theirs = (learnt(method, *way) for way in (("fp32", True), ("bf16", True), ("bf16", False)))
    for which in range(2):  # vectors, gradients
        off = [(one[which] - exact[which]).norm() / exact[which].norm() for one in (mine, theirs)]
        assert 1e-4 < off[0] < 1.2 * off[1] < 0.1


def learnt(method, precision, fused):
    """Vectors of TEXTS and all gradients of one loss, flat."""
    encoder = whole_as_one_node(method, precision)
    encoder.fused = fused
    vectors = encoder.embed(TEXTS)
    (vectors @ torch.linspace(-1, 1, vectors.shape[1])).sum().backward()
    gradients = [each.grad.flatten() for each in encoder.parameters() if each.grad is not None]
    assert all(each.dtype == torch.float32 for each in gradients)
    return vectors.detach().flatten(), torch.cat(gradients)


@pytest.mark.parametrize(("model", "used"), [("pythia-14m", True), ("smollm2-135m", False)])
def test_it_is_for_gpt_neox_on_a_cpu(model, used):
    backbone = build(find_model(model))
    assert fused_block.possible(backbone, CPU) == used
    assert not fused_block.possible(backbone, torch.device("cuda"))


@pytest.mark.parametrize(
    ("name", "value"), [("attention_dropout", 0.1), ("hidden_dropout", 0.1), ("use_parallel_residual", False)]
)
def test_a_block_that_is_another_function_stays_transformers_own(name, value):
    backbone = build(find_model("pythia-14m"))
    setattr(backbone.config, name, value)
    assert not fused_block.possible(backbone, CPU)


def test_maps_that_are_wrapped_otherwise_stay_transformers_own():
    encoder = make_encoder(NANO[1], LoRA(2), "mean", CPU, 0)
    assert fused_block.possible(encoder.backbone.get_base_model(), CPU)
    unfold(encoder.backbone)
    assert not fused_block.possible(encoder.backbone.get_base_model(), CPU)
    backbone = build(find_model("pythia-14m"))
    backbone.layers[0].mlp.act = nn.ReLU()
    assert not fused_block.possible(backbone, CPU)


def test_what_must_run_transformers_own_blocks_does():
    for change in ("recompute", "compile_blocks"):
        encoder = make_encoder(NANO[1], Full(), "mean", CPU, 0)
        getattr(encoder, change)()
        assert not encoder.fused
    assert not make_encoder(NANO[1], Full(), "mean", CPU, 0, bidirectional=True).fused
