"""`embed`: train one recipe, prepare data, make a ladder of language models, work for a sweep."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.evaluation import command as evaluation
from runner.merging import command as merging
from runner.training import allocator
from runner.training.trackers import TRACKERS
from sweeps.support import console

if TYPE_CHECKING:
    from runner.training.distributed import Ranks
    from runner.training.engine import Options
    from sweeps.trial import Observation, Training, Trial
    from sweeps.workers.base import ClusterJob
    from sweeps.workers.loop import Train
    from sweeps.workers.stop_requests import StopRequests

EXAMPLES = """\
  embed train recipe.toml --out model          train what `plan --out recipe.toml` wrote
  torchrun --nproc-per-node 4 --no-python embed train recipe.toml --out model
                                               the same on four GPUs; --shard when it does not fit in one
  embed prepare sweep.toml                     read and tokenise a sweep's data, say what it holds
  embed prepare sweep.toml --pairs 1e8         what so many pairs like its own would take
  embed pretrain ladder.toml --out ladder      make a suite of small language models
  embed bench                                  measure this machine for `plan --hardware this`
  embed evaluate model --tasks code-search     scores on real tasks
  embed mine python-env --model model --out mined.jsonl   hard negatives for pairs that have none
  embed merge nano-340k a b --method slerp --out merged   one model out of several
  embed worker --sweep results/demo            take trials of a sweep until none is left
"""


def main(argv: list[str] | None = None) -> int:
    """The `embed` command; returns its exit code."""
    parser = console.parser("embed", __doc__ or "", EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, purpose, add) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        add(command)
        command.set_defaults(function=function)
    arguments = parser.parse_args(argv)
    if argv is None:  # else it is not this process's own command
        allocator.keep_freed()
    return console.run("embed", lambda: arguments.function(arguments))


def _quiet() -> None:
    """Other libraries' bars and notices would drown our own progress."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _train(arguments: argparse.Namespace) -> int:
    from runner.training.distributed import joined, world_size

    if arguments.shard and world_size() == 1:
        raise ValueError("--shard needs several ranks: torchrun --nproc-per-node 2 -m runner.cli train ... --shard")
    with joined(arguments.on, arguments.shard) as ranks:
        return _train_with(ranks, arguments)


def _train_with(ranks: Ranks, arguments: argparse.Namespace) -> int:
    from sweeps.experiment.recipe_file import read_recipe

    trial = read_recipe(arguments.recipe)
    out = arguments.out or arguments.recipe.with_suffix("")
    if arguments.adapter and not hasattr(trial.method, "rank"):
        raise ValueError(f"--adapter: method {trial.method.name} has none; only lora and qlora do")
    if arguments.adapter and trial.training.merge:
        raise ValueError(f"--adapter: training.merge is {trial.training.merge!r}, which gives a whole model")
    _quiet()
    from runner.export.sentence_transformers import export, must_be_free
    from runner.trainer import train_encoder
    from runner.training.early_stopping import BEST
    from sweeps.store.files import CHECKPOINT, PROGRESS
    from sweeps.store.trunks import parts_folder
    from sweeps.support.atomic import write_text

    must_be_free(out)
    if ranks.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
    log, end = None, lambda: None
    if arguments.track and ranks.rank == 0:
        from runner.training.trackers import start

        log, end = start(arguments.track, trial, out)
    observation, encoder = train_encoder(trial, out, arguments.on, False, _options(arguments), ranks, log)
    end()
    if ranks.rank:
        return 0
    if observation.status == "done":
        export(encoder, observation, out, arguments.adapter)
    write_text(out / "observation.json", json.dumps(observation.to_json(), indent=2) + "\n")
    for name in (CHECKPOINT, BEST, PROGRESS):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(parts_folder(out), ignore_errors=True)
    if arguments.json:
        print(json.dumps(observation.to_json()))
    elif observation.status == "done":
        print(f"held-out loss {observation.loss:.4f} (before: {observation.start_loss:.4f}), ", end="")
        print(f"accuracy@1 {observation.accuracy:.3f}, {observation.flops:.3g} FLOPs in {observation.seconds:.0f} s")
        for line in _quality_lines(observation):
            print(line)
        print(f"model: {out}")
    if observation.status != "done":
        print(f"embed: {observation.status}: {observation.reason}", file=sys.stderr)
        return 1
    return 0


def _quality_lines(observation: Observation) -> list[str]:
    """Returns what evaluations told, where there were any."""
    lines = []
    if observation.scores:
        lines.append("  ".join(f"{name} {value:.3f}" for name, value in observation.scores.items()))
    if observation.stopped:
        lines.append(f"stopped early: {observation.stopped}")
    if collapses := [evaluation["step"] for evaluation in observation.evaluations if evaluation["collapsed"]]:
        lines.append(f"warning: the space had lost half of its directions at step {collapses[0]:.0f}")
    return lines


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", type=Path, help="TOML file of one trial")
    command.add_argument("--out", type=Path, help="folder of the model (default: the recipe's name)")
    command.add_argument("--on", choices=("cpu", "cuda"), help="device (default: a GPU where there is one)")
    _add_options(command)
    command.add_argument("--shard", action="store_true", help="under torchrun: a part of the model on each GPU (FSDP)")
    command.add_argument("--track", choices=TRACKERS, help="log every step there (default: nowhere)")
    command.add_argument("--adapter", action="store_true", help="of LoRA write the adapter alone; else it is merged")
    command.add_argument("--json", action="store_true", help="print the observation as JSON")


def _options(arguments: argparse.Namespace) -> Options:
    from runner.training.engine import Options

    return Options(arguments.micro_tokens, arguments.recompute, arguments.compile)


def _add_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("how it is run, which changes no result beyond rounding")
    group.add_argument(
        "--micro-tokens",
        type=_at_least_one,
        default=0,
        metavar="N",
        help="padded tokens that go through the model together (default: by its width; halved when memory runs out)",
    )
    group.add_argument("--recompute", action="store_true", help="less memory, a third more work: forget activations")
    group.add_argument("--compile", action="store_true", help="torch.compile every block: pays in long trainings")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of tokens, 1 or more")
    return int(text)


def _prepare(arguments: argparse.Namespace) -> int:
    from sweeps.experiment.sweep_file import read_sweep
    from sweeps.trial import parts_of

    sweep = read_sweep(arguments.sweep)
    _quiet()
    from runner.data.pairs import load_tokenizer, prepare, tokenizer_hash

    hashes = {model.name: tokenizer_hash(load_tokenizer(model.source)) for model in sweep.models}
    if len(set(hashes.values())) > 1:
        raise ValueError(f"{arguments.sweep}: models have different tokenizers, {hashes}; sweep them apart")
    source = sweep.models[0].source
    if arguments.pairs:
        return _plan_data(arguments, sweep.training, source)
    prepared = prepare(sweep.training, source)
    tokens, squares = prepared.pairs.mean_pair(
        sweep.training.hard_negatives, [weight for _, weight in parts_of(sweep.training.data)]
    )
    pairs = len(prepared.pairs)
    report = {
        "data_hash": prepared.data_hash,
        "train_pairs": len(prepared.pairs.train),
        "held_out_pairs": len(prepared.pairs.held_out),
        "tokens": tokens,
        "squares": squares,
        "sources": prepared.pairs.mean_pairs(sweep.training.hard_negatives),
        "problems": prepared.problems,
        "made_pairs": prepared.made_pairs,
        "pairs_per_second": prepared.made_pairs / prepared.seconds if prepared.made_pairs else None,
        "bytes_per_pair": prepared.disk_bytes / pairs,
    }
    if arguments.json:
        print(json.dumps(report))
        return 0
    print(f"{sweep.training.data}: {report['train_pairs']:,} training pairs, {report['held_out_pairs']:,} held out")
    print(f"hash {prepared.data_hash}; a pair has {tokens:.1f} tokens of at most {2 * sweep.training.context}")
    new = f"{prepared.made_pairs:,} tokenised now, {report['pairs_per_second'] or 0:,.0f} pairs/s with their reading"
    print(f"{report['bytes_per_pair']:.0f} bytes a pair on disk; {new if prepared.made_pairs else 'tokenised before'}")
    print(f"{prepared.problems['bad']} of {prepared.problems['records']:,} records could not be used")
    for problem in prepared.problems["named"]:
        print(f"  {problem}")
    return 0


def _plan_data(arguments: argparse.Namespace, training: Training, source: str) -> int:
    from runner.data.data_plan import plan_data
    from runner.data.pairs import coding_of, load_tokenizer
    from sweeps.machine.cores import available_cores

    coding = coding_of(load_tokenizer(source), training)
    plan = plan_data(training.data, coding, arguments.pairs, len(available_cores()))
    print(json.dumps(plan.to_json()) if arguments.json else "\n".join(plan.lines()))
    return 0


def _add_prepare(command: argparse.ArgumentParser) -> None:
    command.add_argument("sweep", type=Path, help="sweep file")
    command.add_argument(
        "--pairs",
        type=_number_of_pairs,
        metavar="N",
        help="only say what N pairs like the sweep's own would take: time, disk, memory; 1e8 is a number",
    )
    command.add_argument("--json", action="store_true", help="print the counts as JSON")


def _number_of_pairs(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pairs, at least 1")
    return number


def _pretrain(arguments: argparse.Namespace) -> int:
    _quiet()
    import torch

    from runner.pretraining.pretrain import make_ladder, read_ladder

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = make_ladder(read_ladder(arguments.ladder), arguments.out, arguments.model)
    if arguments.json:
        print(json.dumps(results))
        return 0
    print("size          parameters       tokens  held-out loss  perplexity")
    for result in results:
        line = f"{result['name']:<12} {result['params']:>11,} {result['tokens']:>12,}"
        print(f"{line} {result['loss']:>14.4f} {result['perplexity']:>11.1f}")
    return 0


def _add_pretrain(command: argparse.ArgumentParser) -> None:
    command.add_argument("ladder", type=Path, help="TOML file of the ladder")
    command.add_argument("--out", type=Path, required=True, help="folder of the models; an interrupted run goes on")
    command.add_argument("--model", action="append", help="only this size (repeatable; sizes can train side by side)")
    command.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    command.add_argument("--json", action="store_true", help="print the models' records as JSON")


def _bench(arguments: argparse.Namespace) -> int:
    # Before torch is loaded: nothing is downloaded only to be measured, and the profiler does not report itself.
    os.environ |= {"HF_HUB_OFFLINE": "1", "KINETO_LOG_LEVEL": "6"}
    _quiet()
    import torch

    from runner.bench import BATCH, METHODS, MODELS, BenchSettings, bench, report
    from runner.training.engine import Options
    from sweeps.machine.measured import profile_path, write_profile
    from sweeps.methods import make_method
    from sweeps.models import SUITES, find_model
    from sweeps.trial import Training

    device = torch.device(arguments.on or ("cuda" if torch.cuda.is_available() else "cpu"))
    suite = [model.name for model in SUITES[arguments.suite]] if arguments.suite else []
    names = list(dict.fromkeys([*suite, *arguments.model])) or MODELS[device.type]
    methods = METHODS if arguments.methods is None else [name.strip() for name in arguments.methods.split(",")]
    batch = arguments.batch or BATCH[device.type]
    profile, skipped = bench(
        BenchSettings(
            [find_model(name) for name in names],
            [make_method(name, {}) for name in methods],
            Training(data=arguments.data, batch_size=batch, pool_size=2, pools=1),  # no pool is embedded
            device,
            arguments.seconds,
            options=Options(compile=arguments.compile),
        )
    )
    out = arguments.out or profile_path()
    write_profile(profile, out)
    print(json.dumps(profile.to_json()) if arguments.json else report(profile, skipped))
    print(f"profile: {out}" + ("" if arguments.out else "; `plan --hardware this` uses it"), file=sys.stderr)
    return 0


def _add_bench(command: argparse.ArgumentParser) -> None:
    from sweeps.models import SUITES

    command.add_argument("--suite", choices=tuple(SUITES), help="its models (default: nano; on a GPU, larger ones)")
    command.add_argument("--model", action="append", default=[], metavar="NAME_OR_FOLDER", help="a model (repeatable)")
    command.add_argument("--methods", metavar="NAMES", help="with commas between (default: full,lora,freeze,bias)")
    command.add_argument("--data", default="python-env", help="texts to train on (default: python-env)")
    command.add_argument("--batch", type=_at_least_one, metavar="PAIRS", help="of a step (default: 64, on a GPU 1024)")
    command.add_argument("--seconds", type=_seconds, default=2.0, help="for each model and method (default: 2)")
    command.add_argument("--on", choices=("cpu", "cuda"), help="device (default: a GPU where there is one)")
    command.add_argument("--compile", action="store_true", help="torch.compile every block, as training with --compile")
    command.add_argument("--out", type=Path, metavar="FILE", help="of the profile (default: where `plan` looks for it)")
    command.add_argument("--json", action="store_true", help="print the profile as JSON")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _worker(arguments: argparse.Namespace) -> int:
    from sweeps.store.open import join
    from sweeps.workers import this_job
    from sweeps.workers.loop import work
    from sweeps.workers.options import WorkerOptions

    if arguments.store:
        join(arguments.sweep, arguments.store)
    if not (arguments.sweep / "sweep.toml").exists():
        raise ValueError(f"{arguments.sweep}: no sweep here (it has no sweep.toml)")
    options = WorkerOptions(
        resource_class=arguments.resource_class,
        takes_smaller=arguments.processes * arguments.nodes == 1,
        seconds=arguments.seconds or float("inf"),
        grace=arguments.grace,
        patience=arguments.patience or float("inf"),
        job=this_job(),
    )
    return work(arguments.sweep, _trainer(arguments, options.job), options=options)


def _trainer(arguments: argparse.Namespace, job: ClusterJob | None) -> Train:
    """What a worker trains with: this process, or as many as its class has."""
    if arguments.processes * arguments.nodes > 1:
        from sweeps.workers.torchrun import TorchrunTrainer

        passed = ["--shard"] if arguments.shard else []
        passed += ["--micro-tokens", str(arguments.micro_tokens)] if arguments.micro_tokens else []
        passed += [f"--{name}" for name in ("recompute", "compile") if getattr(arguments, name)]
        return TorchrunTrainer(arguments.processes, arguments.nodes, tuple(passed), job).train
    if arguments.shard:
        raise ValueError("--shard needs --processes or --nodes of at least 2")
    _quiet()
    import torch

    from runner.trainer import train

    if arguments.slots > 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1 / arguments.slots)
    options = _options(arguments)

    def alone(trial: Trial, folder: Path, stop: StopRequests) -> Observation:
        given = replace(options, smaller=stop.smaller, leave=stop.requested)
        return train(trial, folder, options=given)

    return alone


def _add_worker(command: argparse.ArgumentParser) -> None:
    from sweeps.store.open import add_store

    command.add_argument("--sweep", type=Path, required=True, help="folder of the sweep")
    add_store(command)
    command.add_argument(
        "--class", dest="resource_class", default="", metavar="C", help="take trials of this class first"
    )
    command.add_argument("--seconds", type=_seconds, metavar="S", help="time it has (default: no limit)")
    command.add_argument("--grace", type=_seconds, default=30.0, metavar="S", help="between a signal and the end")
    command.add_argument("--patience", type=_seconds, metavar="S", help="leave when idle for so long (default: never)")
    command.add_argument("--slots", type=_at_least_one, default=1, metavar="K", help="workers that share its GPU")
    command.add_argument("--processes", type=_at_least_one, default=1, metavar="K", help="of each trial, by torchrun")
    command.add_argument("--nodes", type=_at_least_one, default=1, metavar="K", help="of each trial, inside Slurm")
    command.add_argument("--shard", action="store_true", help="a part of the model in each process (FSDP)")
    _add_options(command)


def _rank(arguments: argparse.Namespace) -> int:
    """One of the processes that train a trial for a worker; see sweeps/workers/torchrun.py."""
    from sweeps.support.processes import die_with_parent
    from sweeps.workers.torchrun import told_to_leave

    die_with_parent(signal.SIGKILL)
    meeting = arguments.meeting
    _quiet()
    from runner.trainer import train_encoder
    from runner.training.distributed import joined
    from sweeps.support.atomic import write_text
    from sweeps.trial import Trial

    trial = Trial.from_json(json.loads((meeting / "trial.json").read_text(encoding="utf-8")))
    options = replace(_options(arguments), smaller=arguments.smaller, leave=told_to_leave(meeting))
    with joined(arguments.on, arguments.shard) as ranks:
        try:
            observation, _ = train_encoder(trial, meeting.parent, arguments.on, True, options, ranks)
        except SystemExit:
            (meeting / "left").touch()
            raise
        if ranks.rank == 0:
            write_text(meeting / "observation.json", json.dumps(observation.to_json()))
    return 0


def _add_rank(command: argparse.ArgumentParser) -> None:
    command.add_argument("meeting", type=Path, help="folder that the worker made")
    command.add_argument("--smaller", type=int, default=0, help="times that the micro-batch is halved")
    command.add_argument("--on", choices=("cpu", "cuda"), help="device (default: a GPU where there is one)")
    command.add_argument("--shard", action="store_true", help="a part of the model in each process (FSDP)")
    _add_options(command)


COMMANDS = {
    "train": (_train, "Train one recipe and write the model.", _add_train),
    "prepare": (_prepare, "Read and tokenise the data of a sweep.", _add_prepare),
    "pretrain": (_pretrain, "Pretrain a ladder of small language models on one text.", _add_pretrain),
    "bench": (_bench, "Measure how fast this machine trains, for `plan --hardware this`.", _add_bench),
    "evaluate": (evaluation.evaluate, "Score an embedding model on real tasks.", evaluation.add_evaluate),
    "mine": (evaluation.mine, "Find hard negatives for pairs.", evaluation.add_mine),
    "export": (evaluation.export, "Add a form for other runtimes to a trained model.", evaluation.add_export),
    "project": (evaluation.project, "Two dimensions of a space before and after tuning.", evaluation.add_project),
    "merge": (merging.merge, "Make one model out of several tuned from one base.", merging.add_merge),
    "worker": (_worker, "Take trials of a sweep until none is left.", _add_worker),
    "rank": (_rank, "Started by a worker: one of the processes of a trial.", _add_rank),
}

if __name__ == "__main__":
    raise SystemExit(main())
