"""What preparing any number of pairs would take on this machine, from a sample that is prepared to measure it."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from runner.data import tokens
from sweeps.data.pair import DataHash, Pair
from sweeps.data.readers import open_source
from sweeps.machine.measured import cache_folder
from sweeps.support.progress import duration

SHARDS_A_CORE = 2
HELD_OUT_BYTES = 40  # in memory a held-out pair while they are sorted: index, hash, order, and copies


@dataclass(frozen=True)
class DataPlan:
    """The cost of preparing pairs like those of a sample on this machine."""

    pairs: float
    """How many are to be prepared."""
    sample_pairs: int
    """How many were prepared to measure it."""
    cores: int
    """How many cores tokenise."""
    read: float
    """Pairs a second of the first reading, which finds the data's hash."""
    tokenised: float
    """Pairs a second of the second reading, with tokenising and writing."""
    disk_bytes: float
    """Bytes that stay on disk."""
    peak_disk_bytes: float
    """Bytes on disk until the shards are merged."""
    memory_bytes: float
    """Bytes that all processes together use at most; pages that they share are counted in each."""
    free_bytes: int
    """Bytes that are free on the disk now."""

    @property
    def seconds(self) -> float:
        """Both readings; the second keeps pace with the tokenising, and is part of its rate."""
        return self.pairs / self.read + self.pairs / self.tokenised

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds, "bytes_per_pair": self.disk_bytes / self.pairs}

    def lines(self) -> list[str]:
        """Returns the plan for people."""
        kept, peak = self.disk_bytes / 1e9, self.peak_disk_bytes / 1e9
        lines = [
            f"plan for {self.pairs:,.0f} pairs, from {self.sample_pairs:,} prepared just now",
            f"time    {duration(self.seconds)} with {self.cores} cores: "
            f"reading {self.read:,.0f} pairs/s, then tokenising {self.tokenised:,.0f} pairs/s",
            f"disk    {kept:,.1f} GB, {self.disk_bytes / self.pairs:.0f} bytes a pair; {peak:,.1f} GB while it is made",
            f"memory  at most {self.memory_bytes / 1e9:.1f} GB in all processes; opening and drawing need none a pair",
        ]
        if self.peak_disk_bytes > self.free_bytes:
            lines.append(f"        only {self.free_bytes / 1e9:,.1f} GB are free in {cache_folder()}")
        return lines


def plan_data(name: str, settings: tokens.TokenizerSettings, pairs: float, cores: int) -> DataPlan:
    """Prepare the first pairs of the data `name`, a few shards a core, and reckon from that what `pairs` would take."""
    source, sample = open_source(name), SHARDS_A_CORE * cores * tokens.SHARD_PAIRS
    digest, count, held_out = DataHash(), 0, 0
    first, begun = _started(source.pairs(), sample)
    for pair in first:
        digest.add(pair)
        count += 1
        held_out += pair.held_out
    reading = time.perf_counter() - begun
    with tempfile.TemporaryDirectory(prefix=".plan-", dir=cache_folder()) as folder:
        first, begun = _started(source.pairs(), sample)
        tokens.write_tokens(first, count, digest.name, settings, Path(folder) / "tokens", cores)
        making = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in (Path(folder) / "tokens").iterdir())
    return DataPlan(
        pairs=pairs,
        sample_pairs=count,
        cores=cores,
        read=count / reading,
        tokenised=count / making,
        disk_bytes=pairs * size / count,
        peak_disk_bytes=2 * pairs * size / count,
        memory_bytes=_memory(cores) + HELD_OUT_BYTES * pairs * held_out / count,
        free_bytes=shutil.disk_usage(cache_folder()).free,
    )


def _started(pairs: Iterator[Pair], count: int) -> tuple[Iterator[Pair], float]:
    """Returns the first `count` pairs, and when the first was there: opening a source costs the same for any number."""
    first = list(islice(pairs, 1))
    return chain(first, islice(pairs, count - len(first))), time.perf_counter()


def _memory(processes: int) -> float:
    """Returns the most bytes that are used: by this process, and by as many workers as large as the largest."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + (processes * worker if processes > 1 else 0))
