"""Self Positioning: where among tuned models the loss of a small probe set is lowest (Li et al. 2024, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runner.data.pairs import Pairs, batch_indices
from runner.merging.record import merge_files, merge_record
from runner.merging.rules import combine, differences, inner_products, must_be_new, open_all, slerp, write_merged
from runner.merging.weights import Weights
from runner.model.encoder import Encoder
from runner.training.grad_cache import embed_all, make_batch
from runner.training.loss import Objective
from sweeps.support.progress import Progress
from sweeps.trial import SEARCHED
from sweeps.workers.stop_requests import TERMINATED

QUERIES = Objective(symmetric=False)  # queries look for documents, as in the paper
TOKENS = 2**14  # padded, that go through the model together when a whole probe set is scored


@dataclass(frozen=True)
class PositionSearch:
    """How a position is searched for; the defaults are the paper's (section 5.1, appendix A)."""

    steps: int = 1000
    """Steps of Adam, at least 1."""
    batch: int = 32
    """Probe pairs in a step, at least 2."""
    rate: float = 5e-3
    """Adam's learning rate, above 0."""
    mu: float = 0.05
    """Price of the scale, nats per unit of lambda, 0 or more: a higher one stays nearer to the base."""
    temperature: float = 0.02
    """Divides the cosine in the loss, above 0."""
    negatives: int = 1
    """Listed hard negatives used of each probe pair, beside the other documents of its batch."""
    seed: int = 0
    """Of the order of the probe pairs."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        if self.batch < 2:
            raise ValueError("batch is 1; it must be 2 or more")
        if self.mu < 0 or self.negatives < 0:
            raise ValueError(f"mu is {self.mu} and negatives {self.negatives}; both must be 0 or more")


@dataclass(frozen=True)
class Position:
    """Where a search ended."""

    weights: tuple[float, ...]
    """a_i: how much each model counts."""
    scale: float
    """lambda: by which the folded task vectors are multiplied."""
    factors: tuple[float, ...]
    """c_i of theta_0 + sum c_i V_i, which follow from weights and scale."""
    path: tuple[tuple[float, ...], ...] = field(repr=False)
    """Scale, weights and probe loss (nats per pair) of every step."""
    tokens: int = 0
    """Real tokens that went through the model, forward and back."""
    sum_sq_lengths: int = 0
    """Sum of the squared lengths of those texts, in tokens."""

    def to_json(self) -> dict[str, Any]:
        """Returns what `embed merge --json` prints."""
        return {"weights": self.weights, "scale": self.scale, "factors": self.factors, "tokens": self.tokens}


class MergedEncoder:
    """An encoder whose weights lie in the span of the task vectors, at factors that can be set.

    The loss's gradient to the coefficients is that to the weights times the vectors, so no more than one model, one
    gradient and a tensor of each model are in memory; the others stay in their files.
    """

    def __init__(self, base: Weights, models: Sequence[Weights], encoder: Encoder) -> None:
        self.base, self.models, self.encoder = base, models, encoder
        self.gram = inner_products(base, models)
        self.parameters: dict[str, nn.Parameter] = dict(encoder.backbone.named_parameters())
        if unlike := sorted(self.parameters.keys() ^ base.shapes.keys()):
            raise ValueError(f"{base.folder}: {unlike[0]} is not in both the file and the model")

    def factors(self, weights: Tensor, scale: Tensor) -> Tensor:
        """Returns the factors c_i of task vectors that are folded by weight and multiplied by `scale`."""
        return scale * slerp(weights, self.gram)

    @torch.no_grad()
    def set_factors(self, factors: Tensor) -> None:
        """Give the encoder the weights theta_0 + sum c_i V_i."""
        for name, parameter in self.parameters.items():
            parameter.copy_(combine(self.base, self.models, factors, name))

    @torch.no_grad()
    def factor_gradient(self) -> Tensor:
        """Returns the loss's gradient to the factors, from that to the encoder's weights, which is dropped."""
        summed = torch.zeros(len(self.models), dtype=torch.float64)
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to("cpu", torch.float64)
                vectors = differences(self.base, self.models, name)
                summed += torch.stack([(gradient * vector).sum() for vector in vectors])
                parameter.grad = None
        return summed


def loss_of(encoder: Encoder, pairs: Pairs, chosen: np.ndarray, search: PositionSearch) -> tuple[Tensor, np.ndarray]:
    """Returns the queries' InfoNCE over these pairs, with a graph, and the lengths of their texts in tokens."""
    batch = make_batch(pairs, chosen, search.negatives, encoder.device)
    vectors = encoder.embed(batch.texts)
    return batch.loss(vectors, search.temperature, QUERIES), batch.lengths.astype(np.int64)


@torch.no_grad()
def probe_loss(encoder: Encoder, pairs: Pairs, search: PositionSearch) -> float:
    """Returns the mean loss over the whole probe set, batch by batch in order: searches are compared by it."""
    losses = []
    for chosen in batches(pairs, search.batch):
        batch = make_batch(pairs, chosen, search.negatives, encoder.device)
        vectors = embed_all(encoder, batch.texts, TOKENS)
        losses.append(batch.loss(vectors, search.temperature, QUERIES).item())
    return float(np.mean(losses))


def batches(pairs: Pairs, size: int) -> Iterator[np.ndarray]:
    """Yields the training pairs of the probe set in batches, without a last one that is smaller."""
    for start in range(0, len(pairs.train) - size + 1, size):
        yield pairs.train[start : start + size]


def find_position(
    merged: MergedEncoder,
    pairs: Pairs,
    search: PositionSearch,
    quiet: bool = True,
    stop_requested: Callable[[], bool] = bool,
) -> Position:
    """Returns where Adam ends over the weights a_i and the scale lambda, all from 1: the probe loss plus mu lambda.

    stop_requested: asked between steps, whether to stop there with SystemExit.
    """
    if len(pairs.train) < search.batch:
        raise ValueError(
            f"the probe set has {len(pairs.train)} pairs to train on, fewer than a batch of {search.batch}"
        )
    scalars = torch.ones(len(merged.models) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([scalars], lr=search.rate)
    path: list[tuple[float, ...]] = []
    tokens = sum_sq_lengths = 0
    with Progress("positioning", search.steps, "steps") as progress:
        for step in range(search.steps):
            optimizer.zero_grad()
            factors = merged.factors(scalars[:-1], scalars[-1])
            merged.set_factors(factors.detach())
            chosen = batch_indices(pairs.train, search.batch, step, search.seed)
            loss, lengths = loss_of(merged.encoder, pairs, chosen, search)
            loss.backward()
            (factors @ merged.factor_gradient() + search.mu * scalars[-1]).backward()
            path.append((scalars[-1].item(), *scalars[:-1].tolist(), loss.item()))
            optimizer.step()
            with torch.no_grad():
                scalars.clamp_(min=1e-3)  # a share below 0 leaves the sphere's arc
            tokens, sum_sq_lengths = tokens + int(lengths.sum()), sum_sq_lengths + int((lengths**2).sum())
            if stop_requested():
                raise SystemExit(TERMINATED)
            if not quiet:
                progress.advance(note=f"loss {loss.item():.3f}")
    with torch.no_grad():
        factors = merged.factors(scalars[:-1], scalars[-1])
    *weights, scale = scalars.tolist()
    return Position(tuple(weights), scale, tuple(factors.tolist()), tuple(path), tokens, sum_sq_lengths)


def merge_by_search(
    base: Path,
    models: Sequence[Path],
    encoder: Encoder,
    pairs: Pairs,
    search: PositionSearch,
    out: Path,
    quiet: bool = True,
    show: Callable[[MergedEncoder, Position], None] | None = None,
    probe: Mapping[str, Any] = MappingProxyType({}),
) -> Position:
    """Search for a position and write the model that lies there; returns the position.

    encoder: of the base's shape; its weights are overwritten. show: is called with where the search went, once the
    model is written. probe: what the record says of the probe set.
    """
    must_be_new(out)
    start, tuned = open_all(base, models)
    merged = MergedEncoder(start, tuned, encoder)
    position = find_position(merged, pairs, search, quiet)
    factors = torch.tensor(position.factors, dtype=torch.float64)
    found = {"weights": list(position.weights), "scale": position.scale, "search": asdict(search), "probe": dict(probe)}
    record = merge_record(SEARCHED, base, models, position.factors, **found)
    write_merged(start, tuned, lambda name: combine(start, tuned, factors, name), out, merge_files(record, str(base)))
    if show:
        show(merged, position)
    return position
