"""What `fit` gives for the runs that it was given: laws as text or JSON, and the files that were asked for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands.files import write_book, write_page
from analysis.commands.options import FLAGS
from analysis.commands.questions import Answers, answers
from sweeps.support import console

if TYPE_CHECKING:
    from analysis.fitting.estimate import Settings
    from analysis.tables.table import Table
    from planner.law_book import LawBook


def give(args: argparse.Namespace, table: Table, book: LawBook, how: Settings, out: Path | None) -> None:
    """Write what was asked for, the laws to `out`, and print the laws."""
    written, left_out = [], []
    if out:
        written.append(write_book(out, book))
    if args.figures:
        from analysis.figures import draw_all

        drawn = draw_all(table, book, args.figures)
        written += drawn.files
        left_out = drawn.left_out
    if args.page:
        written.append(write_page(args, book, out))
    asked = answers(args, table, book)
    _print(args, table, book, how, asked)
    if not args.json:
        print("\n".join(["", *(f"wrote {path}" for path in written), *left_out]).rstrip())


def _print(args: argparse.Namespace, table: Table, book: LawBook, how: Settings, asked: Answers) -> None:
    """The laws, what was asked of them, and what laws of smaller budgets would have chosen, as text or as JSON."""
    from analysis import methods_report, report
    from analysis.fitting.decisions import standings
    from analysis.fitting.retrospective import retrospective, size_choices

    tested = retrospective(table, how) if args.backtest else None
    if args.json:
        more = asked.to_json()
        if args.methods:
            more |= methods_report.document(table)
        if tested is not None:
            more |= {
                "decisions": [each.to_json() for each in tested],
                "size_rules": standings(size_choices(tested)),
            }
        print(json.dumps({**report.document(book), **more}, indent=1))
        return
    print(console.flagged(report.text(book), FLAGS))
    if said := str(asked):
        print("\n" + said)
    if args.methods:
        print("\n" + methods_report.text(table))
    if tested is not None:
        print("\n" + report.retrospective(tested))
