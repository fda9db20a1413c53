"""What a goal would gain by ending a learning rate early whose training loss is hopeless.

    python tests/benchmarks/bench_goal_curves.py
    python tests/benchmarks/bench_goal_curves.py --repetitions 3

First what the curves of results/ say at half of the steps of the rates that turned out worse. Then the worlds of
`bench_goal.py`, where a rate is ended at half where its training loss is HOPELESS beside that of the best rate of its
search, and what that saves is spent on other trials: the mean regret without and with it, per cent of the loss, and in
brackets what it saves, per cent of the spend.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from goal_rivals import goal, run  # noqa: E402
from goal_worlds import NAMES, World, log_at_half, observed, world  # noqa: E402

from analysis.goal.pursuit import Tried  # noqa: E402

HOPELESS = 0.05  # of the log training loss
SHARES = (0.02, 0.05, 0.1)  # of the FLOPs of the whole grid
FOLDERS = ("reference", "dense", "language/dense")


def worse_rates(folder: str) -> list[float]:
    """Of each rate that was worse than the best of its search: ln of its training loss at half, beside the best's."""
    searches = defaultdict(list)
    for row in observed(folder):
        trial = row.trial
        searches[trial.model, trial.method.label, trial.budget, trial.seed].append((row.loss, log_at_half(row)))
    gaps: list[float] = []
    for own in searches.values():
        best, *others = sorted(own)
        gaps += [half - best[1] for _, half in others]
    return gaps


def ended_early(here: World, share: float, chance: np.random.Generator) -> tuple[int, float]:
    """What the pursuit chooses where hopeless rates are ended at half, and the share of its spend that this saves."""
    whole, tried, saved = here.grid.pursuit(share), list[Tried](), 0.0
    pursuit = whole
    while (now := pursuit.round(tried)).proposals:
        for one in run(here, now.proposals, chance):
            ended = here.grid.halfway[one.place.pair].get(one.lr, 0.0) > HOPELESS
            saved += 0.5 * float(here.grid.flops[here.grid.places.index(one.place)]) * ended
            tried.append(replace(one, log_loss=None) if ended else one)
        pursuit = replace(whole, aim=replace(whole.aim, limit=whole.aim.limit + saved))
        vars(pursuit)["places"] = whole.places  # which take as long to make as a round
    return pursuit.goals[now.standing.chosen], saved / whole.aim.limit


def lines(repetitions: int) -> Iterator[str]:
    yield "| losses | worse rates | above at half by 5 % | below by 5 % |"
    yield "|---|---|---|---|"
    for folder in FOLDERS:
        gaps = np.array(worse_rates(folder))
        yield f"| {folder} | {len(gaps)} | {(gaps > HOPELESS).sum()} | {(gaps < -HOPELESS).sum()} |"
    yield ""
    yield "| world | " + " | ".join(f"{100 * share:g} %" for share in SHARES) + " |"
    yield "|---|" + "---|" * len(SHARES)
    for name in NAMES:
        cells = []
        for share in SHARES:
            found = []
            for i in range(repetitions):
                here = world(name, i)
                whole = goal(here, share, np.random.default_rng([i, 0]))
                choice, saved = ended_early(here, share, np.random.default_rng([i, 0]))
                found.append((here.regret(whole), here.regret(choice), saved))
            without, with_it, saved = 100 * np.mean(found, axis=0)
            cells.append(f"{without:.1f}, {with_it:.1f} ({saved:.0f})")
        yield f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    for line in lines(parser.parse_args().repetitions):
        print(line, flush=True)
