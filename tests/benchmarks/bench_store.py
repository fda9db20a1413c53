"""What the store of a sweep costs: time for each trial, `sweep status` on large folders, memory.

    python tests/benchmarks/bench_store.py        about 2 minutes on 2 cores

A trial's overhead is all that a worker and a launcher do for it besides training: add, claim, renew, finish, look.
Status is the whole process, with 9 of 10 trials finished, before and after their first gathered export; memory is that
process's peak. TMPDIR=/some/folder measures that folder's file system.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support.toy_sweeps import DATA, observe  # noqa: E402
from sweeps.experiment.grid import cells  # noqa: E402
from sweeps.experiment.sweep_file import read_sweep  # noqa: E402
from sweeps.store import records  # noqa: E402
from sweeps.store.folder import FolderStore  # noqa: E402

SWEEP = 'models = ["nano-25k"]\nbudgets = [1e12]\nmin_steps = 1\nseeds = {}\n[[methods]]\nname = "full"\nlr = 2e-3\n'
TIMED = 300  # trials
SIZES = (1_000, 10_000)


def begin(folder: Path, count: int) -> tuple[FolderStore, list]:
    file = folder / "file.toml"
    file.write_text(SWEEP.format(list(range(count))))
    store = FolderStore(folder / "sweep")
    store.begin(file, DATA)
    wanted = [cell.trial(2e-3) for cell in cells(read_sweep(file), DATA)]
    store.add(wanted)
    return store, wanted


def overhead(folder: Path) -> dict[str, float]:
    """Milliseconds of each call, the mean over TIMED trials of one worker."""
    begun = time.perf_counter()
    store, wanted = begin(folder, TIMED)
    spent = {"add": time.perf_counter() - begun, "claim": 0.0, "renew": 0.0, "finish": 0.0}

    def timed(name, act):
        begun = time.perf_counter()
        done = act()
        spent[name] += time.perf_counter() - begun
        return done

    for _ in wanted:
        claim = timed("claim", store.claim)
        timed("renew", lambda claim=claim: store.renew(claim))
        timed("finish", lambda claim=claim: store.finish(observe(claim.trial)))
    begun = time.perf_counter()
    list(store.results())
    spent["look"] = time.perf_counter() - begun
    return {name: 1000 * seconds / len(wanted) for name, seconds in spent.items()}


def realistic(trial):
    """An observation as large as a real one: a curve of 100 points, an environment."""
    curve = tuple((step, 4000 * step, 3.0 - step / 100) for step in range(100))
    return replace(observe(trial), curve=curve, environment={"torch": "2.13.0", "device": "cpu", "threads": 1})


def status(folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of the process `sweep status`."""
    command = [sys.executable, "-m", "sweeps.cli", "status", str(folder), "--json"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    seconds = time.perf_counter() - begun
    assert process.returncode == 0 and json.loads(out)["done"]
    # The largest child so far: sizes ascend, and a folder takes more memory once it is exported.
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        calls = overhead(Path(name))
        parts = ", ".join(f"{name} {each:.2f}" for name, each in calls.items())
        print(f"overhead  {sum(calls.values()):6.2f} ms a trial  ({parts})", flush=True)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            store, wanted = begin(Path(name), size)
            for trial in wanted[: 9 * size // 10]:
                store.claim()
                store.finish(realistic(trial))
            for state in ("before the first export", "exported"):
                seconds, megabytes = status(store.directory)
                print(f"status    {seconds:6.2f} s, {megabytes:5.0f} MB  {size:,} trials, {state}", flush=True)
                records.export(store.directory, store.results(), wanted[0].training)


if __name__ == "__main__":
    main()
