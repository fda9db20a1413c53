"""Which worker takes which trial: what trials need, and the place that a worker has."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STRIDE = 300.0  # s: a trial that can be continued is begun when there is so much time, to load and get somewhere


@dataclass(frozen=True)
class Need:
    """What a trial takes. size: the smallest class that it fits. seconds: estimated, with loading and evaluation."""

    size: str
    seconds: float


@dataclass(frozen=True)
class Needs:
    """What the trials of a sweep take, by key. classes: smallest first; none where workers do not differ."""

    classes: tuple[str, ...] = ()
    trials: Mapping[str, Need] = field(default_factory=dict)

    def size(self, key: str, bigger: int = 0) -> str:
        """The class of a trial, or the one `bigger` classes above. "" where there are none."""
        if key not in self.trials:
            return ""
        return self.classes[min(self._index(key) + bigger, len(self.classes) - 1)]

    def above(self, key: str) -> int:
        """How many classes are bigger than the trial's own."""
        return len(self.classes) - 1 - self._index(key) if key in self.trials else 0

    def _index(self, key: str) -> int:
        return self.classes.index(self.trials[key].size)

    def to_json(self) -> dict[str, Any]:
        trials = {key: [need.size, need.seconds] for key, need in self.trials.items()}
        return {"classes": list(self.classes), "trials": trials}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Needs:
        """The needs written by `to_json`; trials of classes that are not listed are left out."""
        classes = tuple(str(name) for name in content.get("classes", ()))
        trials = {key: Need(size, float(seconds)) for key, (size, seconds) in content.get("trials", {}).items()}
        return cls(classes, {key: need for key, need in trials.items() if need.size in classes})


@dataclass(frozen=True)
class Place:
    """Where a worker runs, which decides what it takes.

    size: its class; "" takes trials of all. lower: takes trials of smaller classes too, when none of its own waits.
    until: when its time is up, by time.monotonic. job: what an attempt notes of the cluster's job that it runs in.
    """

    size: str = ""
    lower: bool = False
    until: float = math.inf
    stride: float = STRIDE
    needs: Needs = Needs()
    job: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time that is left."""
        return self.until - time.monotonic()

    def order(self, keys: Sequence[str]) -> list[str]:
        """Keys in the order to look at them: trials of the own class first, then of smaller ones, the largest first."""
        if not self.size:
            return list(keys)
        classes = self.needs.classes
        rank = {name: len(classes) - index for index, name in enumerate(classes)} | {self.size: 0}
        return sorted(keys, key=lambda key: rank.get(self.needs.size(key), 0))

    def takes(self, key: str, bigger: int = 0) -> bool:
        """Whether this worker may run the trial, `bigger` classes above its own. It must fit the time that is left, or
        be begun for a while: every trial can be continued."""
        need = self.needs.trials.get(key)
        if need is None:
            return self.seconds > 0
        return self._fits(self.needs.size(key, bigger)) and self.seconds > min(need.seconds, self.stride)

    def _fits(self, size: str) -> bool:
        classes = self.needs.classes
        if not self.size or size == self.size:
            return True
        return self.lower and self.size in classes and classes.index(size) < classes.index(self.size)

    def above(self, key: str) -> int:
        """Classes bigger than the trial's own."""
        return self.needs.above(key)


ANYWHERE = Place()
