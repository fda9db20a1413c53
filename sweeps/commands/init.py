"""`sweep init`: a sweep file to begin with, for a suite, data and a budget."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sweeps.data.pair_statistics import pair_statistics
from sweeps.experiment.examples import example_text
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import distinct_models
from sweeps.methods import METHODS
from sweeps.models import SUITES, ModelSpec, find_model
from sweeps.running.draft import Draft, draft, draft_text
from sweeps.support.atomic import write_text
from sweeps.support.checks import choice, distinct
from sweeps.support.console import positive
from sweeps.support.paths import named_in
from sweeps.trial import Training


def init(arguments: argparse.Namespace) -> int:
    """Write the file and say what it would train at most."""
    if arguments.example is not None:
        return _copy_example(arguments)
    if arguments.file is None:
        raise ValueError("FILE.toml is missing: the sweep file to write")
    file, methods = arguments.file, _listed(arguments.methods)
    _must_be_new(file)
    for name in methods:
        choice("`methods`", name, list(METHODS))
    distinct("`methods`", methods, methods)
    models = _models(arguments)
    wanted = "a number of FLOPs, such as 1e12"
    limit = None if arguments.budget is None else positive("--budget", arguments.budget, wanted)
    training = Training(data=arguments.data)
    data, how = _data(arguments, training, models[0])
    grid = draft(models, methods, training, data, limit)
    budget = "the cheapest grid that is enough for laws" if limit is None else f"a grid for at most {limit:.3g} FLOPs"
    remarks = (
        f"`sweep init`: {budget}: {grid.trials} trials at most, {grid.flops:.3g} FLOPs.",
        f"Data: {how}.",
        f"`sweep run {file.name} --dry-run` shows every trial; docs/sweep-file.md lists the other keys.",
    )
    suite = "" if arguments.models and not arguments.suite else arguments.suite or "nano"
    _write(file, draft_text(grid, suite, named_in(file, arguments.data), remarks))
    print(json.dumps(_document(grid, file)) if arguments.json else "\n".join(_lines(grid, file, how)))
    return 0


def _copy_example(arguments: argparse.Namespace) -> int:
    """Write an example as it is."""
    for name in ("suite", "models", "budget", "pairs", "tokens_per_pair"):
        if getattr(arguments, name):
            raise ValueError(
                f"`{name}` is an option of a new sweep file; an example is written unchanged: edit the file"
            )
    text = example_text(arguments.example)
    file = arguments.file or Path(f"{arguments.example}.toml")
    _must_be_new(file)
    _write(file, text)
    if arguments.json:
        print(json.dumps({"file": str(file), "example": arguments.example}))
    else:
        following = f"; next: sweep run {file} --dry-run" if "[[methods]]" in text else ""  # a cluster profile has none
        print(f"wrote     {file}{following}")
    return 0


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


def _must_be_new(file: Path) -> None:
    if file.suffix != ".toml":
        raise ValueError(f"{file}: a sweep file ends in .toml")
    if file.exists():
        raise ValueError(f"{file}: exists already; name another file")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _models(arguments: argparse.Namespace) -> list[ModelSpec]:
    """The models to choose from: those named, else all of the suite."""
    suite = SUITES[arguments.suite or "nano"] if arguments.suite or not arguments.models else ()
    names = _listed(arguments.models)
    if not names:
        return list(suite)
    for name in names if suite else ():
        choice("`models`", name, [model.name for model in suite])
    models = [find_model(name, "`models`") for name in names]
    distinct_models("`models`", models, names)
    return models


def _data(arguments: argparse.Namespace, training: Training, model: ModelSpec) -> tuple[Data, str]:
    """How many pairs there are and how long they are: as told, else from the data."""
    if (arguments.pairs is None) != (arguments.tokens_per_pair is None):
        raise ValueError("--pairs and --tokens-per-pair must be given together; without both the data are read")
    if arguments.pairs is None:
        found = pair_statistics(training, model.source)
        how = f"{found.train_pairs:,} training pairs of {found.tokens:.0f} tokens; {found.how}"
        return Data("", found.train_pairs, found.held_out, found.tokens, found.sum_sq_lengths), how
    pairs = positive("--pairs", arguments.pairs, "a number of training pairs, such as 5e6")
    tokens = positive("--tokens-per-pair", arguments.tokens_per_pair, "a number of tokens")
    return Data(
        "", round(pairs), 0, tokens, tokens**2 / 2
    ), f"{pairs:,.0f} training pairs of {tokens:g} tokens, as given"


def _document(grid: Draft, file: Path) -> dict[str, Any]:
    return {
        "file": str(file),
        "models": [model.name for model in grid.models],
        "budgets": grid.budgets,
        "methods": [method.label for method in grid.methods],
        "batch_size": grid.training.batch_size,
        "max_epochs": grid.max_epochs,
        "trials": grid.trials,
        "flops": grid.flops,
    }


def _lines(grid: Draft, file: Path, how: str) -> list[str]:
    budgets = ", ".join(f"{budget:.3g}" for budget in grid.budgets)
    return [
        f"data      {how}",
        f"models    {', '.join(model.name for model in grid.models)}",
        f"budgets   {budgets} FLOPs, batches of {grid.training.batch_size}, at most {grid.max_epochs:g} epochs",
        f"methods   {', '.join(method.label for method in grid.methods)}",
        f"takes     {grid.trials} trials and {grid.flops:.3g} FLOPs at most",
        f"wrote     {file}; next: sweep run {file} --dry-run",
    ]


def add_init(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `sweep init`."""
    command.add_argument("file", type=Path, nargs="?", metavar="FILE.toml", help="the sweep file to write")
    command.add_argument("--example", metavar="NAME", help="write a bundled example, such as demo")
    command.add_argument("--suite", choices=list(SUITES), help="suite of models to choose from (default: nano)")
    command.add_argument("--models", default="", metavar="NAMES", help="models to choose from, comma-separated")
    command.add_argument("--methods", default="full,lora", metavar="NAMES", help="tuning methods (default: full,lora)")
    command.add_argument(
        "--data", default="python-env", help="pairs.jsonl, .csv, .parquet, hf:owner/name (default: python-env)"
    )
    command.add_argument(
        "--budget", metavar="FLOPS", help="most FLOPs of the whole sweep (default: as few as are enough for laws)"
    )
    command.add_argument("--pairs", metavar="N", help="number of training pairs, if the data are not on this machine")
    command.add_argument("--tokens-per-pair", metavar="N", help="tokens per pair, if the data are not on this machine")
    command.add_argument("--json", action="store_true", help="print what was chosen as JSON")
