"""Settings between those measured, by a law in the trained share."""

import pytest

from planner.answer import Plan
from planner.law_file import read_laws
from planner.laws import Chinchilla, TrainableShare
from planner.recipe import plan
from planner.settings import with_settings_between
from support.known_laws import EVERYWHERE, FULL, law_book, method_law, write_laws
from support.ladder import NANO
from sweeps.models import PYTHIA

# Tuning the last quarter of the weights alone costs a lot of loss, tuning the first quarter too hardly saves any.
SHARES = TrainableShare(E=0.5, a_d=-0.1, b_d=30.0, alpha=0.3, a_s=400.0, b_s=4.0, c_s=300.0, beta=0.36)
SETTINGS = ({"name": "full"}, {"name": "freeze", "share": 0.34}, {"name": "freeze", "share": 0.84})
BOOK = law_book(*(method_law(SHARES, settings, spread=0.003, measured=EVERYWHERE) for settings in SETTINGS))
DEEP = PYTHIA[4]  # 24 blocks


def answer(**asked) -> Plan:
    return plan(1e16, laws=BOOK, models=[DEEP.name], top=50, **asked)


def test_every_number_of_frozen_blocks_between_those_measured_is_a_candidate():
    found = answer().candidates
    frozen = sorted(recipe.trial.method.frozen_blocks(DEEP) for recipe in found)
    assert frozen == list(range(21))  # 0 to 20, each once: 0.34 of 24 are 8, 0.84 are 20
    assert {recipe.trial.method.name for recipe in found} == {"full", "freeze"}


def test_the_recipe_is_the_realisable_setting_nearest_to_the_best_share():
    made = answer()
    best = made.recipe.trial.method
    losses = {recipe.trial.method.frozen_blocks(DEEP): recipe.loss for recipe in made.candidates}
    assert losses[best.frozen_blocks(DEEP)] == min(losses.values()) and 0 < best.frozen_blocks(DEEP) < 20
    told = made.provenance["trained share"]
    share = float(told.split()[0])
    assert abs(share - best.trainable(DEEP) / DEEP.params) < 1 / 24
    assert f"{best.label} trains" in told


def test_shallow_models_have_each_number_of_blocks_once():
    found = plan(1e13, laws=BOOK, models=["nano-100k"], top=50).candidates
    blocks = [recipe.trial.method.frozen_blocks(NANO[2]) for recipe in found]
    assert sorted(blocks) == list(range(NANO[2].layers))


def test_a_setting_that_was_not_measured_says_whose_rate_it_has_and_rests_on_all_runs():
    book = with_settings_between(BOOK, [DEEP])
    law = next(law for law in book.laws if law.label == "freeze share 0.5")
    assert law.rows == sum(law.rows for law in BOOK.laws)
    assert law.rates_from == "of freeze share 0.34, the nearest setting that was measured"


def test_ranks_go_by_powers_of_two():
    ranks = law_book(*(method_law(SHARES, {"name": "lora", "rank": rank}, seed=rank) for rank in (4, 30)))
    added = [law.method.rank for law in with_settings_between(ranks, [NANO[3]]).laws]
    assert added == [4, 30, 8, 16]


def test_laws_in_size_and_tokens_alone_and_different_methods_stay_as_they_are():
    plain = law_book(*(method_law(FULL, settings) for settings in SETTINGS))
    assert with_settings_between(plain, PYTHIA) is plain
    apart = law_book(method_law(SHARES, {"name": "lora", "rank": 8}), method_law(SHARES, {"name": "bias"}))
    assert with_settings_between(apart, PYTHIA) is apart
    assert "trained share" not in plan(1e16, laws=plain, models=[DEEP.name]).provenance


def test_factors_below_0_are_read_and_their_term_stays_above_it(tmp_path):
    assert read_laws(write_laws(tmp_path / "laws.json", BOOK)).laws[0].law.a_d == -0.1
    assert SHARES.loss(1e6, 1e200) == pytest.approx(0.5)
    assert isinstance(FULL, Chinchilla) and not FULL.signed
