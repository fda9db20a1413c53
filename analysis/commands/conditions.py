"""`fit` of a sweep whose lists under [training] span several conditions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands.files import file_name, write_book
from analysis.commands.options import FLAGS
from analysis.commands.trials import fitted, read_trials
from sweeps.support import console
from sweeps.support.progress import waiting

if TYPE_CHECKING:
    from analysis.conditions import Fitted
    from analysis.fitting.estimate import Settings


def names_of_conditions(folder: Path) -> list[str]:
    """Names of the conditions of a sweep whose lists under [training] span several; none where there is one."""
    from analysis.tables.conditions import conditions
    from analysis.tables.sweep_table import read_observations

    path = folder / "observations.jsonl"
    return list(conditions(read_observations(path)[0])) if path.is_file() else []


def differ_in_batch_size(folder: Path) -> bool:
    """Whether the conditions of a sweep differ in batch size alone, which laws know."""
    from analysis.tables.sweep_table import IN_LAWS, read_observations
    from sweeps.conditions import differing

    path = folder / "observations.jsonl"
    observations = read_observations(path)[0] if path.is_file() else []
    return differing(list(dict.fromkeys(each.trial.training for each in observations))) == IN_LAWS


def fit_conditions(args: argparse.Namespace, how: Settings, names: Sequence[str]) -> int:
    """Fit each condition, write its laws and figures, print how they compare; laws.json holds those of the best one.

    Raises ValueError where none has a law.
    """
    from analysis.conditions import document, side_by_side, text

    for name in ("page", "out", "backtest", "methods"):
        if getattr(args, name):
            raise ValueError(
                f"--{name}: {args.path} holds {len(names)} conditions; choose one: --condition {names[0]!r}"
            )
    compared = side_by_side(args.path.resolve().name, [_fit_condition(args, how, name) for name in names])
    if (best := compared.best()) is None:
        raise ValueError(f"{args.path}: " + "; ".join(f"{fit.name}: {fit.why}" for fit in compared.fits))
    score, written = f"-{file_name(args.score)}" if args.score else "", []
    left_out: list[str] = []
    for place, fit in enumerate(compared.fits, 1):
        if fit.book and fit.runs:
            own = f"{place}-{file_name(fit.name)}"
            written.append(write_book(args.path / f"laws-{own}{score}.json", fit.book))
            if args.figures:
                from analysis.figures import draw_all

                drawn = draw_all(fit.runs, fit.book, args.figures / own)
                written += drawn.files
                left_out += [f"{fit.name}: {line}" for line in drawn.left_out]
    assert best.book
    written.append(write_book(args.path / f"laws{score}.json", best.book))
    if args.json:
        print(json.dumps(document(compared), indent=1))
        return 0
    print(console.flagged(text(compared), FLAGS))
    print("\n".join(["", *(f"wrote {path}" for path in written), *left_out]))
    print(f"laws{score}.json holds those of {best.name}; fit {args.path} --condition NAME prints all of one")
    return 0


def _fit_condition(args: argparse.Namespace, how: Settings, name: str) -> Fitted:
    from analysis.conditions import Fitted
    from analysis.tables.sweep_table import sweep_table

    table = sweep_table(args.path, args.min_steps, args.max_epochs, args.score, name)
    training = table.observations[0].trial.training
    try:
        table = read_trials(args, name)
    except ValueError as error:
        return Fitted(name, training, None, None, str(error))
    try:
        with waiting(f"fitting {len(table.rows)} runs of {name}"):
            return Fitted(name, training, table, fitted(table, args, how))
    except ValueError as error:
        return Fitted(name, training, table, None, str(error))
