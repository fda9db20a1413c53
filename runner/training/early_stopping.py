"""Evaluations during a training: scores on held-out pairs and tasks, space health, when to stop, the best state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runner.data.pairs import Pairs, pools_by_source
from runner.model.encoder import Encoder
from runner.tasks.score import BrokenVectors, retrieval
from runner.training import checkpoint
from runner.training.distributed import ALONE, Ranks
from runner.training.grad_cache import embed_all
from runner.training.space_health import collapsed, health
from runner.training.task_scores import task_scores
from sweeps.tasks import score_name
from sweeps.trial import Training

BEST = "best-checkpoint.safetensors"
MAIN_SCORE = "ndcg@10"


def evaluate_pools(
    encoder: Encoder, pairs: Pairs, pools: Sequence[np.ndarray], tokens: int, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Returns retrieval scores and health, means over pools of pair indices. tokens: padded, that go together.

    Raises BrokenVectors when the vectors are not finite.
    """
    encoder.eval()
    of_pools = [_evaluate(encoder, pairs, pool, tokens, ranks) for pool in pools]
    encoder.train()
    return {name: sum(scores[name] for scores in of_pools) / len(of_pools) for name in of_pools[0]}


def _evaluate(encoder: Encoder, pairs: Pairs, pool: np.ndarray, tokens: int, ranks: Ranks) -> dict[str, float]:
    columns = [[column[i] for i in pool] for column in (pairs.query, pairs.positive)]
    query, document = (embed_all(encoder, texts, tokens, ranks).float().cpu() for texts in columns)
    if not (query.isfinite().all() and document.isfinite().all()):
        raise BrokenVectors("vectors of held-out pairs are not finite")
    return {**retrieval(query, document), **health(query, document)}


class EarlyStopping:
    """The evaluations of one training, the first before its first step, and whether it should stop.

    The first task chooses when to stop. Without tasks a pool does, which then lies beside those of the held-out loss: a
    pool that chooses cannot report the loss as well. source: where the model's tokenizer lies. evaluations: the scores
    of those so far, each with its step; it grows. folder: where the best state is kept, in memory without one. Raises
    ValueError when there are too few held-out pairs.
    """

    def __init__(
        self, training: Training, source: str, pairs: Pairs, evaluations: list[dict[str, float]], folder: Path | None
    ) -> None:
        place = 0 if training.tasks else training.pools
        by_source = pools_by_source(pairs, training.pool_size, place + 1)
        if min(map(len, by_source)) <= place:
            raise ValueError(
                f"training.evaluate_every needs one more pool: {len(pairs.held_out)} held-out pairs give none "
                f"of {training.pool_size} beside the {training.pools} of the loss: give more data, smaller pools or "
                "tasks of your own (training.tasks)"
            )
        self.training, self.source, self.pairs, self.evaluations = training, source, pairs, evaluations
        self.folder, self.pools = folder, [pools[place] for pools in by_source]
        self.main_score = score_name(training.tasks[0]) if training.tasks else MAIN_SCORE
        self._best_state: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Returns whether there is to be an evaluation after so many steps, and was none yet."""
        latest = self.evaluations[-1]["step"] if self.evaluations else -1
        return step % self.training.evaluate_every == 0 and latest < step

    def evaluate(self, step: int, encoder: Encoder, tokens: int, key: str, ranks: Ranks = ALONE) -> str:
        """Evaluate after so many steps; returns why the training should stop, or nothing.

        tokens: padded tokens that go through the encoder together. key: of the trial, for the file of the best state.
        Raises BrokenVectors when the vectors give no scores.
        """
        scores = evaluate_pools(encoder, self.pairs, self.pools, tokens, ranks)
        scores |= task_scores(encoder, self.training, self.source, tokens, ranks)
        collapse = collapsed(scores, self.evaluations)
        self.evaluations.append({"step": step, **scores, "collapsed": float(collapse)})
        if self.training.patience and self.best["step"] == step:
            self._keep(encoder, key, ranks)
        if collapse and self.training.stop_on_collapse:
            return f"the space collapsed at step {step}: {scores['effective_rank']:.1f} directions in use"
        waited = sum(evaluation["step"] > self.best["step"] for evaluation in self.evaluations)
        if self.training.patience and waited >= self.training.patience:
            return f"no better {self.main_score} in {waited} evaluations since step {self.best['step']}"
        return ""

    @property
    def best(self) -> Mapping[str, float]:
        """The evaluation with the highest score, the earliest of equals."""
        return max(self.evaluations, key=lambda evaluation: evaluation[self.main_score])

    def restore_best(self, encoder: Encoder) -> None:
        """Give the encoder the state of its best evaluation."""
        state = checkpoint.read_tensors(self.folder / BEST) if self.folder else self._best_state
        _copy(state, encoder)

    def _keep(self, encoder: Encoder, key: str, ranks: Ranks) -> None:
        state = {name: value.detach().cpu().clone() for name, value in checkpoint.trained_parameters(encoder).items()}
        if self.folder is None:
            self._best_state = state
        elif ranks.rank == 0:
            checkpoint.write_tensors(self.folder / BEST, state, {"key": key, "step": self.evaluations[-1]["step"]})
        ranks.wait()


@torch.no_grad()
def _copy(state: Mapping[str, Any], module: nn.Module) -> None:
    for name, value in checkpoint.trained_parameters(module).items():
        value.copy_(state[name])
