"""What trials take, and the class of resources that each belongs to: the smallest that it fits."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from dataclasses import replace

from sweeps.experiment.sweep import Sweep
from sweeps.machine.cluster_file import ResourceClass
from sweeps.machine.eligibility import Requirement, Requirements
from sweeps.machine.measured import installed_memory
from sweeps.memory import training_memory
from sweeps.methods import METHODS, Method
from sweeps.models import ModelSpec
from sweeps.running.estimate import Cost, Speed
from sweeps.support.progress import duration
from sweeps.trial import Training, Trial

PIECES = {True: 4096, False: 512}  # on a GPU, on a CPU: fewest tokens that are put through the model together
# Of a process besides what it trains. Trainings on a CPU that should take at most 53 MB peaked at 0.65 to 0.99 GB
# (peak_bytes in results/reference); a GPU's context is taken to need no more.
BASE = 1e9


def needed_memory(model: ModelSpec, method: Method, training: Training, where: ResourceClass) -> float:
    """Bytes that each process of a trial needs at least, on the GPU where it has one.

    What is trained lies there whole unless the class shares it out; of the batch, one piece is there at a time.
    """
    tokens = max(training.context, PIECES[where.on_gpu])
    mixed = where.on_gpu and training.precision != "fp32"
    shards = where.ranks if where.sharded else 1
    return BASE + training_memory(model, method, mixed).peak(tokens, shards)


def this_machine(gpus: Sequence[str], trials_on_each: float) -> ResourceClass:
    """What one trial may use here: a share of the smallest GPU, or all of the main memory where there is none."""
    sizes = [gpu_memory(name) for name in gpus]
    if known := [size for size in sizes if size]:
        return ResourceClass("this-machine", memory=min(known) / max(1.0, trials_on_each), gpus=1)
    return ResourceClass("this-machine", memory=installed_memory() / 1e9)


def gpu_memory(name: str) -> float:
    """GB of a GPU as nvidia-smi tells; 0 when it does not."""
    query = ["nvidia-smi", f"--id={name}", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
        return float(done.stdout) * 2**20 / 1e9
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0.0


def requirements(
    costs: Sequence[Cost], sweep: Sweep, classes: Sequence[ResourceClass], measured_speed: Speed, patient: bool = False
) -> Requirements:
    """The class and the time of every trial to come. Raises ValueError for one that fits none.

    patient: trials may take longer than the largest class wants them to, for what was begun is to be ended.
    """
    taken = {}
    allowed = [*classes[:-1], replace(classes[-1], longest=0.0)] if patient else classes
    for cost in costs:
        seconds = measured_speed.seconds(cost.trial, cost.flops)
        where = smallest(cost.trial, sweep.model(cost.trial.model), seconds, allowed)
        taken[cost.trial.key] = Requirement(where.name, seconds / where.ranks)
    return Requirements(tuple(where.name for where in classes), taken)


def smallest(trial: Trial, model: ModelSpec, seconds: float, classes: Sequence[ResourceClass]) -> ResourceClass:
    """The first class that a trial fits which takes one process `seconds`. Raises ValueError saying what would fit."""
    roomy = [where for where in classes if _fits(model, trial.method, trial.training, where)]
    if not roomy:
        raise ValueError(_too_large(trial, model, classes))
    for where in roomy:
        if not where.longest or seconds / where.ranks <= where.longest * 3600:
            return where
    last = roomy[-1]
    raise ValueError(
        f"{_name(trial)} would take about {duration(seconds / last.ranks)} in class {last.name!r}, whose trials may "
        f"take {last.longest:g} h; it would fit with longest = {_at_least(seconds / last.ranks / 3600)}"
    )


def _fits(model: ModelSpec, method: Method, training: Training, where: ResourceClass) -> bool:
    return needed_memory(model, method, training, where) <= where.memory * 1e9


def _too_large(trial: Trial, model: ModelSpec, classes: Sequence[ResourceClass]) -> str:
    needed = {where.name: needed_memory(model, trial.method, trial.training, where) / 1e9 for where in classes}
    nearest = min(classes, key=lambda where: needed[where.name] / where.memory)
    fitting = [
        method.label
        for method in (kind() for kind in METHODS.values())
        if not method.refusal(model) and any(_fits(model, method, trial.training, where) for where in classes)
    ]
    methods = f", or with method {' or '.join(fitting)}" if fitting else ""
    sizes = ", ".join(f"{where.name}: {where.memory:g} GB" for where in classes)
    return (
        f"{_name(trial)} needs about {_at_least(needed[nearest.name])} GB per process; no class has so much "
        f"({sizes}); it would fit into class {nearest.name!r} with memory = {_at_least(needed[nearest.name])}{methods}"
    )


def _at_least(number: float) -> str:
    """Rounded up, so that what is asked for is enough."""
    return f"{math.ceil(100 * number) / 100:g}"


def _name(trial: Trial) -> str:
    return f"{trial.model} {trial.method.label} at {trial.budget:.3g} FLOPs"
