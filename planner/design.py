"""`plan --calibrate`: the small sweep that makes the coming choice surer, chosen before any of it is run.

The bootstrap draws of the laws are a sample of what may be true. Taken as jointly normal in log loss, they say how much
one trial would teach about the candidates at the asked budget. Grids grow greedily by the size or the budget
that shrinks the spread of the candidates' differences most for its FLOPs (a V-optimal design).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from operator import mul

from planner.answer import Calibration, Plan
from planner.candidates import Candidate, by_regret, feasible
from planner.discrepancy import DRIFT, FACTOR_SPREAD, METHOD_SPREAD
from planner.frontier import method_odds
from planner.learning_rates import learning_rate
from sweeps.support.toml_io import comments, lines

ADVISED = (0.01, 0.05, 0.2)  # shares of the budget for a sweep that nobody asked for; the first that buys one
ADVISED_DRAWS = 30  # few of what `fit` keeps: an answer must not wait for advice
WORTH_TRYING = 0.05  # a method less likely to be best than this is not swept
LADDER = 4.0  # between budgets, as in the paper's sweep
WORTH_ADDING = 0.05  # a size or budget must shrink what is left of the spread by this share
FEWEST_TRIALS = 4  # of a method: offsets of its own take as many (analysis/fitting/joint.py)
TARGETS = 12  # candidates whose differences are to be told
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the rate that the plan would take


@dataclass(frozen=True)
class DesignPoint:
    """One trial of the sweep."""

    candidate: Candidate
    """The model with its tuning method."""
    flops: float
    """The budget that the trial is cut for, FLOPs."""


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
    candidates = _worth_trying(plan)
    if not all(candidate.law.draws for candidate in candidates):
        raise ValueError("a calibration needs bootstrap draws, and the laws hold none")
    unmeasured = "; ".join(plan.recipe.extrapolation.unseen)
    fits, _ = feasible(candidates, plan.budget.flops)
    targets = [candidate for candidate, _ in by_regret(fits, plan.budget.flops)[:TARGETS]]
    beliefs = _Beliefs(targets, plan.budget.flops, draws)
    search = any(candidate.model.name not in candidate.law.learning_rates for candidate in candidates)
    grid = _grow(beliefs, [_for_sweeps(candidate) for candidate in candidates], limit, search)
    assumed = f"{unmeasured}: factors of its laws differ by {FACTOR_SPREAD:.0%}, by {METHOD_SPREAD:.0%} between methods"
    return Calibration(
        models=tuple(candidate.model.name for candidate in grid.first_of_models()),
        budgets=grid.budgets,
        methods=tuple(dict.fromkeys(candidate.method.label for candidate in grid.candidates)),
        cells=len(grid.points()),
        flops=grid.cost(),
        limit=limit,
        regret_now=beliefs.regret([]),
        regret_after=beliefs.regret(grid.points()),
        assumed=assumed if unmeasured else "",
        toml=_toml(plan, grid),
    )


def _worth_trying(plan: Plan) -> list[Candidate]:
    """The candidates of the methods that may turn out best; the others need no runs."""
    chances = method_odds(plan.considered, plan.budget.flops)
    likely = {label for label, chance in chances.items() if chance >= WORTH_TRYING}
    return [candidate for candidate in plan.considered if candidate.law.label in likely or not likely]


def _for_sweeps(candidate: Candidate) -> Candidate:
    """The candidate as a sweep tries it: nothing is kept for serving, one pass over the data unless more is allowed."""
    limits = candidate.limits
    epochs = 1.0 if limits.max_epochs is None and limits.max_pairs < math.inf else limits.max_epochs
    return replace(candidate, limits=replace(limits, serve_tokens=0.0, max_epochs=epochs))


@dataclass(frozen=True)
class _Grid:
    """Candidates crossed with budgets."""

    candidates: tuple[Candidate, ...]
    """All methods of some models."""
    budgets: tuple[float, ...]
    """FLOPs, lowest first."""
    search: bool
    """Whether the sweep searches learning rates."""

    def points(self) -> list[DesignPoint]:
        """The trials that can be; a sweep leaves the others out as well."""
        return [
            DesignPoint(candidate, flops)
            for candidate in self.candidates
            for flops in self.budgets
            if _possible(candidate, flops)
        ]

    def cost(self) -> float:
        spent = sum(point.flops for point in self.points())
        if not self.search:
            return spent
        smallest: dict[tuple[str, str], float] = {}
        for point in self.points():
            key = (point.candidate.model.name, point.candidate.method.label)
            smallest[key] = min(point.flops, smallest.get(key, math.inf))
        from sweeps.search.learning_rates import EXTENSIONS  # only here: it brings all of sweep files along

        return spent + (len(RATES) - 1 + EXTENSIONS) * sum(smallest.values())  # one of the rates is the trial's own

    def first_of_models(self) -> list[Candidate]:
        return list({candidate.model.name: candidate for candidate in reversed(self.candidates)}.values())[::-1]


def _possible(candidate: Candidate, flops: float) -> bool:
    return not candidate.refusal(flops) and candidate.affordable_steps(flops) <= candidate.epoch_steps


def _grow(beliefs: _Beliefs, candidates: Sequence[Candidate], limit: float, search: bool) -> _Grid:
    """The grid that greedy growth reaches within the limit, from the best of the smallest ones."""
    names = list(
        dict.fromkeys(candidate.model.name for candidate in sorted(candidates, key=lambda candidate: candidate.params))
    )
    ladder = _ladder(candidates, limit)

    def grid(models: Sequence[str], budgets: Sequence[float]) -> _Grid:
        chosen = tuple(candidate for candidate in candidates if candidate.model.name in models)
        return _Grid(chosen, tuple(sorted(budgets)), search)

    few = min(2, len(names))  # a law in N takes two sizes at the least
    rungs = FEWEST_TRIALS // few
    steps = [ladder[place : place + rungs] for place in range(len(ladder) - rungs + 1)]
    starts = [grid(names[place : place + few], step) for place in range(len(names) - few + 1) for step in steps]
    starts = [start for start in starts if len(start.points()) == len(start.candidates) * rungs]
    affordable = [start for start in starts if start.cost() <= limit]
    if not affordable:
        least = min((start.cost() for start in starts), default=math.inf)
        raise ValueError(f"`share` allows {limit:.3g} FLOP; the smallest sweep takes {least:.3g}: raise the share")
    now = beliefs.spread([])
    best = max(affordable, key=lambda start: (now - beliefs.spread(start.points())) / start.cost())
    while True:
        models = [name for name in names if name in {candidate.model.name for candidate in best.candidates}]
        moves = [grid([*models, name], best.budgets) for name in names if name not in models]
        moves += [grid(models, [*best.budgets, flops]) for flops in ladder if flops not in best.budgets]
        gains = _gains(beliefs, best, [move for move in moves if move.cost() <= limit])
        if not gains:
            return best
        best = max(gains, key=lambda pair: pair[0])[1]


def _gains(beliefs: _Beliefs, grid: _Grid, moves: Sequence[_Grid]) -> list[tuple[float, _Grid]]:
    """The moves that are worth making, each with how much it shrinks the spread for a FLOP."""
    before, paid, gains = beliefs.spread(grid.points()), grid.cost(), []
    for move in moves:
        if move.cost() > paid:
            gain = before - beliefs.spread(move.points())
            if gain >= WORTH_ADDING * before:
                gains.append((gain / (move.cost() - paid), move))
    return gains


def _ladder(candidates: Sequence[Candidate], limit: float) -> list[float]:
    """Budgets to choose from: from the smallest that trains anything on, until the largest model has four."""
    least = 1.02 * min(candidate.least_flops() for candidate in candidates)
    most = max(limit, LADDER ** (FEWEST_TRIALS - 1) * max(candidate.least_flops() for candidate in candidates))
    rungs = range(int(math.log(most / least, LADDER)) + 1)
    return [float(f"{least * LADDER**rung:.6g}") for rung in rungs]  # as the sweep file will say them


Rows = list[list[float]]


class _Beliefs:
    """What may be true of the candidates, as draws of their log losses, and what trials would do to it."""

    def __init__(self, targets: Sequence[Candidate], budget: float, draws: int | None = None, seed: int = 0) -> None:
        self.count = min([len(candidate.law.draws) for candidate in targets] + ([draws] if draws else []))
        self.chance = random.Random(seed)
        self.budget = budget
        self.targets = [self._draws(candidate, candidate.tokens(budget)) for candidate in targets]
        self.known: dict[tuple[str, str, float], list[float]] = {}
        self.drift: dict[tuple[str, str], list[float]] = {}

    def _draws(self, candidate: Candidate, tokens: float) -> list[float]:
        """Log loss in every draw."""
        given, laws = candidate.arguments(tokens), candidate.law.draws[: self.count]
        losses = [math.log(law.loss(*given)) for law in laws]
        drift = candidate.drift(tokens)
        return [loss + math.log(factor) for loss, factor in zip(losses, drift, strict=False)] if drift else losses

    def _point(self, point: DesignPoint) -> list[float]:
        """Log loss of a trial in every draw: the law's, and how far the law misses between it and the asked budget."""
        key = (point.candidate.model.name, point.candidate.method.label, point.flops)
        if key not in self.known:
            decades = math.log10(self.budget / point.flops)
            law = self._draws(point.candidate, point.candidate.tokens(point.flops))
            misses = self.drift.setdefault(key[:2], [self.chance.gauss(0, DRIFT) for _ in law])
            self.known[key] = [loss - miss * decades for loss, miss in zip(law, misses, strict=True)]
        return self.known[key]

    def spread(self, points: Sequence[DesignPoint]) -> float:
        """Mean variance of the candidates' differences from their mean, once the trials are run."""
        rows, _ = self._learn(points)
        centre = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        gaps = [[value - middle for value, middle in zip(row, centre, strict=True)] for row in rows]
        return sum(sum(map(mul, gap, gap)) for gap in gaps) / len(gaps) / (self.count - 1)

    def _learn(self, points: Sequence[DesignPoint]) -> tuple[Rows, list[list[float]]]:
        """Deviations of the candidates after the trials, and how far each trial's surprise moves every log loss.

        One trial at a time, by the square-root update of an ensemble Kalman filter (Whitaker and Hamill 2002).
        """
        rows = [_centred(row) for row in [*self.targets, *(self._point(point) for point in points)]]
        moves = []
        for place, point in enumerate(points, start=len(self.targets)):
            column, noise = rows[place], max(point.candidate.law.noise, 1e-6) ** 2
            variance = sum(map(mul, column, column)) / (self.count - 1) + noise
            damped = 1 / (1 + math.sqrt(noise / variance))
            gains = [0.0] * len(rows)
            # What trials that were learnt from before would show now is never asked.
            for i in [*range(len(self.targets)), *range(place + 1, len(rows))]:
                row = rows[i]
                gains[i] = sum(map(mul, row, column)) / (self.count - 1) / variance
                step = gains[i] * damped
                rows[i] = [v - step * z for v, z in zip(row, column, strict=True)]
            moves.append(gains)
        return rows[: len(self.targets)], moves

    def regret(self, points: Sequence[DesignPoint]) -> float:
        """Expected loss given away, nats: each draw in turn is the truth, its trials are run, a candidate is chosen."""
        _, moves = self._learn(points)
        truths = [*self.targets, *(self._point(point) for point in points)]
        means = [sum(row) / self.count for row in truths]
        chance, total = random.Random(1), 0.0
        for draw in range(self.count):
            belief = list(means)
            for place, gains in enumerate(moves, start=len(self.targets)):
                noise = chance.gauss(0, points[place - len(self.targets)].candidate.law.noise)
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
    points = grid.points()
    remarks = (
        f"`plan --budget {plan.budget.asked} --calibrate`: {len(points)} trials, {grid.cost():.3g} FLOP at most.",
        f"`sweep run` it, then `fit` its folder `--with` that of {plan.laws.source.get('name', 'the laws')}.",
    )
    limits = grid.candidates[0].limits
    training = {name: value for name, value in asdict(plan.recipe.trial.training).items() if name != "data_hash"}
    head = {
        "models": [candidate.model.name for candidate in grid.first_of_models()],
        "budgets": grid.budgets,
        "seeds": [0],
        "flops": grid.candidates[0].count,
        "min_steps": limits.min_steps,
        "max_epochs": limits.max_epochs,
    }
    parts = ["\n".join([*comments(remarks), *lines(head)]), "\n".join(["[training]", *lines(training)])]
    for label in dict.fromkeys(candidate.method.label for candidate in grid.candidates):
        same = [candidate for candidate in grid.candidates if candidate.method.label == label]
        table = {"name": same[0].method.name, **same[0].method.options, **_rates(same, grid.search)}
        parts.append("\n".join(["[[methods]]", *lines(table)]))
    return "\n\n".join(parts) + "\n"


def _rates(candidates: Sequence[Candidate], search: bool) -> dict[str, object]:
    """Measured rates by model, or rates around those that the plan would take, to be searched."""
    rates = {candidate.model.name: learning_rate(candidate)[0] for candidate in candidates}
    if not search:
        return {"lr": rates}
    middle = math.exp(sum(math.log(rate) for rate in rates.values()) / len(rates))
    return {"lr_search": [float(f"{middle * times:.3g}") for times in RATES]}
