"""Texts end to end in one row give the vectors and gradients that they give apart.

torch's variable-length kernel runs on a GPU only; here the same attention is done text by text, so that everything
around the kernel is held to the padded path on every architecture.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from runner.model import varlen
from runner.model.encoder import Encoder
from support.backbones import tiny
from sweeps.methods import FreezeBlocks, Full
from sweeps.models import ARCHITECTURES

TEXTS = [np.random.default_rng(n).integers(2, 90, size=n) for n in (5, 21, 1, 13, 21)]


def text_by_text(query, key, value, starts, longest, scale, back):
    """The contract of torch.nn.attention.varlen.varlen_attn with window (back, 0)."""
    assert longest == int(starts.diff().max())
    parts = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        places = torch.arange(end - start, device=query.device)
        seen = places[:, None] >= places
        if back >= 0:
            seen &= places[:, None] - places <= back
        one = [tensor[start:end].transpose(0, 1) for tensor in (query, key, value)]
        parts.append(scaled_dot_product_attention(*one, attn_mask=seen, scale=scale).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", [Full(), FreezeBlocks(0.34)], ids=lambda m: m.name)
def test_packed_and_padded_agree(architecture, method, monkeypatch):
    if not tiny(architecture)._supports_attention_backend:
        pytest.skip("attends by code of its own, and is never packed (varlen.possible)")
    monkeypatch.setattr(varlen, "varlen", text_by_text)
    found = []
    for pack in (False, True):
        encoder = Encoder(method.apply(tiny(architecture)), "mean", bf16=False, pack=pack).double()
        vectors = encoder.embed(TEXTS)
        (vectors @ torch.arange(32, dtype=torch.float64)).sum().backward()
        found.append((vectors, {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}))
    (padded, gradients), (row, others) = found
    torch.testing.assert_close(row, padded, rtol=1e-5, atol=1e-7)  # rotary angles are fp32
    assert gradients.keys() == others.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_the_row_holds_no_padding(monkeypatch):
    monkeypatch.setattr(varlen, "varlen", text_by_text)
    encoder = Encoder(Full().apply(tiny("gpt_neox")), "last", bf16=False, pack=True)
    seen = []
    encoder.backbone.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    encoder.embed(TEXTS)
    assert seen == [(1, sum(len(text) for text in TEXTS), 32)]


def test_a_cpu_runs_padded():
    backbone = tiny("gpt_neox")
    assert not varlen.possible(backbone, torch.device("cpu"), half=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kernel_agrees_with_text_by_text(architecture, monkeypatch):
    device = torch.device("cuda")
    backbone = Full().apply(tiny(architecture)).to(device)
    assert varlen.possible(backbone, device, half=True)
    kernel = Encoder(backbone, "mean", bf16=True, pack=True).embed(TEXTS)
    monkeypatch.setattr(varlen, "varlen", lambda q, k, v, s, *rest: text_by_text(q, k, v, s.cpu(), *rest))
    torch.testing.assert_close(kernel, Encoder(backbone, "mean", bf16=True, pack=True).embed(TEXTS), atol=2e-2, rtol=0)
