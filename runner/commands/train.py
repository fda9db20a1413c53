"""`embed train`: one recipe is trained and its model written."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.commands.options import add_device, add_run_options, add_tracking, run_options
from runner.libraries import quiet_libraries
from sweeps.experiment.recipe_file import read_recipe
from sweeps.methods import with_adapter
from sweeps.models import find_model
from sweeps.support.paths import relative_to

if TYPE_CHECKING:
    from runner.training.distributed import Ranks
    from sweeps.experiment.prediction import Predicted
    from sweeps.trial import Observation


def train(arguments: argparse.Namespace) -> int:
    """Run `embed train`; returns the exit code."""
    with relative_to(arguments.recipe):
        find_model(read_recipe(arguments.recipe).model)  # what is wrong with them is told before anything is loaded
    quiet_libraries()
    from runner.training.distributed import joined, world_size

    if arguments.shard and world_size() == 1:
        raise ValueError("--shard needs several processes: torchrun --nproc-per-node 2 -m runner.cli train ... --shard")
    with relative_to(arguments.recipe), joined(arguments.on, arguments.shard) as ranks:
        return _train_with(ranks, arguments)


def _train_with(ranks: Ranks, arguments: argparse.Namespace) -> int:
    from runner.commands.train_recipe import train_into
    from sweeps.experiment.prediction import read_prediction

    trial, prediction = read_recipe(arguments.recipe), read_prediction(arguments.recipe)
    out = arguments.out or arguments.recipe.with_suffix("")
    settings = {"on": arguments.on, "options": run_options(arguments), "adapter": arguments.adapter}
    done = train_into(out, trial, ranks, prediction=prediction, track=arguments.track, **settings)
    return _report(*done, out, arguments.json) if done else 0


def _report(observation: Observation, reached: Sequence[Predicted], out: Path, as_json: bool) -> int:
    """Print what came of the training, beside what was predicted; returns the exit code."""
    if as_json:
        print(json.dumps({**observation.to_json(), "predicted": [each.to_json() for each in reached]}))
    elif observation.status == "done":
        print(f"held-out loss {observation.loss:.4f} (before: {observation.start_loss:.4f}), ", end="")
        print(f"accuracy@1 {observation.accuracy:.3f}, {observation.flops:.3g} FLOPs in {observation.seconds:.0f} s")
        for line in _quality_lines(observation):
            print(line)
        print("\n".join([*map(str, reached), f"model: {out}"]))
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
        lines.append(f"warning: the embedding space had lost half of its effective rank at step {collapses[0]:.0f}")
    return lines


def add_train(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed train`."""
    command.add_argument("recipe", type=Path, help="TOML file of one trial")
    command.add_argument("--out", type=Path, help="output folder of the model (default: the recipe's name)")
    add_device(command)
    add_run_options(command)
    command.add_argument(
        "--shard", action="store_true", help="under torchrun: keep a part of the model on each GPU (FSDP)"
    )
    add_tracking(command)
    names = ", ".join(with_adapter())
    command.add_argument(
        "--adapter", action="store_true", help=f"with {names}: write only the adapter instead of merging it"
    )
    command.add_argument("--json", action="store_true", help="print the observation as JSON")
