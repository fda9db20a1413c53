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

SIMILARITIES = 2**20  # that are in memory at once, a few times over


@dataclass(frozen=True)
class Objective:
    """What a step minimises; the fields are those of `Training`."""

    symmetric: bool = True
    """Whether documents look for their queries too: the loss is then the mean over both directions."""
    margin: float | None = None
    """Cosine by which a candidate may exceed a query's own document before it is taken for a false negative; None: no
    candidate is left out."""
    dims: Sequence[int] = ()
    """First dimensions over which the loss is averaged, beside all of them (Matryoshka)."""

    @classmethod
    def of(cls, training: Training) -> Objective:
        """Returns the objective that a trial's conditions ask for."""
        return cls(training.symmetric, training.margin, training.dims)

    def loss(
        self,
        query: Tensor,
        document: Tensor,
        temperature: float | Tensor,
        same_group_ids: Tensor | None = None,
        negative: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss in nats per pair; the arguments are those of `info_nce`."""
        shorter = [dim for dim in self.dims if dim < query.shape[1]]
        truncated: list[tuple[Tensor, Tensor, Tensor | None]] = [
            (truncate(query, dim), truncate(document, dim), None if negative is None else truncate(negative, dim))
            for dim in shorter
        ]
        losses = [
            info_nce(queries, documents, temperature, same_group_ids, negatives, self.symmetric, self.margin)
            for queries, documents, negatives in [*truncated, (query, document, negative)]
        ]
        return torch.stack(losses).mean()


def truncate(vectors: Tensor, dim: int) -> Tensor:
    """Returns the first `dim` dimensions as unit vectors."""
    return normalize(vectors[:, :dim], dim=-1)


def info_nce(
    query: Tensor,
    document: Tensor,
    temperature: float | Tensor,
    same_group_ids: Tensor | None = None,
    negative: Tensor | None = None,
    symmetric: bool = True,
    margin: float | None = None,
    similarities: int = SIMILARITIES,
) -> Tensor:
    """Returns the in-batch contrastive loss, nats per pair (Ziarko et al. 2024, section 3.3), over both directions.

    query, document: [pairs, dim], unit length; row i of one belongs to row i of the other. same_group_ids: [kinds,
    pairs]; two pairs with an equal id of one kind are not each other's negatives. negative: [texts, dim], further
    candidates of every query. symmetric, margin: as in `Training`. similarities: if there are more, they are computed
    piece by piece, and once more in the backward pass.
    """
    candidates = document if negative is None else torch.cat([document, negative])
    rows = max(1, similarities // len(candidates))
    own = (query * document).sum(1).detach()
    rest = (candidates, len(document), temperature, same_group_ids, own, margin)
    # Not by torch's `checkpoint`, which loads its compiler for this: 170 MB and a second.
    recompute = rows < len(query) and torch.is_grad_enabled()
    log_sums = partial(CheckpointFunction.apply, _log_sums, False) if recompute else _log_sums
    starts = range(0, len(query), rows)
    pieces = [log_sums(part, start, *rest) for part, start in zip(query.split(rows), starts, strict=True)]
    truth, forth, back = zip(*pieces, strict=True)
    likelihoods = torch.cat(forth).mean()
    if symmetric:
        likelihoods = (likelihoods + torch.stack(back).logsumexp(0).mean()) / 2
    return likelihoods - torch.cat(truth).mean()


def _log_sums(
    query: Tensor,
    start: int,
    candidates: Tensor,
    pairs: int,
    temperature: float | Tensor,
    same_group_ids: Tensor | None,
    own: Tensor,
    margin: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns, of the queries from `start` on, the logit of each one's own document, the log-sum-exp of each one's
    logits, and for each document the log-sum-exp over these queries.

    own: [pairs], cosine of every query to its own document.
    """
    cosines = query @ candidates.T  # [rows, candidates]
    logits = cosines / temperature
    rows = torch.arange(len(query), device=query.device)
    truth = logits[rows, start + rows]
    forth, back = logits, logits[:, :pairs]
    # Not -inf: a piece may leave no query to a document, and 0 times infinity has no value.
    lowest = torch.finfo(logits.dtype).min / 2
    if same_group_ids is not None:
        same = (same_group_ids[:, start : start + len(query), None] == same_group_ids[:, None, :]).any(0)
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
