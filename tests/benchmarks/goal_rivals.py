"""Ways to choose what is tried, for `bench_goal.py`: each spends a share of the whole grid's FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import cast

import numpy as np
from goal_worlds import LISTED, Grid, World

from analysis.goal.beliefs import Beliefs
from analysis.goal.choice import standing
from analysis.goal.pursuit import Proposal, Pursuit, Tried


def believed(pursuit: Pursuit, tried: Sequence[Tried]) -> int:
    """The pair that is chosen by what a pursuit believes after these trials."""
    beliefs = Beliefs(pursuit.places, pursuit.recorded(tried))
    return pursuit.goals[standing(beliefs, pursuit._goal_places).chosen]


def run(world: World, proposals: Iterable[Proposal], chance: np.random.Generator) -> list[Tried]:
    """The trials of these proposals, with their losses."""
    return [Tried(each.place, each.lr, each.seed, world.measure(each.place, each.lr, chance)) for each in proposals]


def goal(world: World, share: float, chance: np.random.Generator) -> int:
    """The pursuit."""
    pursuit, tried = world.grid.pursuit(share), list[Tried]()
    while (now := pursuit.round(tried)).proposals:
        tried += run(world, now.proposals, chance)
    return pursuit.goals[now.standing.chosen]


def in_order(world: World, share: float, chance: np.random.Generator, order: Sequence[int]) -> int:
    """Places in a given order, each with the rate that a pursuit would take; the beliefs of a pursuit choose."""
    pursuit, tried, spent = world.grid.pursuit(share), list[Tried](), 0.0
    for i in order:
        if spent + 0.1 * world.grid.flops[i] > pursuit.aim.limit:
            continue  # what a trunk leaves to train is more
        trials = run(world, pursuit._trials_at(int(i), tried, ()), chance)
        if (together := pursuit.spent([*tried, *trials])) <= pursuit.aim.limit:
            tried, spent = tried + trials, together
    return believed(pursuit, tried)


def random_places(world: World, share: float, chance: np.random.Generator) -> int:
    return in_order(world, share, chance, chance.permutation(len(world.grid.places)).tolist())


def cheapest(world: World, share: float, chance: np.random.Generator) -> int:
    return in_order(world, share, chance, np.argsort(world.grid.flops, kind="stable").tolist())


def static(world: World, share: float, chance: np.random.Generator) -> int:
    """The grid that `plan --calibrate` would design: at once, by how much it shrinks the candidates' differences."""
    grid, tried, rates = world.grid, list[Tried](), dict[int, float]()
    for i in sorted(design(grid, share), key=lambda i: grid.places[i].budget):
        place = grid.places[i]
        listed = [rates[place.pair]] if place.pair in rates else LISTED[grid.pairs[place.pair].method.name]
        trials = [Tried(place, lr, 0, world.measure(place, lr, chance)) for lr in listed]
        rates.setdefault(place.pair, min(trials, key=lambda one: cast(float, one.log_loss)).lr)
        tried += trials
    return believed(grid.pursuit(share), tried)


@cache
def design(grid: Grid, share: float) -> list[int]:
    """The places of the best grid of models and budgets; nothing of it depends on what is measured."""
    pursuit = grid.pursuit(share)
    names = list(dict.fromkeys(pair.model.name for pair in grid.pairs))
    budgets = sorted({place.budget for place in grid.places})
    Design = tuple[tuple[str, ...], tuple[float, ...]]

    @cache
    def cells(one: Design) -> list[int]:
        return [
            i for i, at in enumerate(grid.places) if grid.pairs[at.pair].model.name in one[0] and at.budget in one[1]
        ]

    @cache
    def cost(one: Design) -> float:
        first: dict[int, int] = {}
        for i in sorted(cells(one), key=lambda i: grid.places[i].budget):
            first.setdefault(grid.places[i].pair, i)
        trials = [Tried(grid.places[i], 1.0, 0, None) for i in cells(one)]
        return pursuit.spent(trials) + sum(float(grid.flops[i]) for i in first.values())  # one rate more each

    @cache
    def spread(one: Design) -> float:
        beliefs = Beliefs(pursuit.places, pursuit.recorded([]), cells(one))
        own = beliefs.covariance(pursuit._goal_places, pursuit._goal_places)
        return float(np.trace(own) - own.sum() / len(own))

    def affordable(some: Iterable[Design]) -> list[Design]:
        return [one for one in some if cells(one) and cost(one) <= pursuit.aim.limit]

    best: Design = ((), ())
    pairs = [
        (tuple(names[i : i + 2]), tuple(budgets[j : j + 2]))
        for i in range(len(names) - 1)
        for j in range(len(budgets) - 1)
    ]
    moves = affordable(pairs)
    while moves:
        now, paid = spread(best), cost(best)
        best = max(moves, key=lambda move: (now - spread(move)) / (cost(move) - paid))
        wider = [((*best[0], name), best[1]) for name in names if name not in best[0]]
        wider += [(best[0], (*best[1], level)) for level in budgets if level not in best[1]]
        moves = [move for move in affordable(wider) if len(cells(move)) > len(cells(best))]
    return cells(best)


def halving(world: World, share: float, chance: np.random.Generator) -> int:
    """Optuna's successive halving: a pair goes on to its next budget while it is among the best half there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid = world.grid
    pursuit, tried = grid.pursuit(share), list[Tried]()
    study = optuna.create_study(pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))
    budgets = sorted({place.budget for place in grid.places})
    reached: dict[int, tuple[int, float]] = {}

    def furthest() -> int:
        if not reached:
            return believed(pursuit, ())
        return max(reached, key=lambda pair: (reached[pair][0], -reached[pair][1]))

    for pair in chance.permutation(sorted(world.at_goal)).tolist():
        asked = study.ask()
        own = sorted((place for place in grid.places if place.pair == pair), key=lambda place: place.budget)
        rate: float | None = None
        for place in own:
            listed = [rate] if rate else LISTED[grid.pairs[pair].method.name]
            trials = [Tried(place, lr, 0, world.measure(place, lr, chance)) for lr in listed]
            if pursuit.spent([*tried, *trials]) > pursuit.aim.limit:
                return furthest()
            tried += trials
            best = min(trials, key=lambda one: cast(float, one.log_loss))
            rate, loss = best.lr, cast(float, best.log_loss)
            level = budgets.index(place.budget) + 1
            asked.report(loss, level)
            reached[pair] = (level, loss)
            if asked.should_prune():
                study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(asked, loss)
    return furthest()


def whole_grid(world: World, share: float, chance: np.random.Generator) -> int:
    """The lowest measured loss at the goal; share: no matter, all of the grid is measured."""
    measured = {pair: loss + world.grid.noise * chance.normal() for pair, loss in world.at_goal.items()}
    return min(measured, key=lambda pair: measured[pair])


RIVALS: dict[str, Callable[[World, float, np.random.Generator], int]] = {
    "goal": goal,
    "static": static,
    "cheapest": cheapest,
    "random": random_places,
    "halving": halving,
}
