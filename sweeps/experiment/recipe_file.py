"""recipe.toml: one trial as a file that `plan` writes and `embed train` reads, what is predicted of it beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sweeps.experiment.model_hash import model_hash
from sweeps.experiment.sources import with_sources
from sweeps.methods import Method, make_method
from sweeps.support.atomic import write_text
from sweeps.support.checks import from_table, is_number, known_keys, number, require, whole
from sweeps.support.paths import located
from sweeps.support.toml_io import comments, lines, read_checked
from sweeps.trial import MOST_STEPS, Training, Trial


def write_recipe(path: Path, trial: Trial, predicted: Mapping[str, Any], remarks: tuple[str, ...] = ()) -> None:
    """The recipe at `path`, replaced whole or not at all. `remarks` become comments at its top."""
    write_text(path, recipe_text(trial, predicted, remarks))


def recipe_text(trial: Trial, predicted: Mapping[str, Any], remarks: tuple[str, ...] = ()) -> str:
    """TOML: the trial at the top level, [method] and [training]; [predicted], which training ignores."""
    head = {"model": trial.model, "lr": trial.lr, "steps": trial.steps, "seed": trial.seed, "budget": trial.budget}
    head |= {"model_hash": trial.model_hash} if trial.model_hash else {}
    tables = {
        "method": {"name": trial.method.name, **trial.method.options},
        "training": asdict(trial.training),
        "predicted": predicted,
    }
    parts = ["\n".join([*comments(remarks), *lines(head)])]
    parts += ["\n".join([f"[{name}]", *lines(table)]) for name, table in tables.items()]
    return "\n\n".join(parts) + "\n"


def read_recipe(path: Path) -> Trial:
    """The trial of a recipe. Raises ValueError naming the file, the place and the choices."""
    return read_checked(path, _trial)


def _trial(content: dict[str, Any]) -> Trial:
    content.pop("predicted", None)
    sources = content.pop("data", None)
    known_keys("the file", content, [*(item.name for item in fields(Trial)), "predicted", "data"])
    for key in ("model", "lr", "steps", "method", "training"):
        if key not in content:
            raise ValueError(f"lacks {key!r}")
    require("model", content["model"], isinstance(content["model"], str), "a name")
    number("lr", content["lr"])
    whole("steps", content["steps"], most=MOST_STEPS)
    whole("seed", content.get("seed", 0), least=0)
    budget = content.get("budget", 0.0)
    require("budget", budget, is_number(budget) and budget >= 0, "a number, 0 or more")
    require("method", content["method"], isinstance(content["method"], dict), "a table")
    training = from_table(Training, with_sources(content["training"], sources), "training")
    read = {**content, "method": _method(dict(content["method"])), "training": training}
    if (located(content["model"]) / "config.json").is_file():
        read.setdefault("model_hash", model_hash(content["model"]))
    return from_table(Trial, read, "recipe")


def _method(table: dict[str, Any]) -> Method:
    if "name" not in table:
        raise ValueError("method lacks 'name'")
    try:
        return make_method(table.pop("name"), table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"method: {error}") from None
