"""Text pairs as token ids: tokenised once per tokenizer into memory-mapped files that all trials share."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runner.readers import Pair, cache_folder, data_hash, read_pairs
from sweeps.progress import Progress
from sweeps.trial import Training

COLUMNS = ("query", "positive", "negative")
TEXTS_AT_ONCE = 2048


def load_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer beside a model. Raises ValueError when there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise unavailable(source, error) from None
    if not tokenizer.is_fast:
        raise ValueError(f"{source}: has no tokenizer.json; only fast tokenizers are used")
    return tokenizer


def unavailable(source: str, error: Exception) -> ValueError:
    """What to tell the user when a model or its tokenizer at `source` cannot be had."""
    missing = Path(source).is_absolute() and not Path(source).exists()
    return ValueError(f"{source}: {'no such folder' if missing else str(error).splitlines()[0]}")


class Column:
    """One column of texts. `texts[i]` is a view on the ids of text i; lengths: tokens of each text; hashes: 64 bits."""

    def __init__(self, folder: Path, name: str) -> None:
        self.ids = np.load(folder / f"{name}.ids.npy", mmap_mode="r")
        self.offsets = np.load(folder / f"{name}.offsets.npy")
        self.hashes = np.load(folder / f"{name}.hashes.npy")
        self.lengths = np.diff(self.offsets)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class Pairs:
    """Tokenised pairs. negative_start: [pairs + 1], where the hard negatives of each pair begin in that column.

    groups: [pairs], 64-bit; train, held_out: indices of the pairs of either split.
    """

    query: Column
    positive: Column
    negative: Column
    negative_start: np.ndarray
    groups: np.ndarray
    train: np.ndarray
    held_out: np.ndarray

    def mean_pair(self, hard_negatives: int) -> tuple[float, float]:
        """Mean real tokens, and mean sum of squared text lengths, of a training pair."""
        columns = [self.query.lengths[self.train], self.positive.lengths[self.train]]
        if hard_negatives:
            columns.append(self.negative.lengths[self.negatives(self.train, hard_negatives)])
        squares = sum(float((lengths.astype(np.int64) ** 2).sum()) for lengths in columns)
        return sum(float(lengths.sum()) for lengths in columns) / len(self.train), squares / len(self.train)

    def negatives(self, pairs: np.ndarray, count: int) -> np.ndarray:
        """Text indices of the first `count` hard negatives of these pairs; a pair may have fewer."""
        starts = self.negative_start[pairs]
        ends = np.minimum(self.negative_start[pairs + 1], starts + count)
        return np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)] or [starts])


@dataclass(frozen=True)
class Prepared:
    """Data made ready: its tokens, its hash, the bad records."""

    pairs: Pairs
    data_hash: str
    problems: dict


def prepare(training: Training, source: str) -> Prepared:
    """Read and tokenise the data of `training` with the tokenizer of the model at `source`, or open what is kept.

    Raises ValueError when the data is not the one that training.data_hash names, or is too small for the pools.
    """
    tokenizer = load_tokenizer(source)
    found, problems = read_pairs(training.data)
    name = data_hash(found)
    if training.data_hash and training.data_hash != name:
        raise ValueError(f"data {training.data!r} has hash {name}, the trial wants {training.data_hash}: it changed")
    folder = _token_folder(name, tokenizer, training)
    if not folder.exists():
        # The last token is the one that is read, so it is always the same one.
        end = tokenizer.eos_token_id if training.pooling == "last" else None
        _tokenise(found, tokenizer, training.context, end, folder)
    pairs = _open(folder)
    if len(pairs.held_out) < training.pool_size:
        raise ValueError(
            f"data {training.data!r} has {len(pairs.held_out)} held-out pairs, training.pool_size is "
            f"{training.pool_size}; give more data or a smaller pool"
        )
    return Prepared(pairs, name, {"records": problems.records, "bad": problems.bad, "named": problems.named})


def open_prepared(training: Training, source: str) -> Pairs:
    """The tokens of data that is ready, without reading the texts again where its hash is known."""
    if training.data_hash:
        folder = _token_folder(training.data_hash, load_tokenizer(source), training)
        if folder.exists():
            return _open(folder)
    return prepare(training, source).pairs


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Identity of a tokenizer: a hash over everything it does to a text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:12]


def _token_folder(name: str, tokenizer: PreTrainedTokenizerFast, training: Training) -> Path:
    end = "-end" if training.pooling == "last" else ""
    return cache_folder() / f"tokens-{name}-{tokenizer_hash(tokenizer)}-{training.context}{end}"


def _tokenise(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerFast, context: int, end: int | None, folder: Path
) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True, exist_ok=True)
    columns = {
        "query": [pair.query for pair in pairs],
        "positive": [pair.positive for pair in pairs],
        "negative": [text for pair in pairs for text in pair.negatives],
    }
    with Progress("tokenising", sum(map(len, columns.values())), "texts") as progress:
        for name, texts in columns.items():
            _write_column(temporary, name, _token_ids(texts, tokenizer, context, end, progress))
    np.save(temporary / "negative_start.npy", np.cumsum([0, *(len(pair.negatives) for pair in pairs)]))
    groups = [hashlib.blake2b(p.group.encode("utf-8", "replace"), digest_size=8).digest() for p in pairs]
    np.save(temporary / "groups.npy", np.frombuffer(b"".join(groups), dtype=np.int64))
    np.save(temporary / "is_held_out.npy", np.array([pair.held_out for pair in pairs]))
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(temporary)  # another process was first, with the same content


def _token_ids(
    texts: list[str], tokenizer: PreTrainedTokenizerFast, context: int, end: int | None, progress: Progress
) -> Iterator[np.ndarray]:
    kind = np.uint16 if len(tokenizer) < 2**16 else np.uint32
    room = context - (end is not None)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        batch = texts[start : start + TEXTS_AT_ONCE]
        for ids in tokenizer(batch, truncation=True, max_length=room, verbose=False)["input_ids"]:
            yield np.array(ids if end is None else [*ids, end], dtype=kind)
        progress.advance(len(batch))


def _write_column(folder: Path, name: str, token_ids: Iterator[np.ndarray]) -> None:
    pieces = list(token_ids)
    hashes = b"".join(hashlib.blake2b(ids.tobytes(), digest_size=8).digest() for ids in pieces)
    np.save(folder / f"{name}.ids.npy", np.concatenate(pieces) if pieces else np.zeros(0, np.uint16))
    np.save(folder / f"{name}.offsets.npy", np.cumsum([0, *map(len, pieces)]))
    np.save(folder / f"{name}.hashes.npy", np.frombuffer(hashes, dtype=np.int64))


def _open(folder: Path) -> Pairs:
    held_out = np.load(folder / "is_held_out.npy")
    return Pairs(
        *(Column(folder, name) for name in COLUMNS),
        negative_start=np.load(folder / "negative_start.npy"),
        groups=np.load(folder / "groups.npy"),
        train=np.flatnonzero(~held_out),
        held_out=np.flatnonzero(held_out),
    )


def batch_indices(train: np.ndarray, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Pair indices of one step: a window on an endless stream of shuffled epochs, which any step can seek."""
    first = step * batch_size
    epochs = range(first // len(train), (first + batch_size - 1) // len(train) + 1)
    stream = np.concatenate([_epoch(train, epoch, seed) for epoch in epochs])
    start = first - epochs[0] * len(train)
    return stream[start : start + batch_size]


_shuffled: dict[tuple[int, int, int], np.ndarray] = {}


def _epoch(train: np.ndarray, epoch: int, seed: int) -> np.ndarray:
    name = (len(train), epoch, seed)
    if name not in _shuffled:
        while len(_shuffled) > 2:
            _shuffled.pop(next(iter(_shuffled)))
        _shuffled[name] = np.random.default_rng([seed, epoch]).permutation(len(train))
    return train[_shuffled[name]]


def pools(pairs: Pairs, pool_size: int, count: int) -> list[np.ndarray]:
    """Fixed pools of held-out pairs, [pool_size] each, no group or document twice in one; at most `count` of them.

    The order is that of the documents' hashes, so it does not depend on the order in which the data was read.
    """
    order = pairs.held_out[np.argsort(pairs.positive.hashes[pairs.held_out], kind="stable")]
    made: list[np.ndarray] = []
    pool: list[int] = []
    seen: set[int] = set()
    for index in order:
        marks = {int(pairs.groups[index]), int(pairs.positive.hashes[index]), int(pairs.query.hashes[index])}
        if marks & seen:
            continue
        pool.append(int(index))
        seen |= marks
        if len(pool) == pool_size:
            made.append(np.array(pool))
            pool, seen = [], set()
            if len(made) == count:
                break
    if not made:
        raise ValueError(f"only {len(pool)} distinct held-out pairs, fewer than one pool of {pool_size}")
    return made
