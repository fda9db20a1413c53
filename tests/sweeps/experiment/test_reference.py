"""The reference of the sweep file is that of today's records, and its schema takes what the reader takes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sweeps.experiment import reference
from sweeps.experiment.keys import REQUIRED, tables
from sweeps.experiment.recipe_file import read_recipe
from sweeps.experiment.record_reference import PAGES, recipe_page
from sweeps.experiment.sweep_file import read_sweep

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))
SWEEPS = [path for path in EXAMPLES if "budgets" in tomllib.loads(path.read_text())]
STALE = "the records of a sweep file have changed: run python -m sweeps.experiment.reference"
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}


def test_the_written_reference_is_that_of_todays_records():
    assert reference.page() == reference.PAGE.read_text(encoding="utf-8"), STALE
    for name, page in PAGES.items():
        assert page() == (reference.DOCS / name).read_text(encoding="utf-8"), STALE
    assert reference.schema() == json.loads(reference.SCHEMA.read_text(encoding="utf-8")), STALE


def test_the_recipe_of_the_reference_is_one(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", recipe_page(), re.DOTALL)
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    trial = read_recipe(path)
    assert (trial.model, trial.steps, trial.training.batch_size) == ("nano-340k", 83, 32)


def test_every_key_says_what_it_is():
    keys = [key for table in tables() for key in table.keys]
    assert len(keys) > 60
    for key in keys:
        assert key.meaning.endswith((".", "; positive.")) and key.kind and key.default, key


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is one of the schema, by the keywords that ours has."""
    known = {"type", "anyOf", "enum", "minimum", "items", "minItems", "properties", "required", "additionalProperties"}
    assert set(schema) <= known | {"description", "title", "$schema"}
    if "type" in schema and (
        not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        return False
    checks = [any(fits(value, one) for one in schema["anyOf"])] if "anyOf" in schema else []
    checks += [value in schema["enum"]] if "enum" in schema else []
    checks += [value >= schema["minimum"]] if "minimum" in schema else []
    if isinstance(value, list):
        checks += [len(value) >= schema.get("minItems", 0), *(fits(item, schema.get("items", {})) for item in value)]
    if isinstance(value, dict):
        more, named = schema.get("additionalProperties", True), schema.get("properties", {})
        checks += [set(schema.get("required", ())) <= set(value)]
        for name, item in value.items():
            checks.append(fits(item, named[name]) if name in named else more is not False)
            checks += [fits(item, more)] if name not in named and isinstance(more, dict) else []
    return all(checks)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_schema_takes_every_example(path):
    assert fits(tomllib.loads(path.read_text()), reference.schema())


HEAD = 'suite = "nano"\nbudgets = [1e11]\n'
FULL = '[[methods]]\nname = "full"\nlr = 1e-3\n'


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (HEAD + FULL, True),
        (HEAD + FULL + '[training]\nbatch_size = [16, 32]\nquery_prompt = ["", "query: "]\n', True),
        (HEAD + FULL.replace("lr = 1e-3", "lr_search = { low = 1e-3, high = 1e-1, trials = 8 }"), True),
        (HEAD + '[[methods]]\nname = "lora"\nrank = [8, 32]\nonly = "q_proj,v_proj"\nlr = { nano-25k = 1.0 }\n', None),
        (HEAD + FULL + "[training]\npool_size = [16, 32]\n", False),
        (HEAD + FULL + "[training]\nbatch_size = 'x'\n", False),
        (HEAD + FULL + "[training]\nbatch_size = 0\n", False),
        (HEAD + FULL + "[training]\nbatchsize = 8\n", False),
        (HEAD + FULL + "lr_serach = [1e-3]\n", False),
        (HEAD + '[[methods]]\nname = "ful"\nlr = 1e-3\n', False),
        (HEAD + FULL + "[racing]\nmargin = 0.1\nbudgets = 3\n", False),
        (HEAD + FULL + "spanned = []\n", False),
        (HEAD, False),
        (FULL + "budgets = [1e11]\n", False),
        ("budgets = [1e11]\n" + FULL, False),
    ],
)
def test_the_schema_takes_what_the_reader_takes(tmp_path, text, taken):
    """None: the reader refuses it for its values, of which the schema knows nothing."""
    (tmp_path / "sweep.toml").write_text(text)
    assert fits(tomllib.loads(text), reference.schema()) is (taken is not False)
    if taken:
        read_sweep(tmp_path / "sweep.toml")
    else:
        with pytest.raises(ValueError, match=r"sweep\.toml: "):
            read_sweep(tmp_path / "sweep.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[training]\nmax_epochs = 4\n",
            "training has no key 'max_epochs' (meant at the top of the file?); known: data",
        ),
        ("batch_size = 8\n", "the file has no key 'batch_size' (meant in [training]?); known: suite"),
        ("rank = 8\n", "the file has no key 'rank' (meant in a [[methods]] table?)"),
        ("margin = 0.1\n", "(meant in [training] or in [racing]?)"),
        ("prune = true\n", "(meant in the table lr_search of [[methods]]?)"),
    ],
)
def test_a_key_in_the_wrong_table_is_told_where_it_stands(tmp_path, text, said):
    (tmp_path / "sweep.toml").write_text((text + HEAD + FULL) if "[" not in text else HEAD + text + FULL)
    with pytest.raises(ValueError, match=r"sweep\.toml: ") as caught:
        read_sweep(tmp_path / "sweep.toml")
    assert said in str(caught.value)


def test_what_the_schema_requires_is_what_the_reference_calls_required():
    required = {table.title: {key.name for key in table.keys if key.default == REQUIRED} for table in tables()}
    assert required[""] == {"methods"} and required["[[methods]]"] == {"name"}
    assert not required["[training]"]
