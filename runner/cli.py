"""`embed`: train one recipe, prepare data, make a ladder of language models, work for a sweep."""

from __future__ import annotations

from typing import Any

from runner.commands import bench, prepare, pretrain, train, worker
from runner.evaluation import command as evaluation
from runner.merging import command as merging
from runner.training import allocator
from sweeps.support import console
from sweeps.support.progress import waiting

EXAMPLES = """\
  embed train recipe.toml --out model          train the recipe of `plan --out recipe.toml`
  torchrun --nproc-per-node 4 --no-python embed train recipe.toml --out model
                                               the same on four GPUs; --shard when it does not fit in one
  embed prepare sweep.toml                     read and tokenise a sweep's data, and print statistics
  embed prepare sweep.toml --pairs 1e8         estimate time, disk and memory for 1e8 such pairs
  embed pretrain ladder.toml --out ladder      make a suite of small language models
  embed bench                                  measure this machine for `plan --hardware this`
  embed evaluate model --tasks code-search     score it on real tasks
  embed mine python-env --model model --out mined.jsonl   find hard negatives for pairs
  embed merge nano-340k a b --method slerp --out merged   merge several models into one
  embed worker --sweep results/demo            run trials of a sweep until none is left
"""


def main(argv: list[str] | None = None) -> int:
    """The `embed` command; returns its exit code."""
    parser = console.parser(
        "embed", "Train, score, merge and export embedding models, and run the trials of sweeps.", EXAMPLES
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="embed")
    for name, (function, purpose, add) in COMMANDS.items():
        listed: dict[str, Any] = {} if name == "rank" else {"help": purpose}  # nobody starts that by hand
        command = commands.add_parser(
            name, description=purpose, formatter_class=console.help_formatter, allow_abbrev=False, **listed
        )
        add(command)
        command.set_defaults(function=function)
    arguments = parser.parse_args(argv)
    flags = console.flags_of(commands.choices[arguments.command])
    if argv is None:  # else it is not this process's own command
        allocator.keep_freed()
    wait = waiting(f"embed {arguments.command}", quiet=arguments.command in WORKERS, in_logs=True)
    return console.run("embed", lambda: wait(arguments.function)(arguments), flags)


WORKERS = ("worker", "rank")  # their logs tell why one ended: nothing else is to stand there
COMMANDS = {
    "train": (train.train, "Train one recipe and write the model.", train.add_train),
    "prepare": (prepare.prepare, "Read and tokenise the data of a sweep.", prepare.add_prepare),
    "pretrain": (pretrain.pretrain, "Pretrain a ladder of small language models on one corpus.", pretrain.add_pretrain),
    "bench": (bench.bench, "Measure how fast this machine trains, for `plan --hardware this`.", bench.add_bench),
    "evaluate": (evaluation.evaluate, "Score an embedding model on evaluation tasks.", evaluation.add_evaluate),
    "mine": (evaluation.mine, "Find hard negatives for pairs.", evaluation.add_mine),
    "export": (evaluation.export, "Export a trained model to ONNX.", evaluation.add_export),
    "project": (evaluation.project, "2-D projection of embeddings before and after training.", evaluation.add_project),
    "merge": (merging.merge, "Merge several models that were tuned from one base.", merging.add_merge),
    "worker": (worker.worker, "Run trials of a sweep until none is left.", worker.add_worker),
    "rank": (worker.rank, "Started by a worker: one of the processes of a trial.", worker.add_rank),
}

if __name__ == "__main__":
    raise SystemExit(main())
