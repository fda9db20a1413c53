"""facts.toml: what a paper printed, with citation and tolerance, in a form that people read and write."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from analysis.fitting.published.facts import FACTS, Fact
from analysis.fitting.published.grid import Grid, Group
from sweeps.flops import FLOPS, Work
from sweeps.methods import make_method
from sweeps.models import ModelSpec, find_model
from sweeps.support.checks import choice, from_table, is_number, known_keys, number, numbers, require, tables, whole
from sweeps.support.toml_io import read_checked
from sweeps.trial import Training

FILE = "facts.toml"
KEYS = ("paper", "title", "grid", "training", "priors", "groups", "facts")
GRID = ("models", "budgets", "flops", "pair_tokens", "pair_squares", "max_pairs", "min_steps", "citation")
MOST_FACTS = 100
MOST_CELLS = 1000  # models x budgets x settings


@dataclass(frozen=True)
class Paper:
    """What a paper printed, and what is drawn where it printed nothing."""

    name: str
    """Of the results folder."""
    citation: str
    """The paper, as it is cited."""
    title: str
    """Its title."""
    grid: Grid
    """What it tried."""
    grid_citation: str
    """Where in the paper that stands."""
    training: Training
    """The conditions of all its runs."""
    noise: tuple[float, float]
    """Lowest and highest sd of the log loss of one run, where no fact tells it."""
    groups: dict[str, Group]
    """Name -> method with its settings."""
    facts: tuple[Fact, ...]
    """What it printed."""


def read_paper(folder: Path) -> Paper:
    """The facts of a folder. Raises ValueError naming file, place, value and choices."""
    return read_checked(folder / FILE, lambda table: paper_of(table, folder.resolve().name))


def paper_of(table: Mapping[str, Any], name: str) -> Paper:
    """The facts of a table as facts.toml holds it."""
    known_keys("the file", table, KEYS)
    missing = [key for key in KEYS if key not in table]
    if missing:
        raise ValueError(f"the file has no {' and no '.join(missing)}")
    for key in ("paper", "title"):
        require(key, table[key], isinstance(table[key], str) and table[key] != "", "a text")
    for key in ("grid", "training", "priors"):
        require(key, table[key], isinstance(table[key], dict), "a table")
    training = from_table(Training, table["training"], "training")
    grid = _grid(table["grid"], training)
    known_keys("priors", table["priors"], ("noise",))
    groups = _groups(table["groups"], grid)
    return Paper(
        name=name,
        citation=table["paper"],
        title=table["title"],
        grid=grid,
        grid_citation=table["grid"]["citation"],
        training=training,
        noise=_ends("priors.noise", table["priors"].get("noise"), least=0.0),
        groups=groups,
        facts=_facts(table["facts"], grid, groups),
    )


def _grid(table: Mapping[str, Any], training: Training) -> Grid:
    known_keys("grid", table, GRID)
    missing = [key for key in GRID if key not in table]
    if missing:
        raise ValueError(f"grid has no {' and no '.join(missing)}")
    names = table["models"]
    require("grid.models", names, isinstance(names, list) and len(names) >= 2, "a list of at least two models")
    models = [_model(f"grid.models[{i}]", name) for i, name in enumerate(names)]
    rising = all(small.params < large.params for small, large in itertools.pairwise(models))
    require("grid.models", names, rising, "in the order of their sizes, smallest first")
    budgets = numbers("grid.budgets", table["budgets"])
    require("grid.budgets", budgets, len(budgets) >= 3 and budgets == sorted(budgets), "at least three, smallest first")
    require("grid.citation", table["citation"], isinstance(table["citation"], str), "a text")
    pair = Work(
        1,
        number("grid.pair_tokens", table["pair_tokens"]),
        number("grid.pair_squares", table["pair_squares"]),
        training.batch_size,
    )
    return Grid(
        models=tuple(models),
        budgets=tuple(budgets),
        count=choice("grid.flops", table["flops"], list(FLOPS)),
        pair=pair,
        max_pairs=number("grid.max_pairs", table["max_pairs"]),
        min_steps=whole("grid.min_steps", table["min_steps"]),
    )


def _model(where: str, name: Any) -> ModelSpec:
    require(where, name, isinstance(name, str), "the name of a model")
    try:
        return find_model(name)
    except (ValueError, OSError) as error:
        raise ValueError(f"{where}: {error}") from None


def _groups(content: Any, grid: Grid) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for i, table in enumerate(tables(content, 1, "[[groups]] must be a list of at least one table")):
        where = f"groups[{i}]"
        known = [item.name for item in fields(Group)]
        known_keys(where, table, known)
        lacking = [item.name for item in fields(Group) if item.default is MISSING and item.name not in table]
        if lacking:
            raise ValueError(f"{where} has no {' and no '.join(lacking)}")
        given = dict(table)
        for key in ("E", "exponents", "loss", "slope"):
            given[key] = _ends(f"{where}.{key}", table[key], None if key == "slope" else 0.0, key == "E")
        require(f"{where}.slope", table["slope"], given["slope"][1] < 0, "below 0: losses fall with compute")
        for key in ("spread", "spread_size"):
            given[key] = number(f"{where}.{key}", table[key]) if key in table else getattr(Group, key)
        for key in ("name", "like", "rates_from"):
            require(f"{where}.{key}", table.get(key, ""), isinstance(table.get(key, ""), str), "a text")
        if table.get("like"):
            choice(f"{where}.like", table["like"], list(groups))
        apart = table.get("apart", 0)
        require(f"{where}.apart", apart, is_number(apart) and 0 <= apart < 1, "0 or more and below 1")
        rates = table.get("learning_rates", {})
        require(f"{where}.learning_rates", rates, isinstance(rates, dict), "a table: model -> rate")
        for model, rate in rates.items():
            _model(f"{where}.learning_rates", model)
            number(f"{where}.learning_rates.{model}", rate)
        given["members"] = _members(f"{where}.members", table["members"])
        for member, method in given["members"].items():
            _check_cells(f"{where}.members.{member}", grid, method, len(given["members"]))
        if table["name"] in groups:
            raise ValueError(f"{where}.name is {table['name']!r}, like that of a group above")
        groups[table["name"]] = Group(**given)
    return groups


def _members(where: str, content: Any) -> dict[str, Any]:
    require(where, content, isinstance(content, dict) and len(content) > 0, "a table of at least one method")
    members = {}
    for name, table in content.items():
        place = f"{where}.{name}"
        require(place, table, isinstance(table, dict) and isinstance(table.get("name"), str), "a table with a name")
        try:
            members[name] = make_method(table["name"], {key: value for key, value in table.items() if key != "name"})
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return members


def _check_cells(where: str, grid: Grid, method: Any, members: int) -> None:
    """Refuse a method that some budget can train no model with: there would be no best loss."""
    refused = [(model.name, method.refusal(model)) for model in grid.models if method.refusal(model)]
    if refused:
        raise ValueError(f"{where}: {refused[0][0]}: {refused[0][1]}")
    require("grid", "too large", len(grid.models) * len(grid.budgets) * members <= MOST_CELLS, f"of {MOST_CELLS} cells")
    for budget, row in zip(grid.budgets, grid.cells(method).log_tokens, strict=True):
        if not (row == row).any():  # nan where a cell cannot be trained
            raise ValueError(
                f"{where}: {budget:.3g} FLOP train no model of the grid for {grid.min_steps} steps or more"
            )


def _facts(content: Any, grid: Grid, groups: dict[str, Group]) -> tuple[Fact, ...]:
    found: list[Fact] = []
    rows = tables(content, 1, "[[facts]] must be a list of at least one table")
    require("facts", len(rows), len(rows) <= MOST_FACTS, f"at most {MOST_FACTS} facts")
    for i, table in enumerate(rows):
        where = f"facts[{i}]"
        kind = FACTS[choice(f"{where}.kind", table.get("kind"), list(FACTS))]
        fact: Fact = from_table(kind, {key: value for key, value in table.items() if key != "kind"}, where)
        fact.check(where, grid, groups)
        found.append(fact)
    return tuple(found)


def _ends(where: str, value: Any, least: float | None, equal: bool = True) -> tuple[float, float]:
    """Lowest and highest of what is drawn. least: what both must exceed, or be at least where `equal`."""
    fits = isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] < value[1]
    if fits and least is not None:
        fits = value[0] >= least if equal else value[0] > least
    bound = "" if least is None else f", {least:g} or more" if equal else f", above {least:g}"
    require(where, value, fits, f"a list of two numbers, the lower first{bound}")
    return float(value[0]), float(value[1])
