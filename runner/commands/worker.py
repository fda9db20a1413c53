"""`embed worker`, which takes trials of a sweep, and `embed rank`, one of the processes that train one of them."""

from __future__ import annotations

import argparse
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.commands.options import add_device, add_run_options, add_tracking, run_options
from runner.libraries import quiet_libraries
from runner.training import trackers
from sweeps.support.arguments import seconds, whole

if TYPE_CHECKING:
    from sweeps.trial import Observation, Trial
    from sweeps.workers.base import ClusterJob
    from sweeps.workers.loop import Train
    from sweeps.workers.stop_requests import StopRequests


def worker(arguments: argparse.Namespace) -> int:
    """Run `embed worker`; returns the exit code."""
    from sweeps.store.open import join, keep_password_out_of_sight, placed
    from sweeps.workers import this_job
    from sweeps.workers.loop import work
    from sweeps.workers.options import WorkerOptions

    keep_password_out_of_sight()
    directory, url = placed(arguments.sweep, arguments.store)
    if url:
        join(directory, url)
    if not (directory / "sweep.toml").exists():
        raise ValueError(f"{directory}: no sweep here (it has no sweep.toml)")
    options = WorkerOptions(
        resource_class=arguments.resource_class,
        takes_smaller=arguments.processes * arguments.nodes == 1,
        seconds=arguments.seconds or float("inf"),
        grace=arguments.grace,
        patience=arguments.patience or float("inf"),
        job=this_job(),
    )
    return work(directory, trainer_of(arguments, options.job), options=options)


def trainer_of(arguments: argparse.Namespace, job: ClusterJob | None) -> Train:
    """What a worker trains with: this process, or as many as its class has."""
    if arguments.track:
        trackers.must_be_there(arguments.track)  # now, not at every trial
    if arguments.processes * arguments.nodes > 1:
        from sweeps.workers.torchrun import TorchrunTrainer

        passed = ["--shard"] if arguments.shard else []
        passed += ["--micro-tokens", str(arguments.micro_tokens)] if arguments.micro_tokens else []
        passed += ["--track", arguments.track] if arguments.track else []
        passed += [f"--{name}" for name in ("recompute", "compile") if getattr(arguments, name)]
        return TorchrunTrainer(arguments.processes, arguments.nodes, tuple(passed), job).train
    if arguments.shard:
        raise ValueError("--shard needs --processes or --nodes of at least 2")
    quiet_libraries(told=False)
    import torch

    from runner.trainer import train_encoder
    from runner.training.distributed import ALONE

    if arguments.slots > 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1 / arguments.slots)
    options = run_options(arguments)

    def alone(trial: Trial, folder: Path, stop: StopRequests) -> Observation:
        given = replace(options, smaller=stop.smaller, stop_requested=stop.requested)
        with trackers.tracked(arguments.track, trial, folder) as log:
            return train_encoder(trial, folder, None, True, given, ALONE, log)[0]

    return alone


def add_worker(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed worker`."""
    from sweeps.store.open import add_store

    command.add_argument("--sweep", required=True, metavar="DIR", help="folder of the sweep, or its URL (s3://...)")
    add_store(command)
    command.add_argument("--class", dest="resource_class", default="", metavar="C", help="prefer trials of this class")
    command.add_argument(
        "--seconds", type=seconds, metavar="S", help="stop after S seconds, with a checkpoint (default: no limit)"
    )
    command.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds between a signal and the end of the worker (default: 30)",
    )
    command.add_argument("--patience", type=seconds, metavar="S", help="stop after S idle seconds (default: never)")
    command.add_argument("--slots", type=whole(), default=1, metavar="K", help="number of workers that share the GPU")
    command.add_argument(
        "--processes", type=whole(), default=1, metavar="K", help="processes per trial, started by torchrun"
    )
    command.add_argument("--nodes", type=whole(), default=1, metavar="K", help="nodes per trial, inside a Slurm job")
    command.add_argument("--shard", action="store_true", help="keep a part of the model in each process (FSDP)")
    add_tracking(command)
    add_run_options(command)


def rank(arguments: argparse.Namespace) -> int:
    """One of the processes that train a trial for a worker; see sweeps/workers/torchrun.py."""
    from sweeps.support.processes import die_with_parent
    from sweeps.workers.torchrun import told_to_leave

    die_with_parent(signal.SIGKILL)
    meeting = arguments.meeting
    quiet_libraries(told=False)
    from runner.trainer import train_encoder
    from runner.training.distributed import joined
    from sweeps.store.records import read_record
    from sweeps.support.atomic import write_text
    from sweeps.trial import Trial

    trial = read_record(Trial, meeting / "trial.json")
    options = replace(run_options(arguments), smaller=arguments.smaller, stop_requested=told_to_leave(meeting))
    with joined(arguments.on, arguments.shard) as ranks:
        try:
            name = arguments.track if ranks.rank == 0 else None
            with trackers.tracked(name, trial, meeting.parent) as log:
                observation, _ = train_encoder(trial, meeting.parent, arguments.on, True, options, ranks, log)
        except SystemExit:
            (meeting / "left").touch()
            raise
        if ranks.rank == 0:
            write_text(meeting / "observation.json", json.dumps(observation.to_json()))
    return 0


def add_rank(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed rank`."""
    command.add_argument("meeting", type=Path, help="folder that the worker made")
    command.add_argument("--smaller", type=whole(0), default=0, help="times that the micro-batch is halved")
    add_device(command)
    command.add_argument("--shard", action="store_true", help="keep a part of the model in each process (FSDP)")
    add_tracking(command)
    add_run_options(command)
