"""`fit` of a folder that holds what a paper printed."""

from __future__ import annotations

import argparse
import json

from analysis.commands.files import write_book, write_page
from analysis.commands.options import FACTS, parser
from sweeps.support.progress import Progress


def fit_facts_folder(args: argparse.Namespace) -> int:
    """Laws from a paper's printed facts: print what each fact adds, write laws.json."""
    from analysis import report
    from analysis.fitting.published.book import DRAWS, fit_facts, work
    from analysis.fitting.published.facts_file import read_paper

    _refuse_options_of_runs(args)
    draws = DRAWS if args.bootstraps is None else args.bootstraps
    if draws < 2:
        raise ValueError(f"--bootstraps is {draws}; it must be 2 or more draws")
    paper = read_paper(args.path)
    with Progress("draws", work(paper, draws)) as progress:
        book, rows = fit_facts(paper, draws, args.seed, progress.advance)
    out = write_book(args.out or args.path / "laws.json", book)
    written = [out, *([write_page(args, book, out)] if args.page else [])]
    if args.json:
        print(json.dumps(report.document(book), indent=1))
    else:
        print("\n".join([report.published(book, rows), "", *(f"wrote {path}" for path in written)]))
    return 0


def _refuse_options_of_runs(args: argparse.Namespace) -> None:
    """Published facts have no runs to filter, draw or choose a family by."""
    plain = vars(parser().parse_args([str(args.path)]))
    allowed = ("path", "bootstraps", "seed", "out", "page", "json")
    for name, value in vars(args).items():
        if name not in allowed and value != plain[name]:
            flag = "--with" if name == "reference" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag}: {args.path} holds facts from a paper ({FACTS}), not runs")
