"""Sweep files and recipes come from anybody: what is wrong is said in one sentence, and nothing else happens."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.toy_sweeps import DATA, SWEEP, toy_main
from sweeps import cli
from sweeps.commands import conduct
from sweeps.experiment.grid import cells
from sweeps.experiment.recipe_file import read_recipe
from sweeps.experiment.sweep_file import MOST_CELLS, read_sweep
from sweeps.models import read_model
from sweeps.search.sweep_state import plan_next
from sweeps.support.toml_io import DEEPEST, MOST_BYTES, toml_value
from sweeps.trial import Training

VALID = {
    "models": ["nano-25k", "nano-100k"],
    "budgets": [1e11, 3e11],
    "seeds": [0, 1],
    "min_steps": 10,
    "max_epochs": 2.0,
    "flops": "exact",
    "training": {"batch_size": 32, "temperature": 0.05, "pooling": "mean", "warmup_steps": 5, "data": "python-env"},
    "racing": {"margin": 0.1, "from_budgets": 2},
    "methods": [
        {"name": "full", "lr": {"nano-25k": 1e-3, "nano-100k": 2e-3}},
        {"name": "lora", "rank": [8, 32], "alpha": 8.0, "lr_search": [1e-3, 1e-2]},
        {"name": "bias", "lr_search": {"low": 1e-3, "high": 0.1, "trials": 4, "together": 2}},
        {"name": "freeze", "share": 0.5, "lr": 1e-3},
    ],
}
RECIPE = {
    "model": "nano-25k",
    "lr": 1e-3,
    "steps": 100,
    "seed": 0,
    "budget": 1e11,
    "method": {"name": "lora", "rank": 8},
    "training": {"batch_size": 32},
    "predicted": {"loss": 1.0},
}
NASTY = [
    "",
    "../../outside",
    "/etc/passwd",
    "/dev/zero",
    "$(touch owned)",
    "; rm -rf .",
    "a\x00b",
    "\x1b[31m",
    "<b>",
    "é" * 999,
]
VALUES = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=20),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 10**30, 1e308, -1e308, 5e-324, 0.0, -0.0]),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.lists(st.sampled_from([1, 1, 2.5, "x", [], {}]), max_size=3),
    st.dictionaries(st.sampled_from(["low", "high", "trials", "name", "lr", "x", "a.b"]), st.floats(), max_size=3),
)


def text_of(table: dict) -> str:
    """TOML with every value in one line; non-finite numbers as TOML writes them."""

    def value(item) -> str:
        if isinstance(item, float):
            return repr(item)
        if isinstance(item, dict):
            return f"{{ {', '.join(f'{toml_value(key)} = {value(inner)}' for key, inner in item.items())} }}"
        return f"[{', '.join(map(value, item))}]" if isinstance(item, list) else toml_value(item)

    return "".join(f"{toml_value(key)} = {value(item)}\n" for key, item in table.items())


def places(value, path=()):
    """Paths to everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def mutated(draw, valid: dict):
    """A valid table with a few values replaced, taken away, doubled or added."""
    table = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(places(table)) or [("budgets",)]))
        parent = table
        for key in way:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "delete", "double", "add"]))
        if change == "replace":
            parent[last] = draw(VALUES)
        elif change == "delete":
            parent.pop(last, None) if isinstance(parent, dict) else parent.pop(last)
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]) if change == "double" else draw(VALUES))
        else:
            parent[draw(st.sampled_from(["rnak", "lr", "data_hash", "x" * 200, "../x"]))] = draw(VALUES)
    return table


def refusal(act) -> str | None:
    """What its ValueError says; None when there is none. Every other error is one of the test."""
    try:
        act()
    except ValueError as error:
        return str(error)
    return None


def only_a_value_error(read, path: Path) -> None:
    """Reading gives what can be planned with, or one ValueError of a bearable length; nothing is written."""
    before = sorted(os.listdir(path.parent))
    said = refusal(lambda: read(path))
    assert said is None or (said.startswith(f"{path}: ") and len(said) < 3000 + len(str(path)))
    assert sorted(os.listdir(path.parent)) == before


def plan(path: Path) -> None:
    sweep = read_sweep(path)
    said = refusal(lambda: plan_next(sweep, DATA, []))
    assert said is None or "training.warmup_steps is" in said  # known only with the data, so without the file's name


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=mutated(VALID))
def test_a_mutated_sweep_file_is_planned_or_refused(tmp_path, table):
    (tmp_path / "sweep.toml").write_text(text_of(table))
    only_a_value_error(plan, tmp_path / "sweep.toml")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=mutated(RECIPE))
def test_a_mutated_recipe_is_read_or_refused(tmp_path, table):
    (tmp_path / "recipe.toml").write_text(text_of(table))
    only_a_value_error(read_recipe, tmp_path / "recipe.toml")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), cut=st.integers(0, 40), new=st.binary(max_size=12), recipe=st.booleans())
def test_damaged_bytes_are_read_or_refused(tmp_path, at, cut, new, recipe):
    text = text_of(RECIPE if recipe else VALID).encode()
    place = round(at * len(text))
    (tmp_path / "file.toml").write_bytes(text[:place] + new + text[place + cut :])
    only_a_value_error(read_recipe if recipe else plan, tmp_path / "file.toml")


def test_the_examples_of_these_tests_are_valid(tmp_path):
    (tmp_path / "sweep.toml").write_text(text_of(VALID))
    (tmp_path / "recipe.toml").write_text(text_of(RECIPE))
    assert len(cells(read_sweep(tmp_path / "sweep.toml"), DATA)) == 2 * 5 * 2 * 2
    assert read_recipe(tmp_path / "recipe.toml").training == Training(batch_size=32)


DEEP = "[" * 40 + "]" * 40
NAMED = [
    ({"models": ["$(touch owned)"]}, "models[0]: model is '$(touch owned)': neither a folder nor one of"),
    ({"models": ["../no/such"]}, "models[0]: model is '../no/such'"),
    ({"models": ["/dev/zero"]}, "models[0]: /dev/zero: is a device; it must be a file"),
    ({"budgets": [10**400]}, "budgets[0] is 1000"),
    ({"budgets": [2**63]}, "budgets[0] is 9223372036854775808; whole numbers go up to 2^63 - 1"),
    ({"budgets": [float("inf")]}, "budgets[0] is inf; it must be finite"),
    ({"max_epochs": float("nan")}, "max_epochs is nan"),
    (
        {"methods": [{"name": "lora", "rank": list(range(1, 400)), "alpha": list(range(1, 400)), "lr": 1}]},
        "methods[0] spans",
    ),
    ({"seeds": list(range(10_000))}, f"the grid spans 200,000 places; at most {MOST_CELLS:,}"),
    ({"methods": [{"name": "full", "lr": 1}] * 2}, "methods names 'full' twice"),
    ({"methods": [{"name": "lora", "rnak": 8, "lr": 1}]}, "methods[0] has no key 'rnak' (meant 'rank'?)"),
    ({"methods": [{"name": "full", "lr_search": {"low": 1, "high": 0.1, "trials": 3}}]}, "it must be low below high"),
    ({"methods": [{"name": "full", "lr_search": {"low": 1, "hihg": 2}}]}, "no key 'hihg' (meant 'high'?)"),
    ({"methods": [{"name": "full", "lr_search": {"low": 1, "high": 2}}]}, "methods[0].lr_search.trials is None"),
    (
        {"methods": [{"name": "full", "lr_search": {"low": 0.1, "high": 1, "trials": 1}}]},
        "a whole number of at least 2",
    ),
    ({"racing": {"margni": 1}}, "racing has no key 'margni' (meant 'margin'?)"),
    ({"racing": {"from_budgets": 1}}, "racing.from_budgets is 1; it must be a whole number of at least 2"),
    ({"racing": True}, "racing is True; it must be a table"),
    ({"training": {"data": "x" * 20_000}}, "training.data has a text of 20,000 characters"),
    ({"x" * 5000: 1}, "the file has no key 'xxx"),
]


@pytest.mark.parametrize(("change", "said"), NAMED)
def test_what_is_absurd_is_named_with_its_place(tmp_path, change, said):
    path = tmp_path / "sweep.toml"
    path.write_text(text_of(VALID | change))
    with pytest.raises(ValueError, match=r"^/") as caught:
        read_sweep(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert len(str(caught.value)) < 2000 + len(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 100_000, "nested too deeply"),
        (f"x = {DEEP}", f"is nested more than {DEEPEST} tables and lists deep"),
        (".".join(["a"] * 5000) + " = 1", f"is nested more than {DEEPEST} tables and lists deep"),
        ("# " + "x" * MOST_BYTES, "is larger than 1,000,000 bytes"),
        ("x = " + "9" * 5000, "not TOML"),
        ("x = 1\nx = 2", "not TOML"),
    ],
)
@pytest.mark.parametrize("read", [read_sweep, read_recipe])
def test_huge_and_deep_files_are_refused(tmp_path, read, text, said):
    (tmp_path / "file.toml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "file.toml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 10**12}, "steps is 1000000000000; it must be a whole number between 1 and 1,000,000,000"),
        ({"steps": 1.5}, "steps is 1.5; it must be a whole number between 1 and"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan; it must be finite"),
        ({"metod": {}}, "has no key 'metod' (meant 'method'?)"),
        ({"method": {"name": ["lora"]}}, "method: "),
        ({"method": {"name": "lora", "rank": [8]}}, "method: lora.rank is [8]"),
        ({"model": 3}, "model is 3; it must be a name"),
        ({"seed": 10**30}, "seed is 1000"),
    ],
)
def test_what_is_absurd_in_a_recipe_is_named(tmp_path, change, said):
    path = tmp_path / "recipe.toml"
    path.write_text(text_of(RECIPE | change))
    with pytest.raises(ValueError, match=r"^/") as caught:
        read_recipe(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"model_type": []}',
        '{"text_config": [1], "model_type": "x"}',
        '{"model_type": "llama"}',
        "9" * 5000,
        "[]",
    ],
)
def test_a_hostile_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json|model_type|" + tmp_path.name):
        read_model(tmp_path)
    shape = dict.fromkeys(["num_hidden_layers", "hidden_size", "num_attention_heads"], 10**400)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **shape}))
    with pytest.raises(ValueError, match="must be a positive whole number"):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["..toml", "...toml"])
def test_no_name_of_a_file_leads_out_of_the_results(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(SWEEP)
    assert toy_main(["run", name]) == 2
    assert "no folder for the sweep follows" in capsys.readouterr().err and os.listdir(tmp_path) == [name]


def test_what_is_refused_runs_nothing_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a; touch owned.toml").write_text(text_of(VALID | {"models": ["`touch owned`"]}))
    with mock.patch.object(conduct, "prepare", side_effect=AssertionError):
        assert cli.main(["run", "a; touch owned.toml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and os.listdir(tmp_path) == ["a; touch owned.toml"]


def test_a_name_with_shell_characters_is_only_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("$(touch owned).toml").write_text(SWEEP)
    assert toy_main(["run", "$(touch owned).toml"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["$(touch owned).toml", "results"]
    assert os.listdir("results") == ["$(touch owned)"]
