"""Following a training in TensorBoard, Weights & Biases, MLflow or trackio, through accelerate's trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeps.trial import Trial

Log = Callable[[int, Mapping[str, float]], None]  # step, and figures by name
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "recipe-planner"


def start(name: str, trial: Trial, folder: Path) -> tuple[Log, Callable[[], None]]:
    """Returns a function that logs the figures of a step, and one that ends the log.

    name: one of TRACKERS. folder: where it keeps its files, if it has any. Raises ValueError when the tracker's
    package is missing.
    """
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=True)  # trackers ask it whether this is the process that speaks
    kind = LOGGER_TYPE_TO_CLASS[name]
    files = {"logging_dir": str(folder)} if kind.requires_logging_directory else {}
    try:
        tracker = kind(PROJECT, **files)
        tracker.start()
    except ImportError as error:
        raise ValueError(f"the tracker {name} needs {error.name or name}: pip install {name}") from None
    tracker.store_init_configuration(_flat(trial.to_json()))
    return lambda step, figures: tracker.log(dict(figures), step=step), tracker.finish


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, str | int | float]:
    """Returns a trial's settings as one level of plain values."""
    flat: dict[str, str | int | float] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[before + key] = value if isinstance(value, (str, int, float)) else str(value)
    return flat
