"""`fit` of a results folder: the laws of its trials, and what can be shown where they have none."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands.answer import give
from analysis.commands.conditions import fit_conditions, names_of_conditions
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
        raise ValueError("--backtest: only of a results folder by itself, whose budgets tell what smaller laws may see")
    if args.fix and args.reference:
        raise ValueError("--fix: with --with the exponents are those of the other runs; give one of the two")
    if args.profile and args.reference:
        raise ValueError("--profile: of laws whose exponents are their own; with --with they are those of other runs")
    how = settings(args)
    if not args.condition and (names := names_of_conditions(args.path)):
        return fit_conditions(args, how, names)
    table, book = _table_and_laws(args, how)
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
    print(f"drew {len(drawn.files)} files in {args.figures} without laws", file=sys.stderr)
