"""What several commands share: how training is run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from runner.training.device import DEVICES
from sweeps.support.arguments import whole
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
        type=whole(),
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
