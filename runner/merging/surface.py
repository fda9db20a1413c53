"""The probe loss around the position that Self Positioning found, along two task vectors: for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from runner.data.pairs import Pairs
from runner.merging.self_positioning import MergedEncoder, Position, PositionSearch, probe_loss
from sweeps.support.progress import Progress

POINTS = 13  # along either vector
PAIRS = 512  # of the probe set, at most, that every point is judged by; never less than a batch
MARGIN = 0.15  # beyond the models, the base and the path


def surface(
    merged: MergedEncoder, names: Sequence[str], pairs: Pairs, search: PositionSearch, position: Position
) -> dict[str, Any]:
    """Returns the loss of theta_0 + x V_1 + y V_2, nats per pair, on a grid that holds the search's whole path.

    Any further task vectors stay at the factors of `position`. path: x, y of every step and of the end. loss: [y][x].
    The loss is that of the probe set's pairs in batches of the search, without the price of the scale.
    """
    mixed = np.random.default_rng(search.seed).permutation(pairs.train)  # as the search mixes them
    judged = replace(pairs, train=mixed[: max(search.batch, PAIRS // search.batch * search.batch)])
    steps = [merged.factors(torch.tensor(weights), torch.tensor(scale)) for scale, *weights, _ in position.path]
    path = [(step[0].item(), step[1].item()) for step in steps] + [position.factors[:2]]
    ends = [(min(0.0, *along) - MARGIN, max(1.0, *along) + MARGIN) for along in zip(*path, strict=True)]
    x, y = (np.linspace(low, high, POINTS) for low, high in ends)
    loss = np.empty((POINTS, POINTS))
    with Progress("surface", POINTS**2, "points") as progress:
        for row, column in np.ndindex(loss.shape):
            place = [x[column], y[row], *position.factors[2:]]
            merged.set_factors(torch.tensor(place, dtype=torch.float64))
            loss[row, column] = probe_loss(merged.encoder, judged, search)
            progress.advance()
    return {
        "models": list(names),
        "x": x.tolist(),
        "y": y.tolist(),
        "loss": loss.tolist(),
        "path": path,
        "others": list(position.factors[2:]),
        "pairs": len(judged.train),
        "batch": search.batch,
        "temperature": search.temperature,
    }
