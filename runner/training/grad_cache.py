"""The loss's backward in micro-batches (gradient cache), and the held-out loss in fixed pools."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from runner.data.pairs import Pairs
from runner.model.encoder import Encoder
from runner.model.varlen import Layout, pack, send
from runner.training.distributed import ALONE, Ranks
from runner.training.loss import Objective, info_nce

SYMMETRIC = Objective()


def micro_batches(lengths: np.ndarray, tokens: int, padding: int, ranks: int = 1) -> list[np.ndarray]:
    """Cut texts into micro-batches of at most `tokens` padded tokens, `padding` of them empty, longest first.

    Sorted by length, and cut where padding on would cost more than another pass. Longest first, so that memory runs
    out at once or never. lengths: [texts] -> arrays of text indices that together hold each once. ranks: how many
    share each micro-batch, so that it is as many times larger; the shortest text fills up what does not divide.
    """
    order = np.argsort(-lengths, kind="stable")
    order = np.append(order, order[-1:].repeat(-len(order) % ranks))
    ordered = lengths[order]
    cuts, start = [], 0
    while start < len(order):
        longest = int(ordered[start])
        window = ordered[start : start + ranks * max(1, tokens // longest)]
        empty = np.cumsum(longest - window)
        count = ranks * max(1, int(np.searchsorted(empty, ranks * padding, side="right")) // ranks)
        cuts.append(order[start : start + count])
        start += count
    return cuts


@dataclass(frozen=True)
class Batch:
    """The texts of one step. texts: query 0..n-1, document n..2n-1, then hard negatives. hashes: of the texts.
    marks: see `info_nce`."""

    texts: list[np.ndarray]
    hashes: np.ndarray
    pairs: int
    marks: Tensor

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(text) for text in self.texts])

    def loss(self, vectors: Tensor, temperature: float | Tensor, objective: Objective = SYMMETRIC) -> Tensor:
        """vectors: [texts, dim] in the order of `texts`."""
        query, document, rest = vectors.split([self.pairs, self.pairs, len(vectors) - 2 * self.pairs])
        return objective.loss(query, document, temperature, self.marks, rest if len(rest) else None)


def _each(ids: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Views on the texts that lie end to end in `ids`."""
    return np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []


def make_batch(pairs: Pairs, chosen: np.ndarray, hard_negatives: int, device: torch.device) -> Batch:
    """The texts of the `chosen` pairs. Pairs of one group, or with an equal query or document, share a mark."""
    drawn = [(pairs.query, chosen), (pairs.positive, chosen)]
    if hard_negatives:
        drawn.append((pairs.negative, pairs.negatives(chosen, hard_negatives)))
    texts = [text for column, places in drawn for text in _each(*column.gather(places))]
    hashes = np.concatenate([column.hashes[places] for column, places in drawn])
    marks = np.stack([pairs.groups[chosen], *hashes[: 2 * len(chosen)].reshape(2, -1)])
    return Batch(texts, hashes, len(chosen), send(marks, device))


@dataclass(frozen=True)
class Room:
    """What may be kept of a step. tokens: padded, in one micro-batch. graphs: padded tokens whose graphs are kept.
    states: padded tokens whose states after the frozen blocks are kept."""

    tokens: int
    graphs: int
    states: int


@dataclass(frozen=True)
class Spent:
    """What a step took. loss: nats per pair. again: real tokens that went twice through the trained blocks; entered:
    through the frozen ones, once or twice."""

    loss: float
    again: int
    entered: int


Ahead = Callable[[np.ndarray], Tensor]  # places in the batch -> states after the frozen blocks [texts, tokens, width]


def backward(
    encoder: Encoder,
    texts: Sequence[np.ndarray],
    loss: Callable[[Tensor], Tensor],
    room: Room,
    ahead: Ahead | None = None,
    ranks: Ranks = ALONE,
) -> Spent:
    """Loss over all texts at once, its gradient accumulated in the encoder micro-batch by micro-batch.

    Gradient caching (Gao et al. 2021): embed, take the loss's gradient to the vectors, then send it back through each
    micro-batch. What there is room for is kept between the two passes; only the rest is embedded twice.
    loss: [texts, dim] -> scalar. ahead: where the states after the frozen blocks are known already. ranks: who share
    the texts; the gradient is then that of this rank's, which is to be added up.
    """
    lengths = np.array([len(text) for text in texts])
    cuts = micro_batches(lengths, room.tokens, encoder.padding(room.tokens), ranks.count)
    mine, rows = ranks.share(cuts)
    padded = np.cumsum([len(cut) // ranks.count * lengths[cut[0]] for cut in cuts])
    table = TableGradient(encoder, math.inf if ranks.sharded else TableGradient.WAITING)
    passes = [Pass(encoder, [texts[i] for i in cut], table, ahead and partial(ahead, cut)) for cut in mine]
    keep = [(bool(total <= room.graphs), bool(total <= room.states)) for total in padded]
    with ranks.synchronise_oom():
        vectors = [each.forward(*kept).detach() for each, kept in zip(passes, keep, strict=True)]
    every = ranks.gather(torch.cat(vectors)).requires_grad_()
    with ranks.synchronise_oom():
        value = loss(every[send(rows, every.device)])
        value.backward()
        # Asked for here, a GPU has the way back still to do while the next batch is made.
        nats = value.item()
        if encoder.sharpness is not None:  # each rank has all of this gradient, and they will be added up
            encoder.sharpness.grad /= ranks.count
        gradients = ranks.own(every.grad).split([len(part) for part in vectors])
        for each, gradient in zip(passes, gradients, strict=True):
            each.backward(gradient)
        table.flush()
    again, entered = ranks.sum_counts([sum(each.again for each in passes), sum(each.entered for each in passes)])
    return Spent(nats, again, entered)


class Pass:
    """One micro-batch on its way through the encoder and back. `again`, `entered`: as in Spent."""

    def __init__(
        self,
        encoder: Encoder,
        texts: Sequence[np.ndarray],
        table: TableGradient,
        ahead: Callable[[], Tensor] | None = None,
    ) -> None:
        self.encoder, self.table, self.ahead = encoder, table, ahead
        self.ids, self.where = encoder.pad(texts)
        self.tokens = sum(len(text) for text in texts)
        self.again = self.entered = 0
        self._states: Tensor | None = None
        self._vectors: Tensor | None = None

    def forward(self, graph: bool, states: bool) -> Tensor:
        """Vectors [texts, dim]. graph, states: keep them for `backward`."""
        entered = self._enter()
        with torch.set_grad_enabled(graph):
            vectors = self.encoder.leave(entered, self.where)
        if graph:
            self._vectors = vectors
        if graph or (states and self.encoder.frozen):
            self._states = entered
        return vectors

    def backward(self, gradient: Tensor) -> None:
        """gradient: of the loss to the vectors [texts, dim]. Frees what was kept."""
        states = self._enter() if self._states is None else self._states
        vectors = self._vectors
        if vectors is None:
            vectors = self.encoder.leave(states, self.where)
            self.again += self.tokens
        if self.encoder.recomputes:
            self.again += self.tokens
        vectors.backward(gradient)
        self.table.add(self.ids, self.where, states.grad)
        self._states = self._vectors = None

    def _enter(self) -> Tensor:
        if self.ahead:
            return self.ahead()
        self.entered += self.tokens
        with torch.no_grad():
            states = self.encoder.enter(self.ids, self.where)
        return states.requires_grad_(self.table.trained)


class TableGradient:
    """The token table's gradient is as large as the table: it is made once a step, not once a micro-batch.

    waiting: tokens whose gradients may wait for that.
    """

    WAITING = 2**14

    def __init__(self, encoder: Encoder, waiting: float = WAITING) -> None:
        self.table, self.waiting = encoder.table, waiting
        self.trained = bool(self.table.weight.requires_grad)
        self._ids: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def add(self, ids: Tensor, where: Layout, gradient: Tensor | None) -> None:
        """ids: [texts, tokens]; gradient: of the states the table gave [texts, tokens, width]."""
        if gradient is None:
            return
        self._ids.append(pack(ids, where))
        self._gradients.append(pack(gradient, where))
        if sum(len(ids) for ids in self._ids) > self.waiting:
            self.flush()

    def flush(self) -> None:
        if self._ids:
            self.table(torch.cat(self._ids)).backward(torch.cat(self._gradients))
        self._ids, self._gradients = [], []


@torch.no_grad()
def embed_all(encoder: Encoder, texts: Sequence[np.ndarray], tokens: int, ranks: Ranks = ALONE) -> Tensor:
    """Unit vectors [texts, dim] of any number of texts, embedded in order of length; all of them on every rank."""
    lengths = np.array([len(text) for text in texts])
    mine, rows = ranks.share(micro_batches(lengths, tokens, encoder.padding(tokens), ranks.count))
    every = ranks.gather(torch.cat([encoder.embed([texts[i] for i in cut]) for cut in mine]))
    return every[send(rows, every.device)]


@torch.no_grad()
def held_out(
    encoder: Encoder,
    pairs: Pairs,
    pools: Sequence[np.ndarray],
    temperature: float,
    tokens: int,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Mean symmetric InfoNCE (nats per pair) and accuracy@1 of queries over fixed pools."""
    chosen, sizes = np.concatenate(pools), [len(pool) for pool in pools]
    query = embed_all(encoder, [pairs.query[i] for i in chosen], tokens, ranks).split(sizes)
    document = embed_all(encoder, [pairs.positive[i] for i in chosen], tokens, ranks).split(sizes)
    losses, hits = [], []
    for queries, documents in zip(query, document, strict=True):
        losses.append(info_nce(queries, documents, temperature).item())
        nearest = (queries @ documents.T).argmax(1)
        hits.append((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean().item())
    return sum(losses) / len(losses), sum(hits) / len(hits)
