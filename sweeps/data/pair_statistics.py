"""How many pairs a source has and how long they are, soon enough for a plan: records are counted, some are read.

No third-party library is needed; lengths are counted by a tokenizer where one is on this machine, else from bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.data.cache import keep_json, kept_json, recalled
from sweeps.data.files import Meter, states
from sweeps.machine.measured import cache_folder
from sweeps.support.checks import from_table, require
from sweeps.support.paths import located
from sweeps.trial import MIXED, Training, parts_of

if TYPE_CHECKING:  # what was counted before is told without the readers
    from sweeps.data.pair import Pair

RULES = 2  # counts up when the same source is counted otherwise, so that no count kept earlier is believed
READ_BYTES = 2**24  # of a file; of a larger one every so many records are read, so that they come to this
TOKENISED_PAIRS = 4000
TEXT_SETTINGS = ("context", "hard_negatives", "pooling", "query_prompt", "document_prompt")  # what lengths depend on
PACKED = 3  # times that text shrinks by gzip
BYTES_PER_TOKEN = 4.0  # between 3.4 on the Pile (Gao et al. 2020, table 7, GPT-2's tokenizer) and 4.5 on English prose


@dataclass(frozen=True)
class PairStatistics:
    """How many pairs a source has, and how long they are."""

    pairs: int
    """Usable pairs, held-out ones included."""
    held_out: int
    """Pairs of them that are held out from training."""
    tokens: float
    """Mean tokens of a training pair: of all its texts, each cut at the context."""
    sum_sq_lengths: float
    """Mean over the training pairs of the sum of the squared text lengths in tokens."""
    negatives: float
    """Mean hard negatives that a training pair has, used or not."""
    bad: int
    """Records that cannot be used."""
    exact: bool
    """Whether every record was read; else they were counted, and pairs, held_out and bad follow from those read."""
    how: str
    """How all this was found, in words."""

    @property
    def train_pairs(self) -> int:
        """Unique pairs to train on."""
        return self.pairs - self.held_out


def pair_statistics(training: Training, tokenizer: str = "") -> PairStatistics:
    """How many pairs `training.data` has and how long they are for a training like that.

    tokenizer: folder or hub name of a model; its tokenizer counts where it lies on this machine and can be read. Of
    several sources the mean pair is weighted as they are. What was found is kept while the files stay as they are.
    Raises ValueError where there is no such source, where it is not on this machine, for too many bad records, and
    where nothing is held out.
    """
    parts = [_measurable(name, training, tokenizer) for name, _ in parts_of(training.data)]
    if len(parts) == 1:
        return parts[0]
    weights = [weight for _, weight in parts_of(training.data)]
    return PairStatistics(
        pairs=sum(part.pairs for part in parts),
        held_out=sum(part.held_out for part in parts),
        tokens=_mean([part.tokens for part in parts], weights),
        sum_sq_lengths=_mean([part.sum_sq_lengths for part in parts], weights),
        negatives=_mean([part.negatives for part in parts], weights),
        bad=sum(part.bad for part in parts),
        exact=all(part.exact for part in parts),
        how=MIXED.join(dict.fromkeys(part.how for part in parts)),
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _measurable(name: str, training: Training, tokenizer: str) -> PairStatistics:
    """The statistics of one source. Raises ValueError where none of its pairs is held out."""
    found = _recalled(name, training, tokenizer)
    if found.exact and not found.held_out:
        from sweeps.data.pair import too_few_held_out

        raise ValueError(too_few_held_out(name, 0, training.pool_size))
    return found


def _recalled(name: str, training: Training, tokenizer: str) -> PairStatistics:
    """The statistics of one source: those that were found before, while its files are as they were."""
    place, where = tokenizer_file(tokenizer) if tokenizer else None, str(located(name).resolve())
    settings = [getattr(training, item) for item in TEXT_SETTINGS]
    asked = json.dumps([RULES, name, where, str(place), settings])
    kept = cache_folder() / f"statistics-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    if content := recalled(kept, _statistics):
        was, statistics = content
        if was == states(Path(path) for path, *_ in was):
            return statistics
    sample = _samples.get(where)
    if sample is None or sample.files != states(Path(path) for path, *_ in sample.files):
        sample = _samples[where] = _read(name)
    tokens, squares, measured = _lengths(sample.chosen, training, place)
    found = replace(sample.found, tokens=tokens, sum_sq_lengths=squares, how=f"{sample.found.how}; {measured}")
    if sample.files:
        keep_json(kept, {"files": sample.files, "found": asdict(found)})
    return found


def _statistics(path: Path) -> tuple[list[list[Any]], PairStatistics]:
    """The states of the files that were counted, and what was found."""
    content = kept_json(path)
    files = content["files"]
    fits = isinstance(files, list) and all(isinstance(each, list) and isinstance(each[0], str) for each in files)
    require("files", files, fits, "a list of states")
    return files, from_table(PairStatistics, content["found"], "found")


@dataclass(frozen=True)
class _Sample:
    """What one reading of a source found, for any training on it."""

    found: PairStatistics
    """All but the lengths."""
    chosen: Sequence[Pair]
    """Training pairs whose lengths are to stand for all."""
    files: list[list[Any]]
    """States of the files before they were read."""


_samples: dict[str, _Sample] = {}  # of this process: a plan asks several law books, each with a context of its own


def _read(name: str) -> _Sample:
    from sweeps.data.pair import Problems
    from sweeps.data.readers import open_source

    source = open_source(name, offline=True)
    before = states((*source.files, *source.watched))
    problems, meter = Problems(), Meter(every=max(1, sum(map(_size, source.files)) // READ_BYTES))
    pairs = held_out = 0
    chosen: list[Pair] = []
    for pair in source.pairs(problems, meter):
        pairs += 1
        held_out += pair.held_out
        if not pair.held_out:
            chosen.append(pair)
    if not chosen:
        raise ValueError(f"`data` is {name!r}; of its {pairs:,} pairs all are held out: none is left to train on")
    scale, exact = meter.rows / problems.records, meter.rows == problems.records
    chosen = chosen[:: max(1, len(chosen) // TOKENISED_PAIRS)]
    found = PairStatistics(
        pairs=round(scale * pairs),
        held_out=round(scale * held_out),
        tokens=0.0,
        sum_sq_lengths=0.0,
        negatives=sum(len(pair.negatives) for pair in chosen) / len(chosen),
        bad=round(scale * problems.bad),
        exact=exact,
        how=f"{meter.rows:,} records counted, {'all' if exact else f'1 in {meter.every}'} read",
    )
    return _Sample(found, chosen, before)


def _size(path: Path) -> int:
    """Bytes that a file unpacks to, about."""
    return path.stat().st_size * (PACKED if path.suffix == ".gz" else 1)


def _lengths(pairs: Sequence[Pair], training: Training, tokenizer: Path | None) -> tuple[float, float, str]:
    """Mean tokens of these pairs, mean sum of their squared text lengths, and how they were found."""
    by_tokenizer = _tokenizer(tokenizer, training.context) if tokenizer else None
    measured = "by the tokenizer on this machine" if by_tokenizer else f"from bytes, {BYTES_PER_TOKEN:g} per token"
    count = by_tokenizer or _by_bytes
    end = training.pooling == "last"  # the last token is the one that is read: it is added
    texts = [training.query_prompt + pair.query for pair in pairs]
    texts += [training.document_prompt + pair.positive for pair in pairs]
    texts += [training.document_prompt + text for pair in pairs for text in pair.negatives[: training.hard_negatives]]
    lengths = [min(training.context, length + end) for length in count(texts)]
    tokens, squares = sum(lengths), sum(length**2 for length in lengths)
    return tokens / len(pairs), squares / len(pairs), f"lengths of {len(pairs):,} pairs {measured}"


def _by_bytes(texts: Sequence[str]) -> Sequence[float]:
    return [max(1.0, len(text.encode()) / BYTES_PER_TOKEN) for text in texts]


def _tokenizer(path: Path, context: int) -> Callable[[Sequence[str]], Sequence[float]] | None:
    """What counts the tokens of texts, each cut at the context; None without the library, or where it cannot read the
    file."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # the library raises this class itself
        return None
    tokenizer.no_padding()
    tokenizer.enable_truncation(context)
    return lambda texts: [len(encoded) for encoded in tokenizer.encode_batch_fast(texts)]


def tokenizer_file(model: str) -> Path | None:
    """The tokenizer.json of a model in a folder, or of the hub as far as it was fetched; None where there is none."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{model.replace('/', '--')}"
    places = [Path(model) / "tokenizer.json", *sorted(hub.glob("snapshots/*/tokenizer.json"))]
    return next((place for place in places if place.is_file()), None)
