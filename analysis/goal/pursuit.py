"""A goal pursued in rounds: which trials come next, by the losses recorded so far and nothing else.

Everything here is a pure function of the trials tried: the same losses give the same round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analysis.goal.beliefs import SURPRISING, Beliefs, Places, Recorded
from analysis.goal.choice import Standing, next_trials, standing
from analysis.goal.evidence import Place, places_of
from analysis.tables.rows import Array
from planner.candidates import Candidate
from planner.learning_rates import USUAL_SLOPE
from sweeps.search.learning_rates import EXTENSIONS

MOST_SEEDS = 3  # of one place: more of the same tells little that another place would not
MATTERS = 0.2  # probability of being best from which on a search goes beyond the end of its list
CHECKED = 0.25  # the same from which on a rate that was carried from another size is checked here
CHECK_SHARE = 0.1  # of the spend, that rates beyond the end of one search, or about one carried rate, may cost
OTHER_SETTING = 1.0  # other settings of a method are as far as a size e times as large, when a rate is carried
FACTOR = 3.0  # between a rate and those that check it
SHORTFALL = 1e-9  # of the spend: sums of FLOPs are not exact


@dataclass(frozen=True)
class Tried:
    """A trial that has an outcome."""

    place: Place
    """Where it was."""
    lr: float
    """Peak learning rate."""
    seed: int
    """Its seed."""
    log_loss: float | None
    """ln of the held-out loss; None where it gave none."""


@dataclass(frozen=True)
class Proposal:
    """A trial that is to be run."""

    place: Place
    """Where."""
    lr: float
    """Peak learning rate."""
    seed: int
    """Its seed."""
    purpose: str
    """What it is for: train or search."""


@dataclass(frozen=True)
class Aim:
    """What is pursued, and what may be spent on it."""

    budget: float
    """What the recipe is for, FLOPs."""
    limit: float
    """What trials may cost together, FLOPs."""
    regret: float
    """Expected regret, nats, below which the choice is safe."""
    together: int = 4
    """Places of a round at most."""
    thrift: float = 1.0
    """A round may cost what is worth the whole expected regret, a FLOP at so many times its worth in the training
    itself; 0: all of the limit is spent."""


@dataclass(frozen=True)
class Round:
    """How a goal stands, and what to try next."""

    proposals: tuple[Proposal, ...]
    """The trials of the round; none where the pursuit ends."""
    standing: Standing
    """What is believed of the candidates."""
    spent: float
    """FLOPs of all trials so far, searches included."""
    cost: float
    """FLOPs of the round."""
    scale: float
    """Scale of the discrepancy between laws and losses, times the usual one."""
    stop: str = ""
    """Why the pursuit ends; "" where it goes on."""

    @property
    def contradicted(self) -> bool:
        """Whether the recorded losses are far from anything that the evidence to start from expected."""
        return self.scale >= SURPRISING


@dataclass(frozen=True)
class Pursuit:
    """Everything that a pursuit starts from."""

    aim: Aim
    """What is pursued."""
    pairs: tuple[Candidate, ...]
    """Every model with every method."""
    open_places: tuple[Place, ...]
    """Where trials can be."""
    flops: Array
    """Training FLOPs of a trial at each open place [places]."""
    steps: Array
    """Optimiser steps of each [places]."""
    shared: Array
    """Steps of each that others of its trunk may take over [places]; 0 where nothing is shared."""
    rates: Mapping[int, float] = field(default_factory=dict)
    """Known learning rates by pair."""
    searched: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Rates to try where none is known, by pair."""
    pool: int = 256
    """Pairs in a pool of the held-out loss."""
    among: tuple[int, ...] = ()
    """Pairs that can be chosen; (): all that the budget can train."""

    @cached_property
    def goals(self) -> list[int]:
        """Pairs that the budget can train, which are the candidates."""
        among = self.among or range(len(self.pairs))
        return [i for i in among if not self.pairs[i].refusal(self.aim.budget)]

    @cached_property
    def places(self) -> Places:
        """What the laws say of the open places, and behind them of the candidates at the goal."""
        return places_of(self.pairs, [*self.open_places, *(Place(i, self.aim.budget) for i in self.goals)], self.pool)

    @cached_property
    def _number(self) -> dict[Place, int]:
        return {place: i for i, place in enumerate(self.open_places)}

    @cached_property
    def _by_pair(self) -> dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        """Numbers of the open places of each pair."""
        numbers: dict[int, list[int]] = {}
        for i, place in enumerate(self.open_places):
            numbers.setdefault(place.pair, []).append(i)
        return {pair: np.array(which) for pair, which in numbers.items()}

    def round(self, tried: Sequence[Tried]) -> Round:
        """The next round after these trials. Raises ValueError where the budget can train no candidate."""
        if not self.goals:
            raise ValueError(self.pairs[0].refusal(self.aim.budget) if self.pairs else "no model with any method")
        tried = sorted(tried, key=lambda one: (one.place.pair, one.place.budget, one.lr, one.seed))
        recorded = self.recorded(tried)
        beliefs = Beliefs(self.places, recorded)
        now = standing(beliefs, self._goal_places)
        spent, scale = self.spent(tried), beliefs.scale / self.places.usual
        # Laws that have seen neither suite nor data are not believed before anything is tried.
        if now.regret <= self.aim.regret and (tried or not any(pair.unseen for pair in self.pairs)):
            return Round((), now, spent, 0.0, scale, f"the expected regret fell to {now.regret:.3g} nats")
        worth = self._worth(now)
        most = now.regret / worth if worth else math.inf  # FLOPs that are worth as much as all that can be gained
        proposals = self._rates_to_check(tried, now, most)
        for i in self._next_places(tried, proposals, recorded, most):
            proposals += self._trials_at(i, tried, _done(proposals))
        cost = self.spent([*tried, *_done(proposals)]) - spent
        stop = "" if proposals else self._why_none(tried, spent, most)
        return Round(tuple(proposals), now, spent, cost, scale, stop)

    @cached_property
    def _goal_places(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.arange(len(self.open_places), len(self.open_places) + len(self.goals))

    def _why_none(self, tried: Sequence[Tried], spent: float, most: float) -> str:
        """most: FLOPs that are worth as much as the expected regret."""
        left = max(0.0, self.aim.limit - spent)
        if most < left:
            return "no trial is worth its FLOPs: spending them on the recipe itself gains as much"
        if not tried:
            return f"the spend of {left:.3g} FLOP is too small: it allows no two trials to compare"
        return f"the spend is used up: no trial that the {left:.3g} FLOP left allow would lower the expected regret"

    def _worth(self, now: Standing) -> float:
        """Nats that a FLOP more in the training of the choice itself would lower its loss by."""
        pair, expected = self.pairs[self.goals[now.chosen]], float(np.exp(now.mean[now.chosen]))
        loss, longer = (pair.loss(pair.tokens(times * self.aim.budget)) for times in (1.0, 1.1))
        return max(0.0, math.log(loss / longer)) * self.aim.thrift / (0.1 * self.aim.budget) * expected

    def _next_places(
        self, tried: Sequence[Tried], proposals: Sequence[Proposal], recorded: Recorded, most: float
    ) -> list[int]:
        held = _done(proposals)
        room = min(self.aim.limit * (1 + SHORTFALL) - self.spent(tried), most)

        def cost(chosen: list[int]) -> Array:
            pending = list(held)
            for i in chosen:
                pending += _done(self._trials_at(i, tried, pending))
            prices = self._prices(tried, pending)
            left = room + self.spent(tried) - self.spent([*tried, *pending])
            most_of_one = left if chosen or len(recorded) else left / 2  # the first two places are compared
            return np.where(prices <= most_of_one, prices, np.inf)

        return next_trials(self.places, recorded, self._goal_places, cost, self.aim.together)

    def _prices(self, tried: Sequence[Tried], pending: Sequence[Tried]) -> Array:
        """FLOPs of a further trial at each place, the candidates at the goal behind them; infinite where none is to be
        had in this round.

        A pair whose rate is unknown costs its search; where its method is searched in this round, it waits for that.
        """
        prices = np.full(len(self.places.mean), np.inf)
        every = [*tried, *pending]
        waiting = {self._family(each.place.pair) for each in pending if self.rate(each.place.pair, tried) is None}
        for pair, which in self._by_pair.items():
            rate = self.rate(pair, tried)
            if rate is None:
                if self._family(pair) not in waiting:
                    prices[which] = self.flops[which] * len(self.searched[pair])
                continue
            own = [each for each in every if each.place.pair == pair]
            furthest = self._furthest(own, rate, 0)
            taken = np.where(furthest <= self.shared[which], furthest, 0)
            prices[which] = self.flops[which] * (1 - taken / self.steps[which])
            for i in {self._number[each.place] for each in own}:
                seed = self._seed(i, own)
                prices[i] = self._alone(i, rate, seed, own) if seed < MOST_SEEDS else np.inf
        return prices

    def _furthest(self, own: Sequence[Tried], rate: float, seed: int) -> float:
        """Steps that trials of a pair's trunk went before their cooldown."""
        same = (each for each in own if each.lr == rate and each.seed == seed)
        return max((float(self.shared[self._number[each.place]]) for each in same), default=0.0)

    def _alone(self, i: int, rate: float, seed: int, own: Sequence[Tried]) -> float:
        """FLOPs of a trial at a place beside those of its pair."""
        furthest = self._furthest(own, rate, seed)
        taken = furthest if furthest <= self.shared[i] else 0.0
        return float(self.flops[i] * (1 - taken / self.steps[i]))

    def spent(self, tried: Sequence[Tried]) -> float:
        """FLOPs of trials, what those of a trunk share counted once; the shorter ones went first."""
        total = 0.0
        before: dict[int, list[Tried]] = {}
        for one in sorted(tried, key=lambda one: one.place.budget):
            own = before.setdefault(one.place.pair, [])
            total += self._alone(self._number[one.place], one.lr, one.seed, own)
            own.append(one)
        return total

    def _seed(self, i: int, tried: Sequence[Tried]) -> int:
        """Seed of the next trial at a place."""
        return len({one.seed for one in tried if one.place == self.open_places[i]})

    def _trials_at(self, i: int, tried: Sequence[Tried], pending: Sequence[Tried]) -> list[Proposal]:
        place = self.open_places[i]
        rate = self.rate(place.pair, tried)
        if rate is None:
            return [Proposal(place, lr, 0, "search") for lr in self.searched[place.pair]]
        return [Proposal(place, rate, self._seed(i, [*tried, *pending]), "train")]

    # Learning rates.

    def _family(self, pair: int) -> str:
        """What shares learning rates, but for size and settings: a method."""
        return self.pairs[pair].method.name

    def rate(self, pair: int, tried: Sequence[Tried]) -> float | None:
        """The rate of a pair: known, the best tried here, or carried from the nearest size of its method; None where
        it is to be searched."""
        if pair in self.rates:
            return self.rates[pair]
        own = self._tried_rates(pair, tried)
        if own:
            return min(own, key=lambda rate: own[rate])
        others = {
            other: rates
            for other in range(len(self.pairs))
            if other != pair and self._family(other) == self._family(pair)
            if (rates := self._tried_rates(other, tried))
        }
        if not others:
            return None
        size, label = self.pairs[pair].params, self.pairs[pair].method.label

        def apart(other: int) -> tuple[float, int]:
            there = self.pairs[other]
            return abs(math.log(there.params / size)) + OTHER_SETTING * (there.method.label != label), other

        nearest = min(others, key=apart)
        rates = others[nearest]
        best = min(rates, key=lambda rate: rates[rate])
        return float(f"{best * (size / self.pairs[nearest].params) ** USUAL_SLOPE:.3g}")

    def _tried_rates(self, pair: int, tried: Sequence[Tried]) -> dict[float, float]:
        """Rate -> ln loss at the place of the pair where most rates were tried; infinite where it gave none."""
        own = [one for one in tried if one.place.pair == pair and one.seed == 0]
        by_place: dict[Place, dict[float, float]] = {}
        for one in own:
            by_place.setdefault(one.place, {})[one.lr] = math.inf if one.log_loss is None else one.log_loss
        return max(by_place.values(), key=len) if by_place else {}

    def _rates_to_check(self, tried: Sequence[Tried], now: Standing, most: float) -> list[Proposal]:
        """Rates that matter to the choice: beyond the end of a search where the best lies, and about one that was
        carried from another size to a likely candidate."""
        left = min(self.aim.limit - self.spent(tried), most)
        chances = dict(zip(self.goals, now.best.tolist(), strict=True))
        proposals: list[Proposal] = []
        for pair in range(len(self.pairs)):
            rates = self._tried_rates(pair, tried)
            if pair in self.rates or not rates:
                continue
            of_method = sum(chance for other, chance in chances.items() if self._family(other) == self._family(pair))
            alone = len(rates) == 1
            if chances.get(pair, 0.0) < CHECKED if alone else of_method < MATTERS:
                continue
            listed = self._beyond(rates, self.searched.get(pair, ()))
            place, missing = (
                self._cheapest_check(pair, listed, tried) if alone else (self._place_of_rates(pair, tried), listed)
            )
            price = self.flops[self._number[place]] * len(missing)
            if price <= min(left, CHECK_SHARE * self.aim.limit):
                proposals += [Proposal(place, lr, 0, "search") for lr in missing]
                left -= price
        return proposals

    def _cheapest_check(self, pair: int, rates: Sequence[float], tried: Sequence[Tried]) -> tuple[Place, list[float]]:
        """Where it costs least to compare these rates, and those that are still to be tried there."""

        def missing(i: int) -> list[float]:
            there = {one.lr for one in tried if one.place == self.open_places[i] and one.seed == 0}
            return [rate for rate in rates if rate not in there]

        best = min(self._by_pair[pair].tolist(), key=lambda i: (self.flops[i] * len(missing(i)), i))
        return self.open_places[best], missing(best)

    def _place_of_rates(self, pair: int, tried: Sequence[Tried]) -> Place:
        """Where most rates of a pair were tried."""
        own = [one.place for one in tried if one.place.pair == pair and one.seed == 0]
        return max(own, key=lambda place: (own.count(place), -place.budget))

    def _beyond(self, rates: Mapping[float, float], listed: Sequence[float]) -> list[float]:
        """Rates to compare: a single one and those about it; beyond the end where the best of several lies."""
        best = min(rates, key=lambda rate: rates[rate])
        ordered = sorted(rates)
        if len(rates) > max(len(listed), 3) + EXTENSIONS - 1 or not math.isfinite(rates[best]):
            return []
        if len(rates) == 1:
            return [_three(best / FACTOR), best, _three(best * FACTOR)]
        if best == ordered[-1]:
            return [_three(best * ordered[-1] / ordered[-2])]
        if best == ordered[0]:
            return [_three(best * ordered[0] / ordered[1])]
        return []

    def recorded(self, tried: Sequence[Tried]) -> Recorded:
        """The losses that are believed: at each place and seed that of the best rate. What another rate than the pair's
        own cost where both were tried is taken off elsewhere."""
        numbers, logs = [], []
        for pair in range(len(self.pairs)):
            own = [one for one in tried if one.place.pair == pair and one.log_loss is not None]
            rates = {rate: loss for rate, loss in self._tried_rates(pair, tried).items() if math.isfinite(loss)}
            best = min(rates.values(), default=0.0)
            lowest: dict[tuple[Place, int], float] = {}
            for one in own:
                assert one.log_loss is not None
                loss = one.log_loss - (rates.get(one.lr, best) - best)
                key = (one.place, one.seed)
                lowest[key] = min(loss, lowest.get(key, math.inf))
            numbers += [self._number[place] for place, _ in lowest]
            logs += list(lowest.values())
        return Recorded(np.array(numbers, np.int64), np.array(logs))


def _done(proposals: Sequence[Proposal]) -> list[Tried]:
    """Trials to come, as if they were over; they have no loss."""
    return [Tried(each.place, each.lr, each.seed, None) for each in proposals]


def _three(rate: float) -> float:
    return float(f"{rate:.3g}")
