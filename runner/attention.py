"""Causal attention of texts that lie end to end in one row, forth and back, for the blocks of runner/block.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

LONGEST = 128  # tokens; all scores are kept for the way back: as dear as torch's kernel somewhere from here to 256


@dataclass(frozen=True)
class Group:
    """Texts one after another in a row that are attended to together, each padded to the longest.

    start, end: of its rows; texts: how many; tokens: of the longest; places: [end - start], where each row lies among
    the padded ones, None where all texts are as long.
    """

    start: int
    end: int
    texts: int
    tokens: int
    places: Tensor | None

    def open(self, row: Tensor) -> Tensor:
        """row: [all tokens, ...] -> this group's part [texts, tokens, ...], zero where nothing is."""
        part, shape = row[self.start : self.end], (self.texts, self.tokens, *row.shape[1:])
        if self.places is None:
            return part.view(shape)
        return part.new_zeros(shape).flatten(0, 1).index_copy_(0, self.places, part).view(shape)

    def close(self, padded: Tensor, row: Tensor) -> None:
        """The way back of `open`: into `row`."""
        part = row[self.start : self.end]
        if self.places is None:
            part.view(padded.shape).copy_(padded)
        else:
            torch.index_select(padded.flatten(0, 1), 0, self.places, out=part)


@dataclass(frozen=True)
class Row:
    """Where texts lie in a row, and how their tokens are turned by their place.

    cos, sin: [longest, turned dims], the signs of a turn in sin; ahead: [longest, longest], -inf where a token would
    look at a later one.
    """

    groups: tuple[Group, ...]
    cos: Tensor
    sin: Tensor
    ahead: Tensor


def make_row(lengths: Sequence[int], cos: Tensor, sin: Tensor, padding: int) -> Row:
    """cos, sin: [longest, turned dims], halves alike; padding: of a group, at most, in tokens."""
    half, longest = cos.shape[1] // 2, max(lengths)
    signed = torch.cat([-sin[:, :half], sin[:, half:]], 1)
    ahead = cos.new_full((longest, longest), -math.inf).triu(1)
    return Row(groups(lengths, padding), cos, signed, ahead)


def groups(lengths: Sequence[int], padding: int) -> tuple[Group, ...]:
    """Runs of texts, each with at most `padding` tokens of padding."""
    found: list[Group] = []
    run: list[int] = []
    start = longest = total = 0
    for length in lengths:
        longest, total = max(longest, length), total + length
        if run and longest * (len(run) + 1) - total > padding:
            found.append(_group(run, start))
            run, start, longest, total = [], found[-1].end, length, length
        run.append(length)
    return (*found, _group(run, start))


def _group(lengths: Sequence[int], start: int) -> Group:
    tokens, total = max(lengths), sum(lengths)
    places = None
    if total < tokens * len(lengths):
        places = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).flatten().nonzero().squeeze(1)
    return Group(start, start + total, len(lengths), tokens, places)


def turn(parts: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn queries and keys in place. parts: query, key, value [3, texts, heads, tokens, dim]; cos, sin: as in Row; of
    -sin, back again."""
    tokens, half = parts.shape[3], cos.shape[1] // 2
    turned = parts[:2, ..., : 2 * half]
    other = torch.cat([turned[..., half:], turned[..., :half]], -1)
    turned.mul_(cos[:tokens]).addcmul_(other, sin[:tokens])


def attend(heads: Tensor, row: Row, scale: float, kept: list[Any] | None) -> Tensor:
    """softmax(QK' scale, causal) V of each text. heads: [tokens, heads, 3, dim] -> [tokens, width].

    kept: takes what `attend_back` wants of each group; None where there is no way back.
    """
    mixed = torch.empty_like(heads[:, :, 0])
    for group in row.groups:
        parts = group.open(heads).permute(3, 0, 2, 1, 4).contiguous()
        turn(parts, row.cos, row.sin)
        found = _short(parts, row.ahead, scale, kept) if group.tokens <= LONGEST else _long(parts, scale, kept)
        group.close(found.transpose(1, 2), mixed)
    return mixed.flatten(1)


def attend_back(gradient: Tensor, row: Row, scale: float, kept: Sequence[Any], heads: int) -> Tensor:
    """gradient: to what `attend` gave -> to what it was given [tokens, heads, 3, dim]."""
    leaving = gradient.new_empty(len(gradient), heads, 3, gradient.shape[1] // heads)
    for group, (parts, shares) in zip(row.groups, kept, strict=True):
        arriving = group.open(gradient).unflatten(-1, (heads, -1)).transpose(1, 2)
        short = group.tokens <= LONGEST
        back = _short_back(arriving, parts, shares, scale) if short else _long_back(arriving, parts, shares)
        turn(back, row.cos, -row.sin)
        group.close(back.permute(1, 3, 2, 0, 4), leaving)
    return leaving


def _short(parts: Tensor, ahead: Tensor, scale: float, kept: list[Any] | None) -> Tensor:
    """parts: query, key, value [3, texts, heads, tokens, dim] -> [texts, heads, tokens, dim]."""
    _, texts, heads, tokens, dim = parts.shape
    query, key, value = parts.view(3, texts * heads, tokens, dim)
    shares = torch.baddbmm(ahead[:tokens, :tokens], query, key.mT, alpha=scale)
    torch.softmax(shares, -1, out=shares)
    if kept is not None:
        kept.append((parts, shares))
    return torch.bmm(shares, value).view(texts, heads, tokens, dim)


def _short_back(arriving: Tensor, parts: Tensor, shares: Tensor, scale: float) -> Tensor:
    """arriving: [texts, heads, tokens, dim] -> gradient to `parts`."""
    query, key, value = parts.flatten(1, 2)
    arriving = arriving.reshape(value.shape)
    leaving = torch.empty_like(parts)
    to_query, to_key, to_value = leaving.flatten(1, 2)
    torch.bmm(shares.mT, arriving, out=to_value)
    to_shares = torch.bmm(arriving, value.mT)
    to_scores = torch.ops.aten._softmax_backward_data(to_shares, shares, -1, shares.dtype).mul_(scale)
    torch.bmm(to_scores, key, out=to_query)
    torch.bmm(to_scores.mT, query, out=to_key)
    return leaving


def _long(parts: Tensor, scale: float, kept: list[Any] | None) -> Tensor:
    """As `_short`, by torch's kernel and a graph of its own."""
    with torch.set_grad_enabled(kept is not None):
        parts = parts.detach().requires_grad_(kept is not None)
        found = scaled_dot_product_attention(*parts, is_causal=True, scale=scale)
    if kept is not None:
        kept.append((parts, found))
    return found.detach()


def _long_back(arriving: Tensor, parts: Tensor, found: Tensor) -> Tensor:
    return torch.autograd.grad(found, parts, arriving)[0]
