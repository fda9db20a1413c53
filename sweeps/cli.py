"""`sweep`: train the trials of a sweep file, and see how a sweep stands."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from sweeps import console
from sweeps.display import Screen, Snapshot, left_out_lines, result, snapshot, status_lines, table
from sweeps.estimate import Speed, costs, made_here, makespan, speed
from sweeps.export import write_csv
from sweeps.grid import Data, Sweep, read_sweep, trial_flops
from sweeps.launchers import LAUNCHERS, available_cores, local_workers
from sweeps.progress import duration
from sweeps.reuse import Library
from sweeps.run import Conductor, prepare
from sweeps.search import EXTENSIONS, Outlook, outlook
from sweeps.store import Store
from sweeps.trial import Trial

EXAMPLES = """\
  sweep run examples/nano.toml --dry-run    what would be trained, what it costs, what is left out and why
  sweep run examples/nano.toml              train it into results/nano; run it again to continue after Ctrl-C
  sweep run examples/nano.toml --retry-failed   the same, and try again what failed
  sweep status results/nano                 how far it is, what runs where, what failed and why
  sweep export results/nano --csv nano.csv  its observations as a table
"""


def main(argv: list[str] | None = None) -> int:
    """The `sweep` command; returns its exit code. 1 means that a trial failed."""
    parser = console.parser("sweep", __doc__ or "", EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, purpose, add) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            epilog=f"examples:\n{EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add(command)
        command.set_defaults(function=function)
    arguments = parser.parse_args(argv)
    return console.run("sweep", lambda: arguments.function(arguments))


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE.toml", help="sweep file: the experiment")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder of the sweep (default: results/<FILE's name>)")
    command.add_argument(
        "--workers", type=_positive, metavar="K", help="trials at once (default: one a GPU, or a core)"
    )
    command.add_argument("--launcher", choices=list(LAUNCHERS), default="local", help="what starts the workers")
    command.add_argument("--dry-run", action="store_true", help="print the trials and what they cost, train nothing")
    command.add_argument("--fresh", action="store_true", help="train here what other sweeps have observed already")
    command.add_argument("--retry-failed", action="store_true", help="try failed trials again")
    command.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    sweep = read_sweep(arguments.file)
    directory = arguments.out or _folder(arguments.file)
    data = prepare(arguments.file)
    store = Store(directory)
    library = None if arguments.fresh else Library(store)
    if arguments.dry_run:
        return _dry_run(arguments, sweep, data, store, library)
    failed = store.retry_failed() if arguments.retry_failed else []
    launch = partial(LAUNCHERS[arguments.launcher], workers=arguments.workers)
    with Screen(directory.resolve().name) as screen:
        conductor = Conductor(sweep, data, store, library, screen)
        store.begin(arguments.file, data)  # only now: nothing is written for a sweep that cannot be
        for seen in failed:
            conductor.say(f"to be tried again: {result(seen)}")
        end = conductor.run(launch)
    if arguments.json:
        print(json.dumps({**end.to_json(), "reused": conductor.reused}))
    else:
        print("\n".join(_summary(end, conductor.reused)))
    return 1 if end.count("failed") else 0


def _folder(file: Path) -> Path:
    """Where a sweep lies unless told otherwise; the copy of a sweep file in its folder continues that sweep."""
    copied = file.name == "sweep.toml" and (file.parent / "observations.jsonl").exists()
    return file.parent if copied else Path("results") / file.stem


def _summary(end: Snapshot, reused: int) -> list[str]:
    lines = status_lines(end)
    lines[0] += f", {reused} reused" if reused else ""
    if end.count("failed"):
        lines += ["", "to try failed trials again: the same command with --retry-failed"]
    lines += ["", f"{end.directory / 'observations.jsonl'}  every observation, one a line"]
    if end.searches:
        lines += [f"{end.directory / 'rates.json'}  the learning rates tried and chosen"]
    return [*lines, "", f"next: fit {end.directory}"]


def _dry_run(arguments: argparse.Namespace, sweep: Sweep, data: Data, store: Store, library: Library | None) -> int:
    known = {seen.key: seen for seen in store.results() if not (arguments.retry_failed and seen.status == "failed")}
    ahead = outlook(sweep, data, known.values())
    while library and (hits := [hit for trial in ahead.now if (hit := library.find(trial))]):
        known |= {seen.key: seen for seen, _ in hits}
        ahead = outlook(sweep, data, known.values())
    workers = arguments.workers or local_workers()
    pace = speed(made_here(store.directory), max(1, len(available_cores()) // workers))
    plan = _plan(sweep, data, ahead, store.states(), pace, workers)
    if arguments.json:
        print(json.dumps(plan))
        return 0
    print("\n".join(_plan_lines(plan, data, ahead)))
    return 0


def _plan(
    sweep: Sweep, data: Data, ahead: Outlook, states: dict[str, list[int]], pace: Speed, workers: int
) -> dict[str, Any]:
    """What is to be trained: rows of trials, and the sums. A row's flops are those of the trial on its own."""
    searched = {trial.key for found in ahead.searches for trial in map(found.cell.trial, found.open)}
    rows = [
        _row(seen.trial, f"{seen.trial.lr:.3g}", "known", data, trial_flops(seen.trial, sweep, data), seen.reused_flops)
        for seen in ahead.finished
    ]
    for place, cost in enumerate(costs(ahead, sweep, data, states)):
        lr = f"{cost.trial.lr:.3g}" if place < len(ahead.now) else "?"
        state = "search" if cost.trial.key in searched else "train"
        rows.append(_row(cost.trial, lr, state, data, cost.flops, cost.reused))
    order = {name: index for index, name in enumerate(model.name for model in sweep.models)}
    rows.sort(key=lambda row: (order[row["model"]], row["method"], row["budget"], row["seed"]))
    new = [row for row in rows if row["state"] != "known"]
    return {
        "trials": rows,
        "flops": sum(row["flops"] - row["reused_flops"] for row in new),
        "flops_alone": sum(row["flops"] for row in new),
        "known": len(ahead.finished),
        "search_trials": len(searched),
        "workers": workers,
        "seconds": makespan(
            [pace.seconds(row["model"], row["flops"] - row["reused_flops"]) for row in new],
            workers,
            alone=[pace.seconds(row["model"], row["flops"]) for row in new],
        ),
        "speed": pace.typical,
        "speed_source": pace.source,
        "left_out": [cell.to_json() for cell in ahead.left_out],
    }


def _row(trial: Trial, lr: str, state: str, data: Data, flops: float, reused: float) -> dict[str, Any]:
    return {
        "model": trial.model,
        "method": trial.method.label,
        "budget": trial.budget,
        "seed": trial.seed,
        "lr": lr,
        "steps": trial.steps,
        "pairs": trial.pairs,
        "epochs": trial.pairs / data.train_pairs,
        "flops": flops,
        "reused_flops": reused,
        "state": state,
    }


def _plan_lines(plan: dict[str, Any], data: Data, ahead: Outlook) -> list[str]:
    header = ["model", "method", "budget", "seed", "lr", "steps", "pairs", "epochs", "FLOPs", "state"]
    form = "{model}|{method}|{budget:.3g}|{seed}|{lr}|{steps}|{pairs:,}|{epochs:.2f}|{flops:.3g}|{state}"
    rows = [form.format(**row).split("|") for row in plan["trials"]]
    lines = table(header, rows) if rows else ["no trial is possible"]
    lines += left_out_lines(ahead.left_out)
    lines += ["", f"data      {data.train_pairs:,} training pairs of {data.tokens:.1f} tokens, hash {data.data_hash}"]
    new = len(plan["trials"]) - plan["known"]
    alone = f" ({plan['flops_alone']:.3g} were each trained alone)" if plan["flops_alone"] > plan["flops"] else ""
    lines += [f"to train  {new} trials, {plan['flops']:.3g} FLOPs{alone}; {plan['known']} known already"]
    if plan["search_trials"]:
        extra = f"each search may go up to {EXTENSIONS} rates beyond those listed"
        lines += [f"search    {plan['search_trials']} of them look for a learning rate; {extra}"]
    workers = "1 worker" if plan["workers"] == 1 else f"{plan['workers']} workers"
    return [*lines, f"time      about {duration(plan['seconds'])} with {workers} ({plan['speed_source']})"]


def _add_status(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", type=Path, metavar="DIR", help="folder of the sweep")
    command.add_argument("--json", action="store_true", help="print it as JSON")


def _status(arguments: argparse.Namespace) -> int:
    store = _existing(arguments.directory)
    known = {seen.key: seen for seen in store.exported()} | {seen.key: seen for seen in store.results()}
    workers = len(list(store.running())) or local_workers()
    if data := store.read_data():
        sweep = read_sweep(store.directory / "sweep.toml")
        pace = speed(made_here(store.directory), max(1, len(available_cores()) // workers))
        now = snapshot(store, sweep, data, outlook(sweep, data, known.values()), pace, workers)
    else:  # a committed folder without its trials: what is still to come cannot be known
        spent = sum(seen.spent_flops for seen in known.values())
        now = Snapshot(store.directory, tuple(known.values()), (), 0, (), (), spent, spent, 0.0, workers)
    print(json.dumps(now.to_json()) if arguments.json else "\n".join(status_lines(now)))
    return 0


def _existing(directory: Path) -> Store:
    if not (directory / "sweep.toml").exists():
        raise ValueError(f"{directory}: no sweep here (it has no sweep.toml)")
    return Store(directory)


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", type=Path, metavar="DIR", help="folder of the sweep")
    command.add_argument("--csv", type=Path, metavar="FILE", required=True, help="file to write, replaced if there")
    command.add_argument("--json", action="store_true", help="print what was written as JSON")


def _export(arguments: argparse.Namespace) -> int:
    store = _existing(arguments.directory)
    known = {seen.key: seen for seen in store.exported()} | {seen.key: seen for seen in store.results()}
    columns = write_csv(arguments.csv, known.values())
    if arguments.json:
        print(json.dumps({"file": str(arguments.csv), "rows": len(known), "columns": columns}))
    else:
        print(f"{arguments.csv}  {len(known)} observations, {len(columns)} columns")
    return 0


COMMANDS = {
    "run": (_run, "Train the trials of a sweep file; continues where it stopped.", _add_run),
    "status": (_status, "Show how far a sweep is, what runs where, what failed and why.", _add_status),
    "export": (_export, "Write the observations of a sweep as a table.", _add_export),
}

if __name__ == "__main__":
    raise SystemExit(main())
