"""What the page must know of laws, models and machines to plan as `planner` does: all that hangs on no control."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner import answer, published, quantities, warnings
from planner.budget import training_memory
from planner.candidates import PUBLISHED_REPEATS, Candidate, Limits, candidates, measured_models
from planner.law_book import LawBook, MethodLaw
from planner.learning_rates import learning_rate
from sweeps.flops import FLOPS, exact_flops, forward_flops
from sweeps.machine.hardware import CHIPS, THIS, Machine, read_machine
from sweeps.models import SUITES, ModelSpec

BOTH = (False, True)  # fp32 products, and 16-bit ones


def planning(book: LawBook) -> dict[str, Any]:
    """What planner/*.js read. The laws must be of a results folder, which has conditions and a mean pair."""
    assert book.training and book.pair
    known, missing = measured_models(book)
    models = list(
        {model.name: model for model in (*known, *(one for suite in SUITES.values() for one in suite))}.values()
    )
    return {
        "laws": [_law(law) for law in book.laws],
        "models": [{"name": model.name, "params": model.params, "dim": model.width} for model in models],
        "menus": {"": _places(models, known), **{name: _places(models, suite) for name, suite in SUITES.items()}},
        "missing": missing,
        "options": _candidates(book, models),
        "measured": list(book.models),
        "span": asdict(book.measured),
        "source": dict(book.source),
        "warnings": [{"code": notice.code, "text": notice.text} for notice in book.warnings],
        "training": asdict(book.training),
        "pairTokens": book.pair.tokens,
        "machines": _machines(book, models),
        "counts": list(FLOPS),
        "units": {"seconds": quantities.SECONDS, "bytes": quantities.BYTES, "counts": quantities.COUNTS},
        "published": {
            "budgets": published.BUDGETS,
            "crossover": published.CROSSOVER,
            "ranks": published.LORA_RANKS,
            "paper": published.PAPER,
        },
        "constants": {
            "fewRows": warnings.FEW_ROWS,
            "sure": answer.SURE,
            "shortestStep": warnings.SHORTEST_STEP,
            "epochs": warnings.EPOCHS,
            "repeats": PUBLISHED_REPEATS,
            "minSteps": Limits().min_steps,
        },
    }


def packed(values: Iterable[float], kind: str = "d") -> str:
    """Little-endian numbers in base64; kind: d for floats of 8 bytes, f of 4, I for whole numbers of 4."""
    made = array(kind, values)
    if sys.byteorder == "big":
        made.byteswap()
    return base64.b64encode(made.tobytes()).decode()


def _places(models: Sequence[ModelSpec], some: Iterable[ModelSpec]) -> list[int]:
    names = [model.name for model in models]
    return [names.index(model.name) for model in some]


def _law(law: MethodLaw) -> dict[str, Any]:
    return {
        "label": law.label,
        "name": law.settings["name"],
        "rank": law.settings.get("rank"),
        "family": law.family,
        "coefficients": law.law.coefficients,
        "draws": {name: packed(getattr(draw, name) for draw in law.draws) for name in law.law.coefficients},
        "noise": law.noise,
        "rows": law.rows,
        "span": asdict(law.measured),
        "shared": bool(law.shared),
    }


def _candidates(book: LawBook, models: Sequence[ModelSpec]) -> list[list[dict[str, Any]]]:
    """For every law, every model with its method, whatever the limits; refused: why it can never be."""
    possible, refused = candidates(book, models, (), Limits())
    found = {(one.law.label, one.model.name): _candidate(one) for one in possible}
    never = {(one.method, one.model): {"refused": one.reason} for one in refused}
    return [[(found | never)[law.label, model.name] for model in models] for law in book.laws]


def _candidate(candidate: Candidate) -> dict[str, Any]:
    model, method, pair = candidate.model, candidate.method, candidate.pair
    try:
        lr, source = learning_rate(candidate)
    except ValueError as error:
        lr, source = None, str(error)
    return {
        "share": candidate.trained_share,
        # The exact count is linear in the share of the batch that is embedded twice: its ends.
        "exact": [exact_flops(model, method, pair, share) for share in (0.0, 1.0)],
        "counts": {name: count(model, method, pair) for name, count in FLOPS.items() if name != "exact"},
        "serving": forward_flops(model, pair) / pair.tokens,
        "still": training_memory(model, method, 0),
        "each": [training_memory(model, method, 1, mixed) - training_memory(model, method, 0, mixed) for mixed in BOTH],
        "lr": lr,
        "lrSource": source,
    }


def _machines(book: LawBook, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """Every chip, and this machine where `embed bench` measured it: name -> one of it."""
    found = {name: _machine(read_machine(name)) for name in CHIPS}
    try:
        here = read_machine(THIS)
    except ValueError:
        return found
    rates = [[here.rate_of(model, law.method) for model in models] for law in book.laws]
    origins = [[here.origin(model, law.method) for model in models] for law in book.laws]
    return {**found, THIS: {**_machine(here), "rates": rates, "origins": origins}}


def _machine(machine: Machine) -> Mapping[str, Any]:
    """count: how many of it `--hardware NAME` means without a number."""
    kind = machine.kind
    return {
        "count": machine.count,
        "peak": kind.peak,
        "mfu": machine.mfu,
        "memory": machine.memory,
        "mixed": kind.mixed,
        "source": kind.source,
    }
