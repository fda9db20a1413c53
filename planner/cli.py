"""`plan`: the compute-optimal recipe for a budget."""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.support import console

if TYPE_CHECKING:  # the planner itself is imported when it is used: `plan --help` starts at once
    from planner.answer import Calibration, Plan
    from planner.candidates import Limits
    from planner.law_book import LawBook

EXAMPLES = """\
  plan --budget 1e19                                    answer from the nearest bundled law book
  plan --budget 1e19 --suite qwen3 --suite gemma3       choose from two suites
  plan --budget 24h --hardware 8xh100 --json            a day on eight chips, as JSON
  plan --budget 24h --hardware h100 --data pairs.jsonl  a day on one chip, with these pairs
  plan --budget '$500' --hardware 8xh100 --price 2.5 --suite qwen3 --max-dim 1024
  plan --budget 1e17 --laws results/mine/laws.json --out recipe.toml && embed train recipe.toml
  plan --budget 1e22 --laws table-laws.json --suite pythia   laws of a table of runs: size and tokens only
  plan --budget 1e15 --curve 1e13..1e17                 the frontier as a table
  plan --budget 1e18 --suite pythia --calibrate 2% --sweep-out calibrate.toml && sweep run calibrate.toml
"""


FLAGS = {"models": "--model", "share": "--calibrate"}  # of what is not named as its flag is
# What laws of a table of runs can be asked: they say size and tokens alone.
SIZES_ALONE = ("budget", "laws", "suite", "model", "methods", "max_params", "top", "json")


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    return console.run("plan", lambda: _plan(arguments), console.flags_of(parser) | FLAGS)


def _parser() -> argparse.ArgumentParser:
    parser = console.parser("plan", "The best training recipe for a budget, and how sure it is.", EXAMPLES)
    add = parser.add_argument
    add("--budget", required=True, help="FLOP (1e19), time on --hardware (24h) or money ('$500', with --price)")
    add(
        "--laws",
        action="append",
        metavar="NAME|FOLDER|FILE",
        help="law book of `fit`, or name of a bundled one; repeatable, the nearest one answers (default: all bundled)",
    )
    add("--suite", action="append", help="suite to choose from, or all; repeatable (default: that of the law book)")
    add("--model", action="append", default=[], metavar="NAME_OR_FOLDER", help="a model, its folder or its config.json")
    add("--methods", help="tuning methods to choose from, comma-separated (default: all that were measured)")
    add("--flops", default="exact", help="how FLOPs are counted: exact, from the shapes; or paper, 6N per token")
    add(
        "--data",
        help="training pairs, which are counted: a file, hf:owner/name, ...; docs/data.md (default: those of the laws)",
    )
    add("--top", default="5", help="candidates to show (default: 5)")
    training = parser.add_argument_group("training (default: the conditions of the law book)")
    training.add_argument("--batch-size", metavar="PAIRS", help="text pairs in a step")
    training.add_argument("--temperature", help="temperature of the contrastive loss, such as 0.02")
    training.add_argument("--context", metavar="TOKENS", help="length at which texts are cut")
    training.add_argument(
        "--tokens-per-pair",
        metavar="TOKENS",
        help="mean length of a pair, both texts together (default: counted in --data)",
    )
    training.add_argument("--pooling", help="pooling of token states into one vector: mean, weighted or last")
    training.add_argument("--schedule", help="learning-rate schedule: wsd or cosine")
    training.add_argument("--lr", help="peak learning rate")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--hardware",
        metavar="COUNTxCHIP",
        help="number and kind of chips, such as 8xh100; or cpu; or this, the machine that `embed bench` measured",
    )
    machine.add_argument(
        "--mfu", help="model FLOPs utilisation, a share of the peak rate (default: an estimate, shown in the answer)"
    )
    machine.add_argument("--price", help="price per chip-hour")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--min-steps", default="50", help="fewest optimiser steps of a recipe (default: 50)")
    limits.add_argument("--max-steps", default="1000000", help="most optimiser steps of a recipe (default: 1,000,000)")
    limits.add_argument("--max-params", help="most parameters outside the embedding tables, such as 1.4B")
    limits.add_argument("--max-dim", help="most dimensions of the vectors")
    limits.add_argument("--memory", help="memory per chip, such as 24GB (default: that of --hardware)")
    limits.add_argument(
        "--pairs",
        "--max-pairs",
        dest="max_pairs",
        help="number of unique training pairs, such as 5M; repeats are worth less (default: counted in --data)",
    )
    limits.add_argument("--max-epochs", help="most passes over the pairs (default: 4, if their number is known)")
    limits.add_argument(
        "--serve-tokens", help="tokens to embed with the trained model; their compute is taken from the budget"
    )
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="print the answer as JSON; fields in docs/plan-json.md")
    out.add_argument("--explain", action="store_true", help="also print the source of each part of the answer")
    out.add_argument("--out", type=Path, metavar="RECIPE.TOML", help="write the recipe for `embed train`")
    out.add_argument("--curve", metavar="LOW..HIGH", help="also print the best recipe at budgets from LOW to HIGH")
    out.add_argument(
        "--calibrate",
        metavar="SHARE",
        help="also design the sweep that lowers the expected regret most for SHARE of the budget, such as 2%%",
    )
    out.add_argument(
        "--sweep-out", type=Path, metavar="SWEEP.TOML", help="with --calibrate: write that sweep for `sweep run`"
    )
    out.add_argument("--run", action="store_true", help="with --calibrate: also run that sweep")
    return parser


def _plan(arguments: argparse.Namespace) -> None:
    from planner import quantities, report
    from planner.evidence import is_table, read_books
    from planner.recipe import plan
    from sweeps.support.progress import waiting

    books = read_books(arguments.laws) if arguments.laws else None
    if books and len(books) == 1 and is_table(books[0]):
        _plan_sizes(arguments, books[0])
        return
    for flag, given in (
        ("--sweep-out", arguments.sweep_out),
        ("--run", arguments.run),
    ):
        if given and arguments.calibrate is None:
            raise ValueError(f"{flag} needs --calibrate, such as --calibrate 2%")
    share = quantities.share("--calibrate", arguments.calibrate) if arguments.calibrate is not None else 0.0
    _refuse_to_overwrite("--out", arguments.out)
    sweep_file = _sweep_file(arguments)
    _refuse_to_overwrite("--sweep-out", sweep_file)
    if arguments.out and sweep_file and arguments.out.resolve() == sweep_file.resolve():
        raise ValueError(f"--out and the sweep file (--sweep-out) are both {arguments.out}; name two files")
    with waiting("counting pairs and planning" if arguments.data else "planning"):
        answer = plan(
            arguments.budget,
            laws=books,
            suite=arguments.suite,
            models=arguments.model,
            methods=_methods(arguments),
            limits=_limits(arguments),
            flops=arguments.flops,
            top=_whole("--top", arguments.top),
            hardware=arguments.hardware,
            mfu=arguments.mfu,
            price=arguments.price,
            data=arguments.data,
            tokens_per_pair=_tokens(arguments.tokens_per_pair),
            conditions=_conditions(arguments),
            lr=_rate(arguments.lr),
            curve=quantities.span("--curve", arguments.curve) if arguments.curve is not None else None,
        )
        sweep = _calibrate(answer, share, arguments, sweep_file) if share else None
    if arguments.out:
        report.write(answer, arguments.out)
    if arguments.json:
        print(json.dumps(answer.to_json(sweep), indent=2, allow_nan=False))
    else:
        print(report.text(answer, sweep, None if sweep else _advised(answer), arguments.out, sweep_file))
        if arguments.explain:
            print("\n" + report.explanation(answer))
    if arguments.run and sweep_file:
        _run_sweep(sweep_file, arguments.json)


def _plan_sizes(arguments: argparse.Namespace, book: LawBook) -> None:
    """The size and the tokens for the budget, by laws that know nothing else."""
    from planner import size_report
    from planner.quantities import count
    from planner.size_plan import plan_sizes

    plain = vars(_parser().parse_args([f"--budget={arguments.budget}"]))
    flags = console.flags_of(_parser()) | FLAGS
    for name, value in vars(arguments).items():
        if value != plain[name] and name not in SIZES_ALONE:
            known = ", ".join(flags[name] for name in SIZES_ALONE)
            raise ValueError(
                f"{flags[name]}: the laws of {book.name} come from a table of runs and give size and tokens only; "
                f"options for them: {known}"
            )
    most = arguments.max_params
    answer = plan_sizes(
        arguments.budget,
        book,
        suite=arguments.suite or (),
        models=arguments.model,
        methods=_methods(arguments),
        max_params=math.inf if most is None else count("--max-params", most, "parameters"),
        top=_whole("--top", arguments.top),
    )
    print(json.dumps(answer.to_json(), indent=2, allow_nan=False) if arguments.json else size_report.text(answer))


def _sweep_file(arguments: argparse.Namespace) -> Path | None:
    """Where the calibration sweep is written, if it is."""
    from planner.answer import SWEEP_FILE

    return arguments.sweep_out or (Path(SWEEP_FILE) if arguments.run else None)


def _calibrate(answer: Plan, share: float, arguments: argparse.Namespace, out: Path | None) -> Calibration:
    from planner.answer import SWEEP_FILE
    from planner.design import calibrate, goal_file
    from sweeps.support.atomic import write_text

    sweep = calibrate(answer, share, file=out or Path(SWEEP_FILE))
    if out:
        price = float(arguments.price) if arguments.price else 0.0
        laws = _named_laws(arguments.laws or [], answer, out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, goal_file(answer, share, out, laws, arguments.hardware or "", price))
    return sweep


def _named_laws(given: list[str], answer: Plan, file: Path) -> str:
    """How a sweep file at `file` names the laws that answered: as they were given, or as bundled ones are called."""
    from planner.evidence import read_books
    from sweeps.support.paths import named_in

    for name in given:
        if read_books([name])[0].name == answer.laws.name:
            return named_in(file, name)
    return answer.laws.name


def _run_sweep(file: Path, json_alone: bool) -> None:
    """Run the sweep that was written. json_alone: stdout is the document's, and the sweep speaks on stderr.

    Raises ValueError where it ends with an error, which it has told.
    """
    import subprocess
    import sys

    from sweeps.support.processes import own_code

    command = [sys.executable, "-P", "-m", "sweeps.cli", "run", str(file)]
    sys.stdout.flush()  # what the sweep says comes after the plan
    out = 2 if json_alone else None
    code = subprocess.run(command, env=os.environ | own_code(), stdout=out, check=False).returncode
    if code:
        raise ValueError(f"--run: `sweep run {file}` ended with exit code {code}; run it again to continue")


def _advised(answer: Plan) -> Calibration | None:
    from planner.design import advised

    return advised(answer)


def _refuse_to_overwrite(flag: str, path: Path | None) -> None:
    """Raises ValueError for a folder, and for a file that `plan` has not written: its first line tells."""
    if path and path.is_dir():
        raise ValueError(f"{flag} is {path}, a folder; name a file")
    if path and path.is_file() and not path.read_bytes().startswith(b"# `plan "):
        raise ValueError(f"{flag} is {path}, a file that `plan` did not write; name another file")


def _methods(arguments: argparse.Namespace) -> list[str]:
    """The tuning methods that were asked for; none for all."""
    return [] if arguments.methods is None else [name.strip() for name in arguments.methods.split(",")]


def _conditions(arguments: argparse.Namespace) -> dict[str, object]:
    """The training conditions that were asked for."""
    given: dict[str, object] = {}
    if arguments.batch_size is not None:
        given["batch_size"] = _whole("--batch-size", arguments.batch_size, 2)  # a query alone has no negatives
    if arguments.context is not None:
        given["context"] = _whole("--context", arguments.context)
    if arguments.temperature is not None:
        given["temperature"] = console.positive("--temperature", arguments.temperature, "a temperature such as 0.02")
    for name in ("pooling", "schedule"):
        if getattr(arguments, name) is not None:
            given[name] = getattr(arguments, name)
    return given


def _limits(arguments: argparse.Namespace) -> Limits:
    from planner.candidates import Limits
    from planner.quantities import count, memory

    given = {
        "max_params": ("--max-params", "parameters"),
        "max_dim": ("--max-dim", "dimensions"),
        "max_pairs": ("--pairs", "pairs"),
        "max_epochs": ("--max-epochs", "epochs"),
        "serve_tokens": ("--serve-tokens", "tokens"),
    }
    asked = {name: getattr(arguments, name) for name in given}
    limits = {name: count(given[name][0], text, given[name][1]) for name, text in asked.items() if text is not None}
    if "max_epochs" in limits and "max_pairs" not in limits and arguments.data:
        limits["max_pairs"] = _counted(arguments.data)
    if arguments.memory is not None:
        limits["memory"] = memory("--memory", arguments.memory)
    steps = {
        name: _whole(f"--{name.replace('_', '-')}", getattr(arguments, name)) for name in ("min_steps", "max_steps")
    }
    return Limits(min_steps=steps["min_steps"], max_steps=steps["max_steps"], **limits)


def _counted(data: str) -> int:
    """Training pairs of a source."""
    from sweeps.data.pair_statistics import pair_statistics
    from sweeps.trial import Training

    return pair_statistics(Training(data=data)).train_pairs


def _tokens(text: str | None) -> float | None:
    from planner.quantities import count

    return None if text is None else count("--tokens-per-pair", text, "tokens")


def _rate(text: str | None) -> float | None:
    return None if text is None else console.positive("--lr", text, "a learning rate such as 1e-3")


def _whole(flag: str, text: str, least: int = 1) -> int:
    """A whole number, `least` or more."""
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{flag} is {text!r}; it must be a whole number, {least} or more")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
