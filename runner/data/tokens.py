"""Texts to token ids by all cores, in shards: a killed preparation goes on where it stopped.

A folder of tokens holds `.npy` arrays that open as memory maps: of each column `ids` (all texts end to end),
`offsets` [texts + 1] and `hashes` [texts]; of the pairs `negative_start` [pairs + 1], `groups` and `sources` [pairs],
and the indices `train` and `held_out`, the latter in the order of their documents' hashes. Hashes are 64 bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from tokenizers import Tokenizer

from sweeps.data.cache import keep_json, kept_json, recalled
from sweeps.data.pair import DataHash, Pair
from sweeps.support.atomic import new_folder, replacing
from sweeps.support.json_io import open_file
from sweeps.support.progress import Progress

COLUMNS = ("query", "positive", "negative")
CONTENT = "content.json"  # what is in a folder of tokens: name -> see _state
FORMAT = 3  # counts up when the arrays of a folder, or how texts become ids, change
SHARD_PAIRS = 2**13
SHARD_CHARS = 2**25  # a shard of long documents closes earlier: it must fit in memory once a core
TEXTS_AT_ONCE = 1024
CHARS_PER_TOKEN = 6  # of the part of a long text that is tried first
PROBE = "the quick brown fox jumps over a lazy dog"


@dataclass(frozen=True)
class TokenizerSettings:
    """How texts become ids."""

    tokenizer: str
    """Content of its tokenizer.json."""
    context: int
    """Ids of a text at most, those that the tokenizer adds among them."""
    keep_left: bool = True
    """Whether a text that is too long loses its end, not its beginning."""
    plain_specials: bool = False
    """Whether special tokens that are written out in a text are read as text."""
    prompts: tuple[str, str, str] = ("", "", "")
    """What is put before the texts of each of COLUMNS."""

    @cached_property
    def name(self) -> str:
        """A hash of everything that decides what ids a text gets."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


class Tokenise:
    """A tokenizer with its settings, called with texts."""

    def __init__(self, settings: TokenizerSettings) -> None:
        self.tokenizer = Tokenizer.from_str(settings.tokenizer)
        self.prompts = settings.prompts
        self.context = settings.context
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.context, direction="right" if settings.keep_left else "left")
        self.tokenizer.encode_special_tokens = settings.plain_specials
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        self.kind = np.uint16 if max(vocabulary.values()) < 2**16 else np.uint32
        self.parts = settings.keep_left and _splits_at_spaces(self.tokenizer)

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the ids of all texts end to end, the length of each text, and a 64-bit hash of each text's ids."""
        pieces = [np.zeros(0, self.kind)]
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            pieces += [np.array(ids, self.kind) for ids in self._ids(texts[start : start + TEXTS_AT_ONCE])]
        hashes = b"".join(hashlib.blake2b(ids.tobytes(), digest_size=8).digest() for ids in pieces[1:])
        lengths = np.array([len(ids) for ids in pieces[1:]], np.uint32)
        return np.concatenate(pieces), lengths, np.frombuffer(hashes, np.int64)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of texts, cut to the context; of a long text no more is read than is needed."""
        known: list[list[int]] = [[] for _ in texts]
        waiting, chars = list(range(len(texts))), CHARS_PER_TOKEN * self.context
        while waiting:
            parts = [_first_words(texts[i], chars) if self.parts else texts[i] for i in waiting]
            short = []
            for index, part, encoded in zip(waiting, parts, self.tokenizer.encode_batch_fast(parts), strict=True):
                known[index] = encoded.ids
                if len(encoded) < self.context and len(part) < len(texts[index]):
                    short.append(index)
            waiting, chars = short, 4 * chars
        return known


def _first_words(text: str, chars: int) -> str:
    """Returns the start of `text`, at most `chars` long, up to a space between two ASCII letters; without one, all of
    it."""
    if len(text) <= chars:
        return text
    at = text.rfind(" ", 1, chars)
    while at > 0:
        around = text[at - 1] + text[at + 1]
        if around.isascii() and around.isalpha():
            return text[:at]
        at = text.rfind(" ", 1, at)
    return text


def _splits_at_spaces(tokenizer: Tokenizer) -> bool:
    """Tells whether words part before the space between them, so that what follows cannot change the tokens before.

    Byte-level patterns, Metaspace and whitespace rules do; a model that merges across words (or no rule at all) fails
    the probe, as does a special token that holds a space.
    """
    if tokenizer.pre_tokenizer is None or any(" " in t.content for t in tokenizer.get_added_tokens_decoder().values()):
        return False
    probe = tokenizer.normalizer.normalize_str(PROBE) if tokenizer.normalizer else PROBE
    return [word.lstrip("Ġ▁ ") for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(probe)] == PROBE.split()


@dataclass
class Chunk:
    """Consecutive pairs that become one shard."""

    texts: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    """Texts of each of COLUMNS."""
    negatives: list[int] = field(default_factory=list)
    """Number of hard negatives of each pair."""
    groups: list[str] = field(default_factory=list)
    """Group of each pair: pairs of one are never each other's negatives."""
    held_out: list[bool] = field(default_factory=list)
    """Whether each pair is held out from training."""
    sources: list[int] = field(default_factory=list)
    """Number of the source that each pair is from."""
    chars: int = 0
    """Characters of all texts together."""
    name: str = ""
    """Its number and a hash of all pairs up to its last, so that a shard of other data is never taken for it."""

    def add(self, pair: Pair) -> None:
        self.texts["query"].append(pair.query)
        self.texts["positive"].append(pair.positive)
        self.texts["negative"].extend(pair.negatives)
        self.negatives.append(len(pair.negatives))
        self.groups.append(pair.group)
        self.held_out.append(pair.held_out)
        self.sources.append(pair.source)
        self.chars += len(pair.query) + len(pair.positive) + sum(map(len, pair.negatives))


def chunks(pairs: Iterable[Pair]) -> Iterator[Chunk]:
    """Yields consecutive pairs, SHARD_PAIRS or about SHARD_CHARS at a time."""
    digest, numbers, chunk = DataHash(), count(), Chunk()
    for pair in pairs:
        digest.add(pair)
        chunk.add(pair)
        if len(chunk.groups) == SHARD_PAIRS or chunk.chars > SHARD_CHARS:
            chunk.name = f"{next(numbers):07}-{digest.name}"
            yield chunk
            chunk = Chunk()
    chunk.name = f"{next(numbers):07}-{digest.name}"
    yield chunk  # the last may be empty: its name is that of the whole


def write_tokens(
    pairs: Iterable[Pair], total: int, data_hash: str, settings: TokenizerSettings, folder: Path, processes: int
) -> int:
    """Write the tokens of `total` pairs into `folder`, and return how many of them were tokenised now.

    Shards that an earlier call finished are not made again. Others may do the same at the same time: whoever is first
    leaves the folder, with the same content. Raises ValueError when the pairs are not those of `data_hash`.
    """
    shards, tokenised = folder.with_name(f".{folder.name}.{SHARD_PAIRS}"), 0
    try:
        shards.mkdir(parents=True, exist_ok=True)
        paths, tokenised = _write_shards(pairs, total, settings, shards, processes if total > SHARD_PAIRS else 1)
        if not paths[-1].stem.endswith(data_hash):
            raise ValueError("the data changed while it was read; run again")
        with new_folder(folder, inside=shards) as merged:
            _merge(paths, merged)
            keep_json(merged / CONTENT, {path.name: _state(path) for path in merged.glob("*.npy")})
    except BrokenProcessPool:
        raise ValueError("a tokenising process was killed (out of memory?); its finished part is kept") from None
    except OSError:
        if not folder.exists():  # else another process was first, and took the shards away
            raise
    shutil.rmtree(shards, ignore_errors=True)
    return tokenised


def _write_shards(
    pairs: Iterable[Pair], total: int, settings: TokenizerSettings, shards: Path, processes: int
) -> tuple[list[Path], int]:
    """Returns all shards in order, and how many pairs those hold that were not there."""
    paths: list[Path] = []
    kept = 0
    with Progress("tokenising", total, "pairs") as progress, _Workers(settings, processes) as workers:
        for chunk in chunks(pairs):
            paths.append(shards / f"{chunk.name}.npz")
            if recalled(paths[-1], _sound_shard):
                kept += len(chunk.groups)
                progress.done += len(chunk.groups)
            else:
                progress.advance(workers.write(paths[-1], chunk))
        for written in workers.rest():
            progress.advance(written)
    return paths, int(progress.done) - kept


def _sound_shard(path: Path) -> bool:
    """Returns True. Raises ValueError or OSError where a shard is damaged: the parts of its archive have checksums."""
    open_file(path).close()  # refuses what is no file
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is not what was written (checksum)")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    return True


def _state(path: Path) -> list[int]:
    """Returns what tells a file from one that was changed: its bytes, and a checksum of them."""
    return [path.stat().st_size, _checksum(path)]


def _checksum(path: Path) -> int:
    found = 0
    with open_file(path) as file:
        while part := file.read(1 << 24):
            found = zlib.crc32(part, found)
    return found


def sound_tokens(folder: Path) -> bool:
    """Returns True. Raises ValueError or OSError where the files of a folder of tokens are not those that were written.

    Their bytes are read again only where a file was changed, or copied, since. A folder of earlier versions has no list
    of them.
    """
    if not (folder / CONTENT).exists():
        for path in folder.glob("*.npy"):
            open_file(path).close()
            np.load(path, mmap_mode="r")
        return True
    written = (folder / CONTENT).stat().st_mtime_ns  # after all others
    for name, (size, checksum) in kept_json(folder / CONTENT).items():
        with open_file(folder / name):
            stat = (folder / name).stat()
        if stat.st_size != size or (stat.st_mtime_ns > written and _checksum(folder / name) != checksum):
            raise ValueError(f"{name} is not what was written (size or checksum)")
    return True


class _Workers:
    """Processes that write shards, as many at a time; with one process it is this one.

    Processes and not the tokenizer's own threads: on two cores they are 1.04 times as fast (13.5 against 13.0 thousand
    pairs a second), and they share what threads do one at a time, making and hashing Python's ids, 10 us a pair.
    """

    def __init__(self, settings: TokenizerSettings, processes: int) -> None:
        self.processes, self.waiting = processes, deque[Future[int]]()
        if processes > 1:
            self.pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(settings, os.getpid()))
        else:
            self.tokenise = Tokenise(settings)

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self.processes > 1:
            self.pool.shutdown(cancel_futures=True)

    def write(self, path: Path, chunk: Chunk) -> int:
        """Have a shard written, and return how many pairs were finished meanwhile."""
        if self.processes == 1:
            return write_shard(path, chunk, self.tokenise)
        self.waiting.append(self.pool.submit(_work, path, chunk))
        # One more than can be written at once is ready; reading further ahead would only fill the memory.
        return self.waiting.popleft().result() if len(self.waiting) > self.processes + 1 else 0

    def rest(self) -> Iterator[int]:
        """Yield the number of pairs of each shard that is still being written, once it is finished."""
        while self.waiting:
            yield self.waiting.popleft().result()


_tokenise: Tokenise  # of a worker process


def _begin(settings: TokenizerSettings, parent: int) -> None:
    global _tokenise  # noqa: PLW0603 (once a process, before its first shard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which lets shards under way be finished
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _tokenise = Tokenise(settings)


def _end_with(parent: int) -> None:
    """End this process soon after `parent` is gone: a killed parent cannot say goodbye."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(path: Path, chunk: Chunk) -> int:
    return write_shard(path, chunk, _tokenise)


def write_shard(path: Path, chunk: Chunk, tokenise: Tokenise) -> int:
    """Tokenise a chunk into one file, and return its number of pairs."""
    content: dict[str, Any] = {}
    for name, prompt in zip(COLUMNS, tokenise.prompts, strict=True):
        texts = [prompt + text for text in chunk.texts[name]] if prompt else chunk.texts[name]
        for part, array in zip(("ids", "lengths", "hashes"), tokenise(texts), strict=True):
            content[f"{name}.{part}"] = array
    groups = b"".join(hashlib.blake2b(g.encode("utf-8", "replace"), digest_size=8).digest() for g in chunk.groups)
    content["groups"] = np.frombuffer(groups, np.int64)
    content["negatives"] = np.array(chunk.negatives, np.int64)
    content["held_out"] = np.array(chunk.held_out, bool)
    content["sources"] = np.array(chunk.sources, np.uint8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **content)
    return len(chunk.groups)


def _merge(shards: Sequence[Path], folder: Path) -> None:
    """Write one file an array from those of all shards, one shard in memory at a time, and all held-out pairs'
    hashes."""

    def parts(name: str) -> Iterator[np.ndarray]:
        for path in shards:
            with np.load(path) as shard:
                yield shard[name]

    for column in COLUMNS:
        _write_array(folder / f"{column}.ids.npy", parts(f"{column}.ids"))
        _write_array(folder / f"{column}.hashes.npy", parts(f"{column}.hashes"))
        _write_array(folder / f"{column}.offsets.npy", _sums(parts(f"{column}.lengths")))
    _write_array(folder / "groups.npy", parts("groups"))
    _write_array(folder / "sources.npy", parts("sources"))
    _write_array(folder / "negative_start.npy", _sums(parts("negatives")))
    _write_array(folder / "train.npy", _where(~side for side in parts("held_out")))
    held_out = np.concatenate(list(_where(parts("held_out"))))
    hashes = [every[side] for every, side in zip(parts("positive.hashes"), parts("held_out"), strict=True)]
    order = np.argsort(np.concatenate(hashes), kind="stable")
    _write_array(folder / "held_out.npy", iter([held_out[order]]))


def _sums(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the running sum of all parts, from 0: one more element than they have."""
    total = 0
    yield np.zeros(1, np.int64)
    for part in parts:
        sums = total + np.cumsum(part, dtype=np.int64)
        total = int(sums[-1]) if len(sums) else total
        yield sums


def _where(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the indices, over all parts, of what is true."""
    start = 0
    for part in parts:
        yield start + np.flatnonzero(part)
        start += len(part)


def _write_array(path: Path, parts: Iterator[np.ndarray]) -> None:
    """Write arrays end to end as one `.npy` file. Its header has room for any length, so it is written again at the
    end."""
    with open(path, "wb") as file:
        header: dict[str, Any] = {"descr": "", "fortran_order": False, "shape": (0,)}
        for part in parts:
            if not header["descr"]:
                header["descr"] = npy.dtype_to_descr(part.dtype)
                npy.write_array_header_1_0(file, header)
            part.tofile(file)
            header["shape"] = (header["shape"][0] + len(part),)
        file.seek(0)
        npy.write_array_header_1_0(file, header)
