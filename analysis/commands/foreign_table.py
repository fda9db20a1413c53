"""`fit` of somebody else's table of runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from analysis.commands.answer import give
from analysis.commands.options import COLUMNS, FLAGS, settings
from analysis.commands.questions import check_asked
from sweeps.support.progress import waiting

if TYPE_CHECKING:
    from analysis.tables.table import Table

# What only a results folder has, and why.
OF_FOLDERS = {
    "condition": "only a results folder has conditions; this is a table of runs",
    "score": "only a results folder has scores; of a table, --loss names any column",
    "reference": "only a results folder shares exponents with another; this is a table of runs",
    "page": "only a results folder has one; this is a table of runs",
}


def fit_runs(args: argparse.Namespace) -> int:
    """Fit the table; print, draw and write as asked."""
    from analysis.fitting.fit import fit_table

    how = settings(args)
    check_asked(args)
    table = _read(args)
    with waiting(f"fitting {len(table.rows)} runs"):
        book = fit_table(table, how)
    give(args, table, book, how, args.out)
    return 0


def _read(args: argparse.Namespace) -> Table:
    from analysis.tables.columns import Columns
    from analysis.tables.filters import Filters
    from analysis.tables.foreign_table import read_runs, titles_of

    for name, why in OF_FOLDERS.items():
        if getattr(args, name) not in (None, "", False):
            raise ValueError(f"{FLAGS.get(name, f'--{name}')}: {why}")
    if args.methods:
        raise ValueError(f"--methods: only for results folders; {args.path} is a table")
    if args.backtest and not (args.n and (args.d or args.c)):
        raise ValueError("--backtest: needs laws in N and D, which choose a size; name --n, and --d or --c")
    if not args.loss:
        raise ValueError(
            f"{args.path}: --loss must name the column of final losses; the columns are: {titles_of(args.path)}"
        )
    filters = Filters(tuple(args.where), args.holdout, args.best, args.drop_highest)
    return read_runs(args.path, Columns(**{name: getattr(args, name) for name in COLUMNS}), filters)
