"""Attention of short texts is transformers' own, in losses and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from backbones import build
from runner import attention
from runner.attention import LONGEST, Attend, ShortAttention, turn
from runner.encoder import make_encoder
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA
from sweeps.models import NANO, find_model

CPU = torch.device("cpu")


def angles(tokens, turned):
    steps = torch.arange(tokens, dtype=torch.float64)[:, None] / 10 ** torch.arange(turned // 2)
    return torch.cat([steps, steps], -1).cos(), torch.cat([steps, steps], -1).sin()


def oracle(heads, cos, sin, scale):
    """As transformers does it, on torch's kernel."""
    query, key, value = heads.permute(3, 0, 2, 1, 4)
    query, key = apply_rotary_pos_emb(query, key, cos[None], sin[None])
    found = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    return found.transpose(1, 2).flatten(2)


@given(
    st.integers(1, 5), st.integers(1, 40), st.integers(1, 4), st.sampled_from([(8, 2), (8, 8), (16, 4)]), st.integers(0)
)
@settings(deadline=None, max_examples=60)
def test_values_and_gradients_are_those_of_torchs_kernel(texts, tokens, count, dims, seed):
    torch.manual_seed(seed % 2**31)
    given = torch.randn(texts, tokens, count, 3, dims[0], dtype=torch.float64)
    sent = torch.randn(texts, tokens, count * dims[0], dtype=torch.float64)
    found = []
    for attend in (Attend.apply, oracle):
        heads = given.clone().requires_grad_()
        vectors = attend(heads, *angles(tokens, dims[1]), dims[0] ** -0.5)
        vectors.backward(sent)
        found.append((vectors.detach(), heads.grad))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    assert torch.equal(heads.detach(), given)  # turned in a copy


def test_its_gradient_is_the_numerical_one():
    heads = torch.randn(2, 4, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda it: Attend.apply(it, *angles(4, 2), 0.5), heads)


def test_turning_back_ends_where_it_began():
    states = torch.randn(3, 5, 8, dtype=torch.float64)
    turned = states.clone()
    cos, sin = angles(5, 4)
    turn(turned, cos, sin)
    assert not torch.allclose(turned[:, 1:], states[:, 1:]) and torch.equal(turned[..., 4:], states[..., 4:])
    turn(turned, cos, -sin)
    torch.testing.assert_close(turned, states)


@pytest.mark.parametrize("method", [Full(), LoRA(4), FreezeBlocks(0.5), BiasOnly()], ids=lambda method: method.name)
def test_an_encoder_embeds_and_learns_as_with_transformers_own(method, monkeypatch):
    texts = [torch.arange(2, 2 + length).numpy() for length in (1, 7, LONGEST, LONGEST + 1)]
    found = []
    for allowed in (True, False):
        if not allowed:
            monkeypatch.setattr(attention, "possible", lambda *_: False)
        encoder = make_encoder(NANO[1], method, "mean", CPU, 0).double()
        assert any(isinstance(module, ShortAttention) for module in encoder.modules()) == allowed
        vectors = torch.cat([encoder.embed([text, text[::-1].copy()]) for text in texts])
        (vectors @ torch.arange(vectors.shape[1], dtype=torch.float64)).sum().backward()
        found.append((vectors.detach(), {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}))
    (mine, gradients), (theirs, others) = found
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)  # rotary angles are fp32
    assert gradients.keys() == others.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("model", "low", "used"),
    [("pythia-14m", False, True), ("pythia-14m", True, False), ("smollm2-135m", False, False)],
)
def test_it_is_for_gpt_neox_in_full_precision(model, low, used):
    assert attention.possible(build(find_model(model)), CPU, low) == used
    assert not attention.possible(build(find_model(model)), torch.device("cuda"), low)


def test_two_way_attention_stays_transformers_own():
    encoder = make_encoder(NANO[1], Full(), "mean", CPU, 0, bidirectional=True)
    assert not any(isinstance(module, ShortAttention) for module in encoder.modules())
