"""What the page must know of laws, models and machines to plan: what rests on no control, as plain tables.

planner/book.js and planner/shapes.js read this. A model has one place in `models`; a law has one cell for every model.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

from planner.batch_law import BatchLaw
from planner.batch_sizes import lent
from planner.budget import BatchMemory
from planner.candidates import Candidate, Limits, kin_of, tunings, unseen_of
from planner.evidence import BATCHES, bundled
from planner.law_book import LawBook, MethodLaw, columns_of
from planner.learning_rates import rate_by_size
from planner.menu import EVERY, own_menu
from planner.settings import with_settings_between
from planner.temperatures import lent_temperatures
from sweeps.flops import Work, exact_flops, forward_flops, paper_flops
from sweeps.machine.chips import CHIPS
from sweeps.machine.hardware import THIS, Machine, read_machine
from sweeps.machine.utilisation import step_work
from sweeps.memory import MICRO_TOKENS, micro_tokens, training_memory
from sweeps.methods import Method
from sweeps.models import SUITES, ModelSpec


def planning(books: Sequence[LawBook]) -> dict[str, Any]:
    """What the page plans with: the law books, its own first. They must have conditions and a mean pair."""
    together = lent_temperatures(lent(books))
    menus = [own_menu(book) for book in together]
    every = [*(model for known, _ in menus for model in known), *_suites()[EVERY]]
    models = list({model.name: model for model in every}.values())
    return {
        "books": [
            _book(book, other, models, *menu)
            for book, other, menu in zip(together, map(_by_itself, books), menus, strict=True)
        ],
        "models": [_model(model, place) for place, model in enumerate(models)],
        "suites": {name: _places(models, suite) for name, suite in _suites().items()},
        "beside": _beside(together),
        "machines": _machines(together, models),
    }


def _by_itself(book: LawBook) -> LawBook:
    """The book as `plan` has it where no other is asked: some lend their batch sizes and temperatures."""
    return lent_temperatures(lent([book]))[0]


def _book(
    book: LawBook, alone: LawBook, models: Sequence[ModelSpec], known: Sequence[ModelSpec], missing: Sequence[str]
) -> dict[str, Any]:
    """A law book among the others. alone: the same by itself. known: the models that it chooses from; missing: names of
    those whose shape is nowhere."""
    book, alone = with_settings_between(book, known), with_settings_between(alone, known)
    assert book.training and book.pair
    return {
        "book": {
            "measured": asdict(book.measured),
            "models": list(book.models),
            "training": asdict(book.training),
            "pair": asdict(book.pair),
            "source": dict(book.source),
            "scores": [asdict(law) for law in book.scores],
            "warnings": [asdict(warning) for warning in book.warnings],
        },
        "laws": [{"law": _law(law), **_tunings(law, book, models)} for law in book.laws],
        "alone": None if alone == book else [_lendable(law) for law in alone.laws],
        "known": _places(models, known),
        "missing": list(missing),
        "unseen": once(unseen_of(book, model, "")[0] for model in models),
    }


def _suites() -> dict[str, Sequence[ModelSpec]]:
    """Name of a suite, and of all together -> its models."""
    return {**SUITES, EVERY: [model for suite in SUITES.values() for model in suite]}


def packed(values: Iterable[float], kind: str = "d") -> str:
    """Little-endian numbers in base64; kind: d for floats of 8 bytes, f of 4, I for whole numbers of 4."""
    numbers = array(kind, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def once(texts: Iterable[str]) -> dict[str, Any]:
    """Texts, each different one once."""
    known: dict[str, int] = {}
    places = [known.setdefault(text, len(known)) for text in texts]
    return {"words": list(known), "places": places}


def _places(models: Sequence[ModelSpec], some: Iterable[ModelSpec]) -> list[int]:
    names = [model.name for model in models]
    return [names.index(model.name) for model in some]


def _model(model: ModelSpec, place: int) -> dict[str, Any]:
    return {
        "place": place,
        "name": model.name,
        "params": model.params,
        "width": model.width,
        "context": model.context,
        "forward_flops": _of_texts(lambda work: forward_flops(model, work), 1),
        "micro_tokens": {kind: micro_tokens(model, kind) for kind in MICRO_TOKENS},
    }


def _law(law: MethodLaw) -> dict[str, Any]:
    """The fields of a MethodLaw that the planner reads."""
    families, columns = columns_of(law.draws)
    known = list(columns)
    return {
        "settings": dict(law.settings),
        "family": law.family,
        "weights": list(law.weights.values()),
        "parts": {family: part.coefficients for family, part in law.parts.items()},
        "draws": {
            "families": [known.index(family) for family in families],  # places among the columns
            "columns": {family: {name: packed(own[name]) for name in own} for family, own in columns.items()},
        },
        "noise": law.noise,
        "noise_slope": law.noise_slope,
        "drift": law.drift,
        "rows": law.rows,
        "backtest": {name: law.backtest.get(name) for name in ("error", "predicted", "coverage")},
        "measured": asdict(law.measured),
        "shared": list(law.shared),
        "isoflop": {name: law.isoflop.get(name) for name in ("line", "verdict")},
        "learning_rates": dict(law.learning_rates),
        "rates_batch": law.rates_batch,
        **_lendable(law),
    }


def _lendable(law: MethodLaw) -> dict[str, Any]:
    """What a law may have from another book."""
    return {
        "batch": _batch(law.batch) if law.batch else None,
        "rate_rule": law.rate_rule.to_json() if law.rate_rule else None,
        "temperature_rule": law.temperature_rule.to_json() if law.temperature_rule else None,
    }


def _beside(books: Sequence[LawBook]) -> list[dict[str, Any]]:
    """What the bundled runs of several batch sizes know of them; none where all laws know it themselves."""
    lender = bundled(BATCHES)
    if lender is None or all(law.batch for book in books for law in book.laws):
        return []
    return [{"settings": dict(law.settings), "batch": _batch(law.batch)} for law in lender.laws if law.batch]


def _batch(batch: BatchLaw) -> dict[str, Any]:
    names = list(batch.term.coefficients)
    columns = {name: packed(term.coefficients[name] for term in batch.draws) for name in names}
    return {**batch.to_json(), "draws": columns, "backtest": {}}


def _tunings(law: MethodLaw, book: LawBook, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """What rests on the shape of each model when it is tuned as the law says, and with its backbone in 4 bits."""
    smaller = law.method.quantized()
    return {
        **_cells(law.method, law, book, models),
        "smaller": smaller
        and {
            "label": smaller.label,
            "settings": {"name": smaller.name, **smaller.options},
            **_cells(smaller, law, book, models),
        },
    }


def _cells(method: Method, law: MethodLaw, book: LawBook, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """A cell for each model, and where the rate of each comes from."""
    assert book.pair
    size = book.pair.batch_size
    cells: list[dict[str, Any]] = [
        {"refusal": method.refusal(model), "memory": _memory(model, method), "bits": method.bits}
        | ({} if method.refusal(model) else _costs(model, method, size) | _rate(method, law, book, model))
        for model in models
    ]
    return {"sources": once(cell.pop("lr_source", "") for cell in cells), "cells": cells}


def _memory(model: ModelSpec, method: Method) -> dict[str, list[list[float]]]:
    """Memory with products in fp32 and in 16 bits, each with what blocks keep, and recomputed: the fields of Memory."""
    return {
        name: [list(astuple(training_memory(model, method, mixed, recompute))) for recompute in (False, True)]
        for name, mixed in (("fp32", False), ("mixed", True))
    }


def _costs(model: ModelSpec, method: Method, batch: int) -> dict[str, Any]:
    """Costs of a pair of any length in a batch of any size. They are linear in the share of the batch that is embedded
    twice: its ends, 0 and 1, come one after the other."""

    def exact(share: float) -> list[float]:
        return _of_texts(lambda work: exact_flops(model, method, work, share), batch)

    def step(share: float) -> list[list[float]]:
        rows = [astuple(step_work(model, method, work, share)) for work in _works(batch)]
        linear = [_coefficients(column) for column in zip(*rows, strict=True)]
        linear[0][0] = 0.0  # products that are no token's: `by_batch` has them
        return linear

    return {
        "trainable": method.trainable(model),
        "exact_flops": [exact(0.0), exact(1.0)],
        # Of a pair in batches of B pairs: so many FLOPs times B, and so many over B.
        "by_batch": [6 * model.width, 2 * method.per_step(model)],
        # Of each field of StepWork what a pair, a token and its square take, at either end; without zeros at the end.
        "step_work": [_ends(*both) for both in zip(step(0.0), step(1.0), strict=True)],
        "paper_flops": paper_flops(model, method, Work(1, 1, 0, batch)),
    }


def _ends(once_embedded: Sequence[float], twice: Sequence[float]) -> list[list[float]]:
    """Coefficients at both ends, as one where they are the same."""
    both = [_trimmed(once_embedded), _trimmed(twice)]
    return both[:1] if both[0] == both[1] else both


def _trimmed(row: Sequence[float]) -> list[float]:
    last = max((place for place, value in enumerate(row, 1) if value), default=0)
    return list(row[:last])


def _works(batch: int) -> list[Work]:
    """Nothing, a pair without tokens, a token, and a token's square: what linear costs are known by."""
    return [Work(0, 0, 0, batch), Work(1, 0, 0, batch), Work(0, 1, 0, batch), Work(0, 0, 1, batch)]


def _coefficients(values: Sequence[float]) -> list[float]:
    """What a pair takes, a token and a token's square, by the values of `_works`."""
    nothing, pair, token, square = values
    return [pair, token - nothing, square - nothing]


def _of_texts(flops: Callable[[Work], float], batch: int) -> list[float]:
    """FLOPs of a token, and of a token's square."""
    return [flops(work) for work in _works(batch)[2:]]


def _rate(method: Method, law: MethodLaw, book: LawBook, model: ModelSpec) -> dict[str, Any]:
    """What laws without a rule of rates say at their batch size."""
    assert book.pair
    whole = BatchMemory(micro_batch_tokens=0, second_forward=0.0, peak_bytes=0.0)
    try:
        peak = rate_by_size(Candidate(model, law, method, book.pair, "exact", whole, Limits(), 0.0, kin_of(book, law)))
    except ValueError as error:
        return {"lr": None, "lr_source": str(error), "lr_interval": None}
    return {"lr": peak.rate, "lr_source": peak.source, "lr_interval": peak.interval}


def _machines(books: Sequence[LawBook], models: Sequence[ModelSpec]) -> dict[str, Any]:
    """Every chip, and this machine where `embed bench` measured it."""
    machines = {name: _machine(read_machine(name)) for name in CHIPS}
    try:
        here = read_machine(THIS)
    except ValueError:
        return machines
    methods = [method for book in books for law in book.laws for method in tunings(law, ())]
    profile = {
        "rates": {method.label: [here.rate_of(model, method) for model in models] for method in methods},
        "origins": {method.label: once(here.origin(model, method) for model in models) for method in methods},
    }
    return {**machines, THIS: {**_machine(here), "profile": profile}}


def _machine(machine: Machine) -> Mapping[str, Any]:
    """count: how many chips `--hardware NAME` means without a number."""
    chip = machine.kind
    kind = {**asdict(chip), "memory": machine.memory, "bandwidth": _finite(chip.bandwidth), "link": _finite(chip.link)}
    return {"kind": kind, "count": machine.count, "mfu": machine.mfu, "profile": None}


def _finite(rate: float) -> float:
    """JSON knows no infinity. A chip without limit is one whose utilisation was measured: nothing is divided by it."""
    return rate if math.isfinite(rate) else 0.0
