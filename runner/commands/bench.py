"""`embed bench`: how fast this machine trains."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from runner.commands.options import add_device
from runner.libraries import quiet_libraries
from sweeps.support.arguments import seconds, whole


def bench(arguments: argparse.Namespace) -> int:
    """Run `embed bench`; returns the exit code."""
    # Before torch is loaded: nothing is downloaded only to be measured, and the profiler does not report itself.
    os.environ |= {"HF_HUB_OFFLINE": "1", "KINETO_LOG_LEVEL": "6"}
    quiet_libraries()
    from runner.bench import BATCH, METHODS, MODELS, BenchSettings, measure_machine, report
    from runner.training.device import device_of
    from runner.training.engine import Options
    from sweeps.machine.measured import profile_path, write_machine_profile
    from sweeps.methods import make_method
    from sweeps.models import SUITES, find_model
    from sweeps.trial import Training

    device = device_of(arguments.on)
    suite = [model.name for model in SUITES[arguments.suite]] if arguments.suite else []
    names = list(dict.fromkeys([*suite, *arguments.model])) or MODELS[device.type]
    methods = METHODS if arguments.methods is None else [name.strip() for name in arguments.methods.split(",")]
    batch = arguments.batch or BATCH[device.type]
    profile, skipped = measure_machine(
        BenchSettings(
            [find_model(name, "`model`") for name in names],
            [make_method(name, {}) for name in methods],
            Training(data=arguments.data, batch_size=batch, pool_size=2, pools=1),  # no pool is embedded
            device,
            arguments.seconds,
            options=Options(compile=arguments.compile),
        )
    )
    out = arguments.out or profile_path()
    write_machine_profile(profile, out)
    print(json.dumps(profile.to_json()) if arguments.json else report(profile, skipped))
    print(f"profile: {out}" + ("" if arguments.out else "; `plan --hardware this` uses it"), file=sys.stderr)
    return 0


def add_bench(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed bench`."""
    from sweeps.models import SUITES

    command.add_argument(
        "--suite", choices=tuple(SUITES), help="measure the models of this suite (default: nano; on a GPU, larger ones)"
    )
    command.add_argument(
        "--model", action="append", default=[], metavar="NAME_OR_FOLDER", help="measure this model; repeatable"
    )
    command.add_argument(
        "--methods", metavar="NAMES", help="tuning methods, comma-separated (default: full,lora,freeze,bias)"
    )
    command.add_argument("--data", default="python-env", help="training texts (default: python-env)")
    command.add_argument("--batch", type=whole(), metavar="PAIRS", help="pairs per step (default: 64, on a GPU 1024)")
    command.add_argument("--seconds", type=seconds, default=2.0, help="seconds per model and method (default: 2)")
    add_device(command)
    command.add_argument(
        "--compile", action="store_true", help="torch.compile every block, as `embed train --compile` does"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="file of the profile (default: where `plan` reads it)"
    )
    command.add_argument("--json", action="store_true", help="print the profile as JSON")
