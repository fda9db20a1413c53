"""The trials of a results folder as a table, and their laws, by themselves or beside another sweep's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands.options import COLUMNS
from sweeps.support.progress import Progress

if TYPE_CHECKING:
    from analysis.fitting.estimate import Settings
    from analysis.tables.table import Table
    from planner.law_book import LawBook


def read_trials(args: argparse.Namespace, condition: str = "") -> Table:
    """The table of the folder. Raises ValueError for options that only tables of runs have."""
    from analysis.tables.sweep_table import read_sweep

    of_tables = {
        **{name: getattr(args, name) for name in COLUMNS},
        "drop-highest": args.drop_highest,
        "best": args.best,
    }
    if given := [f"--{name}" for name, value in of_tables.items() if value]:
        raise ValueError(f"{', '.join(given)}: only for tables of runs; {args.path} is a folder")
    return read_sweep(args.path, args.min_steps, args.max_epochs, args.score, condition or args.condition)


def fitted(table: Table, args: argparse.Namespace, how: Settings) -> LawBook:
    """The laws of the table, by itself or beside the runs or facts that `--with` names."""
    if args.reference is None:
        from analysis.fitting.fit import fit_table

        return fit_table(table, how)
    from analysis import reference_folder
    from analysis.fitting.joint import fit_beside
    from analysis.tables.sweep_table import read_sweep

    def read(folder: Path) -> Table:
        return read_sweep(folder, args.min_steps, args.max_epochs, args.score)

    with Progress("percent", 100) as progress:
        return fit_beside(table, reference_folder(args.reference), how, read, progress.advance)
