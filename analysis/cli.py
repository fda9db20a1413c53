"""`fit`: laws from the losses of a sweep, ours or anybody's."""

from __future__ import annotations

import argparse

from analysis.commands.comparison import compares, show_comparison
from analysis.commands.foreign_table import fit_runs
from analysis.commands.options import FACTS, FLAGS, check_paths, parser
from analysis.commands.published_facts import fit_facts_folder
from analysis.commands.results_folder import fit_folder
from sweeps.support import console
from sweeps.support.progress import waiting


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return console.run("fit", lambda: _fit(args), FLAGS)


@waiting("fit", in_logs=True)
def _fit(args: argparse.Namespace) -> int:
    check_paths(args)
    if not args.path.is_dir():
        return fit_runs(args)
    if compares(args.path):
        return show_comparison(args)
    if (args.path / FACTS).is_file():
        return fit_facts_folder(args)
    return fit_folder(args)


if __name__ == "__main__":
    raise SystemExit(main())
