"""One optimiser step, as fast as the machine allows: what is kept, what is computed twice, in what pieces."""

from __future__ import annotations

import psutil
import torch

from runner.contrastive import Batch, backward
from runner.encoder import Encoder
from sweeps.models import ModelSpec
from sweeps.trial import Trial

MICRO_TOKENS = {"cpu": 2048, "cuda": 65536}  # padded tokens of a micro-batch


class Engine:
    """An encoder and its optimiser. `step` trains them on one batch."""

    def __init__(self, model: ModelSpec, trial: Trial, encoder: Encoder) -> None:
        self.model, self.trial, self.encoder = model, trial, encoder
        self.trained = [p for p in encoder.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.trained, trial)

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    def step(self, batch: Batch, rate: float) -> tuple[float, int]:
        """One optimiser step at learning rate `rate`; returns its loss and how many tokens were embedded twice."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        training = self.trial.training
        loss, again = backward(
            self.encoder,
            batch.texts,
            lambda vectors: batch.loss(vectors, training.temperature),
            MICRO_TOKENS[self.device.type],
            self._kept_tokens(),
        )
        torch.nn.utils.clip_grad_norm_(self.trained, training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss, again

    def _kept_tokens(self) -> int:
        """Padded tokens whose graphs fit in a quarter of the free memory (other workers want theirs).

        136 bytes a token, layer and unit of width: 34 in 16 bits (Korthikanti et al. 2022, section 4.1), doubled for
        fp32, and doubled again for what autograd holds besides.
        """
        free = torch.cuda.mem_get_info()[0] if self.device.type == "cuda" else psutil.virtual_memory().available
        return int(free / 4 / (136 * self.model.width * self.model.layers))


def _optimizer(trained: list[torch.nn.Parameter], trial: Trial) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": trial.training.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=trial.lr, fused=True)
