"""Looking at a training under way: scores and space health on held-out pairs, when to stop, the best state kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runner.data.pairs import Pairs, pools_by_source
from runner.model.encoder import Encoder
from runner.training import checkpoint
from runner.training.distributed import ALONE, Ranks
from runner.training.grad_cache import embed_all
from runner.training.score import retrieval
from runner.training.space_health import collapsed, health
from sweeps.trial import Training

BEST = "best-checkpoint.safetensors"
MAIN = "ndcg@10"


def look(
    encoder: Encoder, pairs: Pairs, chosen: Sequence[np.ndarray], tokens: int, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Retrieval scores and health, means over pools of pair indices."""
    encoder.eval()
    found = [_look(encoder, pairs, pool, tokens, ranks) for pool in chosen]
    encoder.train()
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def _look(encoder: Encoder, pairs: Pairs, pool: np.ndarray, tokens: int, ranks: Ranks) -> dict[str, float]:
    columns = [[column[i] for i in pool] for column in (pairs.query, pairs.positive)]
    query, document = (embed_all(encoder, texts, tokens, ranks).float().cpu() for texts in columns)
    return {**retrieval(query, document), **health(query, document)}


class Watch:
    """The evaluations of one training. `seen`: what each found, its step included; it starts before the first step.

    The pool lies beside those of the held-out loss, for whoever chooses by a score cannot report it. folder: where the
    best state is kept, in memory without one. Raises ValueError when there are too few held-out pairs.
    """

    def __init__(self, training: Training, pairs: Pairs, seen: list[dict[str, float]], folder: Path | None) -> None:
        made = pools_by_source(pairs, training.pool_size, training.pools + 1)
        if min(map(len, made)) <= training.pools:
            raise ValueError(
                f"training.evaluate_every needs one pool more: {len(pairs.held_out)} held-out pairs give none "
                f"of {training.pool_size} beside the {training.pools} of the loss: give more data or smaller pools"
            )
        self.training, self.pairs, self.seen, self.folder = training, pairs, seen, folder
        self.chosen = [mine[training.pools] for mine in made]
        self._best: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        return step % self.training.evaluate_every == 0 and (not self.seen or self.seen[-1]["step"] < step)

    def look(self, step: int, encoder: Encoder, tokens: int, key: str, ranks: Ranks = ALONE) -> str:
        """Evaluate; returns why the training should stop, or nothing."""
        found = look(encoder, self.pairs, self.chosen, tokens, ranks)
        collapse = collapsed(found, self.seen)
        self.seen.append({"step": step, **found, "collapsed": float(collapse)})
        if self.training.patience and self.best["step"] == step:
            self._keep(encoder, key, ranks)
        if collapse and self.training.stop_on_collapse:
            return f"the space collapsed at step {step}: {found['effective_rank']:.1f} directions in use"
        waited = sum(each["step"] > self.best["step"] for each in self.seen)
        if self.training.patience and waited >= self.training.patience:
            return f"no better {MAIN} in {waited} evaluations since step {self.best['step']}"
        return ""

    @property
    def best(self) -> Mapping[str, float]:
        """The evaluation with the highest score, the earliest of equals."""
        return max(self.seen, key=lambda each: each[MAIN])

    def restore_best(self, encoder: Encoder) -> None:
        """Give the encoder the state of its best evaluation."""
        state = self._best or checkpoint.read_tensors(self.folder / BEST)
        _copy(state, encoder)

    def _keep(self, encoder: Encoder, key: str, ranks: Ranks) -> None:
        state = {name: value.detach().cpu().clone() for name, value in checkpoint.trained_parameters(encoder).items()}
        if self.folder is None:
            self._best = state
        elif ranks.rank == 0:
            checkpoint.write_tensors(self.folder / BEST, state, {"key": key, "step": self.seen[-1]["step"]})
        ranks.wait()


@torch.no_grad()
def _copy(state: Mapping[str, Any], module: nn.Module) -> None:
    for name, value in checkpoint.trained_parameters(module).items():
        value.copy_(state[name])
