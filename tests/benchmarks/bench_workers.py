"""A thousand workers on one sweep: claims a second, what they ask of the folder, the database or the bucket, status.

    python tests/benchmarks/bench_workers.py [folder] [postgres] [s3] [--workers 1000] [--trials 1100]

Threads, each with a store of its own, of the same class that real workers use, on hosts of different names. All begin
at once, which is the worst that can happen, and each claims one trial; nothing is trained. Then, with all of them
running, one more claim, one renewal and `sweep status` are timed. Questions are counted where they leave the program:
calls of the operating system that name a file, statements, requests. PostgreSQL is asked through 32 connections, as
through a pooler. S3 is moto's server, one process in Python: how often it is asked is what a real service would be, how
long that takes is not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support import postgres_server, s3_server  # noqa: E402
from support.toy_stores import FULL, fill  # noqa: E402
from sweeps.store import attempts  # noqa: E402
from sweeps.store import database as databases  # noqa: E402
from sweeps.store.base import Store  # noqa: E402
from sweeps.store.bucket import BucketStore  # noqa: E402
from sweeps.store.database import Database  # noqa: E402
from sweeps.store.objects import BucketObjects  # noqa: E402
from sweeps.store.open import open_store  # noqa: E402
from sweeps.store.postgres import PostgresStore  # noqa: E402

CONNECTIONS = 32
FILE_EVENTS = {"open", "os.listdir", "os.link", "os.remove", "os.rename", "os.utime", "os.mkdir"}
REQUESTS = ("read", "write", "create_once", "upload", "chunks", "delete", "listed")

asked: Counter[str] = Counter()
counting = threading.Lock()
here = threading.local()


def count(what: str) -> None:
    with counting:
        asked[what] += 1


def count_everything() -> None:
    """Count what leaves the program: files by the interpreter's own audit, statements and requests as they are sent."""
    sys.addaudithook(lambda event, _: asked.update([event]) if event in FILE_EVENTS else None)
    stat = os.stat

    def counted_stat(*arguments, **options):
        asked["os.stat"] += 1
        return stat(*arguments, **options)

    os.stat = counted_stat
    ask = Database.ask

    def counted_ask(self, statement, values):
        count(statement.split()[0])
        return ask(self, statement, values)

    Database.ask = counted_ask
    for name in REQUESTS:
        method = getattr(BucketObjects, name)
        setattr(BucketObjects, name, counted_request(name, method))


def counted_request(name, method):
    def call(self, *arguments):
        count(name)
        return method(self, *arguments)

    return call


def measure(kind: str, folder: Path, url: str, workers: int, trials: int) -> None:
    """Print what so many workers take on a sweep of so many trials."""
    conductor = open_store(folder / "sweep", url=url)
    begun = time.perf_counter()
    fill(conductor, trials, text=FULL)
    print(f"{kind}: {trials:,} trials added in {time.perf_counter() - begun:.1f} s", flush=True)
    stores = [open_store(folder / "sweep") for _ in range(workers)]
    shared = [Database(url) for _ in range(CONNECTIONS)] if isinstance(conductor, PostgresStore) else []
    for index, store in enumerate(stores):
        if isinstance(store, PostgresStore):
            store.database = shared[index % CONNECTIONS]
    asked.clear()
    taken = sorted(stampede(stores))
    print(
        f"  {workers:,} workers begin at once: all have claimed after {taken[-1]:.1f} s, half after "
        f"{taken[len(taken) // 2]:.1f} s; {len(taken) / taken[-1]:.0f} claims a second; "
        f"{said(asked, len(taken))} for each",
        flush=True,
    )
    late = open_store(folder / "sweep")
    for what, act in (
        ("another claim beside them", late.claim),
        ("a renewal", lambda: stores[0].renew(here_claims[0])),
        ("a look for a cancellation", lambda: stores[0].is_cancelled(here_claims[0].trial.key)),
    ):
        asked.clear()
        begun = time.perf_counter()
        act()
        print(f"  {what}: {1000 * (time.perf_counter() - begun):.0f} ms; {said(asked, 1)}", flush=True)
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.cli", "status", str(folder / "sweep"), "--json"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    print(f"  sweep status: {time.perf_counter() - begun:.1f} s", flush=True)


here_claims: list = []


def stampede(stores: list[Store]) -> list[float]:
    """Seconds from a common start until each store has claimed a trial."""
    start, times = threading.Barrier(len(stores)), []
    here_claims.clear()

    def claim(index: int, store: Store) -> None:
        here.name = f"host-{index}"
        start.wait()
        begun = time.perf_counter()
        while not (claimed := store.claim()):
            time.sleep(0.5)
        here_claims.append(claimed) if index == 0 else None
        times.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=claim, args=pair) for pair in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def said(counts: Counter[str], by: int) -> str:
    return ", ".join(f"{number / by:.4g} {name}" for name, number in counts.most_common()) or "nothing asked"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["folder", "postgres", "s3"])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=0, help="by default a tenth more than workers")
    arguments = parser.parse_args()
    threading.stack_size(512 * 1024)
    attempts.host_and_boot = host_and_boot
    BucketStore.pause = 5.0
    count_everything()
    for kind in arguments.kinds:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = PLACES[kind](stack)
            measure(kind, folder, url, arguments.workers, arguments.trials or arguments.workers * 11 // 10 + 2)


def host_and_boot() -> tuple[str, str]:
    return getattr(here, "name", "host"), "boot"


def _postgres(stack: ExitStack) -> str:
    running = stack.enter_context(postgres_server.server(postgres_server.programs()))
    os.environ["PGPASSWORD"] = postgres_server.PASSWORD
    databases.PATIENCE = 600.0
    return running.url(password=False)


def _s3(stack: ExitStack) -> str:
    port = stack.enter_context(s3_server.server(s3_server.interpreter()))
    os.environ.update(s3_server.environment(port))
    return f"s3://{s3_server.BUCKET}/bench"


PLACES = {"folder": lambda stack: "", "postgres": _postgres, "s3": _s3}

if __name__ == "__main__":
    main()
