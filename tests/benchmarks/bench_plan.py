"""How long `plan` takes as a whole process, beside a Python that does nothing. Printed, not asserted."""

import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.known_laws import FULL, LORA, law_book, method_law, write_laws
from support.pair_files import WRITERS

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5


def seconds(*arguments: str) -> list[tuple[float, float]]:
    """Wall and CPU time of a fresh interpreter, each of REPEATS times after one that fills the caches."""
    taken = []
    for _ in range(REPEATS + 1):
        start, spent = time.perf_counter(), _children()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
        taken.append((time.perf_counter() - start, _children() - spent))
    return taken[1:]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_plan_as_a_whole_process(tmp_path):
    settings = [{"name": "full"}, {"name": "lora", "rank": 8, "alpha": 8.0}, {"name": "freeze", "share": 0.5}]
    settings += [{"name": "lora", "rank": 32, "alpha": 8.0}, {"name": "bias"}]
    laws = [LORA if one["name"] == "lora" else FULL for one in settings]
    book = law_book(
        *(method_law(law, one, draws=200, seed=i) for i, (law, one) in enumerate(zip(laws, settings, strict=True)))
    )
    path = str(write_laws(tmp_path / "laws.json", book))
    plan = ("-m", "planner.cli", "--laws", path, "--budget", "1e19")
    rows = {
        "python -c pass": ("-c", "pass"),
        "plan --help": ("-m", "planner.cli", "--help"),
        "plan --budget 1e19": plan,
        "plan --budget 1e19 --suite pythia --json": (*plan, "--suite", "pythia", "--json"),
        "plan --budget 1e19 --suite pythia --curve 1e15..1e20": (*plan, "--suite", "pythia", "--curve", "1e15..1e20"),
        "plan --budget 1e19 --suite pythia --calibrate 2%": (*plan, "--suite", "pythia", "--calibrate", "2%"),
    }
    print(f"\n5 laws of 200 draws; {REPEATS} repeats; a busy machine moves the wall time, hardly the CPU time")
    print(f"{'whole process, seconds':<54} {'least':>6} {'median':>6} {'CPU':>6}")
    for name, arguments in rows.items():
        wall, cpu = zip(*seconds(*arguments), strict=True)
        print(f"{name:<54} {min(wall):6.3f} {statistics.median(wall):6.3f} {statistics.median(cpu):6.3f}")


@pytest.mark.parametrize("ending", WRITERS)
def test_plan_with_a_million_pairs(tmp_path, ending):
    """The first plan counts them, the second knows."""
    words = ["alpha", "bridge", "market", "river", "of", "the", "silver", "question", "engine", "garden"]
    chance = random.Random(0)
    rows = [
        {"query": " ".join(chance.choices(words, k=8)), "positive": " ".join(chance.choices(words, k=40))}
        for _ in range(1_000_000)
    ]
    path = tmp_path / f"pairs{ending}"
    WRITERS[ending](path, rows)
    environment = os.environ | {"RECIPE_PLANNER_CACHE": str(tmp_path)}
    command = (sys.executable, "-m", "planner.cli", "--budget", "1e17", "--data", str(path))
    taken = []
    for _ in range(2):
        start, spent = time.perf_counter(), _children()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
        taken.append(f"{time.perf_counter() - start:6.2f} ({_children() - spent:5.2f} CPU)")
    size = f"{path.stat().st_size / 1e6:,.0f} MB of {ending}"
    print(f"\nplan --data with a million pairs, {size}, seconds: {', then '.join(taken)}")
