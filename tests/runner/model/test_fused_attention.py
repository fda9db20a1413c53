"""Attention over texts in one row is torch's own, text by text, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from runner.model.fused_attention import LONGEST, apply_rotary, attend, attend_back, make_groups, make_row


def angles(tokens, turned):
    steps = torch.arange(tokens, dtype=torch.float64)[:, None] / 10 ** torch.arange(turned // 2)
    return torch.cat([steps, steps], -1).cos(), torch.cat([steps, steps], -1).sin()


def text_by_text(heads, lengths, cos, sin, scale):
    """As transformers does it, on torch's kernel."""
    found = []
    for text in heads.split(lengths):
        query, key, value = text.permute(2, 1, 0, 3)[:, None]
        here = [each[None, : len(text)] for each in (cos, sin)]
        query, key = apply_rotary_pos_emb(query, key, *here)
        seen = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
        found.append(seen[0].transpose(0, 1).flatten(1))
    return torch.cat(found)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(0, 100),
    st.integers(1, 4),
    st.sampled_from([(8, 2), (8, 8), (16, 4)]),
    st.integers(0),
)
@settings(max_examples=60)
def test_values_and_gradients_are_those_of_torchs_kernel(lengths, padding, count, dims, seed):
    compare(lengths, padding, count, dims, seed % 2**31)


@pytest.mark.parametrize("padding", [0, 10**6])
def test_long_texts_are_left_to_torchs_kernel(padding):
    compare([LONGEST + 2, 5, LONGEST + 1, LONGEST], padding, 2, (8, 4), 0)


def compare(lengths, padding, count, dims, seed):
    torch.manual_seed(seed)
    heads = torch.randn(sum(lengths), count, 3, dims[0], dtype=torch.float64)
    sent = torch.randn(sum(lengths), count * dims[0], dtype=torch.float64)
    cos, sin = angles(max(lengths), dims[1])
    row, scale, kept = make_row(lengths, cos, sin, padding, count), dims[0] ** -0.5, []
    given = heads.clone()
    found = attend(given, row, scale, kept)
    assert torch.equal(given, heads)  # turned in a copy
    assert torch.equal(attend(given, row, scale, None), found)
    leaf = heads.clone().requires_grad_()
    expected = text_by_text(leaf, lengths, cos, sin, scale)
    expected.backward(sent)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-10)
    back = attend_back(sent, row, scale, kept, count)
    torch.testing.assert_close(back, leaf.grad, rtol=1e-10, atol=1e-10)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=40),
    st.integers(0, 500),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
)
def test_groups_hold_each_token_once_and_little_padding(lengths, padding, heads, kinds):
    groups = make_groups(lengths, padding, heads)
    row = torch.arange(sum(lengths) * heads * kinds).view(-1, heads, kinds, 1)
    assert [group.start for group in groups] == [0, *(group.end for group in groups[:-1])]
    assert groups[-1].end == len(row) and sum(group.texts for group in groups) == len(lengths)
    texts = iter(row.split(lengths))
    for group in groups:
        assert group.texts * group.tokens - (group.end - group.start) <= padding
        padded = group.open(row)
        assert padded.shape == (kinds, group.texts, heads, group.tokens, 1)
        again = torch.zeros_like(row)
        group.close(padded, again)
        assert torch.equal(again[group.start : group.end], row[group.start : group.end])
        empty = torch.zeros(group.texts, heads, group.tokens, dtype=torch.bool)
        empty.view(-1)[group.empty] = True
        for found, nothing in zip(padded.permute(1, 3, 2, 0, 4), empty.transpose(1, 2), strict=True):
            text = next(texts)
            assert torch.equal(found[: len(text)], text) and (found[len(text) :] == text[-1]).all()
            assert not nothing[: len(text)].any() and nothing[len(text) :].all()


def test_rotating_back_ends_where_it_began():
    parts = torch.randn(3, 2, 2, 5, 8, dtype=torch.float64)
    row = make_row([5, 5], *angles(5, 4), 0, 2)
    rotated = parts.clone()
    apply_rotary(rotated, row.cos, row.sin)
    assert torch.equal(rotated[2], parts[2]) and torch.equal(rotated[..., 4:], parts[..., 4:])
    assert not torch.allclose(rotated[:2, ..., 1:, :4], parts[:2, ..., 1:, :4])
    apply_rotary(rotated, row.cos, -row.sin)
    torch.testing.assert_close(rotated, parts)
