"""Following a training in TensorBoard, Weights & Biases, MLflow or trackio, through accelerate's trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeps.trial import Trial

Log = Callable[[int, Mapping[str, float]], None]  # step, and figures by name
PROJECT = "recipe-planner"
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX")}  # tracker -> packages that will do, else its own name
NAMES = {"wandb": "name", "mlflow": "run_name", "trackio": "name"}  # tracker -> what it calls the name of a training


def must_be_there(name: str) -> None:
    """Raises ValueError when the package of a tracker is missing."""
    if not any(find_spec(package) for package in PACKAGES.get(name, (name,))):
        raise ValueError(f"the tracker {name} needs {name}: pip install {name}")


def start(name: str, trial: Trial, folder: Path) -> tuple[Log, Callable[[], None]]:
    """Returns a function that logs the figures of a step, and one that ends the log.

    name: one of TRACKERS. folder: where it keeps its files, if it has any. Raises ValueError when the tracker's
    package is missing.
    """
    must_be_there(name)
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=True)  # trackers ask it whether this is the process that speaks
    kind = LOGGER_TYPE_TO_CLASS[name]
    given = {"logging_dir": str(folder)} if kind.requires_logging_directory else {}
    given |= {NAMES[name]: f"{Path(trial.model).name} {trial.label} {trial.key}"} if name in NAMES else {}
    try:
        tracker = kind(PROJECT, **given)
        tracker.start()
    except ImportError as error:
        raise ValueError(f"the tracker {name} needs {error.name or name}: pip install {name}") from None
    tracker.store_init_configuration(_flat(trial.to_json()))
    return lambda step, figures: tracker.log(dict(figures), step=step), tracker.finish


@contextmanager
def tracked(name: str | None, trial: Trial, folder: Path) -> Iterator[Log | None]:
    """Inside, what is told the figures of every step of a training; None where no tracker was asked for."""
    if not name:
        yield None
        return
    log, end = start(name, trial, folder)
    try:
        yield log
    finally:
        end()


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, str | int | float]:
    """Returns a trial's settings as one level of plain values."""
    flat: dict[str, str | int | float] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[before + key] = value if isinstance(value, (str, int, float)) else str(value)
    return flat
