"""What the probe loss is around the place that Self Positioning found, along two task vectors: for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from runner.data.pairs import Pairs
from runner.merging.self_positioning import Found, Search, Space, probe_loss
from sweeps.support.progress import Progress

POINTS = 13  # along either vector
PAIRS = 512  # of the probe set, at most, that every point is judged by; never less than a batch
ROOM = 0.15  # beyond the models, the base and the path


def surface(space: Space, names: Sequence[str], pairs: Pairs, asked: Search, found: Found) -> dict[str, Any]:
    """The loss where theta_0 + x V_1 + y V_2 lies, in nats per pair, on a grid that holds the search's whole path.

    Any further task vectors stay at the factors that were found. path: x, y of every step and of the end. loss: [y][x].
    The loss is that of the probe set's pairs in batches of the search, without the price of the scale.
    """
    mixed = np.random.default_rng(asked.seed).permutation(pairs.train)  # as the search mixes them
    judged = replace(pairs, train=mixed[: max(asked.batch, PAIRS // asked.batch * asked.batch)])
    steps = [space.factors(torch.tensor(weights), torch.tensor(scale)) for scale, *weights, _ in found.path]
    path = [(step[0].item(), step[1].item()) for step in steps] + [found.factors[:2]]
    ends = [(min(0.0, *along) - ROOM, max(1.0, *along) + ROOM) for along in zip(*path, strict=True)]
    x, y = (np.linspace(low, high, POINTS) for low, high in ends)
    loss = np.empty((POINTS, POINTS))
    with Progress("surface", POINTS**2, "points") as progress:
        for row, column in np.ndindex(loss.shape):
            place = [x[column], y[row], *found.factors[2:]]
            space.stand(torch.tensor(place, dtype=torch.float64))
            loss[row, column] = probe_loss(space.encoder, judged, asked)
            progress.advance()
    return {
        "models": list(names),
        "x": x.tolist(),
        "y": y.tolist(),
        "loss": loss.tolist(),
        "path": path,
        "others": list(found.factors[2:]),
        "pairs": len(judged.train),
        "batch": asked.batch,
        "temperature": asked.temperature,
    }
