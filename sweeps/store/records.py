"""Trials and observations as JSON: reading single files and gathered exports, writing the exports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.experiment.grid import Cell
from sweeps.models import ModelSpec
from sweeps.search.learning_rates import RateSearch
from sweeps.support import checksum as checksums
from sweeps.support.atomic import write_text
from sweeps.support.json_io import parse_json, read_bytes, read_lines
from sweeps.trial import Observation, Training

OBSERVATIONS = "observations.jsonl"
_WRONG = (KeyError, ValueError, TypeError, AttributeError, OverflowError)  # raised by what is no record
OTHER_CONDITIONS = "other-conditions.jsonl"  # observations that no law may share with those of the sweep

EXPORTS = (OBSERVATIONS, OTHER_CONDITIONS, "rates.json", "left-out.json", "sweep.toml")  # gathered, for people


@dataclass(frozen=True)
class BrokenLine:
    """A line of a file of observations that holds none."""

    where: str
    """File and number of the line."""
    reason: str


def observation_lines(path: Path, curves: bool = True) -> Iterator[Observation | BrokenLine]:
    """What each line of a file of observations holds, empty ones aside. Raises FileNotFoundError without a file.

    curves: with their training curves, most of what they hold.
    """
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield _observation(line, curves, f"{path}:{number}")


def read_observations(path: Path, curves: bool = True) -> Iterator[Observation]:
    """The observations in a file, one a line; none when there is no file. Raises ValueError naming a broken line."""
    with suppress(FileNotFoundError):
        for line in observation_lines(path, curves):
            if isinstance(line, BrokenLine):
                raise ValueError(f"{line.where}: {line.reason}")
            yield line


def exported(directory: Path, curves: bool = True) -> Iterator[Observation]:
    """The observations in the gathered exports of a sweep, whether or not their trials are in its folder."""
    for name in (OBSERVATIONS, OTHER_CONDITIONS):
        yield from read_observations(directory / name, curves)


def export(
    directory: Path, observations: Iterable[Observation], *conditions: Training, models: Iterable[ModelSpec] = ()
) -> int:
    """Write observations.jsonl, in one stable order, aside those made under other conditions or with what a folder of
    `models` held before; how many those are."""
    hashes = {model.name: model.model_hash for model in models}
    ordered = sorted(
        observations,
        key=lambda entry: (entry.trial.budget, entry.trial.model, entry.trial.label, entry.trial.lr, entry.key),
    )
    lines: dict[bool, list[str]] = {True: [], False: []}
    for observation in ordered:
        trial = observation.trial
        here = trial.training in conditions and hashes.get(trial.model, trial.model_hash) == trial.model_hash
        lines[here].append(checksums.sealed(observation.to_json()) + "\n")
    write_text(directory / OBSERVATIONS, "".join(lines[True]))
    if lines[False] or (directory / OTHER_CONDITIONS).exists():
        write_text(directory / OTHER_CONDITIONS, "".join(lines[False]))
    return len(lines[False])


def export_rates(directory: Path, searches: Sequence[RateSearch]) -> None:
    """Write rates.json: the learning rates tried and chosen."""
    write_text(directory / "rates.json", json.dumps([search.to_json() for search in searches], indent=1) + "\n")


def export_left_out(directory: Path, cells: Sequence[Cell]) -> None:
    """Write left-out.json: the cells of the grid that are not tried, and why."""
    write_text(directory / "left-out.json", json.dumps([cell.to_json() for cell in cells], indent=1) + "\n")


def lenient(path: Path) -> dict[str, Any]:
    """The object in a file that says nothing durable; empty when the file is missing, torn, changed or none at all."""
    with suppress(OSError, ValueError):
        return lenient_text(read_bytes(path))
    return {}


def lenient_text(text: bytes) -> dict[str, Any]:
    """The object in a text that says nothing durable; empty when the text is torn, changed or none at all."""
    with suppress(ValueError):
        if isinstance(content := parse_json(text), dict):
            checksums.refuse_changed(text, content.pop(checksums.NAME, None))
            return content
    return {}


def read_record(kind: Any, path: Path | str, *known: str, curves: bool = True) -> Any:
    """The Trial or the Observation in a file. Raises ValueError naming the file and the field, or FileNotFoundError.

    known: what `kind.from_json` is told besides. curves: see `observation_lines`.
    """
    return parse_record(kind, read_bytes(path), path, *known, curves=curves)


def parse_record(kind: Any, text: bytes | str, where: object, *known: str, curves: bool = True) -> Any:
    """A Trial or an Observation from its JSON. Raises ValueError naming where it stands, and the field."""
    try:
        return _record(kind, text, *known, curves=curves)
    except _WRONG as error:
        raise ValueError(f"{where}: {_reason(error)}") from None


def _record(kind: Any, text: bytes | str, *known: str, curves: bool) -> Any:
    content = parse_json(text if curves else _without_curve(text if isinstance(text, str) else text.decode("utf-8")))
    checksum = content.pop(checksums.NAME, None) if isinstance(content, dict) else None
    record = kind.from_json(content, *known)  # which says best what is wrong
    checksums.refuse_changed(text, checksum)
    return record


def _observation(line: bytes, curves: bool, where: str) -> Observation | BrokenLine:
    try:
        observation: Observation = _record(Observation, line, curves=curves)
        return observation
    except _WRONG as error:
        return BrokenLine(where, _reason(error))


def _reason(error: Exception) -> str:
    """What is wrong with the text of a record."""
    if isinstance(error, KeyError):
        return f"has no {error.args[0]!r}"
    return f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)


def _without_curve(text: str) -> str:
    """An observation's JSON with an empty curve. Inside a string the quotes of its name would be escaped."""
    start = text.find('"curve": [[')
    return text if start < 0 else f'{text[:start]}"curve": []{text[text.index("]]", start) + 2 :]}'
