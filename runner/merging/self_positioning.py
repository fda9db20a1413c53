"""Self Positioning: where among tuned models the loss of a small probe set is lowest (Li et al. 2024, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runner.data.pairs import Pairs, batch_indices
from runner.merging.rules import combine, differences, inner_products, open_all, slerp, write_merged
from runner.merging.weights import Weights
from runner.model.encoder import Encoder
from runner.training.grad_cache import embed_all, make_batch
from runner.training.loss import Objective
from sweeps.support.progress import Progress
from sweeps.workers.loop import TERMINATED

QUERIES = Objective(symmetric=False)  # queries look for documents, as in the paper
TOKENS = 2**14  # padded, that go through the model together when a whole probe set is scored


@dataclass(frozen=True)
class Search:
    """The paper's settings (section 5.1, appendix A). rate: Adam's. mu: price of the scale. temperature: of the loss.

    negatives: listed ones used of each probe pair, beside the other documents of its batch.
    """

    steps: int = 1000
    batch: int = 32
    rate: float = 5e-3
    mu: float = 0.05
    temperature: float = 0.02
    negatives: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        if self.batch < 2:
            raise ValueError("batch is 1; a pair needs another beside it")
        if self.mu < 0 or self.negatives < 0:
            raise ValueError(f"mu is {self.mu} and negatives {self.negatives}; both must be 0 or more")


@dataclass(frozen=True)
class Found:
    """Where the search ended. weights: a_i; scale: lambda; factors: c_i of theta_0 + sum c_i V_i.

    path: scale, weights and loss of every step. tokens, squares: real ones that went through the model, forward and
    back, and the sum of squared text lengths.
    """

    weights: tuple[float, ...]
    scale: float
    factors: tuple[float, ...]
    path: tuple[tuple[float, ...], ...] = field(repr=False)
    tokens: int = 0
    squares: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"weights": self.weights, "scale": self.scale, "factors": self.factors, "tokens": self.tokens}


class Space:
    """An encoder that can stand anywhere in the span of the task vectors.

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
        return scale * slerp(weights, self.gram)

    @torch.no_grad()
    def stand(self, factors: Tensor) -> None:
        """Give the encoder the weights theta_0 + sum c_i V_i."""
        for name, parameter in self.parameters.items():
            parameter.copy_(combine(self.base, self.models, factors, name))

    @torch.no_grad()
    def slopes(self) -> Tensor:
        """The gradient to the factors, from that to the weights, which is spent."""
        found = torch.zeros(len(self.models), dtype=torch.float64)
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to("cpu", torch.float64)
                vectors = differences(self.base, self.models, name)
                found += torch.stack([(gradient * vector).sum() for vector in vectors])
                parameter.grad = None
        return found


def loss_of(encoder: Encoder, pairs: Pairs, chosen: np.ndarray, asked: Search) -> tuple[Tensor, np.ndarray]:
    """The queries' InfoNCE over these pairs, with a graph, and the lengths of its texts."""
    batch = make_batch(pairs, chosen, asked.negatives, encoder.device)
    vectors = encoder.embed(batch.texts)
    return batch.loss(vectors, asked.temperature, QUERIES), batch.lengths.astype(np.int64)


@torch.no_grad()
def probe_loss(encoder: Encoder, pairs: Pairs, asked: Search) -> float:
    """Mean loss over the whole probe set, batch by batch in order: the measure that searches are compared by."""
    losses = []
    for chosen in batches(pairs, asked.batch):
        batch = make_batch(pairs, chosen, asked.negatives, encoder.device)
        vectors = embed_all(encoder, batch.texts, TOKENS)
        losses.append(batch.loss(vectors, asked.temperature, QUERIES).item())
    return float(np.mean(losses))


def batches(pairs: Pairs, size: int) -> Iterator[np.ndarray]:
    """All training pairs of the probe set but a rest smaller than a batch."""
    for start in range(0, len(pairs.train) - size + 1, size):
        yield pairs.train[start : start + size]


def position(space: Space, pairs: Pairs, asked: Search, quiet: bool = True, leave: Callable[[], bool] = bool) -> Found:
    """Adam over the weights a_i and the scale lambda, all from 1, of the probe loss plus mu lambda.

    leave: asked between steps, whether to stop there with SystemExit.
    """
    if len(pairs.train) < asked.batch:
        raise ValueError(f"the probe set has {len(pairs.train)} pairs to train on, fewer than a batch of {asked.batch}")
    scalars = torch.ones(len(space.models) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([scalars], lr=asked.rate)
    path, tokens, squares = [], 0, 0
    with Progress("positioning", asked.steps, "steps") as progress:
        for step in range(asked.steps):
            optimizer.zero_grad()
            factors = space.factors(scalars[:-1], scalars[-1])
            space.stand(factors.detach())
            chosen = batch_indices(pairs.train, asked.batch, step, asked.seed)
            loss, lengths = loss_of(space.encoder, pairs, chosen, asked)
            loss.backward()
            (factors @ space.slopes() + asked.mu * scalars[-1]).backward()
            path.append((scalars[-1].item(), *scalars[:-1].tolist(), loss.item()))
            optimizer.step()
            with torch.no_grad():
                scalars.clamp_(min=1e-3)  # a share below 0 leaves the sphere's arc
            tokens, squares = tokens + int(lengths.sum()), squares + int((lengths**2).sum())
            if leave():
                raise SystemExit(TERMINATED)
            if not quiet:
                progress.advance(note=f"loss {loss.item():.3f}")
    with torch.no_grad():
        factors = space.factors(scalars[:-1], scalars[-1])
    *weights, scale = scalars.tolist()
    return Found(tuple(weights), scale, tuple(factors.tolist()), tuple(path), tokens, squares)


def merge_by_search(
    base: Path,
    models: Sequence[Path],
    encoder: Encoder,
    pairs: Pairs,
    asked: Search,
    out: Path,
    quiet: bool = True,
    look: Callable[[Space, Found], None] | None = None,
) -> Found:
    """Search and write the model that was found. encoder: of the base's shape, its weights are overwritten.

    look: is shown where the search went, once the model is written.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; give another --out")
    start, tuned = open_all(base, models)
    space = Space(start, tuned, encoder)
    found = position(space, pairs, asked, quiet)
    factors = torch.tensor(found.factors, dtype=torch.float64)
    write_merged(start, tuned, lambda name: combine(start, tuned, factors, name), out)
    if look:
        look(space, found)
    return found
