"""What the published book is worth, and a calibration on top: regret at a budget over truths that it allows.

Every truth is a set of laws that agrees with all printed facts, from the sampler with another seed than the book's.
Four ways to choose are compared by what they give away against the best choice for that truth:

- by the book alone: least expected loss over its draws;
- after a calibration: the sweep of `plan --calibrate`, its losses simulated from the truth with noise, then draws that
  agree with the facts and predict these runs, as of `fit --with`; the sweep is paid from the budget;
- always LoRA 32 on the largest model that the budget can train;
- Algorithm 1 read as a table: method by the printed crossing; size and rank of the best of the paper's runs at its
  largest budget below, simulated from the truth with the noise of a run.

    python tests/benchmarks/bench_published.py
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from analysis.fitting.published.book import DRAWS  # noqa: E402
from analysis.fitting.published.choices import Choice, losses_at  # noqa: E402
from analysis.fitting.published.draws import Draws, joined  # noqa: E402
from analysis.fitting.published.facts import Crossover  # noqa: E402
from analysis.fitting.published.facts_file import Paper, read_paper  # noqa: E402
from analysis.fitting.published.sample import sample  # noqa: E402
from analysis.fitting.published.weigh import (  # noqa: E402
    HALF,
    SAME,
    Cloud,
    Runs,
    factors,
    log_likelihoods,
    next_power,
    resampled,
    with_factors,
)
from analysis.tables.rows import Array  # noqa: E402
from planner import plan  # noqa: E402
from planner.answer import Calibration  # noqa: E402
from planner.design import calibrate  # noqa: E402
from sweeps.support.text import table  # noqa: E402

BOOK = ROOT / "results" / "ziarko2024"
NOISE = 0.02  # sd of the log loss of a run of the calibration
CHAINS, POOL = 400, 20_000  # draws that wander among the facts, and how many are seen of them
PART, ROUND, LAST = 50, 20, 80  # draws for a truth, and their moves in a round and in the last one


@dataclass(frozen=True)
class Regrets:
    """What a way to choose gives away, of every truth."""

    way: str
    """The way, in words."""
    share: Array
    """[truths] loss above that of the best choice, as a share of it."""
    right: Array
    """[truths] whether its method and model are those of the best choice."""


def pool(paper: Paper) -> tuple[Cloud, Draws, Array]:
    """POOL draws that agree with the facts, the noise of the runs in each, and the cloud that they were seen in."""
    cloud, parts, noise = Cloud(paper, None, CHAINS, seed=2), [], []
    cloud.move(100, 0.0)
    for _ in range(POOL // CHAINS):
        cloud.move(4, 0.0)
        draws, sd = cloud.draws()
        parts.append(draws)
        noise.append(sd)
    return cloud, joined(parts, POOL), np.concatenate(noise)


def simulated(paper: Paper, truth: Draws, sweep: Calibration, rng: np.random.Generator) -> Runs:
    """The runs of a calibration in a world with these laws (one draw)."""
    rows, settings = [], []
    for name, group in paper.groups.items():
        for member, method in group.members.items():
            if method.label not in sweep.methods:
                continue
            cells = paper.grid.beyond(method, sweep.budgets)
            losses = truth.laws[name].log_losses(cells, member)[0]
            for place, model in enumerate(paper.grid.menu):
                for budget in np.flatnonzero(np.isfinite(losses[:, place])):
                    if model.name in sweep.models:
                        tokens = np.exp(cells.log_tokens[budget, place])
                        rows.append((len(settings), model.params, tokens, losses[budget, place]))
            settings.append((name, member))
    place, sizes, tokens, logs = (np.array(column) for column in zip(*rows, strict=True))
    return Runs(place, tuple(settings), sizes, tokens, logs + NOISE * rng.normal(size=len(logs)), SAME)


def judged(way: str, chosen: Sequence[int], choices: list[Choice], paid: Array, free: Array) -> Regrets:
    """paid, free [truths, choices]: log losses of what is left to spend, and of all of the budget."""
    places = np.arange(len(free))
    best = free.argmin(axis=1)
    kinds = [(choice.group, choice.model) for choice in choices]
    right = np.array([kinds[mine] == kinds[theirs] for mine, theirs in zip(chosen, best, strict=True)])
    return Regrets(way, np.exp(paid[places, list(chosen)] - free.min(axis=1)) - 1, right)


def read_as_a_table(paper: Paper, truths: Draws, choices: list[Choice], budget: float, seed: int) -> list[int]:
    """Algorithm 1 with what the paper's runs would have shown in each world."""
    crossing = next(fact for fact in paper.facts if isinstance(fact, Crossover))
    group = crossing.below if budget <= crossing.flops else crossing.above
    row = max((place for place, asked in enumerate(paper.grid.budgets) if asked <= budget), default=0)
    losses = truths.log_losses[group][:, row]  # [truths, settings, models]
    noisy = losses + truths.noise[:, None, None] * np.random.default_rng(seed).normal(size=losses.shape)
    members, models = list(paper.groups[group].members), [model.name for model in paper.grid.models]
    found = []
    for place in noisy.reshape(len(noisy), -1).argmin(axis=1):
        setting, model = members[place // len(models)], models[place % len(models)]
        found.append(next(i for i, c in enumerate(choices) if (c.group, c.member, c.model) == (group, setting, model)))
    return found


def weighed(cloud: Cloud, draws: Draws, noise: Array, runs: Sequence[Runs]) -> Draws:
    """PART draws for each set of runs that predict these, one set after the other: as `weigh`, all at once.

    They start from the pool with as much weight of the runs as it bears.
    """
    starts, powers = [], np.zeros(len(runs))
    for place, mine in enumerate(runs):
        logs = log_likelihoods(draws, noise, mine)
        powers[place], weights = next_power(logs, 0.0, 2 * PART)
        starts.append(resampled(weights, PART, cloud.rng))
    cloud.runs = replace(runs[0], log_losses=np.repeat([mine.log_losses for mine in runs], PART, axis=0))
    cloud.begin(draws.chance.take(np.concatenate(starts)))
    while (powers < 1).any():
        cloud.move(ROUND, np.repeat(powers, PART), PART)
        chosen = []
        for place, block in enumerate(np.split(np.arange(len(cloud.logs)), len(runs))):
            powers[place], weights = next_power(cloud.logs[block], powers[place], HALF * PART)
            chosen.append(block[resampled(weights, PART, cloud.rng)])
        cloud.begin(cloud.chance.take(np.concatenate(chosen)))
    cloud.move(LAST, 1.0, PART)
    world, sd = cloud.draws()
    return with_factors(world, factors(world, sd, cloud.runs), cloud.runs, cloud.rng)


def compare(paper: Paper, budget: float, shares: Sequence[float], count: int) -> list[Regrets]:
    rng = np.random.default_rng(5)
    truths, _ = sample(paper, paper.facts, count, seed=1)
    cloud, draws, noise = pool(paper)
    book, _ = sample(paper, paper.facts, DRAWS, seed=0)
    choices, free = losses_at(truths, budget)
    alone = int(np.exp(losses_at(book, budget)[1]).mean(axis=0).argmin())
    print(f"the book alone chooses {choices[alone].model} with {choices[alone].label}")
    rows = [judged("the book alone", [alone] * count, choices, free, free)]
    answer = plan(budget, laws=BOOK / "laws.json", suite="pythia", flops=paper.grid.count)
    for share in shares:
        sweep = calibrate(answer, share)
        print(f"{share:.0%}: {sweep.cells} trials, {sweep.flops:.3g} FLOP: {', '.join(sweep.models)}; ", end="")
        print(f"{', '.join(sweep.methods)}; budgets {', '.join(f'{flops:.3g}' for flops in sweep.budgets)}")
        runs = [simulated(paper, truths.take(np.array([i])), sweep, rng) for i in range(count)]
        _, expected = losses_at(weighed(cloud, draws, noise, runs), budget - sweep.flops)
        chosen = np.exp(expected).reshape(count, PART, len(choices)).mean(axis=1).argmin(axis=1)
        paid = losses_at(truths, budget - sweep.flops)[1]
        rows.append(judged(f"after a calibration at {share:.0%}", chosen, choices, paid, free))
    fits = [i for i, choice in enumerate(choices) if (choice.group, choice.member) == ("lora", "r32")]
    sizes = {model.name: model.params for model in paper.grid.menu}
    largest = max(fits, key=lambda i: sizes[choices[i].model])
    rows.append(judged(f"LoRA 32 on {choices[largest].model}", [largest] * count, choices, free, free))
    read = read_as_a_table(paper, truths, choices, budget, seed=7)
    rows.append(judged("Algorithm 1 as a table", read, choices, free, free))
    return rows


def shown(rows: Sequence[Regrets]) -> str:
    head = ("chosen", "mean regret", "median", "90 % below", "worst", "method and model right")
    lines = [
        (
            row.way,
            *(f"{100 * value:.2f} %" for value in _summary(row.share)),
            f"{row.right.mean():.0%}",
        )
        for row in rows
    ]
    return "\n".join(table([head, *lines]))


def _summary(share: Array) -> tuple[float, float, float, float]:
    return float(share.mean()), float(np.median(share)), float(np.quantile(share, 0.9)), float(share.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=1e19, help="FLOPs, the paper's count")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.02], help="of the budget, for calibrations")
    parser.add_argument("--truths", type=int, default=100)
    args = parser.parse_args()
    begun = time.process_time()
    rows = compare(read_paper(BOOK), args.budget, args.shares, args.truths)
    print(shown(rows))
    print(f"{time.process_time() - begun:.0f} s of one core")


if __name__ == "__main__":
    main()
