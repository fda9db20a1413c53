"""Observations that other sweeps have already made: beside this one, and those shipped with the project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweeps.store.base import Store
from sweeps.store.open import open_folder
from sweeps.store.records import OBSERVATIONS, OTHER_CONDITIONS, parse_record
from sweeps.support.console import sentence
from sweeps.support.json_io import parse_json, read_lines
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
        self._exported: dict[str, tuple[Path, bytes]] = {}
        for directory in (REFERENCE, *self._siblings, store.directory):  # the nearest wins
            for name in (OBSERVATIONS, OTHER_CONDITIONS):
                self._index(directory / name)

    def _index(self, path: Path) -> None:
        try:
            for number, line in enumerate(read_lines(path), 1):
                try:
                    self._exported[parse_json(line)["key"]] = (path, line)
                except (ValueError, TypeError, KeyError):
                    self.problems.append(f"{path}:{number}: not an observation; skipped")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self.problems.append(f"cannot be read; skipped: {sentence(error)}")

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
                observation: Observation = parse_record(Observation, line, path)
                yield observation, path
            for directory in self._siblings:
                path = directory
                store = open_folder(directory)
                if result := store.result(key):
                    yield result, store.folder(key)
        except (ValueError, OSError) as error:
            self.problems.append(f"{key} skipped: {sentence(error)}")


def siblings(directory: Path) -> Iterator[Path]:
    """Folders of other sweeps beside this one."""
    here = directory.resolve()
    try:
        beside = sorted(here.parent.iterdir())
    except OSError:  # not there, or not ours to read
        return
    for path in beside:
        try:
            if path != here and (path / "sweep.toml").is_file():
                yield path
        except OSError:  # not ours to read
            continue
