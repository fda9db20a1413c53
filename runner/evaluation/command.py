"""`embed evaluate`, `mine`, `export`, `project`: what embeddings are worth, harder negatives, runtimes, a view."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runner.libraries import quiet_libraries, silenced
from sweeps.support import console
from sweeps.support.arguments import share, whole
from sweeps.support.progress import waiting

EVALUATE_EXAMPLES = """\
examples:
  embed evaluate model --tasks code-search          held-out docstrings look for their functions; needs no file
  embed evaluate model --tasks sts:stsb.jsonl#test  sentence1, sentence2, score; only rows whose split is test
  embed evaluate model --tasks retrieval:scifact mteb:STS17 --out scores.json
"""
MINE_EXAMPLES = """\
examples:
  embed mine python-env --model model --out mined.jsonl           one negative per pair
  embed mine pairs.jsonl --model BAAI/bge-small-en-v1.5 --negatives 4 --margin 0.1 --out mined.jsonl
"""
EXPORT_EXAMPLES = """\
examples:
  embed export model            adds model/onnx/model.onnx, checked against the model itself
"""
PROJECT_EXAMPLES = """\
examples:
  embed project model --out results/mine/projection.json      then: fit results/mine --figures figures
"""


def evaluate(arguments: argparse.Namespace) -> int:
    if arguments.out and arguments.out.exists():
        raise ValueError(f"{arguments.out}: exists already; give another --out")
    quiet_libraries()
    from runner.evaluation.evaluate import evaluate

    scores = evaluate(arguments.model, arguments.tasks, told=True)
    content = {"model": arguments.model, "scores": [score.to_json() for score in scores]}
    if arguments.out:
        from sweeps.support.atomic import write_text

        write_text(arguments.out, json.dumps(content, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(content))
        return 0
    for score in scores:
        print(f"{score.task:<24} {score.main} {score.values[score.main]:.4f}   {score.size}")
        rest = "  ".join(f"{name} {value:.4f}" for name, value in score.values.items() if name != score.main)
        print(f"  {rest}" if rest else "", end="\n" if rest else "")
        for note in score.notes:
            print(f"  {note}")
    return 0


def add_evaluate(command: argparse.ArgumentParser) -> None:
    command.epilog, command.formatter_class = EVALUATE_EXAMPLES, console.help_formatter
    command.add_argument("model", metavar="MODEL", help="folder of a Sentence Transformers model, or owner/name")
    command.add_argument(
        "--tasks",
        nargs="+",
        required=True,
        metavar="TASK",
        help="sts:FILE[#SPLIT], retrieval:FOLDER[#SPLIT] (BEIR layout), code-search, mteb:NAME",
    )
    command.add_argument("--out", type=Path, metavar="FILE.json", help="also write the scores there")
    command.add_argument("--json", action="store_true", help="print the scores as JSON")


def mine(arguments: argparse.Namespace) -> int:
    quiet_libraries()
    from runner.evaluation.evaluate import load_model
    from runner.evaluation.hard_negatives import mine

    with silenced(f"loading {arguments.model}"):
        model = load_model(arguments.model)
    mined = mine(arguments.data, model, arguments.out, arguments.negatives, arguments.margin, arguments.beyond)
    if arguments.json:
        print(json.dumps(mined.to_json()))
        return 0
    print(
        f"{arguments.out}: {mined.pairs:,} pairs, {mined.with_negatives:,} of them with negatives: "
        f"{mined.mined:,} got mined ones, {mined.kept:,} of your own were kept"
    )
    for why, count in mined.without.items():
        print(f"  {count:,} got none: {why}")
    print(f'train with data = "{arguments.out}" and hard_negatives = {mined.most} under [training]')
    return 0


def add_mine(command: argparse.ArgumentParser) -> None:
    command.epilog, command.formatter_class = MINE_EXAMPLES, console.help_formatter
    command.add_argument("data", help="python-env, a file of pairs, or hf:owner/name")
    command.add_argument(
        "--model", required=True, metavar="MODEL", help="model that searches them: a folder, or owner/name"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE.jsonl", help="output file: the pairs with their negatives"
    )
    command.add_argument("--negatives", type=whole(), default=1, metavar="N", help="negatives per pair (default: 1)")
    command.add_argument(
        "--margin",
        type=share,
        default=0.05,
        help="skip documents with a cosine above (1 - MARGIN) times that of the query's own document (default: 0.05)",
    )
    command.add_argument(
        "--beyond", type=whole(0), default=0, metavar="K", help="skip the K nearest documents (default: 0)"
    )
    command.add_argument("--json", action="store_true", help="print the counts as JSON")


def export(arguments: argparse.Namespace) -> int:
    quiet_libraries()
    from runner.export.onnx import PLACE, to_onnx

    with waiting(f"exporting {arguments.model}"):
        off = to_onnx(arguments.model)
    if arguments.json:
        print(json.dumps({"file": str(arguments.model / PLACE), "difference": off}))
    else:
        print(f"{arguments.model / PLACE}: states within {off:.1g} of torch's")
    return 0


def add_export(command: argparse.ArgumentParser) -> None:
    command.epilog, command.formatter_class = EXPORT_EXAMPLES, console.help_formatter
    command.add_argument("model", type=Path, metavar="MODEL", help="folder that `embed train` wrote")
    command.add_argument("--to", choices=("onnx",), default="onnx", help="format to add (default: onnx)")
    command.add_argument("--json", action="store_true", help="print what was written as JSON")


def project(arguments: argparse.Namespace) -> int:
    if arguments.out.exists():
        raise ValueError(f"{arguments.out}: exists already; give another --out, or remove it")
    quiet_libraries()
    from runner.evaluation.projection import project
    from sweeps.support.atomic import write_text

    with waiting("embedding"):
        projection = project(arguments.model, arguments.pairs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, json.dumps(projection) + "\n")
    told = {
        state: {name: projection[state][name] for name in ("variance", "accuracy")} for state in ("before", "after")
    }
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), **told}))
        return 0
    for state, numbers in told.items():
        print(f"{state:<7} two directions hold {100 * numbers['variance']:.0f} % of the variance; ", end="")
        print(f"{100 * numbers['accuracy']:.0f} % of {arguments.pairs} queries find their document")
    print(arguments.out)
    return 0


def add_project(command: argparse.ArgumentParser) -> None:
    command.epilog, command.formatter_class = PROJECT_EXAMPLES, console.help_formatter
    command.add_argument("model", type=Path, metavar="MODEL", help="folder that `embed train` wrote, not an adapter")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="projection.json of a results folder"
    )
    command.add_argument(
        "--pairs", type=whole(), default=128, metavar="N", help="held-out pairs to show (default: 128)"
    )
    command.add_argument("--json", action="store_true", help="print the shares as JSON")
