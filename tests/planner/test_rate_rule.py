"""A rule of learning rates: what a law file may hold of it, and what a recipe takes from it."""

import json
import math
import re
from dataclasses import replace

import pytest

from planner.law_file import read_laws
from planner.rate_rule import RateRule, read_rate_rule
from planner.recipe import plan
from support.known_laws import FULL, LORA, TRAINING, law_book, method_law, write_laws
from support.ladder import NANO

RULE = RateRule(
    rate=2e-3,
    at={"params": 1e5, "batch_size": 24.0},
    exponents={"params": -0.3, "batch_size": 0.4},
    covariance=((0.01, 0.0, 0.0), (0.0, 0.0025, 0.0), (0.0, 0.0, 0.01)),
    scatter=0.2,
    searches=20,
    ranges={"params": (7e3, 5e6), "batch_size": (8.0, 512.0)},
    tried={"nano-100k": {"64": 5e-3}},
    left_out={"searches": 20.0, "median_factor": 1.3},
)
RANKED = RateRule(
    rate=4e-3,
    at={"params": 1e5, "batch_size": 24.0, "rank": 8.0},
    exponents={"params": -0.2, "batch_size": 0.4, "rank": -0.25},
    covariance=tuple(tuple(0.01 * (i == j) for j in range(4)) for i in range(4)),
    scatter=0.2,
    searches=20,
    ranges={"params": (7e3, 5e6), "batch_size": (64.0, 64.0), "rank": (2.0, 32.0)},
)
BOOK = law_book(
    method_law(FULL, {"name": "full"}, rate_rule=RULE),
    method_law(LORA, {"name": "lora", "rank": 8, "alpha": 8.0}, seed=1, rate_rule=RANKED),
)

# Laws of other data than the bundled sweep of batch sizes: it lends them nothing.
BOOK = replace(BOOK, training=replace(TRAINING, data="mine.jsonl"))


def recipe(model: str, **asked):
    asked["conditions"] = {"batch_size": 64, **asked.get("conditions", {})}  # else a bundled sweep chooses it
    return plan(1e13, laws=BOOK, models=[model], **asked).recipe


def test_a_model_and_batch_that_were_tried_keep_their_rate():
    assert recipe("nano-100k", methods=["full"]).trial.lr == 5e-3
    assert "measured" in recipe("nano-100k", methods=["full"]).lr_source


def test_any_other_model_or_batch_gets_that_of_the_rule_with_an_interval():
    other = recipe("nano-340k", methods=["full"])
    model = NANO[3]
    wanted = 2e-3 * (model.params / 1e5) ** -0.3 * (64 / 24) ** 0.4
    assert other.trial.lr == pytest.approx(wanted) and "rule of 20 searches" in other.lr_source
    low, high = other.lr_interval
    assert low < wanted < high and high / low == pytest.approx(math.exp(2 * 1.645 * RULE.predict(model.params, 64)[1]))
    larger = recipe("nano-100k", methods=["full"], conditions={"batch_size": 256})
    assert larger.trial.lr == pytest.approx(2e-3 * (NANO[2].params / 1e5) ** -0.3 * (256 / 24) ** 0.4)
    assert recipe("nano-340k", methods=["full"], lr=1e-3).lr_interval is None


def test_what_lies_beyond_the_searches_is_said():
    far = recipe("nano-100k", methods=["full"], conditions={"batch_size": 1024})
    assert "2x beyond the batch sizes searched" in far.lr_source
    assert "beyond" not in recipe("nano-340k", methods=["full"]).lr_source
    assert (
        "its exponent of B is assumed"
        in recipe("nano-100k", methods=["lora"], conditions={"batch_size": 256}).lr_source
    )
    assert "assumed" not in recipe("nano-100k", methods=["lora"]).lr_source


def test_rates_of_laws_without_a_rule_follow_the_batch_size_by_an_assumed_power():
    rates = {"nano-100k": 1e-3}
    book = law_book(method_law(FULL, {"name": "full"}, learning_rates=rates, rates_batch=64))
    same, larger = (
        plan(1e13, laws=book, models=["nano-100k"], conditions={"batch_size": size}).recipe for size in (64, 1024)
    )
    assert same.trial.lr == 1e-3 and "B /" not in same.lr_source
    assert larger.trial.lr == pytest.approx(2e-3) and "(B / 64)^0.25, assumed" in larger.lr_source


def test_warm_up_and_weight_decay_are_told_with_whose_they_are():
    answer = plan(1e13, laws=BOOK, models=["nano-100k"], methods=["full"])
    told = answer.provenance["schedule, weight decay"]
    assert f"{round(0.1 * answer.recipe.trial.steps):,} steps of warm-up" in told and "weight decay 0.1" in told
    assert "those of the runs of known" in told and "as asked" not in told
    other = plan(1e13, laws=BOOK, models=["nano-100k"], conditions={"schedule": "cosine", "weight_decay": 0.0})
    assert "but for schedule, weight_decay, as asked" in other.provenance["schedule, weight decay"]
    assert any("weight decay (0.1) matters little" in fact.text for fact in plan(1e16, laws=BOOK, suite="pythia").facts)


def test_a_rule_is_kept_by_a_law_file(tmp_path):
    again = read_laws(write_laws(tmp_path / "laws.json", BOOK))
    assert [law.rate_rule for law in again.laws] == [RULE, RANKED]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rate": -1}, "rule.rate is -1; it must be between"),
        ({"scatter": "wide"}, "rule.scatter is 'wide'"),
        ({"exponents": {"params": -0.3, "colour": 1}}, "rule.exponents, a name in which is 'colour'"),
        ({"at": {"params": 1e5}}, "rule.at"),
        ({"at": {"params": 0, "batch_size": 24}}, "rule.at.params is 0"),
        ({"covariance": [[1, 0], [0, 1]]}, "3 rows of 3 numbers"),
        ({"covariance": [[1, 0, 0], [0, 1, 0], [0, 0, None]]}, "rule.covariance"),
        ({"covariance": [[1, 0, 0], [0, 1, 0], [0, 0, 1e18]]}, "it must be between -1e+06 and 1e+06"),
        ({"ranges": {"params": [5, 2], "batch_size": [8, 8]}}, "rule.ranges.params"),
        ({"tried": {"nano-7k": {"eight": 1e-3}}}, "rule.tried.nano-7k, a batch size in which is 'eight'"),
        ({"tried": {"nano-7k": {"8": 1e5}}}, "rule.tried.nano-7k.8 is 100000.0"),
        ({"more": 1}, "rule"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(change, reason):
    content = {**json.loads(json.dumps(RULE.to_json())), **change}
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_rate_rule(content, "rule")


def test_a_rule_of_one_batch_size_takes_the_power_of_a_sweep_of_several():
    taken = RANKED.with_batches_of(replace(RULE, exponents={"params": -0.3, "batch_size": 0.55}), "sizes")
    assert taken.exponents == {**RANKED.exponents, "batch_size": 0.55}
    assert taken.ranges["batch_size"] == RULE.ranges["batch_size"]
    assert taken.covariance[2][2] == RULE.covariance[2][2] and taken.predict(1e5, 24, 8)[0] == pytest.approx(
        RANKED.rate
    )
    assert RULE.with_batches_of(RANKED, "one") is RULE
    book = replace(BOOK, laws=(replace(BOOK.laws[1], rate_rule=taken),))
    text = plan(1e13, laws=book, models=["nano-100k"], conditions={"batch_size": 256}).recipe.lr_source
    assert "exponent of B from sizes" in text and "assumed" not in text


def test_a_rate_of_which_nothing_is_known_has_an_end():
    """The widest rule that a file may hold is asked far away from what it was fitted to."""
    wild = {"covariance": [[1e6, 0, 0], [0, 1e6, 0], [0, 0, 1e6]], "exponents": {"params": 5.0, "batch_size": 5.0}}
    rule = read_rate_rule({**RULE.to_json(), "rate": 100.0, "at": {"params": 1e-3, "batch_size": 1e-3}, **wild}, "rule")
    rate, sd = rule.predict(1e13, 1e9)
    assert math.isfinite(rate * math.exp(1.645 * sd)) and sd == 50
