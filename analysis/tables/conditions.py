"""The conditions of a sweep whose lists under [training] span several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sweeps.conditions import condition_name, differing
from sweeps.experiment.keys import ONE_VALUE
from sweeps.trial import Observation, Training


def conditions(observations: Iterable[Observation]) -> dict[str, Training]:
    """Conditions by name, in the order of their values; none where there is one, or what differs spans no grid."""
    trainings = list(dict.fromkeys(observation.trial.training for observation in observations))
    names = differing(trainings)
    if len(trainings) < 2 or not names or set(names) & set(ONE_VALUE):
        return {}
    ordered = sorted(trainings, key=lambda training: [_place(getattr(training, name)) for name in names])
    return {condition_name(training, names): training for training in ordered}


def _place(value: object) -> tuple[bool, object]:
    """What sorts values of one setting; None comes first."""
    return value is not None, value


def of_condition(observations: Sequence[Observation], known: Mapping[str, Training], name: str) -> list[Observation]:
    """The observations of one condition. Raises ValueError naming the conditions that there are."""
    if name not in known:
        there = "; ".join(known) or "none, the folder holds one condition"
        raise ValueError(f"`condition` is {name!r}; known: {there}")
    return [observation for observation in observations if observation.trial.training == known[name]]
