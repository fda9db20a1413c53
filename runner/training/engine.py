"""One optimiser step, as fast as the machine allows: its micro-batches, what is kept, and what is computed twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch.autograd.graph import saved_tensors_hooks

from runner.data.pairs import Pairs
from runner.model.encoder import Encoder
from runner.model.folded_lora import refold
from runner.training.distributed import ALONE, Ranks
from runner.training.frozen_states import FrozenStateCache, cache_of, caching_pays
from runner.training.grad_cache import Batch, FrozenStates, MemoryBudget, StepCost, backward
from runner.training.loss import Objective
from sweeps.memory import SHARE, micro_tokens
from sweeps.models import ModelSpec
from sweeps.store.retry import out_of_memory
from sweeps.trial import Trial

PROBE_TEXTS = 8


@dataclass(frozen=True)
class Options:
    """How training is run, which changes no result beyond rounding."""

    micro_tokens: int = 0
    """Padded tokens of a micro-batch; 0: chosen by the model's width. Fewer take less memory and more time."""
    recompute: bool = False
    """Forget the activations inside a block and compute them again in the backward pass (gradient checkpointing)."""
    compile: bool = False
    """Whether to torch.compile each block, which is faster in long trainings."""
    smaller: int = 0
    """How many times the micro-batch is halved, after memory ran out in an earlier attempt."""
    stop_requested: Callable[[], bool] = bool  # which says no
    """Asked between steps: whether to save a checkpoint and stop there."""


DEFAULTS = Options()


class Engine:
    """An encoder and its optimiser. `step` trains them on one batch.

    micro_tokens: padded tokens of a micro-batch; a continued training must use the same, to the last bit.
    """

    def __init__(
        self, model: ModelSpec, trial: Trial, encoder: Encoder, options: Options = DEFAULTS, ranks: Ranks = ALONE
    ) -> None:
        self.model, self.trial, self.encoder, self.ranks = model, trial, encoder, ranks
        encoder.train()  # transformers loads for inference, and recomputes nothing then
        self.trained = [p for p in encoder.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.trained, trial)
        self.micro_tokens = max(1, (options.micro_tokens or micro_tokens(model, self.device.type)) >> options.smaller)
        self.options = options
        self.frozen_states: FrozenStateCache | None = None
        self._token_bytes = 0  # what the graph of one padded token takes; measured in the first step
        if options.recompute:
            encoder.recompute()
        if options.compile:
            encoder.compile_blocks()

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    def cache_frozen_states(self, pairs: Pairs) -> int:
        """Compute the states after the frozen blocks now, for all epochs; returns how many tokens that took."""
        self.frozen_states = cache_of(self.encoder, pairs, self.trial, self.micro_tokens, self.ranks)
        return self.frozen_states.tokens

    def caching_pays(self, pairs: Pairs) -> bool:
        """Returns whether `cache_frozen_states` saves work and there is memory for it."""
        pays = caching_pays(self.encoder, pairs, self.trial, self.model.width, self._usable())
        return bool(self.ranks.min_counts([pays])[0])

    def step(self, batch: Batch, rate: float) -> StepCost:
        """Take one optimiser step at learning rate `rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        cost = self._backward(batch)
        if missing := [name for name, p in self.encoder.named_parameters() if p.requires_grad and p.grad is None]:
            raise ValueError(f"method {self.trial.method.name} trains {missing[0]}, but it gets no gradient")
        if not self.ranks.sharded:  # else the backward pass added them up
            self.ranks.all_reduce_sum_([p.grad for p in self.trained])
        torch.nn.utils.clip_grad_norm_(self.trained, self.trial.training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        refold(self.encoder)
        return cost

    def _backward(self, batch: Batch) -> StepCost:
        """Compute the gradients of one batch; with smaller micro-batches, and nothing kept, when memory runs out."""
        budget, frozen_states = self._budget(batch), self._frozen_states_of(batch)
        while True:
            try:
                return backward(self.encoder, batch.texts, self._loss(batch), budget, frozen_states, self.ranks)
            except (RuntimeError, MemoryError) as error:
                if self.ranks.sharded or not out_of_memory(error):
                    raise
                reason = str(error).partition("\n")[0] or "out of memory"
            # Outside the handler, for the error holds on to every tensor of the step.
            self.optimizer.zero_grad()
            if budget.micro_tokens <= int(batch.lengths.max()):
                raise MemoryError(
                    f"one text of {batch.lengths.max()} tokens does not fit in memory ({reason}); give a shorter "
                    "context, recompute, or a smaller model"
                )
            self.micro_tokens = budget.micro_tokens // 2
            budget = MemoryBudget(self.micro_tokens, graph_tokens=0, state_tokens=0)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _loss(self, batch: Batch) -> Callable[[torch.Tensor], torch.Tensor]:
        start, objective = self.trial.training.temperature, Objective.of(self.trial.training)
        return lambda vectors: batch.loss(vectors, self.encoder.temperature(start), objective)

    def _frozen_states_of(self, batch: Batch) -> FrozenStates | None:
        """Returns what gives the states of the batch's texts, where they are kept."""
        cache = self.frozen_states
        if cache is None:
            return None
        return lambda places: cache.states(batch.hashes[places], batch.lengths[places])

    def _budget(self, batch: Batch) -> MemoryBudget:
        """Returns what may be kept: graphs, beside one that is not; states too where blocks are frozen."""
        if not self._token_bytes:
            longest = np.argsort(-batch.lengths, kind="stable")[:PROBE_TEXTS]
            self._token_bytes = graph_bytes(self.encoder, [batch.texts[i] for i in longest])
            self._fit(int(batch.lengths.max()))
        usable, states = self._usable(), 0
        if self.encoder.frozen:
            usable /= 2
            states = int(usable / (4 * self.model.width))
        graphs = max(0, int(usable / self._token_bytes) - self.micro_tokens)
        if self.ranks.sharded:  # what is kept decides how often a block runs, which all do together
            graphs, states = self.ranks.min_counts([graphs, states])
        return MemoryBudget(self.micro_tokens, graphs, states)

    def _fit(self, longest: int) -> None:
        """Halve the micro-batch until its graph takes half of the free memory at most. longest: tokens of a text."""
        free = free_memory(self.device)
        while self._token_bytes * self.micro_tokens > free / 2 and self.micro_tokens > longest:
            self.micro_tokens //= 2
        self.micro_tokens = self.ranks.min_counts([self.micro_tokens])[0]

    def _usable(self) -> float:
        """Returns the bytes that a step may keep in between."""
        return SHARE[self.device.type] * free_memory(self.device)


def free_memory(device: torch.device) -> int:
    """Returns the bytes that are free on the device, those that torch holds for later included."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + unused
    return psutil.virtual_memory().available


def graph_bytes(encoder: Encoder, texts: Sequence[np.ndarray]) -> int:
    """Returns the bytes that autograd keeps for one more padded token, measured on `texts` (at least 2)."""
    few, many = (_kept(encoder, texts[:count]) for count in (len(texts) // 2, len(texts)))
    return max(1, (many[0] - few[0]) // (many[1] - few[1]))


def _kept(encoder: Encoder, texts: Sequence[np.ndarray]) -> tuple[int, int]:
    """Returns the bytes that the graph of `texts` holds, and their padded tokens."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # Not by its address: a sharded block's is free again when the next block runs.
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # a node that holds its own result with its graph is never freed

    ids, where = encoder.pad(texts)
    with torch.no_grad():
        states = encoder.forward_frozen(ids, where)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        vectors = encoder.forward_trained(states.requires_grad_(encoder.trains_table), where)
    del vectors
    return sum(kept.values()), ids.numel()


def _optimizer(trained: list[torch.nn.Parameter], trial: Trial) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": trial.training.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=trial.lr, fused=True)
