"""The health of an embedding space: whether its vectors still spread, and when they do not any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

COLLAPSE = 0.5  # of the most dimensions that were in use before


def health(query: Tensor, document: Tensor) -> dict[str, float]:
    """Returns measures of a space from held-out pairs. query, document: [pairs, dim], unit length, row by row.

    alignment: mean squared distance inside pairs; uniformity: log of the mean of exp(-2 d^2) between documents (Wang
    and Isola 2020, section 4.1). mean_cosine: between documents. effective_rank: exp of the entropy of the singular
    values (Roy and Vetterli 2007), the directions in use. first_direction, first_five: their share of the variance.
    """
    query, document = query.double(), document.double()
    between = torch.pdist(document)
    strengths = torch.linalg.svdvals(document)
    shares = strengths / strengths.sum()
    variance = torch.linalg.svdvals(document - document.mean(0)).square()
    variance /= variance.sum().clamp(min=torch.finfo(variance.dtype).tiny)
    return {
        "alignment": (query - document).square().sum(1).mean().item(),
        "uniformity": between.square().mul(-2).exp().mean().log().item(),
        "mean_cosine": (1 - between.square() / 2).mean().item(),
        "effective_rank": torch.special.entr(shares).sum().exp().item(),
        "first_direction": variance[0].item(),
        "first_five": variance[:5].sum().item(),
    }


def collapsed(now: Mapping[str, float], before: Sequence[Mapping[str, float]]) -> bool:
    """Returns whether the space has lost half of the directions it used at its best, the training's start included.

    A pretrained model's space is narrow before any tuning, so no absolute bound tells a collapse.
    """
    best = max((evaluation["effective_rank"] for evaluation in before), default=now["effective_rank"])
    return now["effective_rank"] < COLLAPSE * best
