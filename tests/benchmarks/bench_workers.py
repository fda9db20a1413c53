"""A thousand workers on one sweep: claims a second, what they ask of the folder, the database or the bucket, status.

    python tests/benchmarks/bench_workers.py [folder] [postgres] [s3] [--workers 1000] [--processes 2] [--trials 1102]

Workers are threads of a few processes, each with a store of its own, of the same class that real workers use, on hosts
of different names; nothing is trained. All begin at once, which is the worst that can happen, and each claims one
trial. Then they do at once what they do in a second of training: each asks whether its trial is cancelled, one in
sixty renews its claim. Then, with all of them running, one more claim and `sweep status` are timed.

Questions are counted where they leave the program: calls of the operating system that name a file, statements,
requests. PostgreSQL is asked through 32 connections, as through a pooler. S3 is moto's server, one process in Python:
how often it is asked is what a real service would be, how long that takes is not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support import postgres_server, s3_server  # noqa: E402
from support.toy_stores import FULL, fill  # noqa: E402
from sweeps.store import attempts  # noqa: E402
from sweeps.store.attempts import Claim  # noqa: E402
from sweeps.store.base import Store  # noqa: E402
from sweeps.store.database import Database  # noqa: E402
from sweeps.store.objects import BucketObjects  # noqa: E402
from sweeps.store.open import open_store  # noqa: E402
from sweeps.store.postgres import PostgresStore  # noqa: E402

CONNECTIONS = 32
RENEWALS = 60  # seconds between those of one worker: a fifth of the lease
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
        setattr(BucketObjects, name, counted_request(name, getattr(BucketObjects, name)))


def counted_request(name, method):
    def call(self, *arguments):
        count(name)
        return method(self, *arguments)

    return call


def simulate() -> None:
    """Have this process count what it asks, and its threads be workers on hosts of different names."""
    threading.stack_size(512 * 1024)
    attempts.host_and_boot = lambda: (getattr(here, "name", "host"), "boot")
    count_everything()


class Measured(NamedTuple):
    """What the workers of one process did at once."""

    taken: list[float]
    """Seconds from the common beginning until each was through."""
    asked: Counter[str]
    """How often they asked what."""
    busy: float
    """Seconds of CPU of their process."""


class Crowd:
    """The workers of one process."""

    def __init__(self, folder: Path, numbers: range, connections: int) -> None:
        self.numbers, self.claims = numbers, {}
        self.stores: dict[int, Store] = {number: open_store(folder / "sweep") for number in numbers}
        if isinstance(self.stores[numbers[0]], PostgresStore):
            shared = [Database(self.stores[numbers[0]].database.url) for _ in range(connections)]
            for database in shared:
                database.ask("SELECT 1", {})
            for number, store in self.stores.items():
                store.database = shared[number % connections]

    def claim(self, number: int) -> None:
        while not (claimed := self.stores[number].claim()):
            time.sleep(0.5)
        self.claims[number] = claimed

    def mind(self, number: int) -> None:
        claim: Claim = self.claims[number]
        assert not self.stores[number].is_cancelled(claim.trial.key)
        if number % RENEWALS == 0:
            assert self.stores[number].renew(claim)

    def all_at_once(
        self, act: Callable[[int], None], begin: Callable[[], Any]
    ) -> tuple[list[float], Counter[str], float]:
        """Seconds from a common beginning until each is through, what was asked, and seconds of this process's CPU."""
        start, taken = threading.Barrier(len(self.numbers) + 1), []

        def one(number: int) -> None:
            here.name = f"host-{number}"
            start.wait()
            begun = time.perf_counter()
            act(number)
            taken.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=one, args=[number]) for number in self.numbers]
        for thread in threads:
            thread.start()
        begin()
        asked.clear()
        busy = time.process_time()
        start.wait()
        for thread in threads:
            thread.join()
        return Measured(taken, asked.copy(), time.process_time() - busy)


def crowd(folder: Path, numbers: range, connections: int, begin: Any, told: Any) -> None:
    """One of the processes. begin: the barrier of all of them; told: the queue of what they measure."""
    simulate()
    one = Crowd(folder, numbers, connections)
    for act in (one.claim, one.mind):
        told.put(one.all_at_once(act, begin.wait))
        begin.wait()


def measure(
    kind: str, folder: Path, server: Sequence[int], url: str, workers: int, processes: int, trials: int
) -> None:
    """Print what so many workers take on a sweep of so many trials. server: processes of the place."""
    conductor = open_store(folder / "sweep", url=url)
    begun = time.perf_counter()
    fill(conductor, trials, text=FULL)
    print(f"{kind}: {trials:,} trials added in {time.perf_counter() - begun:.1f} s", flush=True)
    spawn = multiprocessing.get_context("spawn")
    begin, told = spawn.Barrier(processes + 1), spawn.SimpleQueue()
    shares = [range(one, workers, processes) for one in range(processes)]
    crowds = [
        spawn.Process(target=crowd, args=(folder, share, CONNECTIONS // processes, begin, told)) for share in shares
    ]
    for process in crowds:
        process.start()
    for what in (f"{workers:,} workers claim at once", "a second of minding their trials"):
        begin.wait()
        servers = cpu(server)
        measured = [told.get() for _ in crowds]
        servers = cpu(server) - servers
        taken = sorted(seconds for one in measured for seconds in one.taken)
        total = sum((one.asked for one in measured), Counter[str]())
        ours = sum(one.busy for one in measured)
        print(
            f"  {what}: {taken[-1]:.1f} s, half after {taken[len(taken) // 2]:.1f} s; {workers / taken[-1]:.0f} a "
            f"second; CPU {1000 * ours / workers:.1f} ms of a worker, {1000 * servers / workers:.1f} ms of the server "
            f"for each; {said(total, workers)} for each",
            flush=True,
        )
        begin.wait()
    for process in crowds:
        process.join()
    late = open_store(folder / "sweep")
    late.queue()  # connected
    asked.clear()
    begun = time.perf_counter()
    assert late.claim()
    print(f"  another claim beside them: {1000 * (time.perf_counter() - begun):.0f} ms; {said(asked, 1)}", flush=True)
    status = [sys.executable, "-m", "sweeps.cli", "status", str(folder / "sweep"), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(status, capture_output=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    print(f"  sweep status: {time.perf_counter() - begun:.1f} s", flush=True)


def cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that these processes and those that they started have taken."""
    found = [psutil.Process(pid) for pid in pids]
    each = [one.cpu_times() for parent in found for one in (parent, *parent.children(recursive=True))]
    return sum(times.user + times.system for times in each)


def said(counts: Counter[str], by: int) -> str:
    return ", ".join(f"{number / by:.4g} {name}" for name, number in counts.most_common()) or "nothing asked"


def _postgres(stack: ExitStack) -> tuple[str, list[int]]:
    running = stack.enter_context(postgres_server.server(postgres_server.programs()))
    os.environ["PGPASSWORD"] = postgres_server.PASSWORD
    return running.url(password=False), [int((running.folder / "data/postmaster.pid").read_text().split()[0])]


def _s3(stack: ExitStack) -> tuple[str, list[int]]:
    port = stack.enter_context(s3_server.server(s3_server.interpreter()))
    os.environ.update(s3_server.environment(port))
    return f"s3://{s3_server.BUCKET}/bench", [child.pid for child in psutil.Process().children()]


PLACES = {"folder": lambda stack: ("", []), "postgres": _postgres, "s3": _s3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(PLACES))
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--trials", type=int, default=0, help="by default a tenth more than workers")
    arguments = parser.parse_args()
    simulate()
    for kind in arguments.kinds:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url, server = PLACES[kind](stack)
            trials = arguments.trials or arguments.workers * 11 // 10 + 2
            measure(kind, folder, server, url, arguments.workers, arguments.processes, trials)


if __name__ == "__main__":
    main()
