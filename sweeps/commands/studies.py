"""A sweep as one Optuna study: a projection of its trials, brought up to date while the sweep runs, never read back.

It lies in a journal file, to which a trial is a line: in a database each point of each curve would be a statement.

A trial's parameters are its model, method, rate, budget and seed, and the settings of training in which trials differ;
its value is the held-out loss, its intermediate values the training loss by step. All else are user attributes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.conditions import differing
from sweeps.experiment.sweep_file import read_sweep
from sweeps.store.base import Store
from sweeps.support.paths import relative_to
from sweeps.support.progress import Progress
from sweeps.trial import Observation, Trial, by_key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

AXIS = "held-out loss (nats per pair)"
FIGURES = ("flops", "tokens", "params", "trainable", "seconds", "total_seconds", "peak_bytes", "accuracy", "start_loss")
# done: complete; diverged: pruned, for its curve says where it stopped being of use; else: failed.
STATES = {"done": "COMPLETE", "diverged": "PRUNED", "pruned": "PRUNED"}


@dataclass
class Shown:
    """What the study holds of a trial."""

    id: int
    """Optuna's, of the row."""
    state: str
    """Of Optuna's TrialState."""
    step: int = 0
    """The last one whose loss is there."""


def journal(path: Path) -> JournalStorage:
    """The studies in a journal file."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


class Study:
    """The study of a sweep in a journal file that is not there yet. `update` brings it up to date."""

    def __init__(self, store: Store, path: Path) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.store = store
        self.storage = journal(path)
        self.name = store.directory.resolve().name
        self._begin()

    def _begin(self) -> None:
        """The study without a trial; one that is there is deleted."""
        import optuna

        if self.name in optuna.get_all_study_names(self.storage):
            optuna.delete_study(study_name=self.name, storage=self.storage)
        self.study = optuna.create_study(study_name=self.name, storage=self.storage, direction="minimize")
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            self.study.set_metric_names([AXIS])
        self._shown: dict[str, Shown] = {}
        self._finished: set[str] = set()
        self._differing: tuple[str, ...] = ()  # settings of training in which trials differ
        self._choices: dict[str, list[str]] = {}  # of what is no number: Optuna wants to know them beforehand

    def __len__(self) -> int:
        return len(self._shown)

    def update(self) -> None:
        """Show what came since: finished trials in an order of their own, then running ones, then those to come."""
        again = set(self.store.unfinished())  # some may have had a result
        self._finished -= again
        known = {} if self._shown else by_key(seen for seen in self.store.exported() if seen.key not in again)
        known |= by_key(self.store.results(self._finished))
        running = {trial.key: (trial, attempt, figures) for trial, attempt, figures in self.store.running()}
        new = [key for key in self.store.queue() if key not in {*known, *running, *self._shown}]
        coming = [self.store.read_trial(key) for key in new]
        trials = [seen.trial for seen in known.values()] + [trial for trial, _, _ in running.values()] + coming
        if not self._foreseen(trials):
            self._begin()
            return self.update()
        with Progress("the study", len(known), "trials") as progress:
            for observation in _ordered(known.values()):
                self._finish(observation)
                progress.advance()
        for trial, attempt, figures in running.values():
            self._run(trial, datetime.fromtimestamp(attempt.started), figures)
        for trial in coming:
            self._add(trial, self._frozen(trial, "WAITING"))
        return None

    def _foreseen(self, trials: Sequence[Trial]) -> bool:
        """Whether the study has a place for all of these; before the first it makes one, also for what will come."""
        if self._choices:
            told = [_words(trial, self._differing) for trial in trials]
            return all(value in self._choices[name] for each in told for name, value in each.items())
        spanned, found = [trial.training for trial in trials], dict[str, set[str]]()
        if (path := self.store.directory / "sweep.toml").exists():  # else it is known by its observations alone
            with relative_to(path):
                sweep = read_sweep(path)
            spanned += sweep.spanned
            found["model"] = {model.name for model in sweep.models}
            found["method"] = {entry.method.label for entry in sweep.entries}
        self._differing = differing(spanned)
        for trial in trials:
            for name, value in _words(trial, self._differing).items():
                found.setdefault(name, set()).add(value)
        self._choices = {name: sorted(values) for name, values in found.items()}
        return True

    def _add(self, trial: Trial, frozen: FrozenTrial) -> None:
        id = self.storage.create_new_trial(self.study._study_id, frozen)
        self._shown[trial.key] = Shown(id, frozen.state.name, max(frozen.intermediate_values, default=0))

    def _finish(self, observation: Observation) -> None:
        """Show a result; one that was shown before stays, and another of the same trial stands beside it."""
        from optuna.trial import TrialState

        key = observation.key
        self._finished.add(key)
        shown = self._shown.get(key)
        state = STATES.get(observation.status, "FAIL")
        if shown is None or shown.state not in ("WAITING", "RUNNING"):
            attempts = self.store.attempts(key)
            begun = datetime.fromtimestamp(attempts[-1].started) if attempts and attempts[-1].started else None
            self._add(observation.trial, self._frozen(observation.trial, state, observation, begun))
            return
        for step, loss in _curve(observation).items():
            if step > shown.step:
                self.storage.set_trial_intermediate_value(shown.id, step, loss)
        for name, value in _attributes(observation).items():
            self.storage.set_trial_user_attr(shown.id, name, value)
        if shown.state == "WAITING":
            self.storage.set_trial_state_values(shown.id, TrialState.RUNNING)
        values = [observation.loss] if state == "COMPLETE" else None
        self.storage.set_trial_state_values(shown.id, TrialState[state], values)
        shown.state = state

    def _run(self, trial: Trial, begun: datetime, figures: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        shown = self._shown.get(trial.key)
        if shown is None or shown.state not in ("WAITING", "RUNNING"):
            self._add(trial, self._frozen(trial, "RUNNING", begun=begun))
            shown = self._shown[trial.key]
        elif shown.state == "WAITING":
            self.storage.set_trial_state_values(shown.id, TrialState.RUNNING)
            shown.state = "RUNNING"
        if figures.get("step", 0) > shown.step and "loss" in figures:
            self.storage.set_trial_intermediate_value(shown.id, figures["step"], figures["loss"])
            shown.step = figures["step"]

    def _frozen(
        self, trial: Trial, state: str, observation: Observation | None = None, begun: datetime | None = None
    ) -> FrozenTrial:
        from optuna.trial import FrozenTrial, TrialState

        parameters = self._parameters(trial)
        unknown = datetime.fromtimestamp(0) if observation else None  # a finished trial must have times
        start = begun or unknown
        end = start + timedelta(seconds=max(0.0, observation.total_seconds)) if observation and start else None
        return FrozenTrial(
            number=-1,  # the storage's to say
            trial_id=-1,
            state=TrialState[state],
            value=observation.loss if observation and state == "COMPLETE" else None,
            datetime_start=start,
            datetime_complete=end,
            params={name: value for name, (value, _) in parameters.items()},
            distributions={name: distribution for name, (_, distribution) in parameters.items()},
            user_attrs={"key": trial.key, "steps": trial.steps, **(_attributes(observation) if observation else {})},
            system_attrs={},
            intermediate_values=_curve(observation) if observation else {},
        )

    def _parameters(self, trial: Trial) -> dict[str, tuple[Any, BaseDistribution]]:
        """Parameters and their distributions: the same for all trials, so that every axis has them all."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        words = _words(trial, self._differing).items()
        parameters: dict[str, tuple[Any, BaseDistribution]] = {
            name: (value, CategoricalDistribution(self._choices[name])) for name, value in words
        }
        budget = trial.budget or 1.0
        rate, spent = FloatDistribution(1e-30, 1e6, log=True), FloatDistribution(1e-40, 1e40, log=True)
        parameters |= {"learning rate": (trial.lr, rate), "budget (FLOP)": (budget, spent)}
        return parameters | {"seed": (trial.seed, IntDistribution(-(2**63), 2**63 - 1))}


def _words(trial: Trial, names: Sequence[str]) -> dict[str, str]:
    """Parameters that are no numbers: its model, its method, and these settings of training."""
    settings = {name: json.dumps(getattr(trial.training, name), default=str) for name in names}
    return {"model": trial.model, "method": trial.method.label, **settings}


def _ordered(observations: Iterable[Observation]) -> list[Observation]:
    def place(observation: Observation) -> tuple[str, str, float, str]:
        trial = observation.trial
        return trial.model, trial.method.label, trial.budget, trial.key

    return sorted(observations, key=place)


def _curve(observation: Observation) -> dict[int, float]:
    """Training loss by step."""
    return {step: loss for step, _, loss in observation.curve}


def _attributes(observation: Observation) -> dict[str, Any]:
    known = {"status": observation.status, "reason": observation.reason}
    known |= {name: getattr(observation, name) for name in FIGURES}
    return {name: value for name, value in known.items() if value is not None}
