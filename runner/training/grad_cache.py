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
from runner.model.adapted_table import gradients_only
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
    """The texts of one step."""

    texts: list[np.ndarray]
    """Token ids of each text: the queries of all pairs, their documents, then the hard negatives."""
    hashes: np.ndarray
    """[texts], the 64-bit hash of each text: equal texts have equal ones."""
    pairs: int
    """Text pairs in the batch."""
    same_group_ids: Tensor
    """[kinds, pairs]: pairs with an equal id of one kind are not each other's negatives; see `info_nce`."""

    @property
    def lengths(self) -> np.ndarray:
        """[texts], tokens of each."""
        return np.array([len(text) for text in self.texts])

    def loss(self, vectors: Tensor, temperature: float | Tensor, objective: Objective = SYMMETRIC) -> Tensor:
        """Returns the loss in nats per pair. vectors: [texts, dim] in the order of `texts`."""
        query, document, rest = vectors.split([self.pairs, self.pairs, len(vectors) - 2 * self.pairs])
        return objective.loss(query, document, temperature, self.same_group_ids, rest if len(rest) else None)


def split_texts(ids: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Returns views on the texts that lie end to end in `ids`."""
    return np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []


def make_batch(pairs: Pairs, chosen: np.ndarray, hard_negatives: int, device: torch.device) -> Batch:
    """Returns the texts of the `chosen` pairs. Pairs of one group, or with an equal query or document, share an id."""
    drawn = [(pairs.query, chosen), (pairs.positive, chosen)]
    if hard_negatives:
        drawn.append((pairs.negative, pairs.negatives(chosen, hard_negatives)))
    texts = [text for column, places in drawn for text in split_texts(*column.gather(places))]
    hashes = np.concatenate([column.hashes[places] for column, places in drawn])
    group_ids = np.stack([pairs.groups[chosen], *hashes[: 2 * len(chosen)].reshape(2, -1)])
    return Batch(texts, hashes, len(chosen), send(group_ids, device))


@dataclass(frozen=True)
class MemoryBudget:
    """What a step may keep in memory, in padded tokens."""

    micro_tokens: int
    """Padded tokens of one micro-batch, which go through the encoder together."""
    graph_tokens: int
    """Padded tokens whose graphs are kept between the two passes; beyond them texts are embedded twice."""
    state_tokens: int
    """Padded tokens whose states after the frozen blocks are kept; beyond them frozen blocks run twice too."""


@dataclass(frozen=True)
class StepCost:
    """The loss of a step and what it took, in real tokens (without padding)."""

    loss: float
    """Training loss, nats per pair."""
    recomputed_tokens: int
    """Tokens that went through the trained blocks once more; with gradient cache and recomputation, twice more."""
    frozen_tokens: int
    """Tokens that went through the frozen blocks, counted each time; 0 where their states were known."""


# Places in the batch -> the states after the frozen blocks, which are known already: [texts, tokens, width].
FrozenStates = Callable[[np.ndarray], Tensor]


def backward(
    encoder: Encoder,
    texts: Sequence[np.ndarray],
    loss: Callable[[Tensor], Tensor],
    budget: MemoryBudget,
    frozen_states: FrozenStates | None = None,
    ranks: Ranks = ALONE,
) -> StepCost:
    """Compute the loss over all texts at once; its gradient is accumulated in the encoder by micro-batches.

    Gradient caching (Gao et al. 2021): embed, take the loss's gradient to the vectors, then send it back through each
    micro-batch. What the budget allows is kept between the two passes; only the rest is embedded twice.
    loss: [texts, dim] -> scalar. frozen_states: gives the states after the frozen blocks where they are known already.
    ranks: who share the texts; the gradient is then that of this rank's texts, which is still to be summed over ranks.
    """
    lengths = np.array([len(text) for text in texts])
    cuts = micro_batches(lengths, budget.micro_tokens, encoder.padding(budget.micro_tokens), ranks.count)
    mine, rows = ranks.share(cuts)
    padded = np.cumsum([len(cut) // ranks.count * lengths[cut[0]] for cut in cuts])
    table = TableGradient(encoder, math.inf if ranks.sharded else TableGradient.WAITING)
    parts = [
        MicroBatch(encoder, [texts[i] for i in cut], table, frozen_states and partial(frozen_states, cut))
        for cut in mine
    ]
    keep = [(bool(total <= budget.graph_tokens), bool(total <= budget.state_tokens)) for total in padded]
    with ranks.synchronise_oom():
        vectors = [part.forward(*kept).detach() for part, kept in zip(parts, keep, strict=True)]
    gathered = ranks.gather(torch.cat(vectors)).requires_grad_()
    with ranks.synchronise_oom():
        value = loss(gathered[send(rows, gathered.device)])
        value.backward()
        # Asked for here, a GPU is still busy with the backward pass while the next batch is made.
        nats = value.item()
        if encoder.logit_scale is not None:  # each rank has all of this gradient, and they will be added up
            _gradient(encoder.logit_scale).div_(ranks.count)
        gradients = ranks.own(_gradient(gathered)).split([len(part) for part in vectors])
        for part, gradient in zip(parts, gradients, strict=True):
            part.backward(gradient)
        table.flush()
    recomputed, frozen = sum(part.recomputed_tokens for part in parts), sum(part.frozen_tokens for part in parts)
    return StepCost(nats, *ranks.sum_counts([recomputed, frozen]))


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None, "the loss does not depend on it"
    return tensor.grad


class MicroBatch:
    """One micro-batch on its way through the encoder and back; its counts are those of StepCost."""

    def __init__(
        self,
        encoder: Encoder,
        texts: Sequence[np.ndarray],
        table: TableGradient,
        frozen_states: Callable[[], Tensor] | None = None,
    ) -> None:
        self.encoder, self.table, self.frozen_states = encoder, table, frozen_states
        self.ids, self.where = encoder.pad(texts)
        self.tokens = sum(len(text) for text in texts)
        self.recomputed_tokens = self.frozen_tokens = 0
        self._states: Tensor | None = None
        self._vectors: Tensor | None = None

    def forward(self, graph: bool, states: bool) -> Tensor:
        """Returns vectors [texts, dim]. graph, states: whether each is kept for `backward`."""
        after_frozen = self._after_frozen()
        with torch.set_grad_enabled(graph):
            vectors = self.encoder.forward_trained(after_frozen, self.where)
        if graph:
            self._vectors = vectors
        if graph or (states and self.encoder.frozen):
            self._states = after_frozen
        return vectors

    def backward(self, gradient: Tensor) -> None:
        """Accumulate the gradients, and free what was kept. gradient: of the loss to the vectors [texts, dim]."""
        states = self._after_frozen() if self._states is None else self._states
        vectors = self._vectors
        if vectors is None:
            vectors = self.encoder.forward_trained(states, self.where)
            self.recomputed_tokens += self.tokens
        if self.encoder.recomputes:
            self.recomputed_tokens += self.tokens
        vectors.backward(gradient)
        self.table.add(self.ids, self.where, states.grad)
        self._states = self._vectors = None

    def _after_frozen(self) -> Tensor:
        if self.frozen_states:
            return self.frozen_states()
        self.frozen_tokens += self.tokens
        with torch.no_grad():
            states = self.encoder.forward_frozen(self.ids, self.where)
        return states.requires_grad_(self.table.trained)


class TableGradient:
    """Collects gradients to the states that the token table gave.

    The table's own gradient is as large as the table: it is made once a step, not once a micro-batch. waiting: tokens
    whose gradients may wait for that.
    """

    WAITING = 2**14

    def __init__(self, encoder: Encoder, waiting: float = WAITING) -> None:
        self.table, self.waiting = encoder.table, waiting
        self.trained = encoder.trains_table
        self._ids: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def add(self, ids: Tensor, where: Layout, gradient: Tensor | None) -> None:
        """Add one micro-batch. ids: [texts, tokens]; gradient: to the states of the table [texts, tokens, width]."""
        if gradient is None:
            return
        self._ids.append(pack(ids, where))
        self._gradients.append(pack(gradient, where))
        if sum(len(ids) for ids in self._ids) > self.waiting:
            self.flush()

    def flush(self) -> None:
        if self._ids:
            with gradients_only(self.table):
                self.table(torch.cat(self._ids)).backward(torch.cat(self._gradients))
        self._ids, self._gradients = [], []


@torch.no_grad()
def embed_all(encoder: Encoder, texts: Sequence[np.ndarray], tokens: int, ranks: Ranks = ALONE) -> Tensor:
    """Returns unit vectors [texts, dim] of any number of texts, embedded in order of length; all on every rank."""
    lengths = np.array([len(text) for text in texts])
    mine, rows = ranks.share(micro_batches(lengths, tokens, encoder.padding(tokens), ranks.count))
    gathered = ranks.gather(torch.cat([encoder.embed([texts[i] for i in cut]) for cut in mine]))
    return gathered[send(rows, gathered.device)]


@torch.no_grad()
def held_out(
    encoder: Encoder,
    pairs: Pairs,
    pools: Sequence[np.ndarray],
    temperature: float,
    tokens: int,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Returns the mean symmetric InfoNCE (nats per pair) and accuracy@1 of the queries over fixed pools."""
    chosen, sizes = np.concatenate(pools), [len(pool) for pool in pools]
    query = embed_all(encoder, [pairs.query[i] for i in chosen], tokens, ranks).split(sizes)
    document = embed_all(encoder, [pairs.positive[i] for i in chosen], tokens, ranks).split(sizes)
    losses, hits = [], []
    for queries, documents in zip(query, document, strict=True):
        losses.append(info_nce(queries, documents, temperature).item())
        nearest = (queries @ documents.T).argmax(1)
        hits.append((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean().item())
    return sum(losses) / len(losses), sum(hits) / len(hits)
