"""A look at an embedding space before and after tuning: held-out pairs along the two directions of most variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.data.pairs import Pairs, open_prepared, pools
from runner.model.encoder import make_encoder
from runner.training.grad_cache import embed_all
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.store.records import read_record
from sweeps.trial import Observation, Training

FORMAT = 1  # as analysis/tables/projection.py reads it
NAMES = ("before", "after")  # training
TOKENS = 8192  # padded, in one micro-batch


def project(folder: Path, count: int) -> dict[str, Any]:
    """Returns both states of the model in `folder` that `embed train` wrote, over `count` held-out pairs of its own
    data.

    Raises ValueError when the folder holds no such model, or its data has too few held-out pairs.
    """
    trial = _read(folder).trial
    before = find_model(trial.model)
    pairs = open_prepared(trial.training, before.source)
    chosen = pools(pairs, count, 1)[0]  # of the first source
    states = [_vectors(name, trial.training, pairs, chosen) for name in (trial.model, str(folder))]
    directions = axes(states)
    return {
        "format": FORMAT,
        "model": Path(trial.model).name,
        "method": f"{trial.method.label}, learning rate {trial.lr:g}, {trial.steps} steps",
        "data": trial.training.data,
        "dims": states[0][0].shape[1],
        **{name: side(query, document, directions) for name, (query, document) in zip(NAMES, states, strict=True)},
    }


def _read(folder: Path) -> Observation:
    path = folder / "observation.json"
    if not path.exists() or not (folder / "config.json").exists():
        raise ValueError(f"{folder}: needs a full model and its observation.json; `embed train` writes both")
    observation: Observation = read_record(Observation, path)
    return observation


@torch.no_grad()
def _vectors(name: str, training: Training, pairs: Pairs, chosen) -> tuple[Tensor, Tensor]:
    """Returns the unit vectors of the queries and of the documents [pairs, dim], as training would make them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given = (training.pooling, device, 0, training.precision, None, training.bidirectional)
    encoder = make_encoder(find_model(name), Full(), *given).eval()
    query, document = (
        embed_all(encoder, [column[i] for i in chosen], TOKENS).double().cpu()
        for column in (pairs.query, pairs.positive)
    )
    return query, document


def centred(query: Tensor, document: Tensor) -> Tensor:
    """Returns all vectors of one state about their mean [2 pairs, dim]."""
    every = torch.cat([query, document])
    return every - every.mean(0)


def axes(states: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns the two directions [dim, 2] along which the states, each about its own mean, vary most together."""
    every = torch.cat([centred(*state) for state in states])
    directions = torch.linalg.svd(every, full_matrices=False).Vh[:2].T
    return directions * directions.sum(0).sign()  # a direction has no sign of its own; this one does not change


def side(query: Tensor, document: Tensor, directions: Tensor) -> dict[str, Any]:
    """Returns one state as it is written: its points, the share of its variance they hold, its accuracy in all
    dimensions."""
    every = centred(query, document)
    points = every @ directions
    nearest = (query @ document.T).argmax(1)
    return {
        "query": points[: len(query)].tolist(),
        "document": points[len(query) :].tolist(),
        "variance": (points.square().sum() / every.square().sum()).item(),
        "accuracy": (nearest == torch.arange(len(query))).double().mean().item(),
    }
