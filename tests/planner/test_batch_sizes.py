"""A plan takes the best batch size that a law knows, says where it comes from, and the regret of another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner import Limits, plan
from planner.batch_law import Balanced, BatchLaw
from planner.batch_sizes import CHOICES, lent
from planner.frontier import crossovers
from support.known_laws import FULL, LORA, law_book, method_law

TERM = Balanced(k=0.08, q=0.4, s=0.12)
BATCH = BatchLaw(TERM, tuple(replace(TERM, k=0.08 + i / 2000) for i in range(20)), (8, 64, 512), (1e5, 1e8), "sizes")
OF_ONE = law_book(method_law(FULL, {"name": "full"}), method_law(LORA, {"name": "lora", "rank": 8}))
OF_SEVERAL = law_book(
    method_law(FULL, {"name": "full"}, batch=BATCH), method_law(LORA, {"name": "lora", "rank": 8}, batch=BATCH)
)


def losses_by_batch(budget):
    sizes = {size: plan(budget, laws=OF_SEVERAL, conditions={"batch_size": size}) for size in (8, 16, 32, 64, 128, 256)}
    return {size: answer.recipe.loss for size, answer in sizes.items()}


def test_the_batch_size_of_a_recipe_is_the_one_of_the_lowest_loss():
    recipe = plan(1e13, laws=OF_SEVERAL).recipe
    losses = losses_by_batch(1e13)
    best = min(losses, key=losses.__getitem__)
    assert recipe.trial.training.batch_size == best
    assert recipe.loss == pytest.approx(losses[best], rel=1e-9)
    assert recipe.batch.source.startswith("measured") and recipe.batch.given_away < 0.005


def test_larger_budgets_take_larger_batches_and_say_how_far_the_law_is_carried():
    limits = Limits(max_steps=10**9)
    recipes = [plan(budget, laws=OF_SEVERAL, limits=limits, top=1).recipe for budget in (1e12, 1e14, 1e16)]
    sizes = [recipe.trial.training.batch_size for recipe in recipes]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert all(size in CHOICES for size in sizes)
    assert "extrapolated" in recipes[-1].batch.source


def test_a_batch_size_that_is_asked_for_stays_and_is_held_against_the_best():
    answer = plan(1e13, laws=OF_SEVERAL, conditions={"batch_size": 8})
    recipe = answer.recipe
    assert recipe.trial.training.batch_size == 8 and recipe.batch.source == "as asked"
    assert recipe.batch.given_away > 0.005
    assert "batch-size" in [warning.code for warning in answer.warnings]
    assert "other-conditions" not in [warning.code for warning in answer.warnings]
    assert recipe.to_json()["batch_given_away"] == recipe.batch.given_away


def test_another_temperature_is_told_to_go_by_what_the_law_goes_by():
    several, one = (
        {warning.code: warning.text for warning in plan(1e13, laws=book, conditions=asked).warnings}["other-conditions"]
        for book, asked in (
            (OF_SEVERAL, {"temperature": 0.5}),
            (replace(OF_ONE, training=replace(OF_ONE.training, data="mine.jsonl")), {"temperature": 0.5}),
        )
    )
    assert "from the pairs and the batch size alone" in several
    assert "from the number of steps alone" in one


def test_a_batch_size_that_was_asked_for_is_nobody_elses():
    asked = plan(1e19, laws="ziarko2024", top=1, conditions={"batch_size": 4096}).provenance["batch_size"]
    assert asked.startswith("as asked; our own runs (sweep batch)")
    assert plan(1e19, laws="ziarko2024", top=1).provenance["batch_size"].startswith("published, in Ziarko")


def test_no_recipe_has_more_steps_than_allowed_where_a_larger_batch_has_fewer():
    free = plan(1e15, laws=OF_SEVERAL, models=["nano-4.7m"]).recipe
    most = free.trial.steps // 3
    recipe = plan(1e15, laws=OF_SEVERAL, limits=Limits(max_steps=most), models=["nano-4.7m"]).recipe
    assert most / 2.1 <= recipe.trial.steps <= most


def test_few_pairs_make_small_batches():
    recipe = plan(1e13, laws=OF_SEVERAL, limits=Limits(max_pairs=3000, max_epochs=1)).recipe
    assert recipe.trial.steps >= 50 and recipe.trial.pairs <= 3000


def test_a_book_of_one_batch_size_takes_the_worth_of_others_from_one_of_several():
    one, several = lent([OF_ONE, OF_SEVERAL])
    assert several is OF_SEVERAL
    assert {law.batch.own for law in one.laws} == {OF_ONE.training.batch_size}
    law = one.laws[0]
    own = law.at_batch(OF_ONE.training.batch_size).law
    assert own.loss(1e5, 1e7) == pytest.approx(OF_ONE.laws[0].law.loss(1e5, 1e7), rel=1e-9)
    assert law.at_batch(64).weights == law.weights


def test_books_of_other_data_keep_their_batch_size():
    other = replace(OF_ONE, training=replace(OF_ONE.training, data="mine.jsonl"))
    assert lent([other, OF_SEVERAL])[0] is other


def test_crossovers_are_of_methods_each_with_its_best_batch():
    answer = plan(1e13, laws=OF_SEVERAL)
    assert isinstance(crossovers(answer.considered, 1e11, 1e15), list)
    assert all(each.at(1e13).batch_size in CHOICES for each in answer.considered)


def test_a_published_batch_size_stays_and_is_halved_only_for_steps_enough():
    large = plan(1e19, laws="ziarko2024", top=1).recipe
    assert large.trial.training.batch_size == 1024 and large.batch.source == "published"
    small = plan(1e15, laws="ziarko2024", top=1).recipe
    assert small.trial.steps >= 1000 and small.trial.training.batch_size < 1024
    assert "published 1,024, reduced" in small.batch.source
