"""Text pairs as token ids: tokenised once per tokenizer into memory-mapped files that all trials share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from runner.data.shuffle import shuffled
from runner.data.tokenizer import tokenizer_settings, training_tokenizer
from runner.data.tokens import COLUMNS, FORMAT, TokenizerSettings, sound_tokens, write_tokens
from sweeps.data.cache import keep_json, kept_json, recalled
from sweeps.data.pair import LEAST_POOL, told, too_few_held_out
from sweeps.data.readers import open_source, survey
from sweeps.machine.cores import available_cores
from sweeps.machine.measured import cache_folder
from sweeps.trial import Training, parts_of

PERMUTED_PAIRS = 2**17  # of up to so many pairs an epoch's order is a numpy permutation, kept: 8 bytes a pair
KEPT_EPOCHS = 4
PAIRS_AT_ONCE = 2**16


class Column:
    """One column of texts, all of it memory-mapped. `texts[i]` is a view on the ids of text i; hashes: 64 bits each."""

    def __init__(self, folder: Path, name: str) -> None:
        self.ids = _open_array(folder, f"{name}.ids")
        self.offsets = _open_array(folder, f"{name}.offsets")
        self.hashes = _open_array(folder, f"{name}.hashes")

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, counted anew at every call."""
        return np.diff(self.offsets)

    def lengths_of(self, texts: np.ndarray) -> np.ndarray:
        """Returns the tokens of each of these texts."""
        return self.offsets[texts + 1] - self.offsets[texts]

    def gather(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of these texts end to end, and their lengths."""
        starts, lengths = self.offsets[texts], self.lengths_of(texts)
        return self.ids[_ranges(starts, lengths)], lengths


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns start, start + 1, ... for as many as its count says, of every start in turn."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


@dataclass(frozen=True)
class Pairs:
    """Tokenised pairs. All is memory-mapped: what is held in memory does not grow with the pairs."""

    query: Column
    """The first text of each pair."""
    positive: Column
    """The document of each pair."""
    negative: Column
    """The hard negatives of all pairs, one pair's after another's."""
    negative_start: np.ndarray
    """[pairs + 1], where the hard negatives of each pair begin in their column."""
    groups: np.ndarray
    """[pairs], 64-bit hashes: pairs of one group are never each other's negatives."""
    sources: np.ndarray
    """[pairs], number of the source of each pair; sources lie one after the other."""
    train: np.ndarray
    """Indices of the pairs that are trained on."""
    held_out: np.ndarray
    """Indices of the pairs that are not, in the order of their documents' hashes."""
    problems: Mapping[str, Any] = field(default_factory=dict)
    """Records that could not be used, as the fields of Problems; empty where all could."""

    def __len__(self) -> int:
        return len(self.groups)

    @cached_property
    def trained(self) -> list[np.ndarray]:
        """Training pairs by source."""
        if len(self.groups) == 0 or not self.sources[-1]:  # sources lie one after the other
            return [self.train]
        mine = self.sources[self.train]
        return [self.train[mine == source] for source in range(int(self.sources[-1]) + 1)]

    def mean_pair(self, hard_negatives: int, weights: Sequence[float] = (1.0,)) -> tuple[float, float]:
        """Returns a training pair's mean real tokens and mean sum of squared text lengths. weights: of the sources."""
        tokens, sum_sq_lengths = np.average(self.mean_pairs(hard_negatives), axis=0, weights=weights)
        return float(tokens), float(sum_sq_lengths)

    def mean_pairs(self, hard_negatives: int) -> list[tuple[float, float]]:
        """Returns the same of each source alone."""
        return [self._mean_pair(train, hard_negatives) for train in self.trained]

    def of(self, source: int) -> Pairs:
        """Returns these, of which only those of one source are trained on and held out."""
        held_out = self.held_out[self.sources[self.held_out] == source]
        return replace(self, train=self.trained[source], held_out=held_out, sources=np.zeros_like(self.sources))

    def count_negatives(self, hard_negatives: int) -> list[tuple[int, int]]:
        """Returns of each source how many training pairs have so many hard negatives, and how many have any."""
        counted = []
        for train in self.trained:
            full = some = 0
            for start in range(0, len(train), PAIRS_AT_ONCE):
                chosen = train[start : start + PAIRS_AT_ONCE]
                counts = self.negative_start[chosen + 1] - self.negative_start[chosen]
                full, some = full + int((counts >= hard_negatives).sum()), some + int((counts > 0).sum())
            counted.append((full, some))
        return counted

    def _mean_pair(self, train: np.ndarray, hard_negatives: int) -> tuple[float, float]:
        tokens = sum_sq_lengths = 0
        for start in range(0, len(train), PAIRS_AT_ONCE):
            chosen = train[start : start + PAIRS_AT_ONCE]
            columns = [self.query.lengths_of(chosen), self.positive.lengths_of(chosen)]
            if hard_negatives:
                columns.append(self.negative.lengths_of(self.negatives(chosen, hard_negatives)))
            tokens += sum(int(lengths.sum()) for lengths in columns)
            sum_sq_lengths += sum(int((lengths**2).sum()) for lengths in columns)
        return tokens / len(train), sum_sq_lengths / len(train)

    def negatives(self, pairs: np.ndarray, count: int) -> np.ndarray:
        """Returns the text indices of the first `count` hard negatives of these pairs; a pair may have fewer."""
        starts = self.negative_start[pairs]
        counts = np.minimum(self.negative_start[pairs + 1] - starts, count)
        return _ranges(starts, counts)


@dataclass(frozen=True)
class Prepared:
    """Data made ready."""

    pairs: Pairs
    """Its tokens."""
    data_hash: str
    """Its identity: a hash over all pairs in their order."""
    problems: dict[str, Any]
    """Records that could not be used, as the fields of Problems."""
    notes: tuple[str, ...] = ()
    """What whoever trains on it should know, in sentences: bad records, hard negatives that are not there."""
    disk_bytes: int = 0
    """Bytes of its tokens on disk."""
    made_pairs: int = 0
    """Pairs that were tokenised now; 0 where the tokens were there."""
    seconds: float = 0.0
    """What reading and tokenising took."""


def prepare(training: Training, source: str, judged: bool = True) -> Prepared:
    """Read and tokenise the data of `training` with the tokenizer of the model at `source`, or open what is kept.

    judged: whether there must be held-out pairs for the pools. Raises ValueError when the data is not the one that
    training.data_hash names, or is too small for the pools.
    """
    settings = tokenizer_settings(training_tokenizer(source, training.pooling), training)
    data, begun = open_source(training.data), time.monotonic()
    known = survey(data)
    if training.data_hash and training.data_hash != known.data_hash:
        raise ValueError(
            f"data {training.data!r} has hash {known.data_hash}, the trial needs {training.data_hash}: the data changed"
        )
    folder, tokenised = _token_folder(known.data_hash, settings), 0
    if not recalled(folder, sound_tokens):
        processes = len(available_cores())
        tokenised = write_tokens(data.pairs(), known.pairs, known.data_hash, settings, folder, processes)
    seconds = time.monotonic() - begun
    keep_json(_problems_file(known.data_hash), known.problems)
    pairs = _open(folder, known.data_hash)
    if empty := [
        part for (part, _), train in zip(parts_of(training.data), pairs.trained, strict=False) if not len(train)
    ]:
        raise ValueError(f"data {empty[0]!r} has no training pair")
    if judged and len(pairs.held_out) < training.pool_size:
        raise ValueError(
            f"data {training.data!r} has {len(pairs.held_out)} held-out pairs, training.pool_size is "
            f"{training.pool_size}; give more data or a smaller pool"
        )
    disk_bytes = sum(path.stat().st_size for path in folder.iterdir())
    notes = tuple(filter(None, (told(known.problems), *_lacking(pairs, training))))
    return Prepared(pairs, known.data_hash, known.problems, notes, disk_bytes, tokenised, seconds)


def open_prepared(training: Training, source: str) -> Pairs:
    """Returns the tokens of data that is ready, without reading the texts again where its hash is known."""
    if training.data_hash:
        settings = tokenizer_settings(training_tokenizer(source, training.pooling), training)
        folder = _token_folder(training.data_hash, settings)
        if recalled(folder, sound_tokens):
            return _open(folder, training.data_hash)
    return prepare(training, source).pairs


def _lacking(pairs: Pairs, training: Training) -> list[str]:
    """Returns a sentence for each source some of whose pairs have fewer hard negatives than are asked for.

    Raises ValueError where none has any.
    """
    asked, sentences = training.hard_negatives, []
    counted = pairs.count_negatives(asked) if asked else []
    for (name, _), train, (full, some) in zip(parts_of(training.data), pairs.trained, counted, strict=False):
        if not some:
            raise ValueError(
                f"training.hard_negatives is {asked} and no training pair of data {name!r} has a hard negative; "
                "`embed mine` can find them; with 0 none are used"
            )
        if full < len(train):
            sentences.append(
                f"{full:,} of {len(train):,} training pairs of {name} have {asked} hard negatives, "
                f"{some - full:,} have fewer, {len(train) - some:,} none"
            )
    return sentences


def _token_folder(name: str, settings: TokenizerSettings) -> Path:
    return cache_folder() / f"tokens-{name}-{settings.context}-{settings.name}-v{FORMAT}"


def _problems_file(name: str) -> Path:
    """Where the problems of data of this hash are kept, as its last reading found them."""
    return cache_folder() / f"problems-{name}.json"


def _open(folder: Path, name: str) -> Pairs:
    columns = {column: Column(folder, column) for column in COLUMNS}
    others = [item.name for item in fields(Pairs) if item.name not in (*columns, "problems")]
    problems = recalled(_problems_file(name), kept_json) or {}
    arrays = {array: _open_array(folder, array) for array in others}
    return Pairs(**columns, **arrays, problems=problems if problems.get("bad") else {})  # type: ignore[arg-type]


def _open_array(folder: Path, name: str) -> np.ndarray:
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))  # a plain array: np.memmap is slow to index


def draw(pairs: Pairs, training: Training, step: int, seed: int) -> np.ndarray:
    """Returns the pair indices of one step: all of one source, whose turn it is."""
    if len(pairs.trained) == 1:
        return batch_indices(pairs.train, training.batch_size, step, seed)
    weights = tuple(weight for _, weight in parts_of(training.data))
    source, before = source_of_step(weights, step)
    return batch_indices(pairs.trained[source], training.batch_size, before, seed)


def source_of_step(weights: tuple[float, ...], step: int) -> tuple[int, int]:
    """Returns which source a step is drawn from, and how many steps before it were: evenly by their weights."""
    order = _sources_in_turn(weights, 1 << max(10, (step + 1).bit_length()))
    return int(order[step]), int((order[:step] == order[step]).sum())


@lru_cache(maxsize=8)
def _sources_in_turn(weights: tuple[float, ...], steps: int) -> np.ndarray:
    portions = np.array(weights) / sum(weights)
    taken, order = np.zeros(len(weights)), np.empty(steps, np.uint8)
    for step in range(steps):
        source = int(np.argmax(portions * (step + 1) - taken))
        taken[source] += 1
        order[step] = source
    return order


def batch_indices(train: np.ndarray, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Returns the pair indices of one step: a window on an endless stream of shuffled epochs, which any step can
    seek."""
    epochs, places = np.divmod(step * batch_size + np.arange(batch_size), len(train))
    parts = [
        _epoch(len(train), epoch, seed, places[epochs == epoch]) for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
    ]
    return train[np.concatenate(parts)]


_permutations: dict[tuple[int, int, int], np.ndarray] = {}


def _epoch(size: int, epoch: int, seed: int, places: np.ndarray) -> np.ndarray:
    """Returns what stands at `places` of a shuffle of `size` pairs."""
    if size > PERMUTED_PAIRS:
        return shuffled(places, size, [seed, epoch])
    name = (size, epoch, seed)
    if name not in _permutations:
        while len(_permutations) >= KEPT_EPOCHS:
            _permutations.pop(next(iter(_permutations)))
        _permutations[name] = np.random.default_rng([seed, epoch]).permutation(size)
    return _permutations[name][places]


def pools(pairs: Pairs, pool_size: int, count: int) -> list[np.ndarray]:
    """Returns fixed pools of held-out pairs, [pool_size] each, at most `count` of a source, no group or document twice
    in one.

    They are filled in the order of `held_out`, which does not depend on the order in which the data was read. All pools
    of the first source come first.
    """
    return [pool for of_source in pools_by_source(pairs, pool_size, count) for pool in of_source]


def pools_by_source(pairs: Pairs, pool_size: int, count: int) -> list[list[np.ndarray]]:
    """Returns the pools of each source."""
    return [_pools(pairs, source, pool_size, count) for source in range(len(pairs.trained))]


def fitting_pools(pairs: Pairs, training: Training) -> tuple[int, int]:
    """Returns the size and the number of the pools that the held-out pairs of every source fill, at most as asked for.

    With training.evaluate_every they fill one pool more, which is not counted. Raises ValueError when there are fewer
    than LEAST_POOL for each.
    """
    sources, beside = range(len(pairs.trained)), 1 if training.evaluate_every else 0

    def filled(size: int) -> int:
        return min(len(_fill(pairs, source, size, training.pools + beside)[0]) for source in sources) - beside

    if (pools := filled(training.pool_size)) > 0:
        return training.pool_size, pools
    least = min(LEAST_POOL, training.pool_size)
    distinct = min(len(_fill(pairs, source, len(pairs) + 1, 1)[1]) for source in sources)
    for size in range(min(training.pool_size, distinct // (1 + beside)), least - 1, -1):
        if (pools := filled(size)) > 0:
            return size, pools
    another = f", and training.evaluate_every = {training.evaluate_every} needs a second pool" if beside else ""
    raise ValueError(too_few_held_out(training.data, distinct, training.pool_size, another))


def _pools(pairs: Pairs, source: int, pool_size: int, count: int) -> list[np.ndarray]:
    filled, rest = _fill(pairs, source, pool_size, count)
    if not filled:
        raise ValueError(f"only {len(rest)} distinct held-out pairs, fewer than one pool of {pool_size}")
    return filled


def _fill(pairs: Pairs, source: int, pool_size: int, count: int) -> tuple[list[np.ndarray], list[int]]:
    """Returns the pools that are full, and the pairs of the one that is not."""
    filled: list[np.ndarray] = []
    pool: list[int] = []
    ids_in_pool: set[int] = set()
    for index in pairs.held_out[pairs.sources[pairs.held_out] == source]:
        same_group_ids = {int(pairs.groups[index]), int(pairs.positive.hashes[index]), int(pairs.query.hashes[index])}
        if same_group_ids & ids_in_pool:
            continue
        pool.append(int(index))
        ids_in_pool |= same_group_ids
        if len(pool) == pool_size:
            filled.append(np.array(pool))
            pool, ids_in_pool = [], set()
            if len(filled) == count:
                break
    return filled, pool
