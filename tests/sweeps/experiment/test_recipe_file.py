"""recipe.toml: what is written is what is read, whatever the names hold."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import plan, report
from support.known_laws import law_book
from sweeps.experiment.recipe_file import read_recipe, recipe_text, write_recipe
from sweeps.methods import METHODS
from sweeps.models import find_model
from sweeps.support.toml_io import toml_value
from sweeps.trial import Training, Trial

EXAMPLE = Trial("nano-340k", METHODS["lora"](), Training(), 0.005, 120, 3, 1e12)
NAMES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_comes_back(name, tmp_path):
    trial = replace(EXAMPLE, method=METHODS[name]())
    write_recipe(tmp_path / "recipe.toml", trial, {"loss": 1.5, "low": None})
    assert read_recipe(tmp_path / "recipe.toml") == trial
    assert read_recipe(tmp_path / "recipe.toml").key == trial.key


@settings(max_examples=60)
@given(NAMES, NAMES, st.floats(1e-12, 1e3), st.floats(1, 1e25))
def test_names_and_numbers_come_back_to_the_last_bit(tmp_path_factory, model, data, lr, budget):
    trial = replace(EXAMPLE, model=model, training=Training(data=data), lr=lr, budget=budget)
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    write_recipe(path, trial, {data: model}, remarks=(data,))
    assert read_recipe(path) == trial


@settings(max_examples=60)
@given(st.one_of(NAMES, st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)))
def test_values_mean_the_same_in_toml(value):
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value
    assert tomllib.loads(f"x = {toml_value([value, value])}")["x"] == [value, value]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": None}, None])
def test_what_no_recipe_holds_is_refused(value):
    with pytest.raises(ValueError, match="cannot be written"):
        toml_value(value)


def test_a_plan_writes_a_recipe_that_is_its_trial(tmp_path):
    answer = plan(1e13, laws=law_book())
    report.write(answer, tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == answer.recipe.trial
    predicted = tomllib.loads((tmp_path / "recipe.toml").read_text())["predicted"]
    assert predicted["loss"] == answer.recipe.loss and predicted["interval"] == [answer.recipe.low, answer.recipe.high]


def test_whole_numbers_by_hand_are_the_same_trial(tmp_path):
    trial = replace(EXAMPLE, training=Training(clip=1.0))
    text = recipe_text(trial, {}).replace("clip = 1.0", "clip = 1").replace("alpha = 8.0", "alpha = 8")
    (tmp_path / "recipe.toml").write_text(text)
    assert read_recipe(tmp_path / "recipe.toml").key == trial.key


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("steps = 120", "steps = 0", "steps"),
        ("steps = 120", "steps = 1.5", "steps is 1.5"),
        ("steps = 120", "steps = true", "steps is True"),
        ("steps = 120\n", "", "lacks 'steps'"),
        ("lr = 0.005", "lr = nan", "lr is nan"),
        ("lr = 0.005", "lr = 'fast'", "lr is 'fast'"),
        ("seed = 3", "sede = 3", "no key 'sede' .meant 'seed'.*; known: model, method"),
        ('name = "lora"', 'name = "vera"', "'vera'; known: full, lora"),
        ("rank = 32", "rank = 0", "must be positive"),
        ("rank = 32", "ranks = 32", "no key 'ranks' .meant 'rank'.*; known: .*rank, alpha"),
        ("[training]", "[training]\nheads = 2", "no key 'heads'"),
        ("batch_size = 64", "batch_size = 1", "at least 2"),
        ("[method]", "[method", "not TOML"),
    ],
)
def test_bad_recipes_name_the_file_and_the_place(tmp_path, old, new, sentence):
    text = recipe_text(EXAMPLE, {})
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=sentence) as caught:
        read_recipe(tmp_path / "recipe.toml")
    assert str(caught.value).startswith(str(tmp_path / "recipe.toml"))


def test_a_recipe_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe(path, EXAMPLE, {})
    before = path.read_text()
    with pytest.raises(ValueError, match="cannot be written"):
        write_recipe(path, EXAMPLE, {"loss": float("nan")})
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_the_ready_recipe_fits_its_model():
    trial = read_recipe(Path(__file__).parents[3] / "examples" / "small-lm-sts.toml")
    assert not trial.method.refusal(find_model(trial.model))
    assert [linear.name for linear in trial.method.adapted(find_model(trial.model))] == ["q_proj", "v_proj"]
    assert trial.method.alpha / trial.method.rank**0.5 == pytest.approx(32 / 8, rel=0.01)  # the published scale
