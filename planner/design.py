"""`plan --calibrate`: the small sweep that lowers the expected regret most, chosen before any of it is run.

The bootstrap draws of the laws are a sample of what may be true. Taken as jointly normal in log loss, they say how much
one trial would teach about the candidates at the asked budget. Grids grow greedily by the size or the budget
that shrinks the spread of the candidates' differences most for its FLOPs (a V-optimal design).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from operator import mul
from pathlib import Path

from planner.answer import SWEEP_FILE, Calibration, Plan
from planner.candidates import Candidate, feasible
from planner.discrepancy import FACTOR_SPREAD, METHOD_SPREAD, drift_sd
from planner.frontier import Odds, by_regret
from planner.law_book import LawBook
from planner.learning_rates import learning_rate
from planner.quantities import short
from sweeps.admission import MAX_EPOCHS, SHARING_RUNS, why_no_shared_law
from sweeps.support.toml_io import comments, lines

ADVISED = (0.01, 0.05, 0.2)  # shares of the budget for a sweep that nobody asked for; the first that buys one
ADVISED_DRAWS = 30  # few of what `fit` keeps: an answer must not wait for advice
WORTH_TRYING = 0.05  # a method less likely to be best than this, with all its settings together, is not swept
WORTH_ADDING = 0.01  # a size or budget must shrink what is left of the spread by this share
WORTH_ADVISING = 0.05  # the same where nobody asked
# How far apart budgets are, and how many the smallest sweep has: as in the paper, or closer where FLOPs or pairs end.
SHAPES = ((4.0, 2), (4.0, 3), (2.0, 3), (2.0, 4), (2.0, 5), (math.sqrt(2), 6), (math.sqrt(2), 8))
TARGETS = 12  # candidates whose differences are to be told
SAFE = 0.01  # nats of expected regret at which a goal's trials end
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the rate that the plan would take


@dataclass(frozen=True)
class DesignPoint:
    """One trial of the sweep."""

    candidate: Candidate
    """The model with its tuning method."""
    flops: float
    """The budget that the trial is cut for, FLOPs."""

    @property
    def key(self) -> tuple[str, str, float]:
        """What tells it from others of a design."""
        return self.candidate.model.name, self.candidate.method.label, self.flops


def advised(plan: Plan) -> Calibration | None:
    """What to try first for a share of the budget; None where the answer is sure, or no sweep is that small."""
    for share in () if plan.recipe.sure else ADVISED:
        with suppress(ValueError):
            sweep = calibrate(plan, share, ADVISED_DRAWS, WORTH_ADVISING)
            return sweep if sweep.flops <= plan.recipe.flops else None  # few pairs may leave most of a budget unspent
    return None


def calibrate(
    plan: Plan,
    share: float,
    draws: int | None = None,
    worth_adding: float = WORTH_ADDING,
    file: Path = Path(SWEEP_FILE),
) -> Calibration:
    """The sweep for at most `share` of the plan's budget, by so many draws of the laws (all of them by default).

    worth_adding: the share of the spread by which a size or a budget must shrink it. file: where the sweep file will
    lie, beside which it names data and models; by default in the current folder.

    Raises ValueError when no sweep fits into that.
    """
    limit = share * plan.budget.flops
    fits, _ = feasible(plan.considered, plan.budget.flops)
    chances = by_regret(fits, plan.budget.flops)
    candidates = _worth_trying(plan, chances)
    if not all(candidate.law.draws for candidate in candidates):
        raise ValueError("a calibration needs bootstrap draws, and the laws have none")
    unmeasured = "; ".join(plan.recipe.extrapolation.unseen)
    labels = {candidate.law.label for candidate in candidates}
    targets = [candidate for candidate, _ in chances if candidate.law.label in labels][:TARGETS]
    beliefs = _Beliefs(targets, plan.budget.flops, draws)
    grid = _grow(beliefs, [_for_sweeps(candidate, plan.laws) for candidate in candidates], limit, worth_adding)
    assumed = (
        f"{unmeasured}: factors of its laws differ by {FACTOR_SPREAD:.0%}, and by {METHOD_SPREAD:.0%} between methods"
    )
    return Calibration(
        models=tuple(candidate.model.name for candidate in grid.first_of_models()),
        budgets=grid.budgets,
        methods=tuple(dict.fromkeys(candidate.method.label for candidate in grid.candidates)),
        cells=len(grid.points),
        flops=grid.cost(),
        limit=limit,
        regret_now=beliefs.regret([]),
        regret_after=beliefs.regret(grid.points),
        assumed=assumed if unmeasured else "",
        toml=_toml(plan, grid, file),
    )


def _worth_trying(plan: Plan, odds: Sequence[tuple[Candidate, Odds | None]]) -> list[Candidate]:
    """The candidates of the methods that may turn out best; the others need no runs.

    Of a method whose settings are likely only together, the likeliest is tried.
    """
    methods: dict[str, dict[str, float]] = {}  # name -> label of its settings -> probability that these are best
    for candidate, chance in odds:
        settings = methods.setdefault(candidate.law.settings["name"], {})
        settings[candidate.law.label] = settings.get(candidate.law.label, 0.0) + (chance.best if chance else 0.0)
    likely = set()
    for settings in methods.values():
        if sum(settings.values()) >= WORTH_TRYING:
            likely |= {max(settings, key=settings.__getitem__)}
            likely |= {label for label, chance in settings.items() if chance >= WORTH_TRYING}
    return [candidate for candidate in plan.considered if candidate.law.label in likely or not likely]


def _for_sweeps(candidate: Candidate, book: LawBook) -> Candidate:
    """The candidate as a sweep tries it: nothing is kept for serving, and no more passes than `fit` takes."""
    limits = candidate.limits
    pairs = limits.max_pairs if limits.max_pairs < math.inf else _measured_pairs(book)
    epochs = min(limits.epochs, MAX_EPOCHS) if pairs < math.inf else None
    return replace(candidate, limits=replace(limits, serve_tokens=0.0, max_pairs=pairs, max_epochs=epochs))


def _measured_pairs(book: LawBook) -> float:
    """Unique pairs that the laws were measured on; without end where their number is unknown."""
    tokens = book.source.get("unique_tokens")
    return tokens / book.pair.tokens if tokens and book.pair else math.inf


@dataclass(frozen=True)
class _Grid:
    """Candidates crossed with budgets."""

    candidates: tuple[Candidate, ...]
    """All methods of some models."""
    budgets: tuple[float, ...]
    """FLOPs, lowest first."""

    @property
    def searched(self) -> frozenset[str]:
        """Labels of the methods whose learning rate is not known for each of the models; the sweep searches it."""
        return frozenset(
            each.method.label for each in self.candidates if each.model.name not in each.law.learning_rates
        )

    @cached_property
    def points(self) -> list[DesignPoint]:
        """The trials that can be; a sweep leaves the others out as well."""
        return [
            DesignPoint(candidate, flops)
            for candidate in self.candidates
            for flops in self.budgets
            if _possible(candidate, flops)
        ]

    def beyond(self, other: _Grid) -> list[DesignPoint]:
        """The trials that are not of the other."""
        theirs = {point.key for point in other.points}
        return [point for point in self.points if point.key not in theirs]

    def cost(self) -> float:
        """FLOPs at most."""
        searched, spent = self.searched, sum(point.flops for point in self.points)
        smallest: dict[tuple[str, str], float] = {}
        for point in self.points:
            key = (point.candidate.model.name, point.candidate.method.label)
            if point.candidate.method.label in searched:
                smallest[key] = min(point.flops, smallest.get(key, math.inf))
        from sweeps.search.learning_rates import EXTENSIONS  # only here: it brings all of sweep files along

        return spent + (len(RATES) - 1 + EXTENSIONS) * sum(smallest.values())  # one of the rates is the trial's own

    def gives_laws(self, sizes: int) -> bool:
        """Whether every method gets offsets of its own, from so many sizes."""
        runs: dict[str, list[tuple[float, float]]] = {each.method.label: [] for each in self.candidates}
        for point in self.points:
            runs[point.candidate.method.label].append((point.candidate.params, point.candidate.steps(point.flops)))
        return all(not why_no_shared_law(own) and len({size for size, _ in own}) >= sizes for own in runs.values())

    def first_of_models(self) -> list[Candidate]:
        return list({candidate.model.name: candidate for candidate in reversed(self.candidates)}.values())[::-1]


def _possible(candidate: Candidate, flops: float) -> bool:
    return not candidate.refusal(flops) and candidate.affordable_steps(flops) <= candidate.epoch_steps


def _grow(beliefs: _Beliefs, candidates: Sequence[Candidate], limit: float, worth_adding: float) -> _Grid:
    """The grid that greedy growth reaches within the limit, from the best of the smallest ones."""
    best, ladder = _start(beliefs, candidates, limit)
    names = _names(candidates)
    ladder = [flops for flops in ladder if flops <= limit]
    every = _grid(candidates, names, ladder).points
    now = beliefs.after(best.points, every)
    while True:
        models = [name for name in names if name in {candidate.model.name for candidate in best.candidates}]
        moves = [_grid(candidates, [*models, name], best.budgets) for name in names if name not in models]
        moves += [_grid(candidates, models, [*best.budgets, flops]) for flops in ladder if flops not in best.budgets]
        gains = _gains(now, best, [move for move in moves if move.cost() <= limit], worth_adding)
        if not gains:
            return best
        _, better = max(gains, key=lambda pair: pair[0])
        now, best = now.after(better.beyond(best), every), better


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """Of the models, the smallest first."""
    return list(dict.fromkeys(each.model.name for each in sorted(candidates, key=lambda each: each.params)))


def _grid(candidates: Sequence[Candidate], models: Sequence[str], budgets: Sequence[float]) -> _Grid:
    chosen = tuple(candidate for candidate in candidates if candidate.model.name in models)
    return _Grid(chosen, tuple(sorted(budgets)))


def _start(beliefs: _Beliefs, candidates: Sequence[Candidate], limit: float) -> tuple[_Grid, list[float]]:
    """The best of the smallest sweeps that give each method a law, and the budgets that it may grow by.

    Raises ValueError when none fits into the limit.
    """
    names, least = _names(candidates), math.inf
    few = min(2, len(names))  # a law in N takes two sizes at the least
    now = beliefs.spread([])
    for times, rungs in SHAPES:
        ladder = _ladder(candidates, limit, times)
        steps = [ladder[place : place + rungs] for place in range(len(ladder) - rungs + 1)]
        windows = [names[place : place + few] for place in range(len(names) - few + 1)]
        starts = [_grid(candidates, window, step) for window in windows for step in steps]
        starts = [start for start in starts if start.gives_laws(few)]
        affordable = [start for start in starts if start.cost() <= limit]
        if affordable:
            best = max(affordable, key=lambda start: (now - beliefs.spread(start.points)) / start.cost())
            return best, ladder
        least = min([least, *(start.cost() for start in starts)])
    if least < math.inf:
        change = "raise the share" if least < beliefs.budget else f"that is more than the budget, {beliefs.budget:.3g}"
        raise ValueError(f"`share` allows {limit:.3g} FLOP; the smallest sweep takes {least:.3g}: {change}")
    one = candidates[0]
    raise ValueError(
        f"no sweep fits: {one.limits.epochs:g} epochs of {short(one.limits.max_pairs)} pairs give "
        f"{one.epoch_steps:,.0f} steps of {one.batch_size:,}, and trials at different budgets need "
        f"{one.limits.min_steps} or more; set a smaller `batch_size`"
    )


def _gains(beliefs: _Beliefs, grid: _Grid, moves: Sequence[_Grid], worth_adding: float) -> list[tuple[float, _Grid]]:
    """The moves that are worth making, each with how much it shrinks the spread for a FLOP; `grid` is believed."""
    before, paid, gains = beliefs.spread([]), grid.cost(), []
    for move in moves:
        if move.cost() > paid:
            gain = before - beliefs.spread(move.beyond(grid))
            if gain >= worth_adding * before:
                gains.append((gain / (move.cost() - paid), move))
    return gains


def _ladder(candidates: Sequence[Candidate], limit: float, times: float) -> list[float]:
    """Budgets to choose from: from the smallest that trains anything on, until the largest model has four."""
    least = 1.02 * min(candidate.least_flops() for candidate in candidates)
    most = max(limit, times ** (SHARING_RUNS - 1) * max(candidate.least_flops() for candidate in candidates))
    rungs = range(int(math.log(most / least, times)) + 1)
    return [float(f"{least * times**rung:.6g}") for rung in rungs]  # as the sweep file will say them


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
        key = point.key
        if key not in self.known:
            decades = math.log10(self.budget / point.flops)
            law = self._draws(point.candidate, point.candidate.tokens(point.flops))
            sd = drift_sd(point.candidate.law)
            misses = self.drift.setdefault(key[:2], [self.chance.gauss(0, sd) for _ in law])
            self.known[key] = [loss - miss * decades for loss, miss in zip(law, misses, strict=True)]
        return self.known[key]

    def spread(self, points: Sequence[DesignPoint]) -> float:
        """Mean variance of the candidates' differences from their mean, once the trials are run."""
        rows, _, _ = self._learn(points)
        centre = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        gaps = [[value - middle for value, middle in zip(row, centre, strict=True)] for row in rows]
        return sum(sum(map(mul, gap, gap)) for gap in gaps) / len(gaps) / (self.count - 1)

    def after(self, points: Sequence[DesignPoint], asked: Sequence[DesignPoint]) -> _Beliefs:
        """What is believed of the candidates and of the trials `asked`, no others, once `points` are run."""
        learnt = copy(self)
        learnt.targets, rows, _ = self._learn(points, asked)
        learnt.known = {point.key: row for point, row in zip(asked, rows, strict=True)}
        return learnt

    def _learn(
        self, points: Sequence[DesignPoint], asked: Sequence[DesignPoint] = ()
    ) -> tuple[Rows, Rows, list[list[float]]]:
        """Deviations of the candidates and of what is `asked` after the trials, and how far each trial's surprise moves
        every log loss.

        One trial at a time, by the square-root update of an ensemble Kalman filter (Whitaker and Hamill 2002).
        """
        rows = [_centred(row) for row in [*self.targets, *(self._point(point) for point in [*points, *asked])]]
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
        return rows[: len(self.targets)], rows[len(self.targets) + len(points) :], moves

    def regret(self, points: Sequence[DesignPoint]) -> float:
        """Expected regret, nats: each draw in turn is the truth, its trials are run, a candidate is chosen."""
        _, _, moves = self._learn(points)
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


def _toml(plan: Plan, grid: _Grid, file: Path) -> str:
    """The sweep file."""
    points = grid.points
    remarks = [
        f"`plan --budget {plan.budget.asked} --calibrate`: {len(points)} trials, {grid.cost():.3g} FLOP at most.",
        f"`sweep run` it, then `fit` its folder `--with` that of {plan.laws.source.get('name', 'the laws')}.",
    ]
    if plan.data_to_name:
        remarks += ["Set `data` to your own pairs; those of the laws are not available."]
    limits = grid.candidates[0].limits
    conditions = replace(plan.recipe.trial.training, batch_size=grid.candidates[0].batch_size)
    training = {name: value for name, value in asdict(conditions).items() if name != "data_hash"}
    named = partial(plan.named_in, file)
    training["data"] = named(plan.recipe.trial.training.data)
    head = {
        "models": [named(candidate.model.name) for candidate in grid.first_of_models()],
        "budgets": grid.budgets,
        "seeds": [0],
        "flops": grid.candidates[0].count,
        "min_steps": limits.min_steps,
        "max_epochs": MAX_EPOCHS if limits.max_epochs is None else limits.max_epochs,
    }
    parts = ["\n".join([*comments(tuple(remarks)), *lines(head)]), "\n".join(["[training]", *lines(training)])]
    for label in dict.fromkeys(candidate.method.label for candidate in grid.candidates):
        same = [candidate for candidate in grid.candidates if candidate.method.label == label]
        table = {"name": same[0].method.name, **same[0].method.options, **_rates(same, label in grid.searched, named)}
        parts.append("\n".join(["[[methods]]", *lines(table)]))
    return "\n\n".join(parts) + "\n"


def goal_file(
    plan: Plan, share: float, file: Path = Path(SWEEP_FILE), laws: str = "auto", hardware: str = "", price: float = 0.0
) -> str:
    """A sweep file with a goal: the plan's budget, of which `share` is spent on trials that the sweep chooses itself.

    The methods are those that may turn out best. laws: as the file names the evidence to start from. hardware, price:
    of a budget in time or money.
    """
    fits, _ = feasible(plan.considered, plan.budget.flops)
    candidates = _worth_trying(plan, by_regret(fits, plan.budget.flops))
    limits, named = candidates[0].limits, partial(plan.named_in, file)
    training = {name: value for name, value in asdict(plan.recipe.trial.training).items() if name != "data_hash"}
    training["data"] = named(plan.recipe.trial.training.data)
    remarks = [
        f"`plan --budget {plan.budget.asked} --calibrate {100 * share:g}%`: `sweep run` it.",
        "It chooses its own trials in rounds; without rates, methods take those of the laws or search them.",
    ]
    if plan.data_to_name:
        remarks += ["Set `data` to your own pairs; those of the laws are not available."]
    head = {
        "models": list(dict.fromkeys(named(candidate.model.name) for candidate in candidates)),
        "flops": candidates[0].count,
        "min_steps": limits.min_steps,
        "max_epochs": MAX_EPOCHS if limits.max_epochs is None else limits.max_epochs,
    }
    goal = {"budget": plan.budget.asked, "spend": f"{100 * share:g}%", "regret": SAFE, "laws": laws}
    goal |= {"hardware": hardware} if hardware else {}
    goal |= {"price": price} if price else {}
    methods = {candidate.method.label: candidate.method for candidate in candidates}
    tables = [("[goal]", goal), ("[training]", training)]
    tables += [("[[methods]]", {"name": method.name, **method.options}) for method in methods.values()]
    parts = ["\n".join([*comments(tuple(remarks)), *lines(head)])]
    return "\n\n".join([*parts, *("\n".join([title, *lines(table)]) for title, table in tables)]) + "\n"


def _rates(candidates: Sequence[Candidate], search: bool, named: Callable[[str], str]) -> dict[str, object]:
    """Measured rates by model, or rates around those that the plan would take, to be searched."""
    rates = {named(candidate.model.name): learning_rate(candidate).rate for candidate in candidates}
    if not search:
        return {"lr": rates}
    middle = math.exp(sum(math.log(rate) for rate in rates.values()) / len(rates))
    return {"lr_search": [float(f"{middle * times:.3g}") for times in RATES]}
