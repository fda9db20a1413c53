"""What a goal gives away for its spend, beside other ways to choose what is tried, where the truth is known.

Worlds: results/reference, results/dense and results/language as tables of losses, noise as between their seeds, started
from the laws of ziarko2024, which have seen neither their models nor their data; and truths drawn from the bundled laws
and bent, started from those laws. In each world a way of choosing spends a share of what the whole grid took, then the
candidate at the goal is taken that the losses speak for; what it gives away is known. Rates are searched and trunks
shared as in a sweep.

    python tests/benchmarks/bench_goal.py                                    50 repetitions
    python tests/benchmarks/bench_goal.py --repetitions 5 --worlds dense --rivals goal,static
    python tests/benchmarks/bench_goal.py --keep out/goal.jsonl --docs docs/goal.md
    python tests/benchmarks/bench_goal.py --fresh --repetitions 8 --rivals goal,static   other worlds

With --keep a repetition that is in the file already is not run again, as long as the code is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # its matrices are small: threads cost more than they bring

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from goal_rivals import RIVALS, design, whole_grid  # noqa: E402
from goal_worlds import FRESH, NAMES, world  # noqa: E402

SHARES = (0.01, 0.02, 0.05, 0.1)  # of the FLOPs of the whole grid
DECIDES = ("analysis/goal/*.py", "planner/*.py", "tests/benchmarks/goal_*.py", "results/*/laws.json")
BEGIN, END = "<!-- table: bench_goal.py -->", "<!-- end of the table -->"  # in the file of --docs


def given_away(name: str, rival: str, repetition: int) -> list[float]:
    """Share of the loss given away by what a rival chooses with each of SHARES of the grid's FLOPs."""
    here, seed = world(name, repetition), [repetition, list(RIVALS).index(rival)]
    return [here.regret(RIVALS[rival](here, share, np.random.default_rng(seed))) for share in SHARES]


def by_whole_grid(name: str, repetition: int) -> float:
    """Share given away by the lowest measured loss at the goal."""
    here = world(name, repetition)
    return here.regret(whole_grid(here, 1.0, np.random.default_rng([repetition, 99])))


def code() -> str:
    """Changes when anything changes that decides what is given away."""
    text = hashlib.sha256()
    for pattern in DECIDES:
        for path in sorted(ROOT.glob(pattern)):
            text.update(path.read_bytes())
    return text.hexdigest()[:16]


Key = tuple[str, str, int]


class Kept:
    """Repetitions that were run, a line each: its world, its rival, what it gave away and its seconds."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.code = path, code()
        rows = map(json.loads, path.read_text().splitlines()) if path and path.exists() else ()
        self.rows = {(row["world"], row["rival"], row["repetition"]): row for row in rows if row["code"] == self.code}

    def ask(self, key: Key) -> tuple[list[float], float]:
        """What was given away in each share, and the seconds that it took."""
        if key not in self.rows:
            begun = time.process_time()
            found = given_away(*key)
            took = round(time.process_time() - begun, 3)
            names = ("world", "rival", "repetition")
            row = {"code": self.code, **dict(zip(names, key, strict=True)), "given_away": found, "seconds": took}
            self.rows[key] = row
            if self.path:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return self.rows[key]["given_away"], self.rows[key]["seconds"]


def table(kept: Kept, names: Sequence[str], rivals: Sequence[str], repetitions: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| world | way | " + " | ".join(f"{100 * share:g} %" for share in SHARES) + " | seconds |"
    yield "|---|---|" + "---|" * (len(SHARES) + 1)
    for name in names:
        whole = said([by_whole_grid(name, i) for i in range(repetitions)])
        yield f"| {name} | whole grid | " + "| " * (len(SHARES) - 1) + f"| {whole} at 100 % |"
        for rival in rivals:
            rows, seconds = zip(*(kept.ask((name, rival, i)) for i in range(repetitions)), strict=True)
            columns = zip(SHARES, zip(*rows, strict=True), strict=True)
            cells = " | ".join(said(column) + star(name, rival, share) for share, column in columns)
            yield f"| {name} | {rival} | {cells} | {np.median(seconds):.2g} |"


def star(name: str, rival: str, share: float) -> str:
    """A star where no grid of `static` costs so little: it takes the laws' choice, without a trial."""
    return " *" if rival == "static" and not design(world(name, 0).grid, share) else ""


def said(shares: Sequence[float]) -> str:
    """Median and mean, per cent of the loss."""
    return f"{100 * float(np.median(shares)):.1f} ({100 * float(np.mean(shares)):.1f})"


def put(path: Path, lines: Sequence[str]) -> None:
    """Write the table between its marks. Raises ValueError where the file has none."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} has no lines {BEGIN} and {END} to write the table between")
    before, rest = text.split(BEGIN, 1)
    path.write_text(before + "\n".join([BEGIN, *lines, END]) + rest.split(END, 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--worlds", default="", help="words that names of worlds hold, with commas between")
    parser.add_argument("--fresh", action="store_true", help="other worlds, which nothing was tuned by")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--keep", type=Path, help="file of repetitions, which goes on where it ended")
    parser.add_argument("--docs", type=Path, help="file whose table is written anew")
    arguments = parser.parse_args()
    words = arguments.worlds.split(",")
    names = [name for name in (FRESH if arguments.fresh else NAMES) if any(word in name for word in words)]
    lines = []
    for line in table(Kept(arguments.keep), names, arguments.rivals.split(","), arguments.repetitions):
        print(line, flush=True)
        lines.append(line)
    if arguments.docs:
        put(arguments.docs, lines)


if __name__ == "__main__":
    main()
