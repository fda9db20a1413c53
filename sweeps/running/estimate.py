"""What trials will cost: FLOPs on their own and together, and the time, from what earlier ones took on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median

from sweeps.experiment.grid import search_flops, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.machine.cores import available_cores
from sweeps.search.sweep_state import SweepState
from sweeps.store.attempts import host_and_boot
from sweeps.store.base import Store
from sweeps.store.open import open_folder
from sweeps.store.reuse import siblings
from sweeps.trial import Observation, Trial

GUESS = 2e10  # FLOP/s of one core, when nothing was measured here
GUESSED_REST = 3.0  # s a trial takes besides its training, a guess too
SAMPLE = 500  # trials of one sweep folder that are looked at


@dataclass(frozen=True)
class Cost:
    """FLOPs of a trial to come."""

    trial: Trial
    """The trial."""
    flops: float
    """FLOPs of the trial on its own."""
    reused: float
    """The part of them that another trial spends, one of its trunk or with the same models to merge."""

    @property
    def spent(self) -> float:
        return self.flops - self.reused


def costs(state: SweepState, sweep: Sweep, data: Data, states: Mapping[str, Sequence[int]]) -> list[Cost]:
    """Of the trials to come: those of `state.now`, then those of `state.later`; a rate not known is written as 1.

    states: steps at which trunks left one already. Those with fewer steps count as run before those with more.
    """
    coming = [*state.now, *(cell.trial(state.rate(cell) or 1.0) for cell in state.later)]
    points = {trunk: list(steps) for trunk, steps in states.items()}
    for search in state.searches:  # the rate that is chosen will have been trained this far
        if search.open:
            points[search.cell.trial(1.0).trunk] = [search.cell.trial(1.0).cooldown_start]
    reused: dict[str, float] = {}
    counted = set()
    for trial in coming:
        for part in trial.parts:
            if part.key in counted:
                trained = trial_flops(trial, sweep, data) - search_flops(sweep.model(trial.model), trial.training, data)
                reused[trial.key] = reused.get(trial.key, 0.0) + trained * part.steps / trial.steps
            counted.add(part.key)
    for trial in sorted(coming, key=lambda trial: trial.steps):
        if trial.trunk:
            points.setdefault(trial.trunk, [])
            before = [step for step in points[trial.trunk] if step < trial.cooldown_start]  # not its own state
            reused[trial.key] = trial_flops(replace(trial, steps=max(before, default=0)), sweep, data)
            points[trial.trunk].append(trial.cooldown_start)
    return [Cost(trial, trial_flops(trial, sweep, data), reused.get(trial.key, 0.0)) for trial in coming]


@dataclass(frozen=True)
class Speed:
    """How fast a worker is."""

    by_model: dict[str, float]
    """FLOP/s in training by model name, medians."""
    by_batch: dict[tuple[str, int], float]
    """FLOP/s by model name and batch size: what a step takes whatever its pairs weighs more in small ones."""
    typical: float
    """FLOP/s of a model that was not measured."""
    rest: float
    """Seconds that a trial takes besides, for loading and evaluation."""
    source: str
    """Where this comes from, as a sentence."""

    def seconds(self, trial: Trial, flops: float) -> float:
        """Seconds that so many FLOPs of a trial take a worker."""
        model = self.by_model.get(trial.model, self.typical)
        return self.rest + flops / self.by_batch.get((trial.model, trial.training.batch_size), model)


def speed(observations: Iterable[Observation], cores: int) -> Speed:
    """The speed seen in observations made on this machine; `cores` of each worker, for the guess."""
    speeds: dict[str, list[float]] = {}
    of_batches: dict[tuple[str, int], list[float]] = {}
    rests = []
    for observation in observations:
        if observation.flops > 0 and observation.seconds > 0:
            trial, reached = observation.trial, observation.flops / observation.seconds
            speeds.setdefault(trial.model, []).append(reached)
            of_batches.setdefault((trial.model, trial.training.batch_size), []).append(reached)
            rests.append(max(0.0, observation.total_seconds - observation.seconds))
    if not speeds:
        guess = (
            f"a guess of {GUESS:.0e} FLOP/s per core and {GUESSED_REST:g} s per trial; nothing was measured here yet"
        )
        return Speed({}, {}, GUESS * cores, GUESSED_REST, guess)
    by_model = {model: median(values) for model, values in speeds.items()}
    by_batch = {place: median(values) for place, values in of_batches.items()}
    typical, rest = median(by_model.values()), median(rests)
    source = f"{typical:.2g} FLOP/s per worker and {rest:.1f} s per trial, measured here in {len(rests)} trials"
    return Speed(by_model, by_batch, typical, rest, source)


def made_here(directory: Path) -> Iterator[Observation]:
    """Observations of this sweep and of those beside it that were trained on this machine."""
    for store in map(open_folder, (directory, *siblings(directory))):
        yield from _of_this_machine(store)


def _of_this_machine(store: Store) -> Iterator[Observation]:
    try:
        for observation in islice(store.results(), SAMPLE):
            if _trained_here(store, observation.key):
                yield observation
    except ValueError:  # a damaged trial elsewhere is no reason not to estimate
        return


def _trained_here(store: Store, key: str) -> bool:
    try:
        attempts = store.attempts(key)
    except FileNotFoundError:  # of a committed folder, which holds observations alone
        return False
    return bool(attempts) and attempts[-1].host == host_and_boot()[0]


class Pace:
    """How fast the workers of a sweep are: reckoned alike by `sweep run`, `sweep status` and its `--watch`.

    By its own trials that were trained on this machine, once they are as many as its workers: how busy the machine is
    now tells more about what is to come than how fast it once was. Before, by those of sweeps beside it too.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._looked_at: set[str] = set()  # keys
        self._own: list[Observation] = []

    def take(self, observations: Iterable[Observation]) -> None:
        """Take in observations of the sweep; those known already count once."""
        for observation in observations:
            if len(self._looked_at) >= SAMPLE:
                return
            if observation.key not in self._looked_at:
                self._looked_at.add(observation.key)
                self._own += [observation] if _trained_here(self.store, observation.key) else []

    def speed(self, workers: int, cores: int | None = None) -> Speed:
        """The speed of each of so many workers. cores: of each, for a guess; their share of this machine by default."""
        each = cores or max(1, len(available_cores()) // workers)
        return speed(self._own if len(self._own) >= workers else [*self._own, *self._beside], each)

    @cached_property
    def _beside(self) -> list[Observation]:
        """What was trained here in the sweeps beside this one."""
        return [each for folder in siblings(self.store.directory) for each in _of_this_machine(open_folder(folder))]


def makespan(seconds: Sequence[float], workers: int, alone: Sequence[float] = ()) -> float:
    """Time that `workers` take together, the longest first: no less than a fair share, nor than the longest.

    alone: what trials take together with the part that others do for them, which has to come first.
    """
    return max(sum(seconds) / workers, *seconds, *alone) if seconds else 0.0
