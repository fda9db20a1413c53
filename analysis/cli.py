"""`fit`: laws from the losses of a sweep, ours or anybody's."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import EXPONENTS
from sweeps.admission import MAX_EPOCHS, MIN_STEPS
from sweeps.support import console
from sweeps.support.atomic import write_text
from sweeps.support.checksum import sealed
from sweeps.support.progress import Progress, waiting
from sweeps.support.toml_io import read_toml

if TYPE_CHECKING:
    from analysis.conditions import Fitted
    from analysis.fitting.estimate import Settings
    from analysis.tables.table import Table
    from planner.law_book import LawBook

EXAMPLES = """\
  fit results/nano                              fits the sweep, prints the table, writes results/nano/laws.json
  fit results/nano --figures results/nano/figures
  fit results/nano --page nano.html             a page that plans in the browser, with no network
  fit results/nano --backtest                   and what laws of small budgets would have chosen at large ones
  fit results/ziarko2024                        laws from what a paper printed (facts.toml), as draws with honest spread
  fit results/merging --figures figures         a sweep with [compare] has no laws: its table, and its two figures
  fit results/mine --with reference             few runs of your own: exponents shared with the bundled sweep
  fit results/mine --with ziarko2024            laws that agree with that paper's facts and predict your runs
  fit runs.csv --n params --d tokens --loss val_loss
  fit runs.csv --n N --c flops --loss loss --method optimizer --run run_id --family chinchilla --json
"""
COLUMNS = ("loss", "n", "d", "c", "method", "run", "share", "unique")
FACTS = "facts.toml"  # in a folder of what a paper printed
BOOTSTRAPS = 1000
# What library errors call a parameter, and the flag that gives it.
FLAGS = {
    **{name: f"--{name}" for name in (*COLUMNS, "family", "exponents", "delta")},
    "drop_highest": "--drop-highest",
    "condition": "--condition",
    "reference": "--with",
    "bootstraps": "--bootstraps",
}


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    with waiting("fit", in_logs=True):
        return console.run("fit", lambda: _fit(args))


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("fit", "Fit loss laws to the runs of a sweep and say how far to trust them.", EXAMPLES)
    parser.add_argument(
        "path",
        type=Path,
        help="a results folder (observations.jsonl, or a paper's facts.toml), or a .csv, .json, .parquet",
    )
    parser.add_argument("--family", default="auto", help="a law family; auto: chosen by predicting unseen larger runs")
    parser.add_argument(
        "--exponents", choices=list(EXPONENTS), default="auto", help="of the methods: each its own, or shared"
    )
    parser.add_argument(
        "--delta",
        type=float,
        help="of the Huber loss on log residuals (default: 1e-3 for a table of several model sizes, as published fits "
        "use; 1.345 noise sd for a results folder and for curves in tokens alone)",
    )
    parser.add_argument(
        "--bootstraps",
        type=int,
        help="resamples behind the 90 %% intervals (default: 1000; of a facts.toml: 400 draws)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")
    parser.add_argument(
        "--out", type=Path, help="law file to write (default: laws.json in a results folder, else none)"
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw every figure into DIR, as PNG and SVG")
    parser.add_argument(
        "--page", type=Path, metavar="FILE.html", help="write one page of a results folder: recipes, frontier, trials"
    )
    parser.add_argument("--json", action="store_true", help="print the laws as JSON")
    ours = parser.add_argument_group("results folders")
    ours.add_argument("--min-steps", type=int, default=MIN_STEPS, help="runs with fewer optimiser steps stay out")
    ours.add_argument(
        "--max-epochs", type=float, default=MAX_EPOCHS, help="runs with more passes over the pairs stay out"
    )
    ours.add_argument(
        "--backtest",
        action="store_true",
        help="also what laws of budgets up to C/4 would have chosen at C, beside what was measured there",
    )
    ours.add_argument(
        "--score",
        default="",
        metavar="NAME",
        help="laws of 1 less this score, such as ndcg@10, instead of the loss; written to laws-NAME.json",
    )
    ours.add_argument(
        "--with",
        dest="reference",
        metavar="FOLDER",
        help="share exponents with this sweep's runs (reference: the bundled one); E, A and B stay your own. Or start "
        "from a paper's facts (ziarko2024: the bundled ones), which your runs weigh",
    )
    ours.add_argument(
        "--condition",
        default="",
        metavar="NAME",
        help="of a sweep whose lists under [training] span several: this one alone, by its name in the table",
    )
    theirs = parser.add_argument_group(
        "tables of runs: names of columns, a factor behind them where they count in another unit ('size*1e9')"
    )
    theirs.add_argument("--loss", metavar="COLUMN", help="final loss, in any unit; E, A and B are in the same")
    theirs.add_argument("--n", metavar="COLUMN", help="parameters; without it the law is one in tokens alone")
    theirs.add_argument("--d", metavar="COLUMN", help="training tokens")
    theirs.add_argument("--c", metavar="COLUMN", help="training FLOPs, then D = C / 6N")
    theirs.add_argument("--method", metavar="COLUMN", help="each value gets a law of its own")
    theirs.add_argument("--run", metavar="COLUMN", help="rows of one training run, resampled together")
    theirs.add_argument("--share", metavar="COLUMN", help="trained share of the parameters (family trainable)")
    theirs.add_argument("--unique", metavar="COLUMN", help="unique training tokens (family repeated)")
    theirs.add_argument("--drop-highest", type=int, default=0, metavar="K", help="leave out the K highest losses")
    theirs.add_argument("--best", action="store_true", help="of rows with one N and D only the lowest loss enters")
    return parser


def _fit(args: argparse.Namespace) -> int:
    from analysis.fitting.estimate import (
        Settings,  # pandas and numpy take a second; `fit --help` need not wait for them
    )

    ours = args.path.is_dir()
    _check_paths(args)
    if ours and _compares(args.path):
        return _compare(args)
    if ours and (args.path / FACTS).is_file():
        return _fit_facts(args)
    if args.backtest and (args.reference or not ours):
        raise ValueError("--backtest: only of a results folder by itself, whose budgets tell what smaller laws may see")
    resamples = BOOTSTRAPS if args.bootstraps is None else args.bootstraps
    settings = Settings(args.family, args.delta, resamples, args.seed, EXPONENTS[args.exponents])
    if ours and not args.condition and (names := _conditions(args.path)):
        return _fit_conditions(args, settings, names)
    table, book = _table_and_laws(args, ours, settings)
    named = f"laws{''.join(f'-{_file_name(part)}' for part in (args.condition, args.score) if part)}.json"
    out = args.out or (args.path / named if ours else None)
    written, left_out = [], []
    if out:
        _write(out, sealed(book.to_json(), indent=1) + "\n")
        written.append(out)
    if args.figures:
        from analysis.figures import draw_all

        drawn = draw_all(table, book, args.figures)
        written += drawn.files
        left_out = drawn.left_out
    if args.page:
        written.append(_write_page(args, book, out))
    _print(args, table, book, settings)
    if not args.json:
        print("\n".join(["", *(f"wrote {path}" for path in written), *left_out]).rstrip())
    return 0


def _file_name(name: str) -> str:
    """A score or a condition as a part of a file name: a task of mteb, a folder or a prompt may hold anything."""
    return re.sub(r"[^\w.@+-]+", "-", name)[:80].strip("-")


def _conditions(folder: Path) -> list[str]:
    """Names of the conditions of a sweep whose lists under [training] span several; none where there is one."""
    from analysis.tables.conditions import conditions
    from analysis.tables.sweep_table import read_observations

    path = folder / "observations.jsonl"
    return list(conditions(read_observations(path)[0])) if path.is_file() else []


def _fit_conditions(args: argparse.Namespace, settings: Settings, names: Sequence[str]) -> int:
    """Fit each condition, write its laws and figures, print how they compare; laws.json holds those of the best one.

    Raises ValueError where none has a law.
    """
    from analysis.conditions import document, side_by_side, text

    for name in ("page", "out", "backtest"):
        if getattr(args, name):
            raise ValueError(
                f"--{name}: {args.path} holds {len(names)} conditions; choose one: --condition {names[0]!r}"
            )
    compared = side_by_side(args.path.resolve().name, [_fit_condition(args, settings, name) for name in names])
    if (best := compared.best()) is None:
        raise ValueError(f"{args.path}: " + "; ".join(f"{fit.name}: {fit.why}" for fit in compared.fits))
    score, written = f"-{_file_name(args.score)}" if args.score else "", []
    for place, fit in enumerate(compared.fits, 1):
        if fit.book and fit.runs:
            own = f"{place}-{_file_name(fit.name)}"
            written.append(_write_book(args.path / f"laws-{own}{score}.json", fit.book))
            if args.figures:
                from analysis.figures import draw_all

                written += draw_all(fit.runs, fit.book, args.figures / own).files
    assert best.book
    written.append(_write_book(args.path / f"laws{score}.json", best.book))
    if args.json:
        print(json.dumps(document(compared), indent=1))
        return 0
    print(console.flagged(text(compared), FLAGS))
    print("\n".join(["", *(f"wrote {path}" for path in written)]))
    print(f"laws{score}.json holds those of {best.name}; fit {args.path} --condition NAME tells all of one")
    return 0


def _fit_condition(args: argparse.Namespace, settings: Settings, name: str) -> Fitted:
    from analysis.conditions import Fitted
    from analysis.tables.sweep_table import sweep_table

    table = sweep_table(args.path, args.min_steps, args.max_epochs, args.score, name)
    training = table.observations[0].trial.training
    try:
        table = _read(args, True, name)
    except ValueError as error:
        return Fitted(name, training, None, None, str(error))
    try:
        with waiting(f"fitting {len(table.rows)} runs of {name}"):
            return Fitted(name, training, table, _fitted(table, args, settings))
    except ValueError as error:
        return Fitted(name, training, table, None, str(error))


def _write_book(path: Path, book: LawBook) -> Path:
    _write(path, sealed(book.to_json(), indent=1) + "\n")
    return path


def _table_and_laws(args: argparse.Namespace, ours: bool, settings: Settings) -> tuple[Table, LawBook]:
    """The runs and their laws; where there are none, page and figures show what was run before the error is raised."""
    try:
        with console.named_as_flags(FLAGS):
            table = _read(args, ours)
            with waiting(f"fitting {len(table.rows)} runs"):
                return table, _fitted(table, args, settings)
    except (ValueError, FileNotFoundError) as error:
        if args.page and ours:
            why = str(error) if isinstance(error, ValueError) else "The folder holds no observations.jsonl yet."
            _write_page(args, None, None, why)
        if args.figures and ours and isinstance(error, ValueError):
            _draw_without_laws(args)
        raise


def _print(args: argparse.Namespace, table: Table, book: LawBook, settings: Settings) -> None:
    """The laws, and with --backtest what laws of smaller budgets would have chosen, as text or as JSON."""
    from analysis import report
    from analysis.fitting.retrospective import retrospective

    tested = retrospective(table, settings) if args.backtest else None
    if args.json:
        more = {} if tested is None else {"decisions": [decision.to_json() for decision in tested]}
        print(json.dumps({**report.document(book), **more}, indent=1))
        return
    print(console.flagged(report.text(book), FLAGS))
    if tested is not None:
        print("\n" + report.retrospective(tested))


def _check_paths(args: argparse.Namespace) -> None:
    """Check the paths before anything is fitted. Fixed endings keep a slip from replacing somebody's notes."""
    if not args.path.exists():
        raise FileNotFoundError(2, "no such results folder or table", str(args.path))
    for name, ending in (("out", ".json"), ("page", ".html")):
        path = getattr(args, name)
        if path and path.suffix != ending:
            raise ValueError(f"--{name}: {path} must be a file that ends in {ending}")
        if path and path.is_dir():
            raise ValueError(f"--{name}: {path} is a folder; give a file")
    if args.figures and args.figures.exists() and not args.figures.is_dir():
        raise ValueError(f"--figures: {args.figures} is a file; give a folder")


def _compares(folder: Path) -> bool:
    """Whether a results folder is of a sweep that compares ways to train on several sources."""
    return (folder / "sweep.toml").is_file() and "compare" in read_toml(folder / "sweep.toml")


def _compare(args: argparse.Namespace) -> int:
    """Print the table of a sweep that compares joint training with merging and draw its figures; it has no laws."""
    from analysis.comparison import document, draw_all, text
    from analysis.tables.comparison import read_comparison

    given = {"page": args.page, "out": args.out, "with": args.reference, "score": args.score, "backtest": args.backtest}
    for name in (name for name, value in given.items() if value):
        raise ValueError(f"--{name}: {args.path} compares ways to train on several sources, over which no law holds")
    comparison = read_comparison(args.path)
    drawn = draw_all(comparison, args.figures) if args.figures else None
    if args.json:
        print(json.dumps(document(comparison), indent=1))
    else:
        files = [*(f"wrote {path}" for path in drawn.files), *drawn.left_out] if drawn else []
        print("\n".join([text(comparison), "", *files]).rstrip())
    return 0


def _fit_facts(args: argparse.Namespace) -> int:
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
    out = args.out or args.path / "laws.json"
    _write(out, sealed(book.to_json(), indent=1) + "\n")
    written = [out, *([_write_page(args, book, out)] if args.page else [])]
    if args.json:
        print(json.dumps(report.document(book), indent=1))
    else:
        print("\n".join([report.published(book, rows), "", *(f"wrote {path}" for path in written)]))
    return 0


def _refuse_options_of_runs(args: argparse.Namespace) -> None:
    """Published facts have no runs to filter, draw or choose a family by."""
    plain = vars(_parser().parse_args([str(args.path)]))
    allowed = ("path", "bootstraps", "seed", "out", "page", "json")
    for name, value in vars(args).items():
        if name not in allowed and value != plain[name]:
            flag = "--with" if name == "reference" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag}: {args.path} holds facts from a paper ({FACTS}), not runs")


def _write_page(args: argparse.Namespace, book: LawBook | None, laws: Path | None, why: str = "") -> Path:
    """Write the page and return its path; without a book it shows the trials, and in words why they have no law."""
    from analysis.page import page

    _write(args.page, page(args.path, book, why, laws))
    return args.page


def _draw_without_laws(args: argparse.Namespace) -> None:
    """Draw what was run where it is too little for a law; the figures say so."""
    from analysis.figures import draw_all, without_laws
    from analysis.tables.sweep_table import sweep_table

    table = sweep_table(args.path, args.min_steps, args.max_epochs, args.score, args.condition)
    drawn = draw_all(table, without_laws(table), args.figures)
    print(f"drew {len(drawn.files)} files in {args.figures} without laws", file=sys.stderr)


def _fitted(table: Table, args: argparse.Namespace, settings: Settings) -> LawBook:
    if args.reference is None:
        from analysis.fitting.fit import fit_table

        return fit_table(table, settings)
    from analysis import reference_folder
    from analysis.fitting.joint import fit_beside
    from analysis.tables.sweep_table import read_sweep

    def read(folder: Path) -> Table:
        return read_sweep(folder, args.min_steps, args.max_epochs, args.score)

    with Progress("percent", 100) as progress:
        return fit_beside(table, reference_folder(args.reference), settings, read, progress.advance)


def _read(args: argparse.Namespace, ours: bool, condition: str = "") -> Table:
    from analysis.tables.columns import Columns
    from analysis.tables.foreign_table import read_runs
    from analysis.tables.sweep_table import read_sweep

    named = {name: getattr(args, name) for name in COLUMNS}
    if ours:
        more = {**named, "drop-highest": args.drop_highest, "best": args.best}
        given = [f"--{name}" for name, value in more.items() if value]
        if given:
            raise ValueError(f"{', '.join(given)}: only for tables of runs; {args.path} is a folder")
        return read_sweep(args.path, args.min_steps, args.max_epochs, args.score, condition or args.condition)
    if args.condition:
        raise ValueError("--condition: only a results folder has conditions; this is a table of runs")
    if args.score:
        raise ValueError("--score: only a results folder has scores; of a table, --loss names any column")
    if args.reference is not None:
        raise ValueError("--with: only a results folder shares exponents with another; this is a table of runs")
    if args.page:
        raise ValueError("--page: only a results folder has one, with its trials; this is a table of runs")
    if not args.loss:
        raise ValueError(f"{args.path}: --loss must name the column of final losses")
    return read_runs(args.path, Columns(**named), args.drop_highest, args.best)


def _write(path: Path, content: str) -> None:
    """Whole or not at all: a plan must never read half a law file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, content)


if __name__ == "__main__":
    raise SystemExit(main())
