"""A goal is pursued within its spend, by the recorded losses alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from analysis.goal.evidence import Place
from analysis.goal.pursuit import Pursuit, Round, Tried
from planner.laws import scaled
from support.goal_pursuits import BUDGETS, GOAL, RATES, book, measured, pursuit, truth


def pursue(world: Pursuit) -> tuple[list[Round], list[Tried]]:
    rounds, tried = [world.round([])], []
    while rounds[-1].proposals:
        tried += [measured(world, each) for each in rounds[-1].proposals]
        rounds.append(world.round(tried))
    return rounds, tried


@pytest.mark.parametrize("known", [True, False], ids=["rates known", "rates searched"])
def test_the_best_candidate_is_found_within_the_spend(known):
    world = pursuit(known=known)
    rounds, tried = pursue(world)
    last = rounds[-1]
    assert last.spent <= world.aim.limit and last.stop
    best = min(world.goals, key=lambda pair: truth(world.pairs[pair], GOAL))
    chosen = world.goals[last.standing.chosen]
    assert truth(world.pairs[chosen], GOAL) - truth(world.pairs[best], GOAL) < 0.01
    assert last.standing.regret < 0.25 * rounds[0].standing.regret
    assert {each.lr for each in tried} > set(RATES["full"]) or known


def test_rounds_follow_from_losses_in_whatever_order_they_came():
    world = pursuit(known=False)
    _, tried = pursue(world)
    shuffled = random.Random(0).sample(tried, len(tried))
    assert world.round(shuffled).proposals == world.round(tried).proposals
    some = tried[: len(tried) // 2]
    assert pursuit(known=False).round(some[::-1]).proposals == world.round(some).proposals != ()


def test_a_search_is_paid_for_and_a_rate_is_carried_to_other_sizes():
    world = pursuit(known=False)
    first = world.round([])
    searched = {each.place.pair for each in first.proposals}
    assert all(each.purpose == "search" for each in first.proposals)
    assert first.cost == pytest.approx(sum(each.place.budget for each in first.proposals))
    assert len({world.pairs[pair].method.name for pair in searched}) == len(searched)  # one size of each method
    second = world.round([measured(world, each) for each in first.proposals])
    trained = [each for each in second.proposals if each.place.pair not in searched]
    assert trained and all(each.purpose == "train" for each in trained)


def test_a_carried_rate_is_checked_where_that_costs_least():
    world = pursuit(known=False)
    by_name = {(pair.model.name, pair.method.name): i for i, pair in enumerate(world.pairs)}
    small, large = by_name["nano-25k", "full"], by_name["nano-340k", "full"]
    tried = [
        Tried(Place(small, BUDGETS[0]), lr, 0, loss) for lr, loss in zip(RATES["full"], (1.2, 1.1, 1.2), strict=True)
    ]
    carried = world.rate(large, tried)
    tried.append(Tried(Place(large, BUDGETS[3]), carried, 0, 0.2))
    checked = [each for each in world.round(tried).proposals if each.place.pair == large and each.purpose == "search"]
    assert {each.place.budget for each in checked} == {BUDGETS[0]}
    assert sorted(each.lr for each in checked) == pytest.approx([carried / 3, carried, carried * 3], rel=0.01)
    poor = replace(world, aim=replace(world.aim, limit=BUDGETS[0] * 20))  # three trials are more than a tenth of it
    assert not [each for each in poor.round(tried).proposals if each.place.pair == large and each.purpose == "search"]


def test_a_search_goes_beyond_its_end_while_that_is_cheap():
    world = pursuit(known=False)
    falling = zip(RATES["full"], (1.2, 1.1, 0.2), strict=True)  # the best at the end, and full tuning the likely best
    tried = [Tried(Place(0, BUDGETS[0]), lr, 0, loss) for lr, loss in falling]

    def beyond(limit: float) -> list[float]:
        here = replace(world, aim=replace(world.aim, limit=limit))
        return [each.lr for each in here.round(tried).proposals if each.place.pair == 0 and each.purpose == "search"]

    assert beyond(BUDGETS[0] * 13) == [0.027]
    assert beyond(BUDGETS[0] * 9) == []  # more than a tenth of the spend


def test_trials_of_a_trunk_cost_what_they_add():
    world = pursuit()
    lr = world.rates[0]
    alone, longer = Tried(Place(0, 1e11), lr, 0, 0.0), Tried(Place(0, 2e11), lr, 0, 0.0)
    other_seed = replace(longer, seed=1)
    shared = world.shared[1] / world.steps[2] * 2e11  # up to the cooldown of the shorter one
    assert world.spent([longer, alone]) == pytest.approx(3e11 - shared)
    assert world.spent([alone, other_seed]) == pytest.approx(3e11)


def test_what_another_rate_cost_is_taken_off_where_only_it_was_tried():
    world = pursuit(known=False)
    small, large = Place(0, 1e11), Place(0, 4e11)
    tried = [Tried(small, 1e-3, 0, 1.2), Tried(small, 3e-3, 0, 1.0), Tried(large, 1e-3, 0, 0.9)]
    recorded = world.recorded(tried)
    assert dict(zip(recorded.place.tolist(), recorded.log_loss.tolist(), strict=True)) == pytest.approx(
        {1: 1.0, 3: 0.7}
    )
    lost = world.recorded([*tried, Tried(small, 9e-3, 0, None)])
    assert (lost.place == recorded.place).all() and (lost.log_loss == recorded.log_loss).all()


def test_it_stops_by_regret_by_spend_and_where_nothing_is_worth_it():
    unseen = pursuit(regret=1e3)  # of other data than the laws': something is tried
    first = unseen.round([])
    done = [measured(unseen, each) for each in first.proposals]
    assert first.proposals and "regret fell" in unseen.round(done[:1]).stop
    assert "used up" in replace(unseen, aim=replace(unseen.aim, regret=0.0, limit=first.cost)).round(done).stop
    assert "too small" in pursuit(limit=1e10).round([]).stop
    assert "no trial is worth" in pursuit(thrift=1e6).round([]).stop
    none_open = replace(pursuit(), searched={}, rates={}, open_places=(), flops=np.zeros(0), steps=np.zeros(0))
    assert "3e+12 FLOP is too small" in none_open.round([]).stop


def test_what_allows_one_trial_is_not_spent_for_it_compares_nothing():
    cheapest = BUDGETS[0]
    assert pursuit(limit=1.9 * cheapest).round([]).proposals == ()
    first = pursuit(limit=2 * cheapest).round([]).proposals
    assert len({each.place for each in first}) == 2
    assert len(pursuit(limit=2 * cheapest, together=1).round([]).proposals) == 1


def test_evidence_that_is_wrong_is_outgrown_and_said():
    laws = book()
    turned = [
        replace(
            law,
            draws=tuple(
                scaled(draw, {name: 2.0 ** (1 if (i + j) % 2 else -1) for j, name in enumerate(draw.factors)})
                for draw in law.draws
            ),
        )
        for i, law in enumerate(laws.laws)
    ]
    world = pursuit(replace(laws, laws=tuple(turned)))
    own = {(pair.model.name, pair.method.label): pair for pair in pursuit().pairs}
    tried: list[Tried] = []
    while (now := world.round(tried)).proposals:
        for each in now.proposals:
            pair = world.pairs[each.place.pair]
            loss = truth(own[pair.model.name, pair.method.label], each.place.budget)
            tried.append(Tried(each.place, each.lr, each.seed, loss))
    losses = [truth(own[world.pairs[i].model.name, world.pairs[i].method.label], GOAL) for i in world.goals]
    given_away = np.exp(losses[now.standing.chosen] - min(losses)) - 1
    assert given_away < 0.02 or now.contradicted
