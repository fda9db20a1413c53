"""Causal attention of texts that lie end to end in one row, forth and back, for the blocks of fused_block.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

LONGEST = 128  # tokens; scores are kept for the backward pass. Above 128 to 256 that is as slow as torch's kernel


@dataclass(frozen=True)
class Group:
    """Texts one after another in a row that are attended to together, each padded to the longest."""

    start: int
    """Its first token's place in the row."""
    end: int
    """The place after its last token."""
    texts: int
    """Number of texts."""
    tokens: int
    """Tokens of the longest text."""
    opened: Mapping[int, Tensor]
    """By how many vectors a head has for each token: where in the row each of the padded vectors lies."""
    closed: Mapping[int, Tensor]
    """By the same: where among the padded vectors each of the row's lies."""
    empty: Tensor
    """The padded places of no token, where a head has one vector."""

    def open(self, row: Tensor) -> Tensor:
        """row: [all tokens, heads, kinds, dim] -> this group's part [kinds, texts, heads, tokens, dim].

        A text's last token lies where nothing is, for no token looks at those behind it.
        """
        _, heads, kinds, dim = row.shape
        part = row[self.start : self.end].reshape(-1, dim)
        # One copy of whole vectors; to fill padding in and to order by heads afterwards are three.
        return part.index_select(0, self.opened[kinds]).view(kinds, self.texts, heads, self.tokens, dim)

    def close(self, padded: Tensor, row: Tensor) -> None:
        """Write what `open` gave back into `row`."""
        kinds, dim = row.shape[2:]
        part = row[self.start : self.end].view(-1, dim)
        torch.index_select(padded.reshape(-1, dim), 0, self.closed[kinds], out=part)


@dataclass(frozen=True)
class Row:
    """Where texts lie in a row, and the rotary embedding of each place."""

    groups: tuple[Group, ...]
    """All texts in their order."""
    cos: Tensor
    """[longest, rotary dims]."""
    sin: Tensor
    """[longest, rotary dims], with the signs of a rotation."""
    causal_mask: Tensor
    """[longest, longest], -inf where a token would attend to a later one."""


def make_row(lengths: Sequence[int], cos: Tensor, sin: Tensor, padding: int, heads: int) -> Row:
    """Returns the row. cos, sin: [longest, rotary dims], halves alike; padding: of a group, at most, in tokens."""
    half, longest = cos.shape[1] // 2, max(lengths)
    signed = torch.cat([-sin[:, :half], sin[:, half:]], 1)
    causal_mask = cos.new_full((longest, longest), -math.inf).triu(1)
    return Row(make_groups(lengths, padding, heads), cos, signed, causal_mask)


def make_groups(lengths: Sequence[int], padding: int, heads: int) -> tuple[Group, ...]:
    """Returns runs of texts, each with at most `padding` tokens of padding."""
    groups: list[Group] = []
    run: list[int] = []
    start = longest = total = 0
    for length in lengths:
        longest, total = max(longest, length), total + length
        if run and longest * (len(run) + 1) - total > padding:
            groups.append(_group(run, start, heads))
            run, start, longest, total = [], groups[-1].end, length, length
        run.append(length)
    return (*groups, _group(run, start, heads))


def _group(lengths: Sequence[int], start: int, heads: int) -> Group:
    texts, tokens, sizes = len(lengths), max(lengths), torch.tensor(lengths)[:, None]
    place, head = torch.arange(tokens), torch.arange(heads)
    real = place < sizes
    token = sizes.cumsum(0) - sizes + torch.minimum(place, sizes - 1)
    opened = token[:, None] * heads + head[:, None]  # [texts, heads, tokens]
    text, place = real.nonzero(as_tuple=True)
    closed = (text * heads * tokens + place)[:, None] + head * tokens  # [tokens, heads]
    empty = (~real)[:, None].expand_as(opened).flatten().nonzero().squeeze(1)
    kinds = torch.arange(3)
    return Group(
        start,
        start + len(text),
        texts,
        tokens,
        {1: opened.flatten(), 3: (kinds[:, None, None, None] + opened * 3).flatten()},
        {1: closed.flatten(), 3: (closed[..., None] + kinds * opened.numel()).flatten()},
        empty,
    )


def apply_rotary(parts: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate queries and keys in place. parts: query, key, value [3, texts, heads, tokens, dim]; cos, sin: as in Row;
    with -sin the rotation is undone."""
    tokens, half = parts.shape[3], cos.shape[1] // 2
    rotated = parts[:2, ..., : 2 * half]
    other = torch.cat([rotated[..., half:], rotated[..., :half]], -1)
    rotated.mul_(cos[:tokens]).addcmul_(other, sin[:tokens])


def attend(heads: Tensor, row: Row, scale: float, kept: list[Any] | None) -> Tensor:
    """Returns softmax(QK' scale, causal) V of each text. heads: [tokens, heads, 3, dim] -> [tokens, width].

    kept: takes what `attend_back` needs of each group; None where there is no backward pass.
    """
    mixed = heads.new_empty(*heads.shape[:2], 1, heads.shape[3])
    for group in row.groups:
        parts = group.open(heads)
        apply_rotary(parts, row.cos, row.sin)
        short = group.tokens <= LONGEST
        attended = _short(parts, row.causal_mask, scale, kept) if short else _long(parts, scale, kept)
        group.close(attended, mixed)
    return mixed.flatten(1)


def attend_back(gradient: Tensor, row: Row, scale: float, kept: Sequence[Any], heads: int) -> Tensor:
    """Returns the gradient to what `attend` was given. gradient: to what it gave -> to what it was given [tokens,
    heads, 3, dim]."""
    gradient = gradient.view(len(gradient), heads, 1, -1)
    grad_input = gradient.new_empty(*gradient.shape[:2], 3, gradient.shape[3])
    for group, (parts, probs) in zip(row.groups, kept, strict=True):
        grad_output = group.open(gradient)[0]
        grad_output.view(-1, grad_output.shape[-1]).index_fill_(0, group.empty, 0)
        short = group.tokens <= LONGEST
        back = _short_back(grad_output, parts, probs, scale) if short else _long_back(grad_output, parts, probs)
        apply_rotary(back, row.cos, -row.sin)
        group.close(back, grad_input)
    return grad_input


def _short(parts: Tensor, causal_mask: Tensor, scale: float, kept: list[Any] | None) -> Tensor:
    """parts: query, key, value [3, texts, heads, tokens, dim] -> [texts, heads, tokens, dim]."""
    _, texts, heads, tokens, dim = parts.shape
    query, key, value = parts.view(3, texts * heads, tokens, dim)
    probs = torch.baddbmm(causal_mask[:tokens, :tokens], query, key.mT, alpha=scale)
    torch.softmax(probs, -1, out=probs)
    if kept is not None:
        kept.append((parts, probs))
    return torch.bmm(probs, value).view(texts, heads, tokens, dim)


def _short_back(grad_output: Tensor, parts: Tensor, probs: Tensor, scale: float) -> Tensor:
    """grad_output: [texts, heads, tokens, dim] -> gradient to `parts`."""
    query, key, value = parts.flatten(1, 2)
    grad_output = grad_output.view(value.shape)
    grad_input = torch.empty_like(parts)
    to_query, to_key, to_value = grad_input.flatten(1, 2)
    torch.bmm(probs.mT, grad_output, out=to_value)
    to_probs = torch.bmm(grad_output, value.mT)
    to_scores = torch.ops.aten._softmax_backward_data(to_probs, probs, -1, probs.dtype).mul_(scale)
    torch.bmm(to_scores, key, out=to_query)
    torch.bmm(to_scores.mT, query, out=to_key)
    return grad_input


def _long(parts: Tensor, scale: float, kept: list[Any] | None) -> Tensor:
    """As `_short`, by torch's kernel and a graph of its own."""
    with torch.set_grad_enabled(kept is not None):
        parts = parts.detach().requires_grad_(kept is not None)
        query, key, value = parts.unbind()
        attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    if kept is not None:
        kept.append((parts, attended))
    return attended.detach()


def _long_back(grad_output: Tensor, parts: Tensor, attended: Tensor) -> Tensor:
    return torch.autograd.grad(attended, parts, grad_output)[0]
