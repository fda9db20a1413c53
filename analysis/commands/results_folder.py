"""`fit` of a results folder: the laws of its trials, and what can be shown where they have none."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands.answer import give
from analysis.commands.conditions import differ_in_batch_size, fit_conditions, names_of_conditions
from analysis.commands.files import file_name, write_page
from analysis.commands.options import FLAGS, settings
from analysis.commands.trials import fitted, read_trials
from sweeps.support import console
from sweeps.support.progress import waiting

if TYPE_CHECKING:
    from analysis.fitting.estimate import Settings
    from analysis.tables.table import Table
    from planner.law_book import LawBook


def fit_folder(args: argparse.Namespace) -> int:
    """Fit the sweep, one condition or each of several; print, draw and write as asked."""
    if args.backtest and args.reference:
        raise ValueError("--backtest: only for a results folder without --with")
    if args.fix and args.reference:
        raise ValueError("--fix: with --with the exponents are those of the other runs; give one of the two")
    if args.profile and args.reference:
        raise ValueError("--profile: only for laws with exponents of their own; with --with they come from other runs")
    how = settings(args)
    if not args.condition and (names := names_of_conditions(args.path)):
        if args.reference or not differ_in_batch_size(args.path):
            return fit_conditions(args, how, names)
        return _fit_batch_sizes(args, how, names)
    table, book = _table_and_laws(args, how)
    return _give(args, table, book, how)


def _fit_batch_sizes(args: argparse.Namespace, how: Settings, names: Sequence[str]) -> int:
    """One fit of all batch sizes; where they do not share a law, one of each, with the reason."""
    from analysis.fitting.batch_forms import Apart

    for name in ("backtest", "profile"):
        if getattr(args, name):
            raise ValueError(f"--{name} needs one batch size; choose it with --condition: {'; '.join(names)}")
    try:
        table, book = _table_and_laws(args, how)
    except Apart as apart:
        print(f"{apart}; each has laws of its own\n")
        return fit_conditions(args, how, names)
    return _give(args, table, book, how)


def _give(args: argparse.Namespace, table: Table, book: LawBook, how: Settings) -> int:
    named = f"laws{''.join(f'-{file_name(part)}' for part in (args.condition, args.score) if part)}.json"
    give(args, table, book, how, args.out or Path(args.path) / named)
    return 0


def _table_and_laws(args: argparse.Namespace, how: Settings) -> tuple[Table, LawBook]:
    """The runs and their laws; where there are none, page and figures show what was run before the error is raised."""
    try:
        with console.named_as_flags(FLAGS):
            table = read_trials(args)
            with waiting(f"fitting {len(table.rows)} runs"):
                return table, fitted(table, args, how)
    except (ValueError, FileNotFoundError) as error:
        from analysis.fitting.batch_forms import Apart

        if isinstance(error, Apart):
            raise  # each batch size is fitted by itself then
        if args.page:
            why = str(error) if isinstance(error, ValueError) else "The folder holds no observations.jsonl yet."
            write_page(args, None, None, why)
        if args.figures and isinstance(error, ValueError):
            _draw_without_laws(args)
        raise


def _draw_without_laws(args: argparse.Namespace) -> None:
    """Draw what was run where it is too little for a law; the figures say so."""
    from analysis.figures import draw_all, without_laws
    from analysis.tables.sweep_table import sweep_table

    table = sweep_table(args.path, args.min_steps, args.max_epochs, args.score, args.condition)
    drawn = draw_all(table, without_laws(table), args.figures)
    said = [f"drew {len(drawn.files)} files in {args.figures} without laws", *drawn.left_out]
    print("\n".join(said), file=sys.stderr)
