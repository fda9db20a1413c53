"""The training temperature of a recipe: by the rule of a sweep of several, of the laws, of a paper, or as asked."""

from dataclasses import replace

import pytest

from planner.recipe import plan
from planner.temperature_rule import TemperatureRule
from planner.temperatures import lent_temperatures
from support.known_laws import FULL, LORA, law_book, method_law

RULE = TemperatureRule(
    runs="temperature",
    temperature=0.1,
    batch_size=24.0,
    exponent=0.2,
    covariance=((0.01, 0.0), (0.0, 0.001)),
    scatter=0.1,
    curves=18,
    tried=(0.02, 0.2),
    batches=(8.0, 128.0),
    given_away={"0.05": 0.02, "0.1": 0.001},
    by_scores={"ndcg@10": 0.07},
)


def recipe(rule: TemperatureRule | None = RULE, data: str = "python-env", **conditions):
    book = law_book(method_law(FULL, {"name": "full"}, temperature_rule=rule))
    book = replace(book, training=replace(book.training, data=data))
    return plan(1e13, laws=book, models=["nano-100k"], conditions={"batch_size": 64, **conditions}).recipe


def test_a_rule_gives_the_temperature_and_the_loss_is_read_at_that_of_the_laws():
    own = recipe()
    training = own.trial.training
    assert (
        training.temperature == pytest.approx(0.1 * (64 / 24) ** 0.2, abs=0.005) and training.loss_temperature == 0.05
    )
    assert own.temperature_source.startswith("measured (temperature, 18 curves)")
    assert "by ndcg@10 0.07" in own.temperature_source
    small = recipe(batch_size=8)
    assert small.trial.training.temperature == pytest.approx(0.1 * (8 / 24) ** 0.2, abs=0.005)


def test_the_temperature_of_the_laws_stays_where_it_may_be_the_best():
    unsure = replace(RULE, covariance=((0.5, 0.0), (0.0, 0.001)))
    training = recipe(unsure).trial.training
    assert training.temperature == 0.05 and training.loss_temperature is None
    assert "measured" in recipe(unsure).temperature_source


def test_beyond_the_batches_tried_the_temperature_is_that_of_the_nearest():
    far = recipe(batch_size=1024)
    assert far.trial.training.temperature == recipe(batch_size=128).trial.training.temperature
    assert "8x beyond those tried" in far.temperature_source


def test_without_a_rule_it_is_that_of_the_runs_and_what_was_asked_for_stays():
    elsewhere = {"rule": None, "data": "other.jsonl"}  # of which no bundled sweep tried temperatures
    assert recipe(**elsewhere).temperature_source == "default: as in the runs of known, which tried no other"
    asked = recipe(temperature=0.3)
    assert asked.trial.training.temperature == 0.3 and asked.trial.training.loss_temperature is None
    assert "as asked; best 0.1" in asked.temperature_source and "0.02 to 0.2 were tried" in asked.temperature_source
    assert "measured at 0.05 only" in recipe(**elsewhere, temperature=0.3).temperature_source


def test_laws_of_the_same_data_have_the_rule_of_the_bundled_sweep():
    own = recipe(None)
    assert own.trial.training.temperature == 0.05 and own.temperature_source.startswith("measured (temperature, 12 ")


def test_a_paper_has_its_own():
    published = plan(1e17).recipe
    assert published.trial.training.temperature == 0.025
    assert published.temperature_source.startswith("published: Ziarko")


def test_a_rule_is_lent_to_laws_of_the_same_data_by_method():
    lender = law_book(method_law(FULL, {"name": "full"}, temperature_rule=RULE))
    plain = law_book(method_law(FULL, {"name": "full"}), method_law(LORA, {"name": "lora", "rank": 8}))
    own, taken = lent_temperatures([lender, plain])
    assert own == lender and [law.temperature_rule for law in taken.laws] == [RULE, None]
    elsewhere = replace(plain, training=replace(plain.training, data="other.jsonl"))
    assert lent_temperatures([lender, elsewhere])[1] == elsewhere
