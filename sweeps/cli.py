"""`sweep`: train the trials of a sweep file, and see how a sweep stands."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sweeps.commands import views
from sweeps.commands.conduct import OpenedSweep, elsewhere, folder_of_file, launchers, launching, opened
from sweeps.commands.doctor import add_doctor, doctor
from sweeps.commands.goal import with_next_round, write_chosen
from sweeps.commands.init import add_init, init
from sweeps.commands.manifest import add_manifest, manifest
from sweeps.running.display import Snapshot, status_lines
from sweeps.running.dry_run import plan_lines
from sweeps.store.open import add_store, keep_password_out_of_sight, placed
from sweeps.support import console
from sweeps.support.arguments import whole
from sweeps.support.paths import relative_to
from sweeps.support.text import plain
from sweeps.workers import DEFAULT, LAUNCHERS
from sweeps.workers.base import TRACKERS, Launcher, LaunchOptions

EXAMPLES = """\
  sweep init mine.toml --suite nano --data pairs.jsonl --budget 1e12   write a sweep file that is enough for laws
  sweep init --example demo                 write demo.toml, a bundled example
  sweep run examples/demo.toml --dry-run    list the trials, their cost, and what is left out with the reason
  sweep run examples/demo.toml              train it into results/demo; the same command continues after Ctrl-C
  sweep run examples/demo.toml --retry-failed   the same, with failed trials tried again
  sweep run examples/demo.toml --launcher slurm --profile examples/slurm.toml   on a cluster, see docs/cluster.md
  sweep run examples/demo.toml --dry-run --hardware 8xh100 --price 2.5   the same on another machine
  sweep status results/demo --watch         progress, running trials and failures, until it is finished
  sweep logs results/demo 3f2a --follow     follow the trial whose key begins with 3f2a
  sweep cancel results/demo 3f2a            cancel that trial; without a key: all unfinished ones
  sweep retry results/demo --failed         re-queue failed trials for the next `sweep run`; also --cancelled, or keys
  sweep export results/demo --csv demo.csv  write its observations as a table; or --parquet demo.parquet
  sweep status s3://bucket/sweeps/demo      the same for a sweep in a bucket, from anywhere
  sweep doctor /shared/results --two        check that file system from two machines; or s3://bucket/sweeps
  sweep manifest examples/demo.toml --for kubernetes --image IMAGE --claim CLAIM   Jobs for its workers
  sweep dashboard results/demo              open its trials in optuna-dashboard
"""


def main(argv: list[str] | None = None) -> int:
    """The `sweep` command; returns its exit code. 1 means that a trial failed."""
    keep_password_out_of_sight()
    parser = console.parser("sweep", "Train the trials of a sweep file, and show and control their progress.", EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="sweep")
    for name, (function, purpose, add) in COMMANDS.items():
        examples = [line for line in EXAMPLES.splitlines() if line.startswith(f"  sweep {name} ")]
        command = commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            epilog="\n".join(["examples:", *examples]),
            formatter_class=console.help_formatter,
            allow_abbrev=False,
        )
        add(command)
        command.set_defaults(function=function)
    arguments = parser.parse_args(argv)
    return console.run(
        "sweep", lambda: arguments.function(arguments), console.flags_of(commands.choices[arguments.command])
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE.toml", help="the sweep file")
    command.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the sweep (default: results/NAME for NAME.toml), or its URL (s3://BUCKET/PREFIX/NAME)",
    )
    command.add_argument(
        "--workers",
        type=whole(),
        metavar="K",
        help="number of trials in parallel (default: one per GPU, or per core)",
    )
    command.add_argument("--launcher", choices=list(LAUNCHERS), default=DEFAULT, help="how workers are started")
    command.add_argument(
        "--profile", type=Path, metavar="FILE.toml", help="cluster profile: the resource classes of a cluster"
    )
    command.add_argument(
        "--detach",
        action="store_true",
        help=f"with {launchers('detachable')}: keep the workers running when this command stops",
    )
    command.add_argument(
        "--slots",
        type=whole(),
        default=1,
        metavar="K",
        help=f"with {launchers('here')}: number of trials at once per GPU",
    )
    add_store(command)
    command.add_argument(
        "--checkpoints",
        default="",
        metavar="URL",
        help="s3://, gs:// or file:// URL for copies of checkpoints, so that trials can continue on other machines",
    )
    command.add_argument("--dry-run", action="store_true", help="print the trials and their cost, train nothing")
    command.add_argument(
        "--hardware", metavar="COUNTxCHIP", help="with --dry-run: time and price on this machine, such as 8xh100"
    )
    command.add_argument(
        "--mfu", help="with --hardware: model FLOPs utilisation, the share of the peak rate that training reaches"
    )
    command.add_argument("--price", help="with --dry-run: price per chip-hour (here: per GPU or core)")
    command.add_argument("--no-law", action="store_true", help="run it even if its trials cannot give a law")
    command.add_argument("--track", choices=TRACKERS, help="tracker to which workers log every training step")
    command.add_argument(
        "--fresh", action="store_true", help="train every trial; reuse no observations of other sweeps"
    )
    command.add_argument("--retry-failed", action="store_true", help="try failed trials again")
    command.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _run(arguments: argparse.Namespace) -> int:
    for flag in ("hardware", "mfu", "price"):
        if getattr(arguments, flag) is not None and not arguments.dry_run:
            raise ValueError(f"--{flag} needs --dry-run")
    elsewhere(arguments.hardware, arguments.mfu, arguments.price)  # what is wrong is told before the data are read
    with relative_to(arguments.file):
        return _run_file(arguments)


def _run_file(arguments: argparse.Namespace) -> int:
    launcher, options = launching(
        arguments.launcher, arguments.workers, arguments.profile, arguments.detach, arguments.slots
    )
    place = arguments.out or str(folder_of_file(arguments.file))
    directory, url = placed(place, arguments.store, own=Path("results"))
    no_law = arguments.no_law or arguments.dry_run  # a dry run shows the trials, then why they are too few
    asked = opened(arguments.file, directory, url, arguments.fresh, arguments.checkpoints, no_law)
    if arguments.dry_run:
        _dry_run(arguments, with_next_round(asked), launcher, options)
    asked.refuse_hopeless(arguments.no_law)
    if arguments.dry_run:
        return 0
    end, reused = asked.conduct(launcher, options.tracked_in(arguments.track), arguments.retry_failed)
    if arguments.json:
        print(json.dumps({**end.to_json(), "reused": reused}))
    else:
        print("\n".join(_summary(end, reused)))
    return 1 if end.count("failed") else 0


def _summary(end: Snapshot, reused: int) -> list[str]:
    lines = [plain(line) for line in status_lines(end)]
    lines[0] += f", {reused} reused" if reused else ""
    if end.count("failed"):
        lines += ["", "to retry failed trials: the same command with --retry-failed"]
    lines += ["", f"{end.directory / 'observations.jsonl'}  all observations, one per line"]
    if end.searches:
        lines += [f"{end.directory / 'rates.json'}  the learning rates tried and chosen"]
    return [*lines, *write_chosen(end)] if end.rounds else [*lines, "", f"next: fit {end.directory}"]


def _dry_run(
    arguments: argparse.Namespace, asked: OpenedSweep, launcher: type[Launcher], options: LaunchOptions
) -> None:
    """Print what would be trained. Raises ValueError for a trial that this machine has not the memory for."""
    plan, state = asked.foresee(
        launcher, options, arguments.hardware, arguments.mfu, arguments.price, arguments.retry_failed
    )
    expected = asked.expected
    if arguments.json:
        print(json.dumps(plan | {"remarks": expected.remarks, "refusal": expected.refusal}))
    else:
        print("\n".join([*plan_lines(plan, asked.data, state), *(f"note      {each}" for each in expected.remarks)]))


COMMANDS = {
    "init": (init, "Write a commented sweep file for a suite, data and a budget.", add_init),
    "run": (_run, "Train the trials of a sweep file, or continue where a run stopped.", _add_run),
    "status": (views.status, "Show the progress of a sweep, its running trials and its failures.", views.add_status),
    "logs": (views.logs, "Show the log of a sweep or of one trial.", views.add_logs),
    "cancel": (views.cancel, "Cancel trials; their checkpoints are kept.", views.add_cancel),
    "retry": (views.retry, "Re-queue trials that failed or were cancelled.", views.add_retry),
    "export": (views.export, "Write the observations of a sweep as a table.", views.add_export),
    "doctor": (doctor, "Check that a shared file system or a bucket supports what sweeps need.", add_doctor),
    "manifest": (
        manifest,
        "Print what Kubernetes, SkyPilot or Docker need to start workers.",
        add_manifest,
    ),
    "dashboard": (views.dashboard, "Open a sweep in optuna-dashboard in the browser.", views.add_dashboard),
}

if __name__ == "__main__":
    raise SystemExit(main())
