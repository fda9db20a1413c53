"""`embed`: train one recipe, prepare data, make a ladder of language models, work for a sweep."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps import console

if TYPE_CHECKING:
    from runner.engine import Options
    from sweeps.trial import Training

EXAMPLES = """\
  embed train recipe.toml --out model          train what `plan --out recipe.toml` wrote
  embed prepare sweep.toml                     read and tokenise a sweep's data, say what it holds
  embed prepare sweep.toml --pairs 1e8         what so many pairs like its own would take
  embed pretrain ladder.toml --out ladder      make a suite of small language models
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
    return console.run("embed", lambda: arguments.function(arguments))


def _quiet() -> None:
    """Other libraries' bars and notices would drown our own progress."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _train(arguments: argparse.Namespace) -> int:
    from sweeps.recipe_file import read_recipe

    trial = read_recipe(arguments.recipe)
    out = arguments.out or arguments.recipe.with_suffix("")
    if (out / "config.json").exists():
        raise ValueError(f"{out}: already holds a model; give another --out")
    _quiet()
    from runner.export import export
    from runner.train import CHECKPOINT, train_encoder
    from sweeps.store import PROGRESS

    out.mkdir(parents=True, exist_ok=True)
    observation, encoder = train_encoder(trial, out, arguments.on, quiet=False, options=_options(arguments))
    if observation.status == "done":
        export(encoder, observation, out)
    (out / "observation.json").write_text(json.dumps(observation.to_json(), indent=2) + "\n", encoding="utf-8")
    for name in (CHECKPOINT, PROGRESS):
        (out / name).unlink(missing_ok=True)
    if arguments.json:
        print(json.dumps(observation.to_json()))
    elif observation.status == "done":
        print(f"held-out loss {observation.loss:.4f} (before: {observation.start_loss:.4f}), ", end="")
        print(f"accuracy@1 {observation.accuracy:.3f}, {observation.flops:.3g} FLOPs in {observation.seconds:.0f} s")
        print(f"model: {out}")
    if observation.status != "done":
        print(f"embed: {observation.status}: {observation.reason}", file=sys.stderr)
        return 1
    return 0


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", type=Path, help="TOML file of one trial")
    command.add_argument("--out", type=Path, help="folder of the model (default: the recipe's name)")
    command.add_argument("--on", choices=("cpu", "cuda"), help="device (default: a GPU where there is one)")
    _add_options(command)
    command.add_argument("--json", action="store_true", help="print the observation as JSON")


def _options(arguments: argparse.Namespace) -> Options:
    from runner.engine import Options

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
    from sweeps.grid import read_sweep

    sweep = read_sweep(arguments.sweep)
    _quiet()
    from runner.pairs import load_tokenizer, prepare, tokenizer_hash

    hashes = {model.name: tokenizer_hash(load_tokenizer(model.source)) for model in sweep.models}
    if len(set(hashes.values())) > 1:
        raise ValueError(f"{arguments.sweep}: models have different tokenizers, {hashes}; sweep them apart")
    source = sweep.models[0].source
    if arguments.pairs:
        return _plan_data(arguments, sweep.training, source)
    prepared = prepare(sweep.training, source)
    tokens, squares = prepared.pairs.mean_pair(sweep.training.hard_negatives)
    pairs = len(prepared.pairs)
    report = {
        "data_hash": prepared.data_hash,
        "train_pairs": len(prepared.pairs.train),
        "held_out_pairs": len(prepared.pairs.held_out),
        "tokens": tokens,
        "squares": squares,
        "problems": prepared.problems,
        "seconds": prepared.seconds,
        "pairs_per_second": pairs / prepared.seconds if prepared.seconds else None,
        "bytes_per_pair": prepared.disk_bytes / pairs,
    }
    if arguments.json:
        print(json.dumps(report))
        return 0
    print(f"{sweep.training.data}: {report['train_pairs']:,} training pairs, {report['held_out_pairs']:,} held out")
    print(f"hash {prepared.data_hash}; a pair has {tokens:.1f} tokens of at most {2 * sweep.training.context}")
    made = f"made at {report['pairs_per_second']:,.0f} pairs/s" if prepared.seconds else "tokenised before"
    print(f"{report['bytes_per_pair']:.0f} bytes a pair on disk, {made}")
    print(f"{prepared.problems['bad']} of {prepared.problems['records']:,} records could not be used")
    for problem in prepared.problems["named"]:
        print(f"  {problem}")
    return 0


def _plan_data(arguments: argparse.Namespace, training: Training, source: str) -> int:
    from runner.data_plan import plan_data
    from runner.pairs import coding_of, load_tokenizer
    from sweeps.launchers import available_cores

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

    from runner.pretrain import make_ladder, read_ladder

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


def _worker(arguments: argparse.Namespace) -> int:
    if not (arguments.sweep / "sweep.toml").exists():
        raise ValueError(f"{arguments.sweep}: no sweep here (it has no sweep.toml)")
    _quiet()
    from runner.train import train
    from sweeps.worker import work

    options = _options(arguments)
    return work(arguments.sweep, lambda trial, folder: train(trial, folder, options=options))


def _add_worker(command: argparse.ArgumentParser) -> None:
    command.add_argument("--sweep", type=Path, required=True, help="folder of the sweep")
    _add_options(command)


COMMANDS = {
    "train": (_train, "Train one recipe and write the model.", _add_train),
    "prepare": (_prepare, "Read and tokenise the data of a sweep.", _add_prepare),
    "pretrain": (_pretrain, "Pretrain a ladder of small language models on one text.", _add_pretrain),
    "worker": (_worker, "Take trials of a sweep until none is left.", _add_worker),
}

if __name__ == "__main__":
    raise SystemExit(main())
