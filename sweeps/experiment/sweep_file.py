"""The sweep file: TOML from anybody, read and checked. Every refusal names the place, the value and the choices."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sweeps.experiment.keys import NO_KEYS, ONE_VALUE, places
from sweeps.experiment.model_hash import model_hash
from sweeps.experiment.sources import with_sources
from sweeps.experiment.sweep import Compare, Entry, Goal, Racing, RateRange, Repeat, Sweep
from sweeps.flops import FLOPS
from sweeps.methods import METHODS, make_method
from sweeps.models import SUITES, ModelSpec, find_model
from sweeps.support.checks import (
    brief,
    choice,
    distinct,
    from_table,
    is_number,
    number,
    numbers,
    require,
    strings,
    tables,
    text,
    whole,
)
from sweeps.support.checks import (
    known_keys as known_names,
)
from sweeps.support.toml_io import checked, parse_toml, read_checked
from sweeps.trial import JOINT, MERGES, Training

MOST_CELLS = 100_000
OF_A_GRID = ("budgets", "seeds", "racing", "repeat", "compare")  # keys that a goal leaves no room for
AMOUNTS = {"budget": 'a text such as "1e19", "24h" or "$500"', "spend": 'a text such as "2%" or "2e17"'}
_READ: dict[str, Callable[[str, Any], Any]] = {"int": whole, "float": number, "str": text}  # settings of methods
_FIELDS = {item.name: str(item.type) for item in fields(Training)}


def known_keys(where: str, table: dict[str, Any], known: list[str]) -> None:
    """Refuse a key that is not among the known ones; one that stands elsewhere in a sweep file is told where."""
    if all(key in known for key in table):
        return
    here = re.split(r"[.\[]", where)[0]
    elsewhere = {key: [place for place in names if here not in place] for key, names in places().items()}
    known_names(where, table, known, elsewhere)


def read_sweep(path: Path) -> Sweep:
    """The checked sweep of a TOML file. Raises ValueError naming the file, the key, its value and the choices."""
    return read_checked(path, _sweep)


def sweep_of(text: str, where: str) -> Sweep:
    """The checked sweep of the text of a sweep file. Raises ValueError as `read_sweep` does, naming `where`."""
    return checked(parse_toml(text.encode(), where), where, _sweep)


def _sweep(table: dict[str, Any]) -> Sweep:
    known_keys(
        "the file",
        table,
        ["suite", *(item.name for item in fields(Sweep) if item.name not in NO_KEYS), "methods", "data", "tasks"],
    )
    goal = _goal(table) if "goal" in table else None
    models, budgets = _models(table), () if goal else _budgets(table)
    conditions = _conditions(table.get("training", {}), table.get("data"), table.get("tasks"))
    sweep = Sweep(
        models=models,
        budgets=budgets,
        entries=_entries(table.get("methods"), [model.name for model in models], list(budgets)),
        training=conditions[0],
        seeds=_seeds("seeds", table.get("seeds", [0])),
        flops=choice("flops", table.get("flops", "exact"), list(FLOPS)),
        min_steps=whole("min_steps", table.get("min_steps", 50), least=1),
        max_epochs=number("max_epochs", table.get("max_epochs", 1.0)),
        racing=_racing(table["racing"]) if "racing" in table else None,
        goal=goal,
        spanned=conditions if len(conditions) > 1 else (),
    )
    if goal and sweep.spanned:
        raise ValueError(f"a goal needs one condition, but {_lists(sweep)} spans several; give one value")
    if sweep.racing and sweep.spanned:
        raise ValueError(
            f"racing compares methods under one condition, but {_lists(sweep)} spans several; give one of the two"
        )
    sweep = replace(sweep, repeat=_repeats(table.get("repeat", []), sweep))
    if "compare" in table:
        sweep = replace(sweep, compare=_compare(table["compare"], sweep))
    seeds = len(sweep.seeds) + sum(len(repeat.seeds) for repeat in sweep.repeat)
    _few("the grid", seeds * math.prod(map(len, (sweep.models, sweep.entries, sweep.budgets, sweep.conditions()))))
    return sweep


def _budgets(file: dict[str, Any]) -> tuple[float, ...]:
    if "budgets" not in file:
        raise ValueError("there are neither budgets nor [goal]; give one of the two")
    return tuple(numbers("budgets", file["budgets"]))


def _goal(file: dict[str, Any]) -> Goal:
    """The table [goal]; what it says of budget, laws and hardware is read by whoever proposes."""
    table = file["goal"]
    require("goal", table, isinstance(table, dict), "a table")
    known_keys("goal", table, [item.name for item in fields(Goal)])
    for name in OF_A_GRID:
        if name in file:
            raise ValueError(f"{name} and [goal] exclude each other; give one of the two")
    for name in ("budget", "spend"):
        given = table.get(name, Goal.spend if name == "spend" else None)
        require(f"goal.{name}", given, isinstance(given, str) and given.strip() != "", AMOUNTS[name])
    price = table.get("price", Goal.price)
    require("goal.price", price, is_number(price) and price >= 0, "a number, 0 or more")
    return Goal(
        budget=table["budget"].strip(),
        spend=table.get("spend", Goal.spend).strip(),
        regret=number("goal.regret", table.get("regret", Goal.regret)),
        laws=text("goal.laws", table.get("laws", Goal.laws)),
        together=whole("goal.together", table.get("together", Goal.together), least=1),
        hardware=text("goal.hardware", table.get("hardware", Goal.hardware)),
        price=float(price),
    )


def _racing(table: Any) -> Racing:
    require("racing", table, isinstance(table, dict), "a table")
    known_keys("racing", table, [item.name for item in fields(Racing)])
    margin = number("racing.margin", table.get("margin", Racing.margin))
    return Racing(margin, whole("racing.from_budgets", table.get("from_budgets", Racing.from_budgets), least=2))


def _compare(table: Any, sweep: Sweep) -> Compare:
    """The table [compare]: merges, "joint" among them for joint training, and ratios."""
    require("compare", table, isinstance(table, dict), "a table")
    known_keys("compare", table, [item.name for item in fields(Compare)])
    sources = len(sweep.training.sources)
    if sources < 2:
        raise ValueError("compare needs several sources, and there is one: give [[data]] tables")
    if sweep.spanned:
        raise ValueError(f"compare and {_lists(sweep)} both span conditions; give one of the two")
    if sweep.training.merge:
        raise ValueError(f"training.merge is {sweep.training.merge!r} beside [compare]; name it in compare.merges")
    if sweep.racing:
        raise ValueError("racing compares methods under one condition, [compare] conditions; give one of the two")
    merges = table.get("merges")
    require("compare.merges", merges, isinstance(merges, list) and merges != [], "a list of names, not empty")
    for i, name in enumerate(merges):
        choice(f"compare.merges[{i}]", name, [JOINT, *MERGES])
    distinct("compare.merges", merges, merges)
    ratios = table.get("ratios", [])
    require("compare.ratios", ratios, isinstance(ratios, list), "a list of lists of weights")
    checked = []
    for i, ratio in enumerate(ratios):
        where = f"compare.ratios[{i}]"
        fits = isinstance(ratio, list) and len(ratio) == sources
        require(where, ratio, fits, f"a list of {sources} weights, one of each source")
        checked.append(tuple(number(f"{where}[{j}]", weight) for j, weight in enumerate(ratio)))
    distinct("compare.ratios", checked, ratios)
    compare = Compare(tuple("" if name == JOINT else name for name in merges), tuple(checked))
    replace(sweep, compare=compare).conditions()  # refuses what cannot be merged
    return compare


def _models(table: dict[str, Any]) -> tuple[ModelSpec, ...]:
    if "suite" not in table and "models" not in table:
        raise ValueError(f"names neither a suite nor models; suites: {', '.join(SUITES)}")
    suite = SUITES[choice("suite", table["suite"], list(SUITES))] if "suite" in table else ()
    if "models" not in table:
        return suite
    names = table["models"]
    if not isinstance(names, list) or not names:
        raise ValueError(f"models is {brief(names)}; it must be a list of names or folders, not empty")
    models: list[ModelSpec] = []
    for i, name in enumerate(names):
        require(f"models[{i}]", name, isinstance(name, str) and name != "", "a name or a folder")
        if suite:
            choice(f"models[{i}]", name, [model.name for model in suite])
        try:
            # The trial names the model so that it is found again.
            models.append(replace(find_model(name), name=name, model_hash=model_hash(name)))
        except (ValueError, OSError) as error:
            raise ValueError(f"models[{i}]: {error}") from None
    distinct_models("models", models, names)
    return tuple(models)


def distinct_models(where: str, models: Sequence[ModelSpec], names: Sequence[str]) -> None:
    """Refuse a model that occurs twice, even by another path."""
    distinct(where, [str(Path(model.source).resolve()) for model in models], names)


def _conditions(table: Any, sources: Any = None, tasks: Any = None) -> tuple[Training, ...]:
    """The conditions of the table [training]: one for every combination of its listed settings."""
    table = with_sources(table, sources)
    if tasks is not None:
        if "tasks" in table:
            raise ValueError("tasks and training.tasks are the same key; give one")
        table = {**table, "tasks": strings("tasks", tasks)}
    if "data_hash" in table:
        raise ValueError("training.data_hash is filled in from the data; leave it out")
    known_keys("training", table, [item.name for item in fields(Training) if item.name != "data_hash"])
    spans = {name: _span(name, value) for name, value in table.items()}
    _few("training", math.prod(map(len, spans.values())))
    return tuple(
        from_table(Training, dict(zip(spans, values, strict=True)), "training")
        for values in itertools.product(*spans.values())
    )


def _span(name: str, value: Any) -> list[Any]:
    """The values of a setting: those of its list, else the one. A setting that is a list itself spans as lists."""
    where, is_list = f"training.{name}", _FIELDS[name].startswith(("tuple", "str | tuple"))
    if not isinstance(value, list) or (is_list and not (value and all(isinstance(item, list) for item in value))):
        return [value]
    if name in ONE_VALUE:
        raise ValueError(f"{where} is {brief(value)}; {ONE_VALUE[name]}")
    require(where, value, value != [], "a value or a list of them, not empty")
    distinct(where, [float(item) if is_number(item) else repr(item) for item in value], value)  # 1 and 1.0 are one
    return value


def _lists(sweep: Sweep) -> str:
    return " and ".join(f"the list training.{name}" for name in sweep.varied)


def _seeds(where: str, value: Any) -> tuple[int, ...]:
    require(where, value, isinstance(value, list) and value != [], "a list of whole numbers, not empty")
    seeds = [whole(f"{where}[{i}]", seed, least=0) for i, seed in enumerate(value)]
    distinct(where, seeds, seeds)
    return tuple(seeds)


def _repeats(repeats: Any, sweep: Sweep) -> tuple[Repeat, ...]:
    """The `[[repeat]]` tables; what they name must be in the file's grid, else they would repeat nothing unnoticed."""
    tables(repeats, 0, f"repeat is {brief(repeats)}; it must be tables")
    methods = [entry.method.name for entry in sweep.entries]
    grid: dict[str, list[Any]] = {
        "models": [model.name for model in sweep.models],
        "budgets": list(sweep.budgets),
        "methods": list(dict.fromkeys(methods)),
        "batch_sizes": list(dict.fromkeys(training.batch_size for training in sweep.conditions())),
    }
    checked = []
    for i, table in enumerate(repeats):
        where = f"repeat[{i}]"
        known_keys(where, table, [item.name for item in fields(Repeat)])
        chosen = {
            name: _members(f"{where}.{name}", table[name], known) for name, known in grid.items() if name in table
        }
        seeds = _seeds(f"{where}.seeds", table.get("seeds"))
        if trained := sorted(set(seeds) & set(sweep.seeds)):
            raise ValueError(f"{where}.seeds names {trained[0]}, which the whole grid already has")
        checked.append(Repeat(seeds, **chosen))
    return tuple(checked)


def _members(where: str, value: Any, known: list[Any]) -> tuple[Any, ...]:
    require(where, value, isinstance(value, list) and value != [], "a list, not empty")
    for i, item in enumerate(value):
        if item not in known:
            names = [name if isinstance(name, str) else brief(name) for name in known]
            raise ValueError(f"{where}[{i}] is {brief(item)}; known: {', '.join(names)}")
    return tuple(value)


def _entries(methods: Any, models: list[str], budgets: list[float]) -> tuple[Entry, ...]:
    checked = tables(methods, 1, "has no [[methods]]; at least one is needed")
    entries = [entry for i, table in enumerate(checked) for entry in _entry(f"methods[{i}]", table, models, budgets)]
    labels = [entry.method.label for entry in entries]
    distinct("methods", labels, labels)
    return tuple(entries)


def _entry(where: str, table: dict[str, Any], models: list[str], budgets: list[float]) -> Iterable[Entry]:
    """The entries of one [[methods]]: one for every combination of its listed settings."""
    if "name" not in table:
        raise ValueError(f"{where} has no name; known: {', '.join(METHODS)}")
    name = choice(f"{where}.name", table["name"], list(METHODS))
    settings = {item.name: str(item.type) for item in fields(METHODS[name])}
    known_keys(where, table, ["name", "models", "budgets", "lr", "lr_search", *settings])
    chosen_models = _members(f"{where}.models", table["models"], models) if "models" in table else ()
    chosen_budgets = _members(f"{where}.budgets", table["budgets"], budgets) if "budgets" in table else ()
    spans = {key: table[key] if isinstance(table[key], list) else [table[key]] for key in settings if key in table}
    for key, values in spans.items():
        require(f"{where}.{key}", values, values != [], "a value or a list of them, not empty")
        spans[key] = [_READ[settings[key]](f"{where}.{key}", value) for value in values]
    rates, search, rate_range = _rates(where, table, list(chosen_models) or models, goal=not budgets)
    _few(where, math.prod(map(len, spans.values())))
    for chosen in itertools.product(*spans.values()):
        try:
            method = make_method(name, dict(zip(spans, chosen, strict=True)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        yield Entry(method, rates, search, rate_range, chosen_models, chosen_budgets)


def _rates(
    where: str, table: dict[str, Any], models: list[str], goal: bool
) -> tuple[dict[str, float], tuple[float, ...], RateRange | None]:
    """The learning rates of one [[methods]]: by model, to try, to search between; one of the three. With a goal they
    may be left to its laws."""
    if goal and "lr" not in table and "lr_search" not in table:
        return {}, (), None
    if goal and isinstance(table.get("lr_search"), dict):
        raise ValueError(
            f"{where}.lr_search is a range; with a goal give a list of rates, or leave it out for the laws'"
        )
    if ("lr" in table) == ("lr_search" in table):
        rates_given = "both lr and lr_search" if "lr" in table else "neither lr nor lr_search"
        raise ValueError(f"{where} has {rates_given}; give one rate, a table of rates by model, or rates to search")
    if isinstance(table.get("lr_search"), dict):
        return {}, (), _rate_range(f"{where}.lr_search", table["lr_search"])
    if "lr_search" in table:
        rates = numbers(f"{where}.lr_search", table["lr_search"])
        require(f"{where}.lr_search", table["lr_search"], len(rates) > 1, "at least two rates, else give lr")
        return {}, tuple(sorted(rates)), None
    if not isinstance(table["lr"], dict):
        return dict.fromkeys(models, number(f"{where}.lr", table["lr"])), (), None
    known_keys(f"{where}.lr", table["lr"], models)
    missing = [model for model in models if model not in table["lr"]]
    if missing:
        raise ValueError(f"{where}.lr has no rate for {', '.join(missing)}")
    return {model: number(f"{where}.lr.{model}", table["lr"][model]) for model in models}, (), None


def _rate_range(where: str, table: dict[str, Any]) -> RateRange:
    known_keys(where, table, [item.name for item in fields(RateRange)])
    low, high = (number(f"{where}.{key}", table.get(key)) for key in ("low", "high"))
    require(where, table, low < high, "low below high")
    trials = whole(f"{where}.trials", table.get("trials"), least=2)
    _few(f"{where}.trials", trials)
    together = whole(f"{where}.together", table.get("together", min(RateRange.together, trials)), least=1)
    prune = table.get("prune", False)
    require(f"{where}.prune", prune, isinstance(prune, bool), "true or false")
    return RateRange(low, high, trials, min(together, trials), prune)


def _few(where: str, count: int) -> None:
    if count > MOST_CELLS:
        raise ValueError(f"{where} spans {count:,} places; at most {MOST_CELLS:,}")
