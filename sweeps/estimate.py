"""How long trials take: from what earlier ones took on this machine, else from a stated guess."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from sweeps.reuse import siblings
from sweeps.store import Store, machine
from sweeps.trial import Observation

GUESS = 2e10  # FLOP/s of one core, when nothing was measured here
GUESSED_REST = 3.0  # s a trial takes besides its training, likewise
SAMPLE = 500  # trials of one sweep folder that are looked at


@dataclass(frozen=True)
class Speed:
    """How fast a worker is. by_model: FLOP/s in training, medians; typical: of all models.

    rest: seconds that a trial takes besides, for loading and evaluation. source: where this comes from, a sentence.
    """

    by_model: dict[str, float]
    typical: float
    rest: float
    source: str

    def seconds(self, model: str, flops: float) -> float:
        return self.rest + flops / self.by_model.get(model, self.typical)


def speed(observations: Iterable[Observation], cores: int) -> Speed:
    """The speed seen in observations made on this machine; `cores` of each worker, for the guess."""
    seen: dict[str, list[float]] = {}
    rests = []
    for observation in observations:
        if observation.flops > 0 and observation.seconds > 0:
            seen.setdefault(observation.trial.model, []).append(observation.flops / observation.seconds)
            rests.append(max(0.0, observation.total_seconds - observation.seconds))
    if not seen:
        guess = f"a guess of {GUESS:.0e} FLOP/s a core and {GUESSED_REST:g} s a trial; nothing was measured here yet"
        return Speed({}, GUESS * cores, GUESSED_REST, guess)
    by_model = {model: median(speeds) for model, speeds in seen.items()}
    typical, rest = median(by_model.values()), median(rests)
    source = f"{typical:.2g} FLOP/s a worker and {rest:.1f} s a trial, measured here in {len(rests)} trials"
    return Speed(by_model, typical, rest, source)


def made_here(directory: Path) -> Iterator[Observation]:
    """Observations of this sweep and of those beside it that were trained on this machine."""
    host, _ = machine()
    for store in (Store(directory), *map(Store, siblings(directory))):
        try:
            for observation in islice(store.results(), SAMPLE):
                attempts = store.attempts(observation.key)
                if attempts and attempts[-1].host == host:
                    yield observation
        except ValueError:  # a damaged trial elsewhere is no reason not to estimate
            continue


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time that `workers` take together, the longest first: no less than a fair share, nor than the longest."""
    return max(sum(seconds) / workers, *seconds) if seconds else 0.0
