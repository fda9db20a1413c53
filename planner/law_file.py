"""Reading a law book: what a file holds is checked to its last number before anything relies on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from planner.batch_law import TERMS, BatchLaw
from planner.isoflop import check_isoflop
from planner.law_book import Caveat, LawBook, MeasuredRange, MethodLaw
from planner.laws import LAWS, ROUNDING, Law, coefficients_of, mean_law
from planner.rate_rule import read_rate_rule
from planner.scores import ScoreLaw
from planner.temperature_rule import read_temperature_rule
from sweeps.flops import Work
from sweeps.support.checks import (
    LARGEST,
    all_numbers,
    brief,
    check_fields,
    choice,
    distinct,
    from_table,
    is_number,
    number,
    require,
    strings,
    tables,
    whole,
    within,
)
from sweeps.support.checksum import NAME, refuse_changed
from sweeps.support.json_io import json_of, read_bytes
from sweeps.support.paths import folder_of
from sweeps.trial import Training

# 1: a law is of one family, whose name stands nowhere but under "family". 3: laws may know batch sizes.
READABLE = (1, 2, 3)
MOST_BYTES = 50_000_000  # of a law book
RATE = (1e-12, 100.0)  # plausible peak learning rates of AdamW
# Draws of a few runs go far: what is refused is what no fit can leave.
EXPONENT = (0.0, 50.0)  # 0 beside a factor of 0: a law that lacks N or D
FACTOR = (0.0, 1e100)
OTHER = (1e-30, 1e60)
# Fields of a law and of a book -> lowest and highest value.
LIMITS = {
    "noise": (0.0, 10.0),  # of a log
    "noise_slope": (-5.0, 5.0),
    "scatter": (0.0, 1e3),  # of a log
    "rows": (0, 1e9),
    "objective": (0.0, 1e12),
    "delta": (0.0, 1e6),
    "drift": (0.0, 10.0),  # of a log
    "learning_rates": RATE,
    "rates_batch": (2, 1e9),
}
MEAN_PAIR = {"tokens": (1e-3, 1e9), "squares": (1e-3, 1e18)}
SPAN = (1e-9, 1e40)  # of what runs cover


def read_laws(path: str | Path) -> LawBook:
    """The law book written by `fit`. Raises ValueError naming the file and the place, or OSError without a file."""
    path = Path(path)
    text = read_bytes(path, MOST_BYTES)
    content = json_of(text, path)
    if not isinstance(content, dict) or "laws" not in content:
        raise ValueError(f"{path}: no laws inside; expected the laws.json that `fit` writes")
    version = content.get("format")
    if type(version) is not int or version not in READABLE:
        raise ValueError(f"{path}: format is {brief(version)}; known: {' and '.join(map(str, READABLE))}")
    try:
        book = _book(content, version)  # which says best what is wrong
        refuse_changed(text, content.get(NAME))
        beside = path.parent / "sweep.toml"
        return replace(book, folder=folder_of(beside)) if beside.is_file() else book
    except KeyError as error:
        raise ValueError(f"{path}: has no {error.args[0]!r}") from None
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None


def _book(content: Mapping[str, Any], version: int) -> LawBook:
    laws = tables(content["laws"], 0, "laws must be a list of objects")
    if not laws:
        raise ValueError("holds no law; every method was refused, see its warnings")
    training = from_table(Training, content["training"], "training") if content["training"] else None
    excluded = tables(content["excluded"], 0, "excluded must be a list of objects")
    caveats = tables(content["warnings"], 0, "warnings must be a list of objects")
    _check_source(content["source"])
    batch = {"rates_batch": training.batch_size} if training else {}
    read = tuple(_method_law({**batch, **law}, f"laws[{i}]", version) for i, law in enumerate(laws))
    labels = [law.label for law in read]
    distinct("laws", labels, labels)
    return LawBook(
        laws=read,
        measured=_measured(content["range"], "range"),
        models=strings("models", content["models"]),
        training=training,
        pair=_mean_pair(content["pair"], training),
        source=content["source"],
        excluded=tuple((_string(row, "key"), _string(row, "reason")) for row in excluded),
        warnings=tuple(from_table(Caveat, caveat, f"warnings[{i}]") for i, caveat in enumerate(caveats)),
        created_by=_string(content, "created_by"),
        scores=tuple(
            _score_law(law, f"scores[{i}]")
            for i, law in enumerate(tables(content.get("scores", []), 0, "scores must be a list of objects"))
        ),
    )


def _check_source(content: Any) -> None:
    """Refuse what the planner could not tell of where the laws come from."""
    require("source", content, isinstance(content, dict), "an object")
    for name in ("name", "citation", "measure", "kind", "rows_hash"):
        require(f"source.{name}", content.get(name), isinstance(content.get(name, ""), str), "a string")
    if (unique := content.get("unique_tokens")) is not None:
        require("source.unique_tokens", unique, is_number(unique) and 0 <= unique <= SPAN[1], "a number of tokens")
    if (shared := content.get("with")) is not None:
        require("source.with", shared, isinstance(shared, dict), "an object")
        require("source.with.name", shared["name"], isinstance(shared["name"], str), "a string")
        whole("source.with.observations", shared["observations"], 0)
        for name in ("shared", "own"):
            strings(f"source.with.{name}", shared[name])


def _mean_pair(content: Any, training: Training | None) -> Work | None:
    if not content or not training:
        return None
    require("pair", content, isinstance(content, dict), "an object")
    for name, limits in MEAN_PAIR.items():
        within(f"pair.{name}", number(f"pair.{name}", content[name]), limits)
    return Work(1, content["tokens"], content["squares"], training.batch_size)


def _string(content: Mapping[str, Any], name: str) -> str:
    require(name, content[name], isinstance(content[name], str), "a string")
    return str(content[name])


def _method_law(content: Mapping[str, Any], where: str, version: int) -> MethodLaw:
    family, settings = content["family"], content["method"]
    choice(f"{where}.family", family, list(LAWS))
    named = isinstance(settings, dict) and isinstance(settings.get("name"), str) and settings["name"] != ""
    require(f"{where}.method", settings, named, "named")
    content = content if version > 1 else _of_one_family(content, where)
    weights = _weights(content["weights"], family, f"{where}.weights")
    laws = {
        name: _law(name, own, f"{where}.coefficients.{name}")
        for name, own in _by_family(content["coefficients"], weights, f"{where}.coefficients").items()
    }
    check_isoflop(content.get("isoflop", {}), f"{where}.isoflop")
    made = {
        "settings": settings,
        "law": mean_law(laws, weights),
        "draws": _draws(content["draws"], weights, f"{where}.draws"),
        "measured": _measured(content["range"], f"{where}.range"),
        "intervals": _intervals(content.get("intervals", {}), weights, f"{where}.intervals"),
        "intervals_95": _intervals(content.get("intervals_95", {}), weights, f"{where}.intervals_95"),
        "shared": strings(f"{where}.shared", content.get("shared", ())),
        "rate_rule": read_rate_rule(content.get("rate_rule"), f"{where}.rate_rule"),
        "temperature_rule": read_temperature_rule(content.get("temperature_rule"), f"{where}.temperature_rule"),
        "batch": _batch_law(content["batch"], f"{where}.batch") if content.get("batch") else None,
    }
    if made["batch"] and made["law"].inputs != Law.inputs:
        raise ValueError(f"{where}.batch stands beside a law in {', '.join(made['law'].inputs)}; it goes with N and D")
    known = {item.name for item in fields(MethodLaw)} - set(made)
    given = {name: value for name, value in content.items() if name in known}
    check_fields(MethodLaw, {**given, **made}, where, LIMITS)
    return MethodLaw(**given, **made)


def _of_one_family(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A law of format 1, as format 2 says it."""
    family, columns = content["family"], content["draws"]
    _check_columns(columns, f"{where}.draws")
    return {
        **content,
        "weights": {family: 1.0},
        **{name: {family: content[name]} for name in ("coefficients", "intervals", "intervals_95") if name in content},
        "draws": {
            "families": [family] * max(map(len, columns.values()), default=0),
            "coefficients": {family: columns} if any(columns.values()) else {},
        },
    }


def _weights(content: Any, family: str, where: str) -> dict[str, float]:
    """Family -> weight, the largest first."""
    require(where, content, isinstance(content, dict) and content != {}, "an object of numbers, not empty")
    for name, weight in content.items():
        choice(f"{where}, a name in which", name, list(LAWS))
        require(f"{where}.{name}", weight, is_number(weight) and weight > 0, "a number above 0")
        if len(content) > 1 and LAWS[name].inputs != Law.inputs:
            raise ValueError(f"{where} name {name}, a law in {', '.join(LAWS[name].inputs)}, which stands alone")
    total = math.fsum(content.values())
    require(f"{where}, the sum of which", total, abs(total - 1) <= ROUNDING, "1")
    order = sorted(content, key=lambda name: (-content[name], name != family))
    require(f"{where}, the largest of which", order[0], order[0] == family, f"of the law's `family`, {family}")
    return {name: content[name] for name in order}


def _by_family(content: Any, weights: Mapping[str, float], where: str, every: bool = True) -> dict[str, Any]:
    """What a law says of each of its families, or of some of them."""
    require(where, content, isinstance(content, dict), "an object with a part for each family")
    for name in content:
        choice(f"{where}, a name in which", name, list(weights))
    if missing := [name for name in weights if every and name not in content]:
        raise ValueError(f"{where} has no {' and no '.join(missing)}")
    return content


BATCHES = (2, 10**9)  # pairs
TERM_LIMITS = {"k": (1e-30, 1e30), "q": (-2.0, 2.0), "s": (1e-12, 1e12)}


def _batch_law(content: Any, where: str) -> BatchLaw:
    require(where, content, isinstance(content, dict), "an object")
    choice(f"{where}.form", content["form"], list(TERMS))
    kind, sizes, backtest = TERMS[content["form"]], content["sizes"], content.get("backtest", {})
    names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    columns = content.get("draws", {})
    _check_columns(columns, f"{where}.draws")
    own = content["coefficients"]
    require(f"{where}.coefficients", own, isinstance(own, dict) and sorted(own) == sorted(names), ", ".join(names))
    counts = {len(column) for column in columns.values()} or {0}
    complete = not columns or sorted(columns) == sorted(names)
    require(f"{where}.draws", sorted(columns), complete and len(counts) == 1, f"{', '.join(names)}, of one length")
    for name in names:
        values = [own[name], *columns.get(name, [])]
        all_numbers(f"{where}.{name}", values)
        within(f"{where}.{name}", values, TERM_LIMITS[name])
    ascending = isinstance(sizes, list) and all(type(size) is int for size in sizes) and sorted(set(sizes)) == sizes
    require(f"{where}.sizes", sizes, ascending and len(sizes) > 1, "two whole numbers of pairs or more, ascending")
    within(f"{where}.sizes", sizes, BATCHES)
    require(f"{where}.backtest", backtest, isinstance(backtest, dict), "an object")
    rows = zip(*(columns.get(name, []) for name in names), strict=True)
    drawn = [kind(**dict(zip(names, row, strict=True))) for row in rows]
    tokens = _pair(content["tokens"], f"{where}.tokens", SPAN)
    runs, size = _string(content, "runs"), content.get("own", 0)
    require(f"{where}.own", size, type(size) is int and (size == 0 or 2 <= size <= BATCHES[1]), "a batch size in pairs")
    return BatchLaw(kind(**own), tuple(drawn), tuple(sizes), tokens, runs, size, backtest)


SCORES = {
    "lowest": (-1.0, 1.0),
    **dict.fromkeys(("a", "b", "c"), (-1e6, 1e6)),
    "noise": (0.0, 1e3),
    "width": (0.0, 1e3),
    "rows": (0, 1e9),
    "correlation": (-1.0, 1.0),
}


def _score_law(content: Any, where: str) -> ScoreLaw:
    check_fields(ScoreLaw, content, where, SCORES)
    rows = content["covariance"]
    square = isinstance(rows, list) and len(rows) == 3 and all(isinstance(row, list) and len(row) == 3 for row in rows)
    require(f"{where}.covariance", rows, square, "three rows of three numbers")
    all_numbers(f"{where}.covariance", [value for row in rows for value in row])
    pairs = {name: _pair(content[name], f"{where}.{name}", SPAN) for name in ("losses", "params")}
    return ScoreLaw(**{**content, **pairs, "covariance": tuple(map(tuple, rows))})


def _draws(content: Any, weights: Mapping[str, float], where: str) -> tuple[Law, ...]:
    """The law of every draw, from the family of each, and of each family the columns of its coefficients."""
    require(where, content, isinstance(content, dict), "an object of families and coefficients")
    families, parts = content["families"], content["coefficients"]
    require(f"{where}.families", families, isinstance(families, list), "a list of names")
    for i, family in enumerate(families):
        if not isinstance(family, str) or family not in weights:
            choice(f"{where}.families[{i}]", family, list(weights))
    drawn = {name: families.count(name) for name in weights if name in families}
    columns = _by_family(parts, drawn, f"{where}.coefficients")
    laws = {name: iter(_columns(name, columns[name], drawn[name], f"{where}.coefficients.{name}")) for name in drawn}
    return tuple(next(laws[family]) for family in families)


def _columns(family: str, columns: Any, count: int, where: str) -> list[Law]:
    """The draws of one family. columns: coefficient -> its value in each."""
    _check_columns(columns, where)
    _known_coefficients(family, columns, where)
    for name, column in columns.items():
        lengths = f"{count} numbers, one for every draw of the family"
        require(f"{where}.{name}, the length of which", len(column), len(column) == count, lengths)
        all_numbers(f"{where}.{name}", column)
        within(f"{where}.{name}", column, _coefficient_limits(family, name))
    names = list(columns)
    return [LAWS[family](**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _check_columns(columns: Any, where: str) -> None:
    """Raises ValueError for what is not an object of lists."""
    lists = isinstance(columns, dict) and all(isinstance(column, list) for column in columns.values())
    require(where, columns, lists, "an object of lists")


def _intervals(content: Any, weights: Mapping[str, float], where: str) -> dict[str, dict[str, tuple[float, float]]]:
    read = {}
    for family, own in _by_family(content, weights, where, every=False).items():
        require(f"{where}.{family}", own, isinstance(own, dict), "an object")
        read[family] = {
            name: _pair(ends, f"{where}.{family}.{name}", (-LARGEST, LARGEST)) for name, ends in own.items()
        }
    return read


def _pair(ends: Any, where: str, limits: tuple[float, float]) -> tuple[float, float]:
    """A lower and an upper end."""
    fits = isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends))
    require(where, ends, fits and ends[0] <= ends[1], "two numbers, the lower first")
    within(where, ends, limits)
    return ends[0], ends[1]


def _law(family: str, coefficients: Any, where: str) -> Law:
    require(where, coefficients, isinstance(coefficients, dict), "an object of numbers")
    _known_coefficients(family, coefficients, where)
    for name, value in coefficients.items():
        require(f"{where}.{name}", value, is_number(value), "a finite number")
        within(f"{where}.{name}", value, _coefficient_limits(family, name))
    law = LAWS[family](**coefficients)
    require(where, coefficients, any(getattr(law, name) for name in LAWS[family].factors), "factors that are not all 0")
    return law


def _known_coefficients(family: str, coefficients: Mapping[str, Any], where: str) -> None:
    known = coefficients_of(LAWS[family])
    if sorted(coefficients) != sorted(known):
        raise ValueError(f"{where} are {', '.join(coefficients)}; {family} has {', '.join(known)}")


def _coefficient_limits(family: str, name: str) -> tuple[float, float]:
    """The lowest and the highest value of a coefficient that is plausible."""
    kind = LAWS[family]
    if name in kind.signed:
        return -FACTOR[1], FACTOR[1]
    return FACTOR if name in kind.factors else OTHER if name in kind.ranges else EXPONENT


def _measured(content: Any, where: str) -> MeasuredRange:
    require(where, content, isinstance(content, dict), "an object")
    names = [item.name for item in fields(MeasuredRange)]
    return MeasuredRange(**{name: _pair(content[name], f"{where}.{name}", SPAN) for name in names})
