"""What trials of one sweep share on this machine: states of shared stable phases (trunks), and models of one source.

trunks/<trunk>/     <step>.safetensors: what trials that share a trunk left where their cooldown began
trunks/wanted.json  the steps at which the trials that may yet use such a state begin their cooldown
parts/<key>.safetensors   the model of one source, for trials that merge it with those of the others
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeps.store.files import KEY
from sweeps.store.identity import is_sweep, refuse_link
from sweeps.store.records import lenient
from sweeps.support.atomic import write_text
from sweeps.support.checks import is_number
from sweeps.trial import Trial

_WANTED = "wanted.json"
_STATE = re.compile(r"(\d+)\.safetensors")
_PART = re.compile(rf"{KEY.pattern}\.safetensors")
_TORN = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class Trunk:
    """Where trials that differ only in their steps leave their state for one another."""

    folder: Path
    cooldown_start: int
    """Step at which the cooldown of one of them begins."""

    def state(self, step: int) -> Path:
        return self.folder / f"{step}.safetensors"

    @property
    def own(self) -> Path:
        """The state that this trial leaves."""
        return self.state(self.cooldown_start)

    def newest(self) -> Path | None:
        """The furthest state on this trial's own way; None when there is none."""
        steps = [step for step in self.steps() if step <= self.cooldown_start]
        return self.state(max(steps)) if steps else None

    def steps(self) -> list[int]:
        """Steps at which there is a state."""
        try:
            matches = [_STATE.fullmatch(name) for name in os.listdir(self.folder)]
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in matches if match)

    def wanted(self) -> bool:
        """Whether some other trial could go on from this trial's state."""
        starts = lenient(self.folder.parent / _WANTED).get(self.folder.name, [])
        starts = [start for start in starts if is_number(start)] if isinstance(starts, list) else []
        return sum(start >= self.cooldown_start for start in starts) > 1  # this trial is one of them


class Trunks:
    """The states and models that the trials of a sweep share in its folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "trunks"
        self.parts = directory / "parts"

    def of(self, trial: Trial) -> Trunk | None:
        """The trunk of a trial; None for a trial whose schedule has none."""
        return Trunk(self.directory / trial.trunk, trial.cooldown_start) if trial.trunk else None

    def share(self, trials: Iterable[Trial]) -> None:
        """Say which trials may yet start from the state of another of their trunk, and delete what none will take: such
        states, and models of one source that none will merge."""
        for folder in (self.directory, self.parts):
            refuse_link(folder)
        wanted: dict[str, list[int]] = {}
        parts = set()
        for trial in trials:
            parts |= {f"{part.key}.safetensors" for part in trial.parts}
            if trial.trunk:
                wanted.setdefault(trial.trunk, []).append(trial.cooldown_start)
        if wanted:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_text(self.directory / _WANTED, json.dumps(wanted))
        else:
            (self.directory / _WANTED).unlink(missing_ok=True)
        _drop(self.parts, _PART, parts)
        for folder in self._folders():
            refuse_link(folder)
            kept = {Trunk(folder, step).newest() for step in wanted.get(folder.name, [])}
            _drop(folder, _STATE, {state.name for state in kept if state}, whole=not wanted)
        if not wanted:
            _drop_if_empty(self.directory)

    def steps(self) -> dict[str, list[int]]:
        """Steps at which there is a state, by trunk."""
        return {folder.name: Trunk(folder, 0).steps() for folder in self._folders()}

    def size(self) -> int:
        """Bytes that the states occupy."""
        total = 0
        for folder in self._folders():
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
        return total

    def _folders(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return [path for path in self.directory.iterdir() if KEY.fullmatch(path.name)]


def drop_parts(folder: Path) -> None:
    """Delete a folder of models of one source; what else lies there stays."""
    _drop(folder, _PART, whole=True)


def _drop(folder: Path, names: re.Pattern[str], kept: Container[str] = (), whole: bool = False) -> None:
    """Delete the files of such names but the kept ones; nothing else that lies there, and nothing behind a link.

    whole: what was left of writing one too, and the folder once it is empty.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        torn = _TORN.fullmatch(path.name) if whole else None
        if names.fullmatch(torn[1] if torn else path.name) and path.name not in kept:
            path.unlink(missing_ok=True)
    if whole:
        _drop_if_empty(folder)


def _drop_if_empty(folder: Path) -> None:
    with suppress(OSError):  # something else lies there, or a worker cut off is still writing
        folder.rmdir()


def trunk_of(folder: Path, trial: Trial) -> Trunk | None:
    """The trunk of a trial that runs in `folder`; None where its sweep has no other trial to share it with."""
    trunks = folder.parent.parent / "trunks"
    shared = bool(trial.trunk) and trial.trunk in lenient(trunks / _WANTED)
    if not shared:
        return None
    for place in (trunks, trunks / trial.trunk):
        refuse_link(place)
    return Trunk(trunks / trial.trunk, trial.cooldown_start)


def parts_folder(folder: Path) -> Path:
    """Where a trial that runs in `folder` keeps the models that it merges: with those of its sweep, if it has one."""
    sweep = folder.parent.parent
    place = (sweep if folder.parent.name == "trials" and is_sweep(sweep) else folder) / "parts"
    refuse_link(place)
    return place
