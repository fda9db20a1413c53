"""What several commands share: how training is run, and numbers as arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from runner.training.device import DEVICES
from sweeps.workers.base import TRACKERS

if TYPE_CHECKING:
    from runner.training.engine import Options


def run_options(arguments: argparse.Namespace) -> Options:
    """Returns how training is run, as `add_run_options` lets it be said."""
    from runner.training.engine import Options

    return Options(arguments.micro_tokens, arguments.recompute, arguments.compile)


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Add the options that change how training is run, not what it gives."""
    group = command.add_argument_group("execution (results are the same up to rounding)")
    group.add_argument(
        "--micro-tokens",
        type=at_least_one,
        default=0,
        metavar="N",
        help="padded tokens per micro-batch (default: from the model's width; halved when memory runs out)",
    )
    group.add_argument(
        "--recompute", action="store_true", help="gradient checkpointing: less memory, a third more compute"
    )
    group.add_argument("--compile", action="store_true", help="torch.compile every block: faster for long trainings")


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the option that names the device."""
    command.add_argument("--on", choices=DEVICES, help="device (default: a GPU where there is one)")


def add_tracking(command: argparse.ArgumentParser) -> None:
    """Add the option that lets trainings be followed elsewhere."""
    command.add_argument("--track", choices=TRACKERS, help="log every step with this tracker (default: none)")


def at_least_one(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of tokens, 1 or more")
    return int(text)


def seconds(text: str) -> float:
    """Returns a number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
