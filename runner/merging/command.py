"""`embed merge`: one model out of several that were tuned from one base."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.libraries import quiet_libraries
from sweeps.support import console
from sweeps.support.arguments import positive, real, whole
from sweeps.support.progress import waiting
from sweeps.trial import MERGES, SEARCHED

if TYPE_CHECKING:
    from runner.data.pairs import Pairs
    from runner.merging.self_positioning import PositionSearch
    from runner.model.encoder import Encoder

SEARCH_OPTIONS = ("steps", "batch", "rate", "mu", "temperature", "negatives", "seed")
EXAMPLES = """\
examples:
  embed merge nano-340k code similarity --method slerp --out merged          equal weights
  embed merge nano-340k code similarity --method average --weights 3,1 --out merged
  embed merge nano-340k code similarity --method self-positioning --probe probe.jsonl --out merged
                                      weights and scale that minimise the loss on the probe set
  embed merge nano-340k code text --method self-positioning --probe probe.jsonl --out merged --surface surface.json
"""


def merge(arguments: argparse.Namespace) -> int:
    """Run `embed merge`; returns the exit code."""
    from sweeps.models import find_model

    given = [name for name in SEARCH_OPTIONS if getattr(arguments, name) is not None]
    searching = arguments.method == SEARCHED
    if searching != bool(arguments.probe):
        raise ValueError(f"--probe: {'self-positioning needs one' if searching else 'only for self-positioning'}")
    if arguments.surface and not searching:
        raise ValueError("--surface: only for --method self-positioning")
    if arguments.out.exists():
        raise ValueError(f"{arguments.out}: exists already; give another --out")
    if arguments.surface and arguments.surface.exists():
        raise ValueError(f"{arguments.surface}: exists already; give another --surface")
    if given and not searching:
        raise ValueError(f"--{given[0]}: only for --method self-positioning")
    if searching and (arguments.weights or arguments.scale != 1.0):
        raise ValueError("self-positioning searches --weights and --scale; leave them out")
    base = Path(find_model(arguments.base).source)
    quiet_libraries()
    if searching:
        return _position(arguments, base, {name: getattr(arguments, name) for name in given})
    from runner.merging.rules import Rule, merge

    weights = tuple(arguments.weights) if arguments.weights else None
    rule = Rule(arguments.method, weights, arguments.scale, arguments.density)
    with waiting("merging"):
        factors = merge(base, arguments.models, rule, arguments.out)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "method": arguments.method, "factors": factors}))
    else:
        told = "" if factors is None else f", task vectors times {', '.join(f'{c:.3g}' for c in factors)}"
        print(f"model: {arguments.out} ({arguments.method} of {len(arguments.models)}{told})")
    return 0


def _position(arguments: argparse.Namespace, base: Path, given: dict) -> int:
    from runner.merging.self_positioning import MergedEncoder, Position, PositionSearch, merge_by_search
    from runner.merging.surface import surface
    from sweeps.support.atomic import write_text

    search = PositionSearch(**given)
    encoder, pairs, probe = _probed(arguments.base, arguments.models[0], arguments.probe, search)

    def write_surface(merged: MergedEncoder, position: Position) -> None:
        names = [folder.name for folder in arguments.models]
        write_text(arguments.surface, json.dumps(surface(merged, names, pairs, search, position)) + "\n")

    models, show = arguments.models, write_surface if arguments.surface else None
    position = merge_by_search(base, models, encoder, pairs, search, arguments.out, arguments.json, show, probe)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "method": arguments.method, **position.to_json()}))
    else:
        weights = ", ".join(f"{weight:.3f}" for weight in position.weights)
        print(f"weights {weights}, scale {position.scale:.3f}, after {position.tokens:,} tokens of the probe set")
        print(f"model: {arguments.out}")
    return 0


def _probed(base: str, first: Path, probe: str, search: PositionSearch) -> tuple[Encoder, Pairs, dict[str, Any]]:
    """Returns an encoder of the base that pools and cuts as the first model, the probe set's tokens, and what it is."""
    import torch

    from runner.data.pairs import prepare
    from runner.export.sentence_transformers import read_context, read_pooling
    from runner.model.encoder import make_encoder
    from sweeps.methods import Full
    from sweeps.models import find_model, read_object
    from sweeps.support.checks import require
    from sweeps.trial import Training

    pooling = read_pooling(first)
    place = first / "config_sentence_transformers.json"
    prompts = read_object(place).get("prompts", {})
    known = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    require(f"{place}: prompts", prompts, known, "an object of texts")
    model = find_model(base)
    training = Training(
        data=probe,
        pooling=pooling,
        context=read_context(first),
        hard_negatives=search.negatives,
        query_prompt=prompts.get("query", ""),
        document_prompt=prompts.get("document", ""),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepared = prepare(training, model.source, judged=False)
    told = {"data": probe, "hash": prepared.data_hash, "pairs": len(prepared.pairs.train)}
    return make_encoder(model, Full(), pooling, device, search.seed), prepared.pairs, told


def add_merge(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed merge`."""
    command.epilog, command.formatter_class = EXAMPLES, console.help_formatter
    command.add_argument("base", help="base model of all: a folder, or a name such as nano-340k")
    command.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="folders that `embed train` wrote")
    command.add_argument("--method", choices=MERGES, required=True, help="how task vectors are combined")
    command.add_argument("--weights", type=_numbers, metavar="A,B", help="weights of the models (default: equal)")
    command.add_argument(
        "--scale", type=real("a number"), default=1.0, help="scale of the merged task vector (default: 1)"
    )
    command.add_argument(
        "--density",
        type=real("a share above 0 and up to 1", lambda value: 0 < value <= 1),
        default=0.2,
        help="share of the entries that TIES keeps (default: 0.2)",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the merged model")
    command.add_argument("--json", action="store_true", help="print what was found as JSON")
    searching = command.add_argument_group("self-positioning; the defaults are the paper's")
    searching.add_argument("--probe", metavar="DATA", help="pairs of all tasks, on which the search minimises the loss")
    searching.add_argument("--steps", type=whole(), help="steps of Adam (default: 1000)")
    searching.add_argument("--batch", type=whole(2), help="pairs per step (default: 32)")
    searching.add_argument("--rate", type=positive, help="learning rate of Adam (default: 5e-3)")
    searching.add_argument(
        "--mu", type=real("a number, 0 or more", lambda value: value >= 0), help="penalty on the scale (default: 0.05)"
    )
    searching.add_argument("--temperature", type=positive, help="temperature of the loss (default: 0.02)")
    searching.add_argument("--negatives", type=whole(0), help="listed negatives per pair (default: 1)")
    searching.add_argument("--seed", type=whole(0), help="seed of the order of pairs (default: 0)")
    searching.add_argument(
        "--surface",
        type=Path,
        metavar="FILE",
        help="write the probe loss along the first two task vectors and the search path; `fit` draws surface.json",
    )


def _numbers(text: str) -> list[float]:
    read = real("a number")
    try:
        return [read(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} must be comma-separated numbers") from None
