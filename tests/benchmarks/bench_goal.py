"""What a goal gives away for its spend, beside other ways to choose what is tried, where the truth is known.

Worlds: results/reference and results/dense as tables of losses, noise as between their seeds, started from the laws
of ziarko2024, which have seen neither their models nor their data; and truths drawn from the bundled laws and bent,
started from those laws. In each world a way of choosing spends a share of what the whole grid took, then the candidate
at the goal is taken that the losses speak for; what it gives away is known. Rates are searched and trunks shared as in
a sweep.

    python tests/benchmarks/bench_goal.py                                    50 repetitions
    python tests/benchmarks/bench_goal.py --repetitions 5 --worlds dense --rivals goal,static
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from analysis.goal.beliefs import Beliefs  # noqa: E402
from analysis.goal.choice import standing  # noqa: E402
from analysis.goal.evidence import Place, pairs_of  # noqa: E402
from analysis.goal.pursuit import Aim, Pursuit, Tried  # noqa: E402
from planner.candidates import Candidate, Limits  # noqa: E402
from planner.evidence import shipped  # noqa: E402
from planner.law_book import LawBook  # noqa: E402
from planner.law_file import read_laws  # noqa: E402
from planner.laws import scaled  # noqa: E402
from sweeps.flops import Work  # noqa: E402
from sweeps.methods import Method  # noqa: E402
from sweeps.models import find_model  # noqa: E402
from sweeps.trial import Observation  # noqa: E402

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of the FLOPs of the whole grid
LISTED = {"full": (1e-3, 3e-3), "lora": (3e-3, 1e-2), "freeze": (3e-3, 1e-2), "bias": (1e-2, 3e-2)}
WRONG_BY = 2.0  # factors of the wrong laws are off by so much
BEND = 0.1  # sd of the log loss for the square of a decade of D
TILT, LEVEL = 0.15, 0.15  # sd of a method's own slope of the log loss for a decade of N, and of its level
OFF_RATE = 0.05  # of the log loss, for a rate beyond those tried by a factor of 3


@dataclass
class World:
    """Known losses, and what a pursuit starts from."""

    name: str
    goal: float
    """Budget of the goal, FLOPs."""
    pairs: list[Candidate]
    places: list[Place]
    truth: dict[Place, float]
    """ln loss at the best rate."""
    noise: float
    """Sd of the log loss between seeds."""
    flops: np.ndarray
    steps: np.ndarray
    full: float
    """FLOPs of the whole grid, searches included."""
    off: Mapping[int, Mapping[float, float]]
    """By pair and rate, by how much the log loss lies above that of the best."""

    def measure(self, place: Place, lr: float, chance: np.random.Generator) -> float:
        rates = self.off[place.pair]
        logs = np.log(sorted(rates))
        beyond = max(logs[0] - math.log(lr), math.log(lr) - logs[-1], 0) / math.log(3)
        off = float(np.interp(math.log(lr), logs, [rates[rate] for rate in sorted(rates)])) + OFF_RATE * beyond**2
        return self.truth[place] + off + self.noise * chance.normal()

    def pursuit(self, share: float) -> Pursuit:
        """What is pursued with a share of the whole grid's FLOPs; all of it is spent."""
        shared = np.floor(20 + 0.7 * (self.steps - 20))  # warm-up of 20 steps, cooldown of 30 %
        searched = {i: LISTED[pair.method.name] for i, pair in enumerate(self.pairs)}
        aim = Aim(self.goal, share * self.full, 0.0, together=4, thrift=0.0)
        return Pursuit(
            aim,
            tuple(self.pairs),
            tuple(self.places),
            self.flops,
            self.steps,
            shared,
            {},
            searched,
            tuple(self.at_goal),
        )

    @cached_property
    def at_goal(self) -> dict[int, float]:
        return {place.pair: loss for place, loss in self.truth.items() if place.budget == self.goal}

    def regret(self, pair: int) -> float:
        """Share of the loss given away by a candidate."""
        return math.exp(self.at_goal.get(pair, math.inf) - min(self.at_goal.values())) - 1


# Worlds.


def observed(name: str) -> list[Observation]:
    lines = (ROOT / "results" / name / "observations.jsonl").read_text().splitlines()
    return [Observation.from_json(json.loads(line)) for line in lines]


def methods_of(rows: Sequence[Observation]) -> list[Method]:
    labels = {row.trial.method.label: row.trial.method for row in rows}
    return [labels[label] for label in sorted(labels)]


def table(name: str, goal: float, book: LawBook, seen: bool = False) -> World:
    """A results folder as a table of losses. seen: whether its data are those of the book."""
    rows = [row for row in observed(name) if row.trial.budget <= goal]
    losses: dict[tuple[str, str, float], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    of: dict[tuple[str, str, float], Observation] = {}
    for row in rows:
        key = (row.trial.model, row.trial.method.label, row.trial.budget)
        losses[key][row.trial.lr].append(math.log(row.loss))
        of[key] = row
    models = sorted({row.trial.model for row in rows}, key=lambda model: find_model(model).params)
    data = json.loads((ROOT / "results" / name / "data.json").read_text())
    training = rows[0].trial.training
    pair = Work(1, data["tokens"], data["squares"], training.batch_size)
    limits = Limits(max_pairs=data["train_pairs"], max_epochs=2.0)
    found = [replace(find_model(model), name=model) for model in models]
    named = "" if seen else training.data
    pairs = pairs_of(book, found, methods_of(rows), limits, "exact", pair, training.context, named)
    number = {(each.model.name, each.method.label): i for i, each in enumerate(pairs)}
    keys = sorted((key for key in losses if key[:2] in number), key=lambda key: (number[key[:2]], key[2]))
    best = {key: min(float(np.mean(logs)) for logs in losses[key].values()) for key in keys}
    off: dict[int, dict[float, float]] = {}
    for key in sorted(keys, key=lambda key: len(losses[key])):  # the place with most rates tells
        tried = {lr: float(np.mean(logs)) for lr, logs in losses[key].items()}
        off[number[key[:2]]] = {lr: loss - min(tried.values()) for lr, loss in tried.items()}
    repeats = [logs for own in losses.values() for logs in own.values() if len(logs) > 1]
    noise = math.sqrt(sum(float(np.var(logs)) * len(logs) for logs in repeats) / sum(len(logs) - 1 for logs in repeats))
    return World(
        name=f"{name} at {goal:.3g}",
        goal=goal,
        pairs=pairs,
        places=[Place(number[key[:2]], key[2]) for key in keys],
        truth={Place(number[key[:2]], key[2]): best[key] for key in keys},
        noise=noise,
        flops=np.array([of[key].flops for key in keys]),
        steps=np.array([float(of[key].trial.steps) for key in keys]),
        full=sum(row.spent_flops for row in rows),
        off=off,
    )


def bent(goal: float, repetition: int) -> World:
    """A truth drawn from the bundled laws on data that they have not seen, bent in D, with checkpoints of their own."""
    chance = np.random.default_rng([7, repetition])
    world = table("reference", goal, read_laws(shipped()["reference"]))
    draw = int(chance.integers(min(len(pair.law.draws) for pair in world.pairs)))
    bend, models, tuned = chance.normal(0, BEND), chance.normal(0, 0.02, 99), chance.normal(0, 0.02, 999)
    tilts, levels = chance.normal(0, TILT, 99), chance.normal(0, LEVEL, 99)
    names = list(dict.fromkeys(pair.model.name for pair in world.pairs))
    labels = list(dict.fromkeys(pair.method.label for pair in world.pairs))
    for place in world.places:
        pair = world.pairs[place.pair]
        tokens = pair.tokens(place.budget)
        loss = math.log(pair.law.draws[draw].loss(*pair.arguments(tokens)))
        loss += bend * math.log10(tokens / 1e6) ** 2 + models[names.index(pair.model.name)] + tuned[place.pair]
        method = labels.index(pair.method.label)
        world.truth[place] = loss + levels[method] + tilts[method] * math.log10(pair.params / 1e5)
    return replace(world, name=f"bent laws at {goal:.3g}")


def wrong(book: LawBook) -> LawBook:
    """The laws with every factor off by WRONG_BY, up or down in turn, as if of another suite and data."""
    laws = []
    for place, law in enumerate(book.laws):
        draws = []
        for draw in law.draws:
            turns = {name: WRONG_BY ** (1 if (place + i) % 2 else -1) for i, name in enumerate(draw.factors)}
            draws.append(scaled(draw, turns))
        laws.append(replace(law, draws=tuple(draws)))
    return replace(book, laws=tuple(laws), models=("pythia-14m",))


def worlds() -> dict[str, Callable[[int], World]]:
    """By name: the world of a repetition."""
    published, own = read_laws(shipped()["ziarko2024"]), read_laws(shipped()["reference"])
    tables = {f"{name}-{goal:.3g}": (name, goal) for name, goal in TABLES}
    fixed = {name: table(*key, published) for name, key in tables.items()}
    fixed["wrong-3.2e+12"] = replace(table("reference", 3.2e12, wrong(own)), name="wrong laws at 3.2e12")
    made: dict[str, Callable[[int], World]] = {
        name: partial(lambda world, _: world, world) for name, world in fixed.items()
    }
    return made | {"bent-6.4e+12": partial(bent, 6.4e12)}


TABLES = (("reference", 3.2e12), ("reference", 6.4e12), ("reference", 2e13), ("dense", 8e11))


# Rivals: each yields what it has spent and the pair that it would choose by then.

Course = Iterator[tuple[float, int]]


def goal(world: World, share: float, chance: np.random.Generator) -> Course:
    """The pursuit."""
    pursuit, tried = world.pursuit(share), []
    while True:
        now = pursuit.round(tried)
        yield now.spent, pursuit.goals[now.standing.chosen]
        if not now.proposals:
            return
        tried += [Tried(p.place, p.lr, p.seed, world.measure(p.place, p.lr, chance)) for p in now.proposals]


def in_order(world: World, share: float, chance: np.random.Generator, order: Sequence[int]) -> Course:
    """Places in a given order, each with the rate that a pursuit would take; the beliefs of a pursuit choose."""
    pursuit = world.pursuit(share)
    tried: list[Tried] = []
    for i in order:
        coming = pursuit._trials_at(int(i), tried, ())
        trials = [Tried(p.place, p.lr, p.seed, world.measure(p.place, p.lr, chance)) for p in coming]
        if pursuit.spent([*tried, *trials]) > pursuit.aim.limit:
            continue
        tried += trials
        now = standing(Beliefs(pursuit.places, pursuit.recorded(tried)), pursuit._goal_places)
        yield pursuit.spent(tried), pursuit.goals[now.chosen]


def random_places(world: World, share: float, chance: np.random.Generator) -> Course:
    return in_order(world, share, chance, chance.permutation(len(world.places)))


def cheapest(world: World, share: float, chance: np.random.Generator) -> Course:
    return in_order(world, share, chance, np.argsort(world.flops, kind="stable"))


def static(world: World, share: float, chance: np.random.Generator) -> Course:
    """The grid that `plan --calibrate` would design: at once, by how much it shrinks the candidates' differences."""
    for part in [each for each in SHARES if each <= share]:
        yield from _static(world, part, chance)


def _static(world: World, share: float, chance: np.random.Generator) -> Course:
    pursuit = world.pursuit(share)
    names = list(dict.fromkeys(pair.model.name for pair in world.pairs))
    budgets = sorted({place.budget for place in world.places})

    def cells(models: Sequence[str], levels: Sequence[float]) -> list[int]:
        return [
            i
            for i, place in enumerate(world.places)
            if world.pairs[place.pair].model.name in models and place.budget in levels
        ]

    def cost(which: Sequence[int]) -> float:
        trials: list[Tried] = []
        first: dict[int, int] = {}
        for i in sorted(which, key=lambda i: world.places[i].budget):
            first.setdefault(world.places[i].pair, i)
            trials.append(Tried(world.places[i], 1.0, 0, None))
        return pursuit.spent(trials) + sum(float(world.flops[i]) for i in first.values())  # one rate more each

    def spread(which: Sequence[int]) -> float:
        beliefs = Beliefs(pursuit.places, pursuit.recorded([]), which)
        own = beliefs.covariance(pursuit._goal_places, pursuit._goal_places)
        return float(np.trace(own) - own.sum() / len(own))

    grids = [(names[i : i + 2], budgets[j : j + 2]) for i in range(len(names) - 1) for j in range(len(budgets) - 1)]
    grids = [grid for grid in grids if cells(*grid) and cost(cells(*grid)) <= pursuit.aim.limit]
    now = spread([])
    if not grids:
        belief = standing(Beliefs(pursuit.places, pursuit.recorded([])), pursuit._goal_places)
        yield 0.0, pursuit.goals[belief.chosen]
        return
    best = max(grids, key=lambda grid: (now - spread(cells(*grid))) / cost(cells(*grid)))
    while True:
        moves = [([*best[0], name], best[1]) for name in names if name not in best[0]]
        moves += [(best[0], [*best[1], level]) for level in budgets if level not in best[1]]
        moves = [
            move for move in moves if len(cells(*move)) > len(cells(*best)) and cost(cells(*move)) <= pursuit.aim.limit
        ]
        if not moves:
            break
        base, paid = spread(cells(*best)), cost(cells(*best))
        best = max(moves, key=lambda move: (base - spread(cells(*move))) / (cost(cells(*move)) - paid))
    tried: list[Tried] = []
    rates: dict[int, float] = {}
    for i in sorted(cells(*best), key=lambda i: world.places[i].budget):
        place = world.places[i]
        listed = [rates[place.pair]] if place.pair in rates else list(LISTED[world.pairs[place.pair].method.name])
        trials = [Tried(place, lr, 0, world.measure(place, lr, chance)) for lr in listed]
        rates.setdefault(place.pair, min(trials, key=lambda one: one.log_loss).lr)
        tried += trials
    now_ = standing(Beliefs(pursuit.places, pursuit.recorded(tried)), pursuit._goal_places)
    yield min(cost(cells(*best)), pursuit.aim.limit), pursuit.goals[now_.chosen]


def halving(world: World, share: float, chance: np.random.Generator) -> Course:
    """Optuna's successive halving: a pair goes on to its next budget while it is among the best half there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pursuit = world.pursuit(share)
    study = optuna.create_study(pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))
    budgets = sorted({place.budget for place in world.places})
    tried: list[Tried] = []
    reached: dict[int, tuple[int, float]] = {}
    for pair in chance.permutation(sorted(world.at_goal)).tolist():
        asked = study.ask()
        own = sorted((place for place in world.places if place.pair == pair), key=lambda place: place.budget)
        rate: float | None = None
        for place in own:
            listed = [rate] if rate else list(LISTED[world.pairs[pair].method.name])
            trials = [Tried(place, lr, 0, world.measure(place, lr, chance)) for lr in listed]
            if pursuit.spent([*tried, *trials]) > pursuit.aim.limit:
                return
            tried += trials
            best = min(trials, key=lambda one: one.log_loss)
            rate = best.lr
            level = budgets.index(place.budget) + 1
            asked.report(best.log_loss, level)
            reached[pair] = (level, best.log_loss)
            yield pursuit.spent(tried), max(reached, key=lambda pair: (reached[pair][0], -reached[pair][1]))
            if asked.should_prune():
                study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(asked, best.log_loss)


RIVALS: dict[str, Callable[[World, float, np.random.Generator], Course]] = {
    "goal": goal,
    "static": static,
    "cheapest": cheapest,
    "random": random_places,
    "halving": halving,
}


def given_away(world: World, rival: str, repetition: int, shares: Sequence[float]) -> list[float]:
    """Share of the loss given away by what a rival chooses with each share of the grid's FLOPs."""
    chance = np.random.default_rng([repetition, list(RIVALS).index(rival)])
    path = list(RIVALS[rival](world, max(shares), chance))
    prior = world.pursuit(1.0)
    first = prior.goals[standing(Beliefs(prior.places, prior.recorded([])), prior._goal_places).chosen]
    taken = []
    for share in shares:
        within = [pair for spent, pair in path if spent <= share * world.full * 1.0001]
        taken.append(world.regret(within[-1] if within else first))
    return taken


def whole_grid(world: World, repetition: int) -> float:
    """Share given away by the lowest measured loss at the goal."""
    chance = np.random.default_rng([repetition, 99])
    measured = {pair: loss + world.noise * chance.normal() for pair, loss in world.at_goal.items()}
    return world.regret(min(measured, key=lambda pair: measured[pair]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--worlds", default="", help="words that names of worlds hold, with commas between")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    arguments = parser.parse_args()
    chosen = [word for word in arguments.worlds.split(",") if word]
    print("| world | way | " + " | ".join(f"{100 * share:g} %" for share in SHARES) + " | seconds |")
    print("|---|---|" + "---|" * (len(SHARES) + 1))
    for name, make in worlds().items():
        if chosen and not any(word in name for word in chosen):
            continue
        whole = [whole_grid(make(i), i) for i in range(arguments.repetitions)]
        print(f"| {name} | whole grid | " + "| " * (len(SHARES) - 1) + f"| {_said(whole)} at 100 % |")
        for rival in arguments.rivals.split(","):
            begun = time.perf_counter()
            rows = [given_away(make(i), rival, i, SHARES) for i in range(arguments.repetitions)]
            took = (time.perf_counter() - begun) / arguments.repetitions
            cells = [_said(column) for column in zip(*rows, strict=True)]
            print(f"| {name} | {rival} | " + " | ".join(cells) + f" | {took:.2f} |", flush=True)


def _said(shares: Sequence[float]) -> str:
    """Median and mean, per cent of the loss."""
    return f"{100 * float(np.median(shares)):.1f} ({100 * float(np.mean(shares)):.1f})"


if __name__ == "__main__":
    main()
