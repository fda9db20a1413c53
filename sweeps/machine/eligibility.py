"""Which worker takes which trial: what trials require, and what a worker may take."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.support.checks import check_fields, is_number, require

MIN_SECONDS = 300.0  # a trial that can be continued is begun with so much time left, to load and get somewhere


@dataclass(frozen=True)
class Requirement:
    """What one trial takes."""

    resource_class: str
    """Name of the smallest class that the trial fits."""
    seconds: float
    """Estimated duration, with loading and evaluation."""


@dataclass(frozen=True)
class Requirements:
    """What the trials of a sweep take."""

    classes: tuple[str, ...] = ()
    """Names of the classes of resources, smallest first; empty where workers do not differ."""
    trials: Mapping[str, Requirement] = field(default_factory=dict)
    """What each trial takes, by its key."""

    def resource_class(self, key: str, bigger: int = 0) -> str:
        """The class of a trial, or the one `bigger` classes above. "" where there are none."""
        if key not in self.trials:
            return ""
        return self.classes[min(self._index(key) + bigger, len(self.classes) - 1)]

    def classes_above(self, key: str) -> int:
        """How many classes are bigger than the trial's own."""
        return len(self.classes) - 1 - self._index(key) if key in self.trials else 0

    def _index(self, key: str) -> int:
        return self.classes.index(self.trials[key].resource_class)

    def to_json(self) -> dict[str, Any]:
        trials = {key: [each.resource_class, each.seconds] for key, each in self.trials.items()}
        return {"classes": list(self.classes), "trials": trials}

    @classmethod
    def from_json(cls, content: Any, where: str) -> Requirements:
        """The requirements written by `to_json`; trials of classes that are not listed are left out.

        Raises ValueError naming `where` and what is wrong.
        """
        try:
            check_fields(cls, content, "")
            require("trials", content.get("trials", {}), isinstance(content.get("trials", {}), dict), "a table")
            classes = tuple(content.get("classes", ()))
            trials = {}
            for key, row in content.get("trials", {}).items():
                fits = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and is_number(row[1])
                require(f"trials.{key}", row, fits, "a class and seconds")
                if row[0] in classes:
                    trials[key] = Requirement(row[0], float(row[1]))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return cls(classes, trials)


@dataclass(frozen=True)
class Eligibility:
    """Which trials a worker may take now, and in which order."""

    resource_class: str = ""
    """The worker's class; "" takes trials of all classes."""
    takes_smaller: bool = False
    """Whether it takes trials of smaller classes too, when none of its own waits."""
    until: float = math.inf
    """When the worker's time is up, by time.monotonic."""
    min_seconds: float = MIN_SECONDS
    """The least time left with which a trial is begun that will not end in it."""
    requirements: Requirements = Requirements()
    """What the trials of the sweep take."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """What an attempt notes of the cluster's job that the worker runs in."""

    @property
    def seconds(self) -> float:
        """Time that is left."""
        return self.until - time.monotonic()

    def order(self, keys: Sequence[str]) -> list[str]:
        """Keys in the order to look at them: trials of the own class first, then of smaller ones, the largest first."""
        if not self.resource_class:
            return list(keys)
        classes = self.requirements.classes
        rank = {name: len(classes) - index for index, name in enumerate(classes)} | {self.resource_class: 0}
        return sorted(keys, key=lambda key: rank.get(self.requirements.resource_class(key), 0))

    def takes(self, key: str, bigger: int = 0) -> bool:
        """Whether this worker may run the trial, `bigger` classes above its own. The trial must fit the time that is
        left, or there must be enough to begin it: every trial can be continued."""
        required = self.requirements.trials.get(key)
        if required is None:
            return self.seconds > 0
        fits = self._fits(self.requirements.resource_class(key, bigger))
        return fits and self.seconds > min(required.seconds, self.min_seconds)

    def _fits(self, wanted: str) -> bool:
        classes = self.requirements.classes
        if not self.resource_class or wanted == self.resource_class:
            return True
        if not self.takes_smaller or self.resource_class not in classes:
            return False
        return classes.index(wanted) < classes.index(self.resource_class)


ANY_TRIAL = Eligibility()
