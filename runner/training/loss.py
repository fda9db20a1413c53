"""The contrastive loss, in pieces of rows where the batch's similarities would be large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import CheckpointFunction

from sweeps.trial import Training

CELLS = 2**20  # similarities that are in memory at once, a few times over


@dataclass(frozen=True)
class Objective:
    """What a step minimises; the fields are those of `Training`."""

    symmetric: bool = True
    margin: float | None = None
    dims: Sequence[int] = ()

    @classmethod
    def of(cls, training: Training) -> Objective:
        return cls(training.symmetric, training.margin, training.dims)

    def loss(
        self,
        query: Tensor,
        document: Tensor,
        temperature: float | Tensor,
        marks: Tensor | None = None,
        negative: Tensor | None = None,
    ) -> Tensor:
        """Nats per pair; arguments as of `info_nce`."""
        shorter = [dim for dim in self.dims if dim < query.shape[1]]
        parts = [[cut(vectors, dim) for vectors in (query, document, negative)] for dim in shorter]
        losses = [
            info_nce(one, other, temperature, marks, more, self.symmetric, self.margin)
            for one, other, more in [*parts, [query, document, negative]]
        ]
        return torch.stack(losses).mean()


def cut(vectors: Tensor | None, dim: int) -> Tensor | None:
    """The first `dim` dimensions as unit vectors."""
    return None if vectors is None else normalize(vectors[:, :dim], dim=-1)


def info_nce(
    query: Tensor,
    document: Tensor,
    temperature: float | Tensor,
    marks: Tensor | None = None,
    negative: Tensor | None = None,
    symmetric: bool = True,
    margin: float | None = None,
    cells: int = CELLS,
) -> Tensor:
    """In-batch contrastive loss, nats per pair (Ziarko et al. 2024, section 3.3): the mean over both directions.

    query, document: [pairs, dim], unit length; row i of one belongs to row i of the other. marks: [kinds, pairs]; two
    pairs with an equal mark of one kind are not each other's negatives. negative: [texts, dim], further candidates of
    every query. symmetric, margin: as in `Training`. cells: more similarities are computed piece by piece, and again
    on the way back.
    """
    candidates = document if negative is None else torch.cat([document, negative])
    rows = max(1, cells // len(candidates))
    own = (query * document).sum(1).detach()
    rest = (candidates, len(document), temperature, marks, own, margin)
    # Not by torch's `checkpoint`, which loads its compiler for this: 170 MB and a second.
    again = rows < len(query) and torch.is_grad_enabled()
    piece = partial(CheckpointFunction.apply, _piece, False) if again else _piece
    starts = range(0, len(query), rows)
    found = [piece(part, start, *rest) for part, start in zip(query.split(rows), starts, strict=True)]
    truth, forth, back = zip(*found, strict=True)
    likelihoods = torch.cat(forth).mean()
    if symmetric:
        likelihoods = (likelihoods + torch.stack(back).logsumexp(0).mean()) / 2
    return likelihoods - torch.cat(truth).mean()


def _piece(
    query: Tensor,
    start: int,
    candidates: Tensor,
    pairs: int,
    temperature: float | Tensor,
    marks: Tensor | None,
    own: Tensor,
    margin: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the queries from `start` on: the logit of each one's document, the log-sum of each one's logits, and the
    log-sum over these queries for each document. own: [pairs], cosine of every query to its own document."""
    cosines = query @ candidates.T  # [rows, candidates]
    logits = cosines / temperature
    rows = torch.arange(len(query), device=query.device)
    truth = logits[rows, start + rows]
    forth, back = logits, logits[:, :pairs]
    # Not -inf: a piece may leave no query to a document, and 0 times infinity has no value.
    lowest = torch.finfo(logits.dtype).min / 2
    if marks is not None:
        same = (marks[:, start : start + len(query), None] == marks[:, None, :]).any(0)
        same[rows, start + rows] = False
        back = back.masked_fill(same, lowest)
        forth = torch.cat([back, forth[:, pairs:]], dim=1)
    if margin is not None:
        # Its own document is never beyond the margin, but rounding must not say so.
        near = cosines.detach() > own[start : start + len(query), None] + margin
        near[rows, start + rows] = False
        forth = forth.masked_fill(near, lowest)
        near = cosines.detach()[:, :pairs] > own[None, :] + margin
        near[rows, start + rows] = False
        back = back.masked_fill(near, lowest)
    return truth, forth.logsumexp(1), back.logsumexp(0)
