"""The sweep file: read, checked, and spread out into the cells of its grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sweeps.experiment.recipe_file import MOST_STEPS, nearest, read_toml, short
from sweeps.flops import FLOPS, Work, exact_flops, steps_for
from sweeps.methods import METHODS, Full, Method, make_method
from sweeps.models import SUITES, ModelSpec, find_model
from sweeps.support.checks import from_table
from sweeps.trial import JOINT, MERGES, MIXED, PROBED_PAIRS, SEARCHED, Training, Trial, mixed

MOST_CELLS = 100_000


@dataclass(frozen=True)
class Span:
    """Learning rates to search between `low` and `high`: so many trials, `together` of them at a time.

    prune: stop those that stand badly beside finished ones, see `search.hopeless`.
    """

    low: float
    high: float
    trials: int
    together: int = 4
    prune: bool = False


@dataclass(frozen=True)
class Racing:
    """When a method is dropped at large budgets, see search/racing.py. margin: share by which its loss is higher than
    the best; from_budgets: at how many budgets in a row."""

    margin: float = 0.05
    from_budgets: int = 2


@dataclass(frozen=True)
class Repeat:
    """Further seeds for some places of the grid; () admits all models, budgets or methods (by name)."""

    seeds: tuple[int, ...]
    models: tuple[str, ...] = ()
    budgets: tuple[float, ...] = ()
    methods: tuple[str, ...] = ()

    def admits(self, model: str, budget: float, method: str) -> bool:
        asked = ((self.models, model), (self.budgets, budget), (self.methods, method))
        return all(not chosen or value in chosen for chosen, value in asked)


@dataclass(frozen=True)
class Compare:
    """Ways to make one model of several sources, tried side by side: "" is joint training, the others are MERGES.

    ratios: weights of the sources; () for those of the file alone.
    """

    merges: tuple[str, ...]
    ratios: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Entry:
    """A tuning method of a sweep and its learning rate: `rates` by model name, or `search`, the rates to try, or
    `span`, what they lie between. models: names of those it is tried on; () for all."""

    method: Method
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)
    search: tuple[float, ...] = ()
    span: Span | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file. budgets: FLOPs by the count named in `flops`. max_epochs: passes over the unique pairs."""

    models: tuple[ModelSpec, ...]
    budgets: tuple[float, ...]
    entries: tuple[Entry, ...]
    training: Training = Training()
    seeds: tuple[int, ...] = (0,)
    flops: str = "exact"
    min_steps: int = 50
    max_epochs: float = 1.0
    racing: Racing | None = None
    repeat: tuple[Repeat, ...] = ()
    compare: Compare | None = None

    def conditions(self, data_hash: str) -> tuple[Training, ...]:
        """What trials are trained under: one condition, unless ways to train on several sources are compared."""
        training = replace(self.training, data_hash=data_hash)
        if self.compare is None:
            return (training,)
        names = [name for name, _ in training.sources]
        mixtures = [mixed(zip(names, ratio, strict=True)) for ratio in self.compare.ratios] or [training.data]
        asked = itertools.product(mixtures, self.compare.merges)
        return tuple(replace(training, data=data, merge=merge) for data, merge in asked)

    def model(self, name: str) -> ModelSpec:
        return next(model for model in self.models if model.name == name)

    def seeds_at(self, model: str, budget: float, method: str) -> tuple[int, ...]:
        """Seeds of one place of the grid, those of its repeats behind the sweep's own, each once."""
        more = [seed for one in self.repeat if one.admits(model, budget, method) for seed in one.seeds]
        return tuple(dict.fromkeys((*self.seeds, *more)))


@dataclass(frozen=True)
class Data:
    """The text pairs of a sweep once they are read, as `embed prepare` reports them.

    tokens, squares: means over the training pairs of a pair's real tokens and of the sum of its squared text lengths.
    sources: the same of each source alone, where there are several. problems: what was wrong with records that were
    left out.
    """

    data_hash: str
    train_pairs: int
    held_out_pairs: int
    tokens: float
    squares: float
    problems: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[tuple[float, float], ...] = ()

    def pair(self, batch_size: int, weights: Sequence[float] = ()) -> Work:
        """The mean pair. weights: of the sources, where they are not those of the sweep file."""
        if not weights or len(self.sources) != len(weights):
            return Work(1, self.tokens, self.squares, batch_size)
        tokens, squares = (
            sum(weight * each for weight, each in zip(weights, column, strict=True)) / sum(weights)
            for column in zip(*self.sources, strict=True)
        )
        return Work(1, tokens, squares, batch_size)

    def pair_of(self, training: Training) -> Work:
        """The mean pair that is trained on under this condition."""
        return self.pair(training.batch_size, [weight for _, weight in training.sources])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, where: str) -> Data:
        """The data written by `to_json`. Raises ValueError naming `where` and what is missing or absurd."""
        if not isinstance(content, dict):
            raise ValueError(f"{where}: holds {type(content).__name__}, not an object")
        missing = {item.name for item in fields(cls)} - {"problems", "sources"} - set(content)
        if missing:
            raise ValueError(f"{where}: has no {', '.join(sorted(missing))}")
        data = cls(**{item.name: content[item.name] for item in fields(cls) if item.name in content})
        for name in ("train_pairs", "tokens", "squares"):
            if not _is_number(getattr(data, name)) or getattr(data, name) <= 0:
                raise ValueError(f"{where}: {name} is {getattr(data, name)!r}; it must be a positive number")
        try:
            return replace(data, sources=tuple((float(tokens), float(squares)) for tokens, squares in data.sources))
        except (TypeError, ValueError):
            raise ValueError(
                f"{where}: sources is {short(data.sources)}; it must be a list of two numbers each"
            ) from None


@dataclass(frozen=True)
class Cell:
    """One place in the grid: a trial but for its learning rate. reason: why it cannot be tried, "" when it can."""

    model: ModelSpec
    entry: Entry
    training: Training
    budget: float
    seed: int
    steps: int
    reason: str = ""

    def trial(self, lr: float) -> Trial:
        return Trial(self.model.name, self.entry.method, self.training, lr, self.steps, self.seed, self.budget)

    @property
    def pairs(self) -> int:
        return self.steps * self.training.batch_size

    @property
    def label(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.model.name}, {self.trial(1.0).label} at {self.budget:.3g} FLOPs{seed}"

    def to_json(self) -> dict[str, Any]:
        """What identifies the cell, for records and programs."""
        method = {"name": self.entry.method.name, **self.entry.method.options}
        place = {"model": self.model.name, "method": method, "budget": self.budget, "seed": self.seed}
        way = {"way": self.training.way} if self.training.way else {}
        return {**place, **way, "steps": self.steps, "reason": self.reason}


def cells(sweep: Sweep, data: Data) -> list[Cell]:
    """Every place in the grid, in the order model, method, budget, condition, seed; the impossible with their reason.

    Raises ValueError when the smallest trial has too few steps for training.warmup_steps.
    """
    made = []
    grid = itertools.product(sweep.models, sweep.entries, sweep.budgets, sweep.conditions(data.data_hash))
    for model, entry, budget, training in grid:
        if entry.models and model.name not in entry.models:
            continue
        left = budget - search_flops(model, training, data, sweep.flops)
        steps = steps_for(left, model, entry.method, data.pair_of(training), sweep.flops)
        cell = Cell(model, entry, training, budget, sweep.seeds[0], steps)
        cell = replace(cell, reason=_impossible(cell, sweep, data))
        made += [replace(cell, seed=seed) for seed in sweep.seeds_at(model.name, budget, entry.method.name)]
    smallest = min((cell for cell in made if not cell.reason), key=lambda cell: cell.steps, default=None)
    if smallest and sweep.training.warmup_steps >= smallest.trial(1.0).branch:
        raise ValueError(
            f"training.warmup_steps is {sweep.training.warmup_steps}; the smallest trial ({smallest.label}) has "
            f"{smallest.steps} steps and would not be warm before it cools down"
        )
    return made


def _impossible(cell: Cell, sweep: Sweep, data: Data) -> str:
    model, training = cell.model, cell.training
    if refusal := cell.entry.method.refusal(model):
        return refusal
    if training.context > model.context:
        return f"training.context is {training.context} tokens, {model.name} reads at most {model.context}"
    if training.batch_size > data.train_pairs:
        return f"a batch takes {training.batch_size} pairs, there are {data.train_pairs:,}"
    if training.merge and cell.entry.method.bits:
        return f"its backbone is kept in {cell.entry.method.bits} bits, which cannot be merged"
    if cell.steps < sweep.min_steps and (search := search_flops(model, training, data, sweep.flops)):
        return (
            f"the search takes {search:.3g} FLOPs, the rest buys {max(0, cell.steps)} steps, fewer than min_steps = "
            f"{sweep.min_steps}"
        )
    if cell.steps < sweep.min_steps:
        return f"the budget buys {cell.steps} steps, fewer than min_steps = {sweep.min_steps}"
    if any(part.steps < 1 for part in cell.trial(1.0).parts):
        return f"of {cell.steps} steps a source of {training.way} gets none"
    if cell.steps > MOST_STEPS:
        return f"the budget buys {cell.steps:.3g} steps, more than {MOST_STEPS:,}"
    epochs = cell.pairs / data.train_pairs
    if epochs > sweep.max_epochs:
        return (
            f"it takes {epochs:.3g} epochs of the {data.train_pairs:,} pairs, "
            f"more than max_epochs = {sweep.max_epochs:g}"
        )
    return ""


def trial_flops(trial: Trial, sweep: Sweep, data: Data) -> float:
    """Estimated cost of a trial by the exact count, FLOPs."""
    model = sweep.model(trial.model)
    trained = exact_flops(model, trial.method, data.pair_of(trial.training).times(trial.pairs))
    return trained + search_flops(model, trial.training, data)


def search_flops(model: ModelSpec, training: Training, data: Data, count: str = "exact") -> float:
    """Estimated cost of the search of self-positioning, in which every weight gets its gradient; else 0."""
    if training.merge != SEARCHED:
        return 0.0
    pair = data.pair(PROBED_PAIRS, [1.0] * len(training.sources))  # as many of each source
    return FLOPS[count](model, Full(), pair.times(training.search_steps * PROBED_PAIRS))


def read_sweep(path: Path) -> Sweep:
    """The checked sweep of a TOML file. Raises ValueError naming the file, the key, its value and the choices."""
    table = read_toml(path)
    try:
        return _sweep(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _sweep(table: dict[str, Any]) -> Sweep:
    _known(
        "the file",
        table,
        ["suite", *(item.name for item in fields(Sweep) if item.name != "entries"), "methods", "data"],
    )
    models = _models(table)
    made = Sweep(
        models=models,
        budgets=tuple(_numbers("budgets", table.get("budgets"))),
        entries=_entries(table.get("methods"), [model.name for model in models]),
        training=_training(table.get("training", {}), table.get("data")),
        seeds=_seeds("seeds", table.get("seeds", [0])),
        flops=_choice("flops", table.get("flops", "exact"), list(FLOPS)),
        min_steps=_whole("min_steps", table.get("min_steps", 50), least=1),
        max_epochs=_number("max_epochs", table.get("max_epochs", 1.0)),
        racing=_racing(table["racing"]) if "racing" in table else None,
    )
    made = replace(made, repeat=_repeats(table.get("repeat", []), made))
    if "compare" in table:
        made = replace(made, compare=_compare(table["compare"], made))
    seeds = len(made.seeds) + sum(len(one.seeds) for one in made.repeat)
    _few("the grid", seeds * math.prod(map(len, (made.models, made.entries, made.budgets, made.conditions("")))))
    return made


def _racing(table: Any) -> Racing:
    _check("racing", table, isinstance(table, dict), "a table")
    _known("racing", table, [item.name for item in fields(Racing)])
    margin = _number("racing.margin", table.get("margin", Racing.margin))
    return Racing(margin, _whole("racing.from_budgets", table.get("from_budgets", Racing.from_budgets), least=2))


def _compare(table: Any, sweep: Sweep) -> Compare:
    """The table [compare]: merges, "joint" among them for joint training, and ratios."""
    _check("compare", table, isinstance(table, dict), "a table")
    _known("compare", table, [item.name for item in fields(Compare)])
    sources = len(sweep.training.sources)
    if sources < 2:
        raise ValueError("compare: there is one source; ways to train on several are compared: give [[data]] tables")
    if sweep.training.merge:
        raise ValueError(f"training.merge is {sweep.training.merge!r} beside [compare]; name it in compare.merges")
    if sweep.racing:
        raise ValueError("racing compares methods under one condition, [compare] conditions; give one of the two")
    merges = table.get("merges")
    _check("compare.merges", merges, isinstance(merges, list) and merges != [], "a list of names, not empty")
    for i, name in enumerate(merges):
        _choice(f"compare.merges[{i}]", name, [JOINT, *MERGES])
    _distinct("compare.merges", merges, merges)
    ratios = table.get("ratios", [])
    _check("compare.ratios", ratios, isinstance(ratios, list), "a list of lists of weights")
    made = []
    for i, ratio in enumerate(ratios):
        where = f"compare.ratios[{i}]"
        fits = isinstance(ratio, list) and len(ratio) == sources
        _check(where, ratio, fits, f"a list of {sources} weights, one of each source")
        made.append(tuple(_number(f"{where}[{j}]", weight) for j, weight in enumerate(ratio)))
    _distinct("compare.ratios", made, ratios)
    compare = Compare(tuple("" if name == JOINT else name for name in merges), tuple(made))
    replace(sweep, compare=compare).conditions("")  # refuses what cannot be merged
    return compare


def _models(table: dict[str, Any]) -> tuple[ModelSpec, ...]:
    if "suite" not in table and "models" not in table:
        raise ValueError(f"names neither a suite nor models; suites: {', '.join(SUITES)}")
    suite = SUITES[_choice("suite", table["suite"], list(SUITES))] if "suite" in table else ()
    if "models" not in table:
        return suite
    names = table["models"]
    if not isinstance(names, list) or not names:
        raise ValueError(f"models is {short(names)}; it must be a list of names or folders, not empty")
    made: list[ModelSpec] = []
    for i, name in enumerate(names):
        _check(f"models[{i}]", name, isinstance(name, str) and name != "", "a name or a folder")
        if suite:
            _choice(f"models[{i}]", name, [model.name for model in suite])
        try:
            made.append(replace(find_model(name), name=name))  # the trial names the model so that it is found again
        except (ValueError, OSError) as error:
            raise ValueError(f"models[{i}]: {error}") from None
    _distinct("models", [str(Path(model.source).resolve()) for model in made], names)
    return tuple(made)


def _training(table: Any, sources: Any = None) -> Training:
    _check("training", table, isinstance(table, dict), "a table")
    if sources is not None:
        if "data" in table:
            raise ValueError("training.data and [[data]] both say what to train on; give one")
        table = {**table, "data": mixed(read_sources(sources))}
    if "data_hash" in table:
        raise ValueError("training.data_hash is filled in from the data; leave it out")
    _known("training", table, [item.name for item in fields(Training) if item.name != "data_hash"])
    return from_table(Training, table, "training")


def read_sources(tables: Any) -> list[tuple[str, float]]:
    """Sources and weights of `[[data]]` tables: source, and weight where it is not 1."""
    if not isinstance(tables, list) or len(tables) < 2 or not all(isinstance(table, dict) for table in tables):
        raise ValueError("[[data]] lists sources that are trained on together; give two or more, or training.data")
    found = []
    for i, table in enumerate(tables):
        _known(f"data[{i}]", table, ["source", "weight"])
        source = table.get("source")
        _check(f"data[{i}].source", source, isinstance(source, str) and bool(source.strip()), "a file or a name")
        if MIXED in source or "*" in source:
            raise ValueError(f"data[{i}].source is {source!r}; a name of a source holds neither {MIXED!r} nor '*'")
        found.append((source, _number(f"data[{i}].weight", table.get("weight", 1))))
    return found


def _seeds(where: str, value: Any) -> tuple[int, ...]:
    _check(where, value, isinstance(value, list) and value != [], "a list of whole numbers, not empty")
    seeds = [_whole(f"{where}[{i}]", seed, least=0) for i, seed in enumerate(value)]
    _distinct(where, seeds, seeds)
    return tuple(seeds)


def _repeats(tables: Any, sweep: Sweep) -> tuple[Repeat, ...]:
    """The `[[repeat]]` tables; what they name must be in the file's grid, else they would repeat nothing unnoticed."""
    _check("repeat", tables, isinstance(tables, list) and all(isinstance(one, dict) for one in tables), "tables")
    methods = [entry.method.name for entry in sweep.entries]
    grid: dict[str, list[Any]] = {
        "models": [model.name for model in sweep.models],
        "budgets": list(sweep.budgets),
        "methods": list(dict.fromkeys(methods)),
    }
    made = []
    for i, one in enumerate(tables):
        where = f"repeat[{i}]"
        _known(where, one, [item.name for item in fields(Repeat)])
        chosen = {name: _members(f"{where}.{name}", one[name], known) for name, known in grid.items() if name in one}
        seeds = _seeds(f"{where}.seeds", one.get("seeds"))
        if trained := sorted(set(seeds) & set(sweep.seeds)):
            raise ValueError(f"{where}.seeds names {trained[0]}, which all of the grid is trained with")
        made.append(Repeat(seeds, **chosen))
    return tuple(made)


def _members(where: str, value: Any, known: list[Any]) -> tuple[Any, ...]:
    _check(where, value, isinstance(value, list) and value != [], "a list, not empty")
    for i, one in enumerate(value):
        if one not in known:
            names = [name if isinstance(name, str) else short(name) for name in known]
            raise ValueError(f"{where}[{i}] is {short(one)}; known: {', '.join(names)}")
    return tuple(value)


def _entries(tables: Any, models: list[str]) -> tuple[Entry, ...]:
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ValueError("has no [[methods]]; at least one is needed")
    made = [entry for i, table in enumerate(tables) for entry in _entry(f"methods[{i}]", table, models)]
    labels = [entry.method.label for entry in made]
    _distinct("methods", labels, labels)
    return tuple(made)


def _entry(where: str, table: dict[str, Any], models: list[str]) -> Iterable[Entry]:
    """The entries of one [[methods]]: one for every combination of its listed settings."""
    if "name" not in table:
        raise ValueError(f"{where} has no name; known: {', '.join(METHODS)}")
    name = _choice(f"{where}.name", table["name"], list(METHODS))
    settings = {item.name: str(item.type) for item in fields(METHODS[name])}  # type: ignore[arg-type]
    _known(where, table, ["name", "models", "lr", "lr_search", *settings])
    chosen_models = _members(f"{where}.models", table["models"], models) if "models" in table else ()
    spans = {key: table[key] if isinstance(table[key], list) else [table[key]] for key in settings if key in table}
    for key, values in spans.items():
        _check(f"{where}.{key}", values, values != [], "a number or a list, not empty")
        read = _whole if settings[key] == "int" else _number
        spans[key] = [read(f"{where}.{key}", value) for value in values]
    rates, search, span = _rates(where, table, list(chosen_models) or models)
    _few(where, math.prod(map(len, spans.values())))
    for chosen in itertools.product(*spans.values()):
        try:
            method = make_method(name, dict(zip(spans, chosen, strict=True)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        yield Entry(method, rates, search, span, chosen_models)


def _rates(
    where: str, table: dict[str, Any], models: list[str]
) -> tuple[dict[str, float], tuple[float, ...], Span | None]:
    """The learning rates of one [[methods]]: by model, to try, to search between; one of the three."""
    if ("lr" in table) == ("lr_search" in table):
        found = "both lr and lr_search" if "lr" in table else "neither lr nor lr_search"
        raise ValueError(f"{where} has {found}; give one rate, a table of rates by model, or rates to search")
    if isinstance(table.get("lr_search"), dict):
        return {}, (), _span(f"{where}.lr_search", table["lr_search"])
    if "lr_search" in table:
        rates = _numbers(f"{where}.lr_search", table["lr_search"])
        _check(f"{where}.lr_search", table["lr_search"], len(rates) > 1, "at least two rates, else give lr")
        return {}, tuple(sorted(rates)), None
    if not isinstance(table["lr"], dict):
        return dict.fromkeys(models, _number(f"{where}.lr", table["lr"])), (), None
    _known(f"{where}.lr", table["lr"], models)
    missing = [model for model in models if model not in table["lr"]]
    if missing:
        raise ValueError(f"{where}.lr has no rate for {', '.join(missing)}")
    return {model: _number(f"{where}.lr.{model}", table["lr"][model]) for model in models}, (), None


def _span(where: str, table: dict[str, Any]) -> Span:
    _known(where, table, [item.name for item in fields(Span)])
    low, high = (_number(f"{where}.{key}", table.get(key)) for key in ("low", "high"))
    _check(where, table, low < high, "low below high")
    trials = _whole(f"{where}.trials", table.get("trials"), least=2)
    _few(f"{where}.trials", trials)
    together = _whole(f"{where}.together", table.get("together", min(Span.together, trials)), least=1)
    prune = table.get("prune", False)
    _check(f"{where}.prune", prune, isinstance(prune, bool), "true or false")
    return Span(low, high, trials, min(together, trials), prune)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _number(where: str, value: Any) -> float:
    _check(where, value, _is_number(value) and value > 0, "a positive number")
    return float(value)


def _numbers(where: str, value: Any) -> list[float]:
    _check(where, value, isinstance(value, list) and value != [], "a list of positive numbers, not empty")
    numbers = [_number(f"{where}[{i}]", item) for i, item in enumerate(value)]
    _distinct(where, numbers, numbers)
    return numbers


def _whole(where: str, value: Any, least: int = 1) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _check(where, value, whole and value >= least, f"a whole number of at least {least}")
    return value


def _choice(where: str, value: Any, known: list[str]) -> str:
    if value not in known:
        raise ValueError(f"{where} is {short(value)}{nearest(value, known)}; known: {', '.join(known)}")
    return value


def _known(where: str, table: dict[str, Any], known: list[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has no key {short(key)}{nearest(key, known)}; known: {', '.join(known)}")


def _check(where: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{where} is {short(value)}; it must be {wanted}")


def _few(where: str, count: int) -> None:
    if count > MOST_CELLS:
        raise ValueError(f"{where} spans {count:,} places; at most {MOST_CELLS:,}")


def _distinct(where: str, values: list[Any], shown: list[Any]) -> None:
    seen = set()
    for i, value in enumerate(values):
        if value in seen:
            raise ValueError(f"{where} names {short(shown[i])} twice")
        seen.add(value)
