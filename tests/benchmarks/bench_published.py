"""What the published book is worth, and a calibration on top: regret at a budget over truths that it allows.

Every truth is a set of laws that agrees with all printed facts, from the sampler with another seed than the book's.
Four ways to choose are compared by what they give away against the best choice for that truth:

- by the book alone: least expected loss over its draws;
- after a calibration: the sweep of `plan --calibrate`, its losses simulated from the truth with noise; draws anew from
  the facts, weighted by how well they predict these runs; least expected loss, and the sweep is paid from the budget;
- always LoRA 32 on the largest model that the budget can train;
- Algorithm 1 read as a table: method by the printed crossing; size and rank of the best of the paper's runs at its
  largest budget below, simulated from the truth with the noise of a run.

With `--own-data` every truth has factors of its own for the user's data, and these are free when draws are weighed.

    python tests/benchmarks/bench_published.py
    python tests/benchmarks/bench_published.py --own-data
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

from analysis.fitting.published.chance import Chance  # noqa: E402
from analysis.fitting.published.choices import Choice, losses_at  # noqa: E402
from analysis.fitting.published.draws import Draws, joined  # noqa: E402
from analysis.fitting.published.facts import Crossover  # noqa: E402
from analysis.fitting.published.facts_file import Paper, read_paper  # noqa: E402
from analysis.fitting.published.sample import sample  # noqa: E402
from analysis.fitting.published.weigh import (  # noqa: E402
    OTHER,
    SAME,
    Cloud,
    Runs,
    Spread,
    elsewhere,
    factors,
    log_likelihoods,
    terms,
    with_factors,
)
from analysis.tables.rows import Array  # noqa: E402
from planner import plan  # noqa: E402
from planner.answer import Calibration  # noqa: E402
from planner.design import calibrate  # noqa: E402
from sweeps.support.text import table  # noqa: E402

BOOK = ROOT / "results" / "ziarko2024"
NOISE = 0.02  # sd of the log loss of a run of the calibration
CHAINS, MOVES = 400, 3  # draws that wander among the facts, and moves between looks at them
CHUNK, HEAVY = 4000, 2000  # draws at once; draws that choose, for the others weigh nothing
TRUTHS, POOL = 1, 2  # seeds; the book's is 0


@dataclass(frozen=True)
class Regrets:
    """What a way to choose gives away, of every truth."""

    way: str
    """The way, in words."""
    share: Array
    """[truths] loss above that of the best choice, as a share of it."""
    right: Array
    """[truths] whether its method and model are those of the best choice."""
    drawn: Array | None = None
    """[truths] effective number of draws behind it."""


def pool(paper: Paper, count: int) -> tuple[Draws, Array]:
    """So many draws that agree with the facts, and the noise of the runs in each."""
    cloud, parts, noise = Cloud(paper, None, CHAINS, POOL), [], []
    cloud.move(100, 0.0)
    for _ in range(-(-count // CHAINS)):
        cloud.move(MOVES, 0.0)
        draws, sd = cloud.draws()
        nothing = {name: np.empty((len(draws), 0)) for name in draws.printed}
        parts.append(replace(draws, printed=nothing, chance=Chance(cloud.rng, len(draws))))  # they take the memory
        noise.append(sd)
    return joined(parts, count), np.concatenate(noise)[:count]


def likelihoods(draws: Draws, noise: Array, runs: Runs, expected: list[Array]) -> Array:
    """[draws] ln of how well each predicts the runs. expected: log losses of these runs in each draw, once known.

    Under the paper's own conditions nothing is free, and draws expect the same of the runs of every truth.
    """
    if runs.spread != SAME:
        some = [np.arange(low, min(low + CHUNK, len(draws))) for low in range(0, len(draws), CHUNK)]
        return np.concatenate([log_likelihoods(draws.take(which), noise[which], runs) for which in some])
    if not expected:
        expected.append(np.log(terms(draws, runs).sum(axis=2)))
    off = ((runs.log_losses - expected[0]) ** 2).sum(axis=1)
    return -0.5 * off / noise**2 - len(runs.params) * np.log(noise)


def simulated(paper: Paper, truth: Draws, sweep: Calibration, spread: Spread, rng: np.random.Generator) -> Runs:
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
    return Runs(place, tuple(settings), sizes, tokens, logs + NOISE * rng.normal(size=len(logs)), spread)


def judged(way: str, chosen: Sequence[int], choices: list[Choice], paid: Array, free: Array, **more: Array) -> Regrets:
    """paid, free [truths, choices]: log losses of what is left to spend, and of all of the budget."""
    places = np.arange(len(free))
    best = free.argmin(axis=1)
    kinds = [(choice.group, choice.model) for choice in choices]
    right = np.array([kinds[mine] == kinds[theirs] for mine, theirs in zip(chosen, best, strict=True)])
    return Regrets(way, np.exp(paid[places, list(chosen)] - free.min(axis=1)) - 1, right, **more)


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


def by_draws(weights: Array, losses: Array) -> int:
    """The choice of least expected loss; weights [draws], losses [draws, choices] in nats."""
    return int((weights @ losses).argmin())


def compare(paper: Paper, budget: float, shares: Sequence[float], count: int, size: int, own: bool) -> list[Regrets]:
    rng, spread = np.random.default_rng(5), OTHER if own else SAME
    truths, _ = sample(paper, paper.facts, count, TRUTHS)
    draws, noise = pool(paper, size)
    book, _ = sample(paper, paper.facts, 400, 0)
    if own:
        truths, book = elsewhere(truths, spread, rng), elsewhere(book, spread, rng)
    choices, free = losses_at(truths, budget)
    alone = by_draws(np.full(len(book), 1 / len(book)), np.exp(losses_at(book, budget)[1]))
    print(f"the book alone chooses {choices[alone].model} with {choices[alone].label}")
    rows = [judged("the book alone", [alone] * count, choices, free, free)]
    named = "pairs of one's own" if own else None
    answer = plan(budget, laws=BOOK / "laws.json", suite="pythia", flops=paper.grid.count, data=named)
    for share in shares:
        sweep = calibrate(answer, share)
        print(f"{share:.0%}: {sweep.cells} trials, {sweep.flops:.3g} FLOP: {', '.join(sweep.models)}; ", end="")
        print(f"{', '.join(sweep.methods)}; budgets {', '.join(f'{flops:.3g}' for flops in sweep.budgets)}")
        _, paid = losses_at(truths, budget - sweep.flops)
        chosen, worth, expected = [], [], []
        for place in range(count):
            runs = simulated(paper, truths.take(np.array([place])), sweep, spread, rng)
            logs = likelihoods(draws, noise, runs, expected)
            weights = np.exp(logs - logs.max())
            weights /= weights.sum()
            heavy = np.argsort(weights)[-HEAVY:]
            world = draws.take(heavy)
            world = with_factors(world, factors(world, noise[heavy], runs), runs, rng)
            chosen.append(by_draws(weights[heavy], np.exp(losses_at(world, budget - sweep.flops)[1])))
            worth.append(1 / (weights**2).sum())
        way = f"after a calibration at {share:.0%}"
        rows.append(judged(way, chosen, choices, paid, free, drawn=np.array(worth)))
    fits = [i for i, choice in enumerate(choices) if (choice.group, choice.member) == ("lora", "r32")]
    sizes = {model.name: model.params for model in paper.grid.menu}
    largest = max(fits, key=lambda i: sizes[choices[i].model])
    rows.append(judged(f"LoRA 32 on {choices[largest].model}", [largest] * count, choices, free, free))
    read = read_as_a_table(paper, truths, choices, budget, seed=7)
    rows.append(judged("Algorithm 1 as a table", read, choices, free, free))
    return rows


def shown(rows: Sequence[Regrets]) -> str:
    head = ("chosen", "mean regret", "median", "90 % below", "worst", "method and model right", "draws, median")
    lines = [
        (
            row.way,
            *(f"{100 * value:.2f} %" for value in _summary(row.share)),
            f"{row.right.mean():.0%}",
            "" if row.drawn is None else f"{np.median(row.drawn):.0f}",
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
    parser.add_argument("--pool", type=int, help="draws that are weighed (default: 500,000; of --own-data 20,000)")
    parser.add_argument("--own-data", action="store_true", help="data that differ from the paper's")
    args = parser.parse_args()
    begun = time.process_time()
    size = args.pool or (20_000 if args.own_data else 500_000)
    rows = compare(read_paper(BOOK), args.budget, args.shares, args.truths, size, args.own_data)
    print(shown(rows))
    print(f"{time.process_time() - begun:.0f} s of one core")


if __name__ == "__main__":
    main()
