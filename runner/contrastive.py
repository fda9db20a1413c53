"""The contrastive loss, its backward in micro-batches (gradient cache), and the held-out loss in fixed pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from runner.encoder import Encoder
from runner.pairs import Pairs


def info_nce(
    query: Tensor, document: Tensor, temperature: float, same: Tensor | None = None, negative: Tensor | None = None
) -> Tensor:
    """Symmetric in-batch contrastive loss, nats per pair (Ziarko et al. 2024, section 3.3).

    query, document: [pairs, dim], unit length; row i of one belongs to row i of the other. same: [pairs, pairs],
    true where two pairs must not be each other's negatives. negative: [texts, dim], further candidates of every query.
    """
    logits = query @ document.T / temperature  # [pairs, pairs]
    if same is not None:
        others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(others, float("-inf"))
    truth = torch.arange(len(logits), device=logits.device)
    back = cross_entropy(logits.T, truth)
    if negative is not None:
        logits = torch.cat([logits, query @ negative.T / temperature], dim=1)  # [pairs, pairs + texts]
    return (cross_entropy(logits, truth) + back) / 2


def micro_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Cut texts into micro-batches of at most `tokens` padded tokens, longest first.

    Sorting by length first leaves little padding; longest first, so that memory runs out at once or never.
    lengths: [texts] -> arrays of text indices that together hold each once.
    """
    order = np.argsort(-lengths, kind="stable")
    cuts, start = [], 0
    while start < len(order):
        count = max(1, tokens // int(lengths[order[start]]))
        cuts.append(order[start : start + count])
        start += count
    return cuts


@dataclass(frozen=True)
class Batch:
    """The texts of one step. texts: query 0..n-1, document n..2n-1, then hard negatives. same: see `info_nce`."""

    texts: list[np.ndarray]
    pairs: int
    same: Tensor

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(text) for text in self.texts])

    def loss(self, vectors: Tensor, temperature: float) -> Tensor:
        """vectors: [texts, dim] in the order of `texts`."""
        query, document, rest = vectors.split([self.pairs, self.pairs, len(vectors) - 2 * self.pairs])
        return info_nce(query, document, temperature, self.same, rest if len(rest) else None)


def make_batch(pairs: Pairs, chosen: np.ndarray, hard_negatives: int, device: torch.device) -> Batch:
    """The texts of the `chosen` pairs. Pairs of one group, or with an equal query or document, share `same`."""
    negatives = pairs.negatives(chosen, hard_negatives) if hard_negatives else []
    texts = [pairs.query[i] for i in chosen] + [pairs.positive[i] for i in chosen]
    texts += [pairs.negative[i] for i in negatives]
    same = np.zeros((len(chosen), len(chosen)), dtype=bool)
    for marks in (pairs.groups[chosen], pairs.query.hashes[chosen], pairs.positive.hashes[chosen]):
        same |= marks[:, None] == marks[None, :]
    return Batch(texts, len(chosen), torch.from_numpy(same).to(device))


def backward(
    encoder: Encoder, texts: Sequence[np.ndarray], loss: Callable[[Tensor], Tensor], tokens: int, kept_tokens: int
) -> tuple[float, int]:
    """Loss over all texts at once, its gradient accumulated in the encoder micro-batch by micro-batch.

    Gradient caching (Gao et al. 2021): embed, take the loss's gradient to the vectors, then send it back through each
    micro-batch. The graphs of the first `kept_tokens` padded tokens are kept; only the rest is embedded twice.
    loss: [texts, dim] -> scalar. Returns the loss and how many real tokens were embedded twice.
    """
    lengths = np.array([len(text) for text in texts])
    cuts = micro_batches(lengths, tokens)
    padded = np.cumsum([len(cut) * lengths[cut[0]] for cut in cuts])
    parts = []
    for cut, total in zip(cuts, padded, strict=True):
        with torch.set_grad_enabled(bool(total <= kept_tokens)):
            parts.append(encoder.embed([texts[i] for i in cut]))
    order = torch.from_numpy(np.argsort(np.concatenate(cuts))).to(parts[0].device)
    leaves = [part.detach().requires_grad_() for part in parts]
    value = loss(torch.cat(leaves)[order])
    value.backward()
    again = 0
    for cut, part, leaf in zip(cuts, parts, leaves, strict=True):
        if not part.requires_grad:
            part = encoder.embed([texts[i] for i in cut])
            again += int(lengths[cut].sum())
        part.backward(leaf.grad)
    return value.item(), again


@torch.no_grad()
def embed_all(encoder: Encoder, texts: Sequence[np.ndarray], tokens: int) -> Tensor:
    """Unit vectors [texts, dim] of any number of texts, embedded in order of length."""
    cuts = micro_batches(np.array([len(text) for text in texts]), tokens)
    parts = torch.cat([encoder.embed([texts[i] for i in cut]) for cut in cuts])
    return parts[torch.from_numpy(np.argsort(np.concatenate(cuts))).to(parts.device)]


@torch.no_grad()
def held_out(
    encoder: Encoder, pairs: Pairs, pools: Sequence[np.ndarray], temperature: float, tokens: int
) -> tuple[float, float]:
    """Mean symmetric InfoNCE (nats per pair) and accuracy@1 of queries over fixed pools."""
    chosen = np.concatenate(pools)
    query = embed_all(encoder, [pairs.query[i] for i in chosen], tokens).split([len(pool) for pool in pools])
    document = embed_all(encoder, [pairs.positive[i] for i in chosen], tokens).split([len(pool) for pool in pools])
    losses, hits = [], []
    for queries, documents in zip(query, document, strict=True):
        losses.append(info_nce(queries, documents, temperature).item())
        nearest = (queries @ documents.T).argmax(1)
        hits.append((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean().item())
    return sum(losses) / len(losses), sum(hits) / len(hits)
