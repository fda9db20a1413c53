"""The next round of a sweep with a goal: `python -m analysis.goal.propose FILE.toml` for `sweep run`.

Reads on stdin, as JSON, the data and what was tried with its losses; prints the round, or as `refused` why there can be
none. The same losses give the same round, so that a sweep that is killed and continued proposes as it would have.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.goal.evidence import Place, pairs_of
from analysis.goal.pursuit import FACTOR, Aim, Pursuit, Round, Tried
from planner.budget import Budget, read_budget
from planner.candidates import Candidate, Limits, on_machine, timed
from planner.evidence import open_books
from planner.law_book import NORMAL, LawBook
from planner.learning_rates import learning_rate
from planner.quantities import share
from sweeps.experiment.grid import cell_at
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Entry, Goal, Proposed, Sweep
from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.hardware import Machine, read_machine
from sweeps.search.goal_rounds import REFUSED, Contender, GoalRound
from sweeps.support import console
from sweeps.support.paths import relative_to
from sweeps.trial import Training, Trial

STEP = 2.0  # between the budgets of trials, as in an isoFLOP grid
MOST_PLACES = 20_000
SHOWN = 8  # contenders
KEYS = {item.name: f"goal.{item.name}" for item in fields(Goal)}  # as the sweep file names what errors name
UNSPENT = 0.05  # share of the budget that pairs may leave over before it is said


@dataclass(frozen=True)
class Question:
    """A sweep file with a goal, and its data."""

    sweep: Sweep
    """The sweep."""
    goal: Goal
    """Its goal."""
    data: Data
    """Its text pairs."""

    @property
    def training(self) -> Training:
        """The one condition of all trials."""
        (training,) = self.sweep.conditions(self.data)
        return training

    @cached_property
    def machine(self) -> Machine | None:
        """What a budget of time or money is for."""
        price = f"{self.goal.price!r}" if self.goal.price else None
        return read_machine(self.goal.hardware, None, price) if self.goal.hardware else None

    @cached_property
    def budget(self) -> Budget:
        """What the recipe is for. Raises ValueError naming the key."""
        return read_budget(self.goal.budget, self.machine)

    @property
    def limit(self) -> float:
        """FLOPs that all trials may take. Raises ValueError for a spend that is no amount."""
        if self.goal.spend.endswith("%"):
            return share("`spend`", self.goal.spend) * self.budget.flops
        wanted = "a share of the budget such as 2%, or FLOP such as 2e17"
        limit = console.positive("`spend`", self.goal.spend, wanted)
        if limit < 1:
            return limit * self.budget.flops
        if limit >= self.budget.flops:
            raise ValueError(f"`spend` is {self.goal.spend}, which is not less than the budget of {self.goal.budget}")
        return limit

    def pairs(self, book: LawBook) -> list[Candidate]:
        """Every model with every method by these laws."""
        sweep, training = self.sweep, self.training
        limits = Limits(sweep.min_steps, max_pairs=float(self.data.train_pairs), max_epochs=sweep.max_epochs)
        methods = [entry.method for entry in sweep.entries]
        named = "" if book.training and book.training.data == training.data else training.data
        pair = self.data.pair_of(training)
        found = pairs_of(book, sweep.models, methods, limits, sweep.flops, pair, training.context, named)
        wanted = [each for each in found if not (own := self.entry(each).models) or each.model.name in own]
        return timed(on_machine(wanted, self.machine), self.budget, self.machine)

    def entry(self, pair: Candidate) -> Entry:
        return next(entry for entry in self.sweep.entries if entry.method.label == pair.method.label)

    @cached_property
    def book(self) -> LawBook:
        """The evidence to start from: the laws that were named, or of the bundled ones the nearest to the goal."""
        budget = self.budget.flops  # what is wrong with it is no fault of the laws
        books = open_books(None if self.goal.laws == "auto" else self.goal.laws)
        silent: list[str] = []
        distances: list[tuple[float, int]] = []
        for place, book in enumerate(books):
            try:
                pairs = self.pairs(book)
            except ValueError as error:
                silent.append(str(error))
                continue
            fits = [pair for pair in pairs if not pair.refusal(budget)]
            silent += [pair.refusal(budget) for pair in pairs if pair not in fits][:1]
            if fits:
                nearest = min(pair.extrapolation(pair.tokens(budget)).distance for pair in fits)
                distances.append((round(nearest, 6), place))
        if not distances:
            raise ValueError(f"`budget` of {self.goal.budget} trains no model with any method: {silent[0]}")
        return books[min(distances)[1]]

    @cached_property
    def pursuit(self) -> Pursuit:
        """What is pursued, from the places that trials can be at."""
        pairs, cells = self.pairs(self.book), []
        least = min(pair.least_flops() for pair in pairs)
        rungs = int(math.log(max(self.limit / least, 1.0), STEP)) + 1
        budgets = [float(f"{1.02 * least * STEP**rung:.4g}") for rung in range(rungs)]
        for i, pair in enumerate(pairs):
            for flops in budgets:
                cell = cell_at(pair.model, self.entry(pair), self.training, flops, self.sweep, self.data)
                if not cell.reason and flops <= self.limit:
                    cells.append((i, cell))
        if len(cells) > MOST_PLACES:
            raise ValueError(f"the goal has {len(cells):,} places to choose trials from; at most {MOST_PLACES:,}")
        if not cells:
            raise ValueError(f"`spend` allows {self.limit:.3g} FLOP; the smallest trial takes {1.02 * least:.3g}")
        rates = {i: rate for i, pair in enumerate(pairs) if (rate := self._known_rate(pair)) is not None}
        trunks = self.training.warmup_steps > 0
        return Pursuit(
            aim=Aim(self.budget.flops, self.limit, self.goal.regret, self.goal.together),
            pairs=tuple(pairs),
            open_places=tuple(Place(i, cell.budget) for i, cell in cells),
            flops=np.array([cell.pairs * pairs[i].pair_flops for i, cell in cells]),
            steps=np.array([float(cell.steps) for _, cell in cells]),
            shared=np.array([float(cell.trial(1.0).cooldown_start) if trunks else 0.0 for _, cell in cells]),
            rates=rates,
            searched={i: self._rates_to_try(pair) for i, pair in enumerate(pairs)},
            pool=self.training.pool_size,
        )

    def _known_rate(self, pair: Candidate) -> float | None:
        """The rate of a model with a method that the file gives, or that the laws have measured for both."""
        entry, name = self.entry(pair), pair.model.name
        if name in entry.rates:
            return entry.rates[name]
        same_batch = pair.law.rates_batch in (None, self.training.batch_size)
        measured = same_batch and any(law.label == pair.method.label for law in self.book.laws)
        return pair.law.learning_rates.get(name) if measured else None

    def _rates_to_try(self, pair: Candidate) -> tuple[float, ...]:
        """Rates to search where none is known: those of the file, or around what the laws would take."""
        if search := self.entry(pair).search:
            return search
        rate = learning_rate(pair).rate
        return tuple(float(f"{rate * times:.3g}") for times in (1 / FACTOR, 1.0, FACTOR))

    def tried(self, content: Sequence[Mapping[str, Any]]) -> list[Tried]:
        """What was tried, at its places. What is no place any more, for the file was edited, counts for nothing."""
        numbers = {(pair.model.name, pair.method.label): i for i, pair in enumerate(self.pursuit.pairs)}
        known = set(self.pursuit.open_places)
        trials = []
        for each in content:
            place = Place(numbers.get((each["model"], each["method"]), -1), each["budget"])
            if place in known:
                loss = None if each["loss"] is None else math.log(each["loss"])
                trials.append(Tried(place, each["lr"], each["seed"], loss))
        return trials


def proposed_round(question: Question, content: Sequence[Mapping[str, Any]]) -> GoalRound:
    """The next round, by what was tried. Raises ValueError naming what cannot be."""
    pursuit = question.pursuit
    trials = question.tried(content)
    now = pursuit.round(trials)
    aside = len(content) - len(trials)
    return GoalRound(
        proposed=tuple(_proposed(pursuit, each) for each in now.proposals),
        regret=now.standing.regret,
        spent=now.spent,
        cost=now.cost,
        limit=pursuit.aim.limit,
        budget=pursuit.aim.budget,
        laws=question.book.name,
        contenders=_contenders(pursuit, now),
        remarks=tuple(_remarks(question, now, aside)),
        stop=now.stop,
        recipe=_recipe(question, now, trials).to_json() if now.stop else None,
    )


def _proposed(pursuit: Pursuit, each: Any) -> Proposed:
    pair = pursuit.pairs[each.place.pair]
    return Proposed(pair.model.name, pair.method.label, each.place.budget, each.lr, each.seed, each.purpose)


def _contenders(pursuit: Pursuit, now: Round) -> tuple[Contender, ...]:
    standing = now.standing
    order = sorted(range(len(pursuit.goals)), key=lambda i: (i != standing.chosen, -standing.best[i], standing.mean[i]))
    found = []
    for i in order[:SHOWN]:
        pair, middle, sd = pursuit.pairs[pursuit.goals[i]], float(standing.mean[i]), float(standing.sd[i])
        loss, low, high = (math.exp(middle + times * NORMAL * sd) for times in (0.0, -1.0, 1.0))
        found.append(Contender(pair.model.name, pair.method.label, loss, low, high, float(standing.best[i])))
    return tuple(found)


def _remarks(question: Question, now: Round, aside: int) -> list[str]:
    """What to know of the round."""
    remarks = []
    unseen = list(dict.fromkeys(name for pair in question.pursuit.pairs for name in pair.unseen))
    if unseen:
        remarks.append(f"{', '.join(unseen)}: not covered by the laws of {question.book.name}, which get less weight")
    if now.contradicted:
        remarks.append(
            f"the losses contradict the laws of {question.book.name}, by {now.scale:.2g} times their "
            "usual error; these laws get little weight now"
        )
    if now.stop and now.standing.regret > question.goal.regret:
        remarks.append(
            f"{now.standing.regret:.2g} nats of expected regret remain, more than regret = {question.goal.regret:g}"
        )
    chosen, budget = question.pursuit.pairs[question.pursuit.goals[now.standing.chosen]], question.budget.flops
    if (used := chosen.epoch_steps / chosen.affordable_steps(budget)) < 1 - UNSPENT:
        remarks.append(
            f"pairs are the limit: {chosen.model.name} with {chosen.method.label} can use {used:.2%} of the budget in "
            f"{chosen.epoch_steps:,.0f} steps, which are max_epochs = {question.sweep.max_epochs:g}"
        )
    if aside:
        remarks.append(f"{aside} trials do not belong to the present sweep file and are ignored")
    return remarks


def _recipe(question: Question, now: Round, trials: Sequence[Tried]) -> Trial:
    """The trial that is chosen for the budget."""
    pursuit = question.pursuit
    number = pursuit.goals[now.standing.chosen]
    pair = pursuit.pairs[number]
    rate = pursuit.rate(number, trials)
    lr = learning_rate(pair).rate if rate is None else rate
    return Trial(
        pair.model.name,
        pair.method,
        replace(question.training, data_hash=""),
        float(f"{lr:.3g}"),
        pair.steps(pursuit.aim.budget),
        0,
        pair.relative_speed * pursuit.aim.budget,
        pair.model.model_hash,
    )


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    return console.run("goal", lambda: _main(Path(arguments[0]), json.load(sys.stdin)))


def _main(path: Path, asked: Mapping[str, Any]) -> int:
    try:
        with relative_to(path):
            sweep = read_sweep(path)
            assert sweep.goal  # `sweep run` has looked
            question = Question(sweep, sweep.goal, Data.from_json(asked["data"], "data"))
            print(json.dumps(asdict(proposed_round(question, asked["tried"]))))
    except (ValueError, OSError) as error:  # said by `sweep run`, in one line
        print(json.dumps({REFUSED: console.flagged(console.sentence(error), KEYS)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
