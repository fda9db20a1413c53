"""The data path from 10^3 to 10^6 pairs: tokenising, opening, drawing. Printed as a table, not asserted.

Run: python tests/benchmarks/bench_data.py [--pairs 1e6]

The pairs are windows on the functions of `python-env` under other names, with one more word in the query. Each size
is prepared in a fresh process (peak RSS: of that process, and of its largest worker, which shares pages with it) and
drawn from in fresh processes. Drawing counts anonymous memory; mapped pages of the token files stand beside it: they
are the disk's cache, which the system takes back when it needs them. A batch holds the ids of its texts end to end,
groups and hashes; there is no model. `a step` reckons what the slower drawing makes of a training that takes no more
time besides than a fast GPU would.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BATCH = 256
ROUNDS, STEPS = 9, 40
GPU_PAIRS = 22_000  # pairs a second that a 19 M body trains on a GPU: what the data must keep pace with
MODEL = "nano-25k"
LINES = 4  # of a function's body at most: with them a pair has about 80 tokens, as real ones have


def write_pairs(path: Path, count: int) -> float:
    """Write `count` pairs made from mined ones; returns the share of them that are distinct."""
    from sweeps.data.readers import read_pairs

    heads = [(re.split(r"(?<=def )(\w+)", pair.positive, maxsplit=1), pair) for pair in read_pairs("python-env")[0]]
    functions = [(start, name, rest.split("\n"), pair.query) for (start, name, rest), pair in heads]
    words = sorted({word for *_, query in functions for word in query.split()})
    draw, seen = random.Random(0).random, set()
    with open(path, "w", encoding="utf-8") as out:
        for _ in range(count):
            start, _, lines, query = functions[int(draw() * len(functions))]
            name = functions[int(draw() * len(functions))][1]
            first = 1 + int(draw() * max(1, len(lines) - LINES))
            code = f"{start}{name}" + "\n".join([lines[0], *lines[first : first + LINES]])
            row = json.dumps({"query": f"{query} {words[int(draw() * len(words))]}", "positive": code})
            seen.add(hash(row))
            out.write(row + "\n")
    return len(seen) / count


def write_head(path: Path, whole: Path, count: int) -> None:
    with open(whole, encoding="utf-8") as lines, open(path, "w", encoding="utf-8") as out:
        out.writelines(islice(lines, count))


def training(data: str, data_hash: str = ""):
    from sweeps.trial import Training

    return Training(data=data, data_hash=data_hash, pool_size=16, pools=1)


def prepare(data: str) -> dict:
    """What preparing a file takes, in this process and its workers."""
    from runner.data.pairs import prepare
    from sweeps.models import find_model

    Path("/proc/self/clear_refs").write_text("5")  # the most it was begins anew: imports have peaks too
    start = resident()["VmHWM"]
    prepared = prepare(training(data), find_model(MODEL).source)
    own, worker = resident()["VmHWM"], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    tokens, _ = prepared.pairs.mean_pair(0)
    return {
        "data": data,
        "data_hash": prepared.data_hash,
        "pairs": len(prepared.pairs),
        "tokens": tokens,
        "pairs_per_second": prepared.made_pairs / prepared.seconds,
        "bytes_per_pair": prepared.disk_bytes / len(prepared.pairs),
        "start_mb": start,
        "own_mb": own,
        "worker_mb": worker,
    }


def opened(prepared: dict):
    from runner.data.pairs import open_prepared
    from sweeps.models import find_model

    return open_prepared(training(prepared["data"], prepared["data_hash"]), find_model(MODEL).source)


def draw(pairs, step: int) -> tuple[list, list]:
    """One batch: of each column its ids and their lengths; groups and hashes."""
    from runner.data.pairs import batch_indices

    chosen = batch_indices(pairs.train, BATCH, step, seed=0)
    texts = [column.gather(chosen) for column in (pairs.query, pairs.positive)]
    return texts, [marks[chosen] for marks in (pairs.groups, pairs.query.hashes, pairs.positive.hashes)]


def memory(prepared: dict) -> dict:
    """What opening and drawing 400 batches add to the memory of a fresh process, MB by kind."""
    from runner.data.tokenizer import load_tokenizer
    from sweeps.models import find_model

    load_tokenizer(find_model(MODEL).source)
    before, begun = resident(), time.perf_counter()
    pairs = opened(prepared)
    seconds = time.perf_counter() - begun
    for step in range(400):
        draw(pairs, step)
    grown = {kind: size - before[kind] for kind, size in resident().items()}
    return {"open_ms": 1e3 * seconds, **grown}


def resident() -> dict[str, float]:
    """MB of this process by kind: RssAnon, RssFile, and VmHWM, the most it was (Linux counts them)."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {kind: int(found[kind].split()[0]) / 2**10 for kind in ("RssAnon", "RssFile", "VmHWM")}


def speeds(prepared: list[dict]) -> list[float]:
    """Microseconds a batch for each size, interleaved, the median of several rounds over new batches."""
    sets = [opened(one) for one in prepared]
    taken: list[list[float]] = [[] for _ in sets]
    for turn in range(ROUNDS):
        for pairs, times in zip(sets, taken, strict=True):
            begun = time.perf_counter()
            for step in range(STEPS):
                draw(pairs, turn * STEPS + step)
            times.append((time.perf_counter() - begun) / STEPS * 1e6)
    return [statistics.median(times[1:]) for times in taken]


def fresh(what: str, content: object):
    """The result of a function of this file in a process of its own."""
    command = [sys.executable, __file__, "--call", what, json.dumps(content)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def bench(largest: int) -> None:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="recipe-planner-bench-") as folder:
        sizes = [10**power for power in range(3, 10) if 10**power < largest] + [largest]
        files = [Path(folder) / f"{size}.jsonl" for size in sizes]
        distinct = write_pairs(files[-1], largest)
        for path, size in zip(files[:-1], sizes, strict=False):
            write_head(path, files[-1], size)
        os.environ["RECIPE_PLANNER_CACHE"] = str(Path(folder) / "cache")
        print(f"{largest:,} pairs made, {distinct:.2%} of them distinct, {time.monotonic() - begun:.0f} s", flush=True)
        prepared = [fresh("prepare", str(path)) for path in files]
        kept = [fresh("memory", one) for one in prepared]
        batches = fresh("speeds", prepared)
    report(prepared, kept, batches)
    print(f"\n{time.monotonic() - begun:.0f} s in all, {len(os.sched_getaffinity(0))} cores")


def report(prepared: list[dict], kept: list[dict], batches: list[float]) -> None:
    print(f"\npreparing: {prepared[-1]['tokens']:.1f} tokens a pair; peak RSS in MB, start: once the imports are done")
    print(f"{'pairs':>10} {'pairs/s':>8} {'ratio':>6} {'bytes/pair':>11} {'start':>6} {'own':>6} {'worker':>7}")
    for one in prepared:
        ratio = one["pairs_per_second"] / prepared[-1]["pairs_per_second"]
        print(
            f"{one['pairs']:>10,} {one['pairs_per_second']:>8,.0f} {ratio:>6.2f} {one['bytes_per_pair']:>11.0f}",
            end=" ",
        )
        print(f"{one['start_mb']:>6.0f} {one['own_mb']:>6.0f} {one['worker_mb']:>7.0f}")
    print(f"\ndrawing batches of {BATCH}; MB after 400 of them; a step: beside a training at {GPU_PAIRS:,} pairs/s")
    header = (
        f"{'pairs':>10} {'open ms':>8} {'anonymous':>10} {'mapped':>7} {'us/batch':>9} {'pairs/s':>10} {'ratio':>6}"
    )
    print(f"{header} {'a step':>7}")
    step = BATCH / GPU_PAIRS * 1e6
    for one, memory, batch in zip(prepared, kept, batches, strict=True):
        line = f"{one['pairs']:>10,} {memory['open_ms']:>8.1f} {memory['RssAnon']:>10.1f} {memory['RssFile']:>7.1f}"
        line += f" {batch:>9.0f} {BATCH / batch * 1e6:>10,.0f} {batches[0] / batch:>6.2f}"
        print(f"{line} {(step + batches[0]) / (step + batch):>7.3f}")


CALLS = {"prepare": prepare, "memory": memory, "speeds": speeds}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=float, default=1e6, help="the largest size (default: 1e6)")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        print(json.dumps(CALLS[arguments.call[0]](json.loads(arguments.call[1]))))
    else:
        bench(int(arguments.pairs))
