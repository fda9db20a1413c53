"""Observations that other sweeps have already made: beside this one, and those shipped with the project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweeps.store.base import Store
from sweeps.store.open import open_folder
from sweeps.store.records import OBSERVATIONS, OTHER_CONDITIONS
from sweeps.trial import Observation, Trial

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


class Library:
    """Looks a trial up by its key in the exports and the trial folders of other sweeps.

    `store`'s own export counts as well, so that a committed folder without its trials is continued. Failed trials are
    not taken, they may succeed here; nor pruned ones, which were judged beside others. problems: files that could not
    be used, as sentences.
    """

    def __init__(self, store: Store) -> None:
        self.own = store
        self.problems: list[str] = []
        self._siblings = list(siblings(store.directory))
        self._exported: dict[str, tuple[Path, str]] = {}
        for directory in (REFERENCE, *self._siblings, store.directory):  # the nearest wins
            for name in (OBSERVATIONS, OTHER_CONDITIONS):
                self._index(directory / name)

    def _index(self, path: Path) -> None:
        try:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    self._exported[json.loads(line)["key"]] = (path, line)
                except (ValueError, TypeError, KeyError):
                    self.problems.append(f"{path}:{number}: not an observation, passed over")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{path}: cannot be read, passed over: {error}")

    def find(self, trial: Trial) -> tuple[Observation, Path] | None:
        """The observation of an identical trial, under this trial's budget, and where it was found."""
        for observation, path in self._found(trial.key):
            if observation.status not in ("failed", "pruned"):
                return replace(observation, trial=trial), path
        return None

    def _found(self, key: str) -> Iterator[tuple[Observation, Path]]:
        try:
            if key in self._exported:
                path, line = self._exported[key]
                yield Observation.from_json(json.loads(line)), path
            for directory in self._siblings:
                path = directory
                store = open_folder(directory)
                if observation := store.result(key):
                    yield observation, store.folder(key)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            self.problems.append(f"{path}: {key} passed over: {error}")


def siblings(directory: Path) -> Iterator[Path]:
    """Folders of other sweeps beside this one."""
    here = directory.resolve()
    if not here.parent.is_dir():
        return
    for path in sorted(here.parent.iterdir()):
        try:
            if path != here and (path / "sweep.toml").is_file():
                yield path
        except OSError:  # not ours to read
            continue
