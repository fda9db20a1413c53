"""States after the frozen first blocks, computed once for all epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from runner.data.pairs import Pairs
from runner.model.encoder import Encoder
from runner.model.varlen import pack, send
from runner.training.distributed import ALONE, Ranks
from runner.training.grad_cache import micro_batches
from sweeps.support.progress import Progress
from sweeps.trial import Trial, parts_of

STATE_BYTES = 4
ROWS = 2**12  # of states that travel together between ranks


class FrozenStateCache:
    """The states that the frozen blocks make of every training text, which are the same in each epoch.

    All texts are embedded before the first step, in an order that depends on nothing else, so that a training that is
    interrupted finds the same states to the last bit. `tokens` is how many went through the frozen blocks for it.
    ranks: each embeds its share of the texts, and keeps the states of all.
    """

    def __init__(
        self, encoder: Encoder, pairs: Pairs, hard_negatives: int, micro_tokens: int, ranks: Ranks = ALONE
    ) -> None:
        texts, hashes = _unique_texts(pairs, hard_negatives)
        lengths = np.array([len(text) for text in texts])
        ends = np.cumsum(lengths)
        self.tokens = int(ends[-1])
        self._hashes, self._starts = hashes, ends - lengths
        states: Tensor | None = None
        mine, rows = ranks.share(micro_batches(lengths, micro_tokens, encoder.padding(micro_tokens), ranks.count))
        held = rows // sum(len(cut) for cut in mine) == ranks.rank  # a text that fills up is held by one rank only
        with torch.no_grad(), Progress("frozen blocks", self.tokens, "tokens") as progress:
            for cut in mine:
                ids, where = encoder.pad([texts[i] for i in cut])
                row = pack(encoder.forward_frozen(ids, where), where)
                if states is None:
                    states = row.new_zeros(self.tokens, row.shape[-1])
                kept = np.flatnonzero(np.repeat(held[cut], lengths[cut]))
                places = np.concatenate([np.arange(self._starts[text], ends[text]) for text in cut])[kept]
                states.index_copy_(0, send(places, row.device), row.index_select(0, send(kept, row.device)))
                progress.advance(ranks.count * int(lengths[cut].sum()))
        assert states is not None, "there is no text"
        ranks.all_reduce_sum_(states.split(ROWS))
        self._states = states

    def states(self, hashes: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Returns states [texts, tokens, width], with any values beyond a text's length.

        hashes: [texts], the texts' hashes; lengths: [texts], their tokens.
        """
        starts = self._starts[np.searchsorted(self._hashes, hashes)]
        rows = starts[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
        return self._states[send(rows, self._states.device)]


_last: dict[tuple[Any, ...], FrozenStateCache] = {}


def cache_of(encoder: Encoder, pairs: Pairs, trial: Trial, micro_tokens: int, ranks: Ranks = ALONE) -> FrozenStateCache:
    """Returns the states of this model, method and data: a worker's trials share them in turn."""
    training = trial.training
    name: tuple[Any, ...] = (
        trial.model_hash or trial.model,
        trial.method,
        encoder.bf16,
        encoder.device.type,
        micro_tokens,
    )
    name += (training.data, training.data_hash, training.context, training.pooling, training.hard_negatives)
    name += (training.query_prompt, training.document_prompt, training.bidirectional)
    if name not in _last:
        _last.clear()  # memory for one only
        _last[name] = FrozenStateCache(encoder, pairs, training.hard_negatives, micro_tokens, ranks)
    return _last[name]


def caching_pays(encoder: Encoder, pairs: Pairs, trial: Trial, width: int, free_bytes: float) -> bool:
    """Returns whether texts come back (several epochs), blocks are frozen, and the states fit into `free_bytes`."""
    if not encoder.frozen or trial.pairs <= len(pairs.train):
        return False
    tokens, _ = pairs.mean_pair(trial.training.hard_negatives, [weight for _, weight in parts_of(trial.training.data)])
    return tokens * len(pairs.train) * width * STATE_BYTES <= free_bytes


def _unique_texts(pairs: Pairs, hard_negatives: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns every text that training may draw, each once, and their hashes, ascending."""
    chosen = [(pairs.query, pairs.train), (pairs.positive, pairs.train)]
    if hard_negatives:
        chosen.append((pairs.negative, pairs.negatives(pairs.train, hard_negatives)))
    hashes, first = np.unique(np.concatenate([column.hashes[places] for column, places in chosen]), return_index=True)
    located = [(column, int(place)) for column, places in chosen for place in places]
    return [located[i][0][located[i][1]] for i in first], hashes
