"""What the page must know of laws, models and machines to plan: what rests on no control, as plain tables.

planner/book.js and planner/shapes.js read this. A model has one place in `models`; a law has one cell for every model.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner.batch_law import BatchLaw
from planner.batch_sizes import lent
from planner.budget import BatchMemory
from planner.candidates import Candidate, Limits, kin_of, tunings, unseen_of
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


def planning(book: LawBook) -> dict[str, Any]:
    """What the page plans with. The laws must be of a results folder, which has conditions and a mean pair."""
    (book,) = lent_temperatures(lent([book]))
    assert book.training and book.pair
    known, missing = own_menu(book)
    models = list(
        {model.name: model for model in (*known, *(spec for suite in SUITES.values() for spec in suite))}.values()
    )
    book = with_settings_between(book, known)
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
        "models": [_model(model, place, book) for place, model in enumerate(models)],
        "suites": {"": _places(models, known), **{name: _places(models, suite) for name, suite in _suites().items()}},
        "missing": missing,
        "machines": _machines(book, models),
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


def _places(models: Sequence[ModelSpec], some: Iterable[ModelSpec]) -> list[int]:
    names = [model.name for model in models]
    return [names.index(model.name) for model in some]


def _model(model: ModelSpec, place: int, book: LawBook) -> dict[str, Any]:
    assert book.pair
    return {
        "place": place,
        "name": model.name,
        "params": model.params,
        "width": model.width,
        "context": model.context,
        "forward_flops": forward_flops(model, book.pair),
        "micro_tokens": {kind: micro_tokens(model, kind) for kind in MICRO_TOKENS},
        "unseen": list(unseen_of(book, model, "")),
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
        "measured": asdict(law.measured),
        "shared": list(law.shared),
        "isoflop": {name: law.isoflop.get(name) for name in ("line", "verdict")},
        "batch": _batch(law.batch) if law.batch else None,
        "rates_batch": law.rates_batch,
        "rate_rule": law.rate_rule.to_json() if law.rate_rule else None,
        "temperature_rule": law.temperature_rule.to_json() if law.temperature_rule else None,
    }


def _batch(batch: BatchLaw) -> dict[str, Any]:
    names = list(batch.term.coefficients)
    columns = {name: packed(term.coefficients[name] for term in batch.draws) for name in names}
    return {**batch.to_json(), "draws": columns, "backtest": {}}


def _tunings(law: MethodLaw, book: LawBook, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """What rests on the shape of each model when it is tuned as the law says, and with its backbone in 4 bits."""
    smaller = law.method.quantized()
    return {
        "cells": _cells(law.method, law, book, models),
        "smaller": smaller
        and {
            "label": smaller.label,
            "settings": {"name": smaller.name, **smaller.options},
            "cells": _cells(smaller, law, book, models),
        },
    }


def _cells(method: Method, law: MethodLaw, book: LawBook, models: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    assert book.pair
    return [
        {"refusal": method.refusal(model), "memory": _memory(model, method), "bits": method.bits}
        | ({} if method.refusal(model) else _costs(model, method, book.pair) | _rate(method, law, book, model))
        for model in models
    ]


def _memory(model: ModelSpec, method: Method) -> dict[str, list[dict[str, float]]]:
    """Memory with products in fp32 and in 16 bits, each with what blocks keep, and recomputed."""
    return {
        name: [asdict(training_memory(model, method, mixed, recompute)) for recompute in (False, True)]
        for name, mixed in (("fp32", False), ("mixed", True))
    }


def _costs(model: ModelSpec, method: Method, pair: Work) -> dict[str, Any]:
    return {
        "trainable": method.trainable(model),
        # Linear in the share of the batch that is embedded twice: its ends.
        "exact_flops": [exact_flops(model, method, pair, share) for share in (0.0, 1.0)],
        # Of a pair in batches of B pairs: so many FLOPs times B, and so many over B.
        "by_batch": [6 * model.width, 2 * method.per_step(model)],
        "own_batch": pair.batch_size,
        "step_work": [asdict(step_work(model, method, pair, share)) for share in (0.0, 1.0)],
        "paper_flops": paper_flops(model, method, pair),
    }


def _rate(method: Method, law: MethodLaw, book: LawBook, model: ModelSpec) -> dict[str, Any]:
    """What laws without a rule of rates say at their batch size."""
    assert book.pair
    whole = BatchMemory(micro_batch_tokens=0, second_forward=0.0, peak_bytes=0.0)
    try:
        peak = rate_by_size(Candidate(model, law, method, book.pair, "exact", whole, Limits(), 0.0, kin_of(book, law)))
    except ValueError as error:
        return {"lr": None, "lr_source": str(error), "lr_interval": None}
    return {"lr": peak.rate, "lr_source": peak.source, "lr_interval": peak.interval}


def _machines(book: LawBook, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """Every chip, and this machine where `embed bench` measured it."""
    machines = {name: _machine(read_machine(name)) for name in CHIPS}
    try:
        here = read_machine(THIS)
    except ValueError:
        return machines
    methods = [method for law in book.laws for method in tunings(law, ())]
    profile = {
        "rates": {method.label: [here.rate_of(model, method) for model in models] for method in methods},
        "origins": {method.label: [here.origin(model, method) for model in models] for method in methods},
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
