"""`plan --calibrate`: the small sweep that makes the coming choice surer, chosen before any of it is run.

The bootstrap draws of the laws are a sample of what may be true. Taken as jointly normal in log loss, they say how much
a trial at one cell would teach about the candidates at the asked budget. Grids grow greedily by the size or the budget
that shrinks the spread of the candidates' differences most for its FLOPs (a V-optimal design).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from operator import mul

from planner.candidates import Option
from planner.frontier import odds
from planner.learning_rates import learning_rate
from planner.recipe import Plan
from sweeps.experiment.recipe_file import comments, lines
from sweeps.search.learning_rates import EXTENSIONS

ADVISED = (0.01, 0.05, 0.2)  # shares of the budget for a sweep that nobody asked for; the first that buys one
ADVISED_DRAWS = 40  # a fifth of what `fit` keeps: an answer must not wait for advice
WORTH_TRYING = 0.05  # a method less likely to be best than this is not swept
LADDER = 4.0  # between budgets, as in the paper's sweep
WORTH_ADDING = 0.05  # a size or budget must shrink what is left of the spread by this share
FEWEST_CELLS = 4  # of a method: offsets of its own take as many (analysis/fitting/joint.py)
TARGETS = 12  # candidates whose differences are to be told
# How laws of another suite or other data are taken to differ in their factors, as sd of logs. Assumed, not measured.
SUITE_SPREAD, METHOD_SPREAD = 0.3, 0.1
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the rate that the plan would take
# Laws miss by more the further they are carried: 1 % in loss 400 times beyond the fitted compute, on public runs of
# language models (Hoffmann et al. 2022, as digitised by Besiroglu et al. 2024). Sd of the log loss per decade.
DRIFT = 0.01 / math.log10(400)
FACTORS = ("E", "A", "B", "a_d", "b_d", "a_s", "c_s", "D_l")


@dataclass(frozen=True)
class Cell:
    """One trial of the sweep. flops: the budget it is cut for."""

    option: Option
    flops: float


@dataclass(frozen=True)
class Calibration:
    """A sweep and what it is for.

    flops: what it costs, searches of learning rates at their longest included. limit: what it might have cost.
    regret_now, regret_after: expected loss given away by choosing before and after it, nats per pair. assumed: what
    was assumed of a suite or of data that the laws have not seen. toml: the sweep file.
    """

    models: tuple[str, ...]
    budgets: tuple[float, ...]
    methods: tuple[str, ...]
    cells: int
    flops: float
    limit: float
    regret_now: float
    regret_after: float
    assumed: str
    toml: str


def advised(plan: Plan) -> Calibration | None:
    """What to try first for a share of the budget; None where the answer is sure, or no sweep is that small."""
    for share in () if plan.recipe.sure else ADVISED:
        with suppress(ValueError):
            return calibrate(plan, share, ADVISED_DRAWS)
    return None


def calibrate(plan: Plan, share: float, draws: int | None = None) -> Calibration:
    """The sweep for at most `share` of the plan's budget, by so many draws of the laws (all of them by default).

    Raises ValueError when no sweep fits into that.
    """
    limit = share * plan.budget.flops
    options = _worth_trying(plan)
    if not all(option.evidence.draws for option in options):
        raise ValueError("--calibrate needs bootstrap draws, and the laws hold none")
    strange = _unseen(plan)
    targets = sorted(_feasible(options, plan.budget.flops), key=lambda one: one.loss(one.tokens(plan.budget.flops)))
    beliefs = _Beliefs(targets[:TARGETS], plan.budget.flops, assume=bool(strange), draws=draws)
    search = any(option.model.name not in option.evidence.learning_rates for option in options)
    grid = _grow(beliefs, [_for_sweeps(option) for option in options], limit, search)
    assumed = f"{strange}: factors of its laws differ by {SUITE_SPREAD:.0%}, by {METHOD_SPREAD:.0%} between methods"
    return Calibration(
        models=tuple(option.model.name for option in grid.first_of_models()),
        budgets=grid.budgets,
        methods=tuple(dict.fromkeys(option.method.label for option in grid.options)),
        cells=len(grid.cells()),
        flops=grid.cost(),
        limit=limit,
        regret_now=beliefs.regret([]),
        regret_after=beliefs.regret(grid.cells()),
        assumed=assumed if strange else "",
        toml=_toml(plan, grid),
    )


def _worth_trying(plan: Plan) -> list[Option]:
    """The options of the methods that may turn out best; the others need no runs."""
    fits = _feasible(plan.options, plan.budget.flops)
    chances: dict[str, float] = {}
    for option, chance in zip(fits, _best_shares(fits, plan.budget.flops), strict=True):
        chances[option.method.label] = chances.get(option.method.label, 0.0) + chance
    likely = {label for label, chance in chances.items() if chance >= WORTH_TRYING}
    return [option for option in plan.options if option.method.label in (likely or chances)]


def _best_shares(options: Sequence[Option], budget: float) -> list[float]:
    chances = odds(options, budget)
    return [chance.best for chance in chances] if chances else [1.0 / len(options)] * len(options)


def _feasible(options: Sequence[Option], budget: float) -> list[Option]:
    return [option for option in options if not option.refusal(budget)]


def _unseen(plan: Plan) -> str:
    """What of the asked suite or data the laws have not seen; empty when nothing."""
    models = {option.model.name for option in plan.options} - set(plan.laws.models)
    data = plan.recipe.trial.training.data
    unseen = [f"data {data}"] if plan.laws.training and data != plan.laws.training.data else []
    return "; ".join([*(["models that the laws have not seen"] if models else []), *unseen])


def _for_sweeps(option: Option) -> Option:
    """The option as a sweep tries it: nothing kept back for serving, one pass over the data unless more is allowed."""
    limits = option.limits
    epochs = limits.max_epochs if limits.max_epochs < math.inf or limits.max_pairs == math.inf else 1.0
    return replace(option, limits=replace(limits, serve_tokens=0.0, max_epochs=epochs))


@dataclass(frozen=True)
class _Grid:
    """Options (all methods of some models) crossed with budgets; search: whether learning rates are searched."""

    options: tuple[Option, ...]
    budgets: tuple[float, ...]
    search: bool

    def cells(self) -> list[Cell]:
        """The trials that can be; a sweep leaves the others out as well."""
        return [Cell(option, flops) for option in self.options for flops in self.budgets if _possible(option, flops)]

    def cost(self) -> float:
        spent = sum(cell.flops for cell in self.cells())
        if not self.search:
            return spent
        smallest: dict[tuple[str, str], float] = {}
        for cell in self.cells():
            key = (cell.option.model.name, cell.option.method.label)
            smallest[key] = min(cell.flops, smallest.get(key, math.inf))
        return spent + (len(RATES) - 1 + EXTENSIONS) * sum(smallest.values())  # one of the rates is the cell's own

    def first_of_models(self) -> list[Option]:
        return list({option.model.name: option for option in reversed(self.options)}.values())[::-1]


def _possible(option: Option, flops: float) -> bool:
    return not option.refusal(flops) and option.bought(flops) <= option.most_steps


def _grow(beliefs: _Beliefs, options: Sequence[Option], limit: float, search: bool) -> _Grid:
    """The grid that greedy growth reaches within the limit, from the best of the smallest ones."""
    names = list(dict.fromkeys(option.model.name for option in sorted(options, key=lambda option: option.params)))
    ladder = _ladder(options, limit)

    def grid(models: Sequence[str], budgets: Sequence[float]) -> _Grid:
        return _Grid(tuple(one for one in options if one.model.name in models), tuple(sorted(budgets)), search)

    few = min(2, len(names))  # a law in N takes two sizes at the least
    rungs = FEWEST_CELLS // few
    steps = [ladder[place : place + rungs] for place in range(len(ladder) - rungs + 1)]
    starts = [grid(names[place : place + few], step) for place in range(len(names) - few + 1) for step in steps]
    starts = [one for one in starts if len(one.cells()) == len(one.options) * rungs]
    affordable = [one for one in starts if one.cost() <= limit]
    if not affordable:
        least = min((one.cost() for one in starts), default=math.inf)
        raise ValueError(f"--calibrate allows {limit:.3g} FLOP; the smallest sweep takes {least:.3g}: raise the share")
    now = beliefs.spread([])
    best = max(affordable, key=lambda one: (now - beliefs.spread(one.cells())) / one.cost())
    while True:
        models = [name for name in names if name in {option.model.name for option in best.options}]
        moves = [grid([*models, name], best.budgets) for name in names if name not in models]
        moves += [grid(models, [*best.budgets, flops]) for flops in ladder if flops not in best.budgets]
        gains = _gains(beliefs, best, [one for one in moves if one.cost() <= limit])
        if not gains:
            return best
        best = max(gains, key=lambda pair: pair[0])[1]


def _gains(beliefs: _Beliefs, grid: _Grid, moves: Sequence[_Grid]) -> list[tuple[float, _Grid]]:
    """The moves that are worth making, each with how much it shrinks the spread for a FLOP."""
    before, paid, found = beliefs.spread(grid.cells()), grid.cost(), []
    for move in moves:
        if move.cost() > paid:
            gain = before - beliefs.spread(move.cells())
            if gain >= WORTH_ADDING * before:
                found.append((gain / (move.cost() - paid), move))
    return found


def _ladder(options: Sequence[Option], limit: float) -> list[float]:
    """Budgets to choose from: from the smallest that trains anything on, until the largest model has four."""
    least = 1.02 * min(option.needs() for option in options)
    most = max(limit, LADDER ** (FEWEST_CELLS - 1) * max(option.needs() for option in options))
    rungs = range(int(math.log(most / least, LADDER)) + 1)
    return [float(f"{least * LADDER**rung:.6g}") for rung in rungs]  # as the sweep file will say them


Rows = list[list[float]]


class _Beliefs:
    """What may be true of the candidates, as draws of their log losses, and what trials would do to it."""

    def __init__(
        self, targets: Sequence[Option], budget: float, assume: bool, seed: int = 0, draws: int | None = None
    ) -> None:
        self.count = min([len(option.evidence.draws) for option in targets] + ([draws] if draws else []))
        self.chance = random.Random(seed)
        self.budget = budget
        self.factors = self._assumptions(targets) if assume else {}
        self.targets = [self._draws(option, option.tokens(budget)) for option in targets]
        self.weights = [1 / len(targets)] * len(targets)
        self.known: dict[tuple[str, str, float], list[float]] = {}
        self.drift: dict[tuple[str, str], list[float]] = {}

    def _assumptions(self, targets: Sequence[Option]) -> dict[str, list[dict[str, float]]]:
        """For every method and draw: by what its factors may differ in a suite that was not seen."""
        shared = [{name: self.chance.gauss(0, SUITE_SPREAD) for name in FACTORS} for _ in range(self.count)]
        own = {option.method.label: option for option in targets}
        return {
            label: [{n: math.exp(v + self.chance.gauss(0, METHOD_SPREAD)) for n, v in draw.items()} for draw in shared]
            for label in own
        }

    def _draws(self, option: Option, tokens: float) -> list[float]:
        """Log loss in every draw."""
        given, laws = option.arguments(tokens), option.evidence.draws
        factors = self.factors.get(option.method.label)
        if factors:
            laws = tuple(
                type(law)(**{name: value * by.get(name, 1.0) for name, value in law.coefficients.items()})
                for law, by in zip(laws, factors, strict=False)
            )
        return [math.log(law.loss(*given)) for law in laws[: self.count]]

    def _cell(self, cell: Cell) -> list[float]:
        """Log loss of a trial in every draw: the law's, and how far the law misses between it and the asked budget."""
        key = (cell.option.model.name, cell.option.method.label, cell.flops)
        if key not in self.known:
            decades = math.log10(self.budget / cell.flops)
            law = self._draws(cell.option, cell.option.tokens(cell.flops))
            misses = self.drift.setdefault(key[:2], [self.chance.gauss(0, DRIFT) for _ in law])
            self.known[key] = [loss - miss * decades for loss, miss in zip(law, misses, strict=True)]
        return self.known[key]

    def spread(self, cells: Sequence[Cell]) -> float:
        """Mean variance of the candidates' differences from their mean, once the cells are tried."""
        rows, _ = self._learn(cells)
        centre = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        gaps = [[value - middle for value, middle in zip(row, centre, strict=True)] for row in rows]
        return sum(sum(map(mul, gap, gap)) for gap in gaps) / len(gaps) / (self.count - 1)

    def _learn(self, cells: Sequence[Cell]) -> tuple[Rows, list[list[float]]]:
        """Deviations of the candidates after the trials, and how far each trial's surprise moves every log loss.

        One trial at a time, by the square-root update of an ensemble Kalman filter (Whitaker and Hamill 2002).
        """
        rows = [_centred(row) for row in [*self.targets, *(self._cell(cell) for cell in cells)]]
        moves = []
        for place, cell in enumerate(cells, start=len(self.targets)):
            seen, noise = rows[place], max(cell.option.evidence.noise, 1e-6) ** 2
            variance = sum(map(mul, seen, seen)) / (self.count - 1) + noise
            gains = [sum(map(mul, row, seen)) / (self.count - 1) / variance for row in rows]
            damped = 1 / (1 + math.sqrt(noise / variance))
            rows = [
                [v - gain * damped * z for v, z in zip(row, seen, strict=True)]
                for row, gain in zip(rows, gains, strict=True)
            ]
            moves.append(gains)
        return rows[: len(self.targets)], moves

    def regret(self, cells: Sequence[Cell]) -> float:
        """Expected loss given away, nats: each draw in turn is the truth, its trials are seen, a candidate is taken."""
        _, moves = self._learn(cells)
        truths = [*self.targets, *(self._cell(cell) for cell in cells)]
        means = [sum(row) / self.count for row in truths]
        chance, total = random.Random(1), 0.0
        for draw in range(self.count):
            belief = list(means)
            for place, gains in enumerate(moves, start=len(self.targets)):
                noise = chance.gauss(0, cells[place - len(self.targets)].option.evidence.noise)
                surprise = truths[place][draw] + noise - belief[place]
                belief = [value + gain * surprise for value, gain in zip(belief, gains, strict=True)]
            chosen = min(range(len(self.targets)), key=belief.__getitem__)
            losses = [math.exp(row[draw]) for row in self.targets]
            total += losses[chosen] - min(losses)
        return total / self.count


def _centred(row: list[float]) -> list[float]:
    mean = sum(row) / len(row)
    return [value - mean for value in row]


def _toml(plan: Plan, grid: _Grid) -> str:
    """The sweep file."""
    remarks = (
        f"`plan --budget {plan.budget.said} --calibrate`: {len(grid.cells())} trials, {grid.cost():.3g} FLOP at most.",
        f"`sweep run` it, then `fit` its folder `--with` that of {plan.laws.source.get('name', 'the laws')}.",
    )
    limits = grid.options[0].limits
    training = {name: value for name, value in asdict(plan.recipe.trial.training).items() if name != "data_hash"}
    head = {
        "models": [option.model.name for option in grid.first_of_models()],
        "budgets": grid.budgets,
        "seeds": [0],
        "flops": grid.options[0].count,
        "min_steps": limits.min_steps,
        "max_epochs": limits.max_epochs if limits.max_epochs < math.inf else None,
    }
    parts = ["\n".join([*comments(remarks), *lines(head)]), "\n".join(["[training]", *lines(training)])]
    for label in dict.fromkeys(option.method.label for option in grid.options):
        same = [option for option in grid.options if option.method.label == label]
        table = {"name": same[0].method.name, **same[0].method.options, **_rates(same, grid.search)}
        parts.append("\n".join(["[[methods]]", *lines(table)]))
    return "\n\n".join(parts) + "\n"


def _rates(options: Sequence[Option], search: bool) -> dict[str, object]:
    """Measured rates by model, or rates around those that the plan would take, to be searched."""
    rates = {option.model.name: learning_rate(option)[0] for option in options}
    if not search:
        return {"lr": rates}
    middle = math.exp(sum(math.log(rate) for rate in rates.values()) / len(rates))
    return {"lr_search": [float(f"{middle * times:.3g}") for times in RATES]}
