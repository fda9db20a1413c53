"""The options of `fit`, and what all its kinds of input ask of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import EXPONENTS
from sweeps.admission import MAX_EPOCHS, MIN_STEPS
from sweeps.support import console
from sweeps.support.arguments import positive, real, whole
from sweeps.support.json_io import open_file, read_json

if TYPE_CHECKING:
    from analysis.fitting.estimate import Settings

EXAMPLES = """\
  fit results/nano                              fits the sweep, prints the table, writes results/nano/laws.json
  fit results/nano --figures results/nano/figures
  fit results/nano --page nano.html             a page that plans in the browser, without network
  fit results/nano --backtest                   and the choices of laws of small budgets at larger ones
  fit results/ziarko2024                        laws from a paper's published facts (facts.toml)
  fit results/merging --figures figures         a sweep with [compare]: a table and two figures, no laws
  fit results/mine --with reference             few own runs: exponents shared with the bundled sweep
  fit results/mine --with ziarko2024            laws that agree with a paper's facts and with your runs
  fit runs.csv --n params --d tokens --loss val_loss --predict N=7e9,D=2e12 --optimum 1e22 --holdout 'C > 1e21'
  fit runs.csv --n N --c flops --loss loss --method optimizer --run run_id --family chinchilla --json
  fit runs.csv --n 'size*1e9' --d tokens --loss loss --where 'D/N > 5' --fix alpha=0.35 --out table-laws.json
"""
COLUMNS = ("loss", "n", "d", "c", "method", "run", "share", "unique", "weights")
FACTS = "facts.toml"  # in a folder of what a paper printed
BOOTSTRAPS = 1000
PAGE_TITLE = b": recipe planner</title>"  # of every page, as analysis/page/page.html has it
PAGE_START = 16_384  # bytes in which it stands
# What library errors call a parameter, and the flag that gives it.
FLAGS = {
    **{name: f"--{name}" for name in (*COLUMNS, "family", "exponents", "delta")},
    **{name: f"--{name}" for name in ("best", "where", "holdout", "fix", "profile", "predict", "optimum")},
    "drop_highest": "--drop-highest",
    "condition": "--condition",
    "reference": "--with",
    "bootstraps": "--bootstraps",
}


def parser() -> argparse.ArgumentParser:
    """The parser of `fit`."""
    made = console.parser("fit", "Fit scaling laws to the runs of a sweep, with their uncertainty.", EXAMPLES)
    made.add_argument(
        "path",
        type=Path,
        help="a results folder (observations.jsonl, or a paper's facts.toml), or a .csv, .json, .parquet",
    )
    made.add_argument(
        "--family",
        default="auto",
        help="law family; auto: the mean of several, weighted by how they predict unseen larger runs",
    )
    made.add_argument(
        "--exponents",
        choices=list(EXPONENTS),
        default="auto",
        help="exponents of the methods: own, shared, or auto (decided by tests)",
    )
    made.add_argument(
        "--delta",
        type=real("a number"),
        help="delta of the Huber loss on log residuals (default: 1.345 noise sd; 1e-3 for one `--family` of a table of "
        "several model sizes, as published fits use)",
    )
    made.add_argument(
        "--bootstraps",
        type=whole(),
        help="bootstrap resamples behind the 90 %% intervals (default: 1000; of a facts.toml: 400 draws)",
    )
    made.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a coefficient, such as alpha=0.35; the others are fitted; repeatable",
    )
    made.add_argument(
        "--profile",
        default="",
        metavar="NAMES",
        help="90 %% profile intervals (likelihood ratio) of coefficients such as E,alpha; weak: unidentifiable ones",
    )
    made.add_argument("--seed", type=whole(0), default=0, help="seed of the resamples")
    made.add_argument("--out", type=Path, help="law file to write (default: laws.json in a results folder, else none)")
    made.add_argument("--figures", type=Path, metavar="DIR", help="draw every figure into DIR, as PNG and SVG")
    made.add_argument(
        "--page", type=Path, metavar="FILE.html", help="write a page of a results folder: recipes, frontier, trials"
    )
    made.add_argument("--json", action="store_true", help="print the laws as JSON")
    _add_those_of_folders(made)
    _add_those_of_tables(made)
    _add_questions(made)
    return made


def _add_those_of_folders(made: argparse.ArgumentParser) -> None:
    ours = made.add_argument_group("results folders")
    ours.add_argument("--min-steps", type=whole(0), default=MIN_STEPS, help="leave out runs with fewer optimiser steps")
    ours.add_argument(
        "--max-epochs", type=positive, default=MAX_EPOCHS, help="leave out runs with more passes over the pairs"
    )
    ours.add_argument(
        "--backtest",
        action="store_true",
        help="also compare the choices of laws fitted to budgets up to C/4 with the measurements at C",
    )
    ours.add_argument(
        "--methods",
        action="store_true",
        help="also compare methods that treat the token table alike, at equal FLOPs, and print the best LoRA rank",
    )
    ours.add_argument(
        "--score",
        default="",
        metavar="NAME",
        help="fit 1 minus this score, such as ndcg@10, instead of the loss; written to laws-NAME.json",
    )
    ours.add_argument(
        "--with",
        dest="reference",
        metavar="FOLDER",
        help="share exponents with this sweep's runs (reference: the bundled one); E, A and B stay your own. Or start "
        "from a paper's facts (ziarko2024: the bundled ones), reweighted by your runs",
    )
    ours.add_argument(
        "--condition",
        default="",
        metavar="NAME",
        help="fit only this condition of a sweep with lists under [training]; its name is in the table",
    )


def _add_those_of_tables(made: argparse.ArgumentParser) -> None:
    theirs = made.add_argument_group(
        "tables of runs: column names, with a factor if they have another unit ('size*1e9')"
    )
    theirs.add_argument("--loss", metavar="COLUMN", help="final loss, in any unit; E, A and B have the same unit")
    theirs.add_argument(
        "--n", metavar="COLUMN", help="parameters; with one of --n, --d and --c the law is in that quantity alone"
    )
    theirs.add_argument("--d", metavar="COLUMN", help="training tokens")
    theirs.add_argument(
        "--c", metavar="COLUMN", help="training FLOPs; with --d the cost of the runs, without it D = C / 6N"
    )
    theirs.add_argument("--method", metavar="COLUMN", help="a label; each value gets a law of its own")
    theirs.add_argument(
        "--run", metavar="COLUMN", help="training run of each row; rows of one run are resampled together"
    )
    theirs.add_argument("--share", metavar="COLUMN", help="trained share of the parameters (family trainable)")
    theirs.add_argument("--unique", metavar="COLUMN", help="unique training tokens (family repeated)")
    theirs.add_argument("--weights", metavar="COLUMN", help="weight of a row")
    theirs.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="use only rows where this is true, such as 'D/N > 5', of N, D, C, loss and table columns; repeatable",
    )
    theirs.add_argument("--drop-highest", type=whole(0), default=0, metavar="K", help="leave out the K highest losses")
    theirs.add_argument("--best", action="store_true", help="use only the lowest loss of each N and D")


def _add_questions(made: argparse.ArgumentParser) -> None:
    asked = made.add_argument_group("predictions from the laws of a table of runs")
    asked.add_argument(
        "--predict",
        action="append",
        default=[],
        metavar="N=7e9,D=2e12",
        help="print the predicted loss: two of N, D and C, and S or U if the law has them; repeatable",
    )
    asked.add_argument(
        "--optimum", action="append", default=[], metavar="FLOP", help="print the best N and D for a budget; repeatable"
    )
    asked.add_argument(
        "--holdout",
        default="",
        metavar="CONDITION",
        help="leave these rows out of the fit and predict them, such as 'C > 1e21'",
    )


def settings(args: argparse.Namespace) -> Settings:
    """How to fit, as asked."""
    from analysis.fitting.estimate import Settings  # numpy takes its time; `fit --help` need not wait for it

    return Settings(
        family=args.family,
        delta=args.delta,
        bootstraps=BOOTSTRAPS if args.bootstraps is None else args.bootstraps,
        seed=args.seed,
        shared=EXPONENTS[args.exponents],
        fixed=_held(args.fix),
        profile=args.profile,
    )


def _held(given: Sequence[str]) -> dict[str, float]:
    """The coefficients that `--fix` holds, with their values."""
    held: dict[str, float] = {}
    for text in given:
        for part in text.split(","):
            name, equals, value = (side.strip() for side in part.partition("="))
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if not equals or not math.isfinite(number):
                raise ValueError(f"--fix is {text!r}; it must be coefficients with values, such as alpha=0.35")
            if name in held:
                raise ValueError(f"--fix gives {name} twice: {held[name]:g} and {number:g}")
            held[name] = number
    return held


def check_paths(args: argparse.Namespace) -> None:
    """Check the paths before anything is fitted. Fixed endings keep a slip from replacing somebody's notes."""
    if not args.path.exists():
        raise FileNotFoundError(2, "no such results folder or table", str(args.path))
    for name, ending, written in (("out", ".json", _is_law_book), ("page", ".html", _is_page)):
        path = getattr(args, name)
        if path and path.suffix != ending:
            raise ValueError(f"--{name}: {path} must be a file that ends in {ending}")
        if path and path.is_dir():
            raise ValueError(f"--{name}: {path} is a folder; give a file")
        if path and path.exists() and not (_is_empty(path) or written(path)):
            raise ValueError(f"--{name}: {path} is a file that `fit` did not write; name another file")
    if args.figures and args.figures.exists() and not args.figures.is_dir():
        raise ValueError(f"--figures: {args.figures} is a file; give a folder")


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _is_law_book(path: Path) -> bool:
    """Whether a file holds laws, as `fit` writes them; whether these can be used is not asked."""
    with suppress(ValueError, OSError):
        content = read_json(path)
        return isinstance(content, dict) and {"format", "laws"} <= set(content)
    return False


def _is_page(path: Path) -> bool:
    """Whether a file is the page that `fit` writes: its title tells."""
    with suppress(ValueError, OSError), open_file(path) as file:
        return PAGE_TITLE in file.read(PAGE_START)
    return False
