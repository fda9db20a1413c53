"""Trials and observations as JSON: reading single files and gathered exports, writing the exports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps.experiment.grid import Cell
from sweeps.search.learning_rates import Search
from sweeps.support.atomic import write_text
from sweeps.trial import Observation, Training

OBSERVATIONS = "observations.jsonl"
OTHER_CONDITIONS = "other-conditions.jsonl"  # observations that no law may share with those of the sweep


def read_observations(path: Path, curves: bool = True) -> Iterator[Observation]:
    """The observations in a file, one a line; none when there is no file. Raises ValueError naming the line.

    curves: with their training curves, most of what they hold.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _observation(line if curves else _without_curve(line), f"{path}:{number}")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None


def exported(directory: Path, curves: bool = True) -> Iterator[Observation]:
    """The observations in the gathered exports of a sweep, whether or not their trials are in its folder."""
    for name in (OBSERVATIONS, OTHER_CONDITIONS):
        yield from read_observations(directory / name, curves)


def export(directory: Path, observations: Iterable[Observation], *conditions: Training) -> None:
    """Write observations.jsonl, those made under other conditions aside, in one stable order."""
    ordered = sorted(
        observations,
        key=lambda one: (one.trial.budget, one.trial.model, one.trial.label, one.trial.lr, one.key),
    )
    lines: dict[bool, list[str]] = {True: [], False: []}
    for observation in ordered:
        lines[observation.trial.training in conditions].append(json.dumps(observation.to_json()) + "\n")
    write_text(directory / OBSERVATIONS, "".join(lines[True]))
    if lines[False] or (directory / OTHER_CONDITIONS).exists():
        write_text(directory / OTHER_CONDITIONS, "".join(lines[False]))


def export_rates(directory: Path, searches: Sequence[Search]) -> None:
    """Write rates.json: the learning rates tried and chosen."""
    write_text(directory / "rates.json", json.dumps([search.to_json() for search in searches], indent=1) + "\n")


def export_left_out(directory: Path, cells: Sequence[Cell]) -> None:
    """Write left-out.json: the cells of the grid that are not tried, and why."""
    write_text(directory / "left-out.json", json.dumps([cell.to_json() for cell in cells], indent=1) + "\n")


def read_json(path: Path | str, curves: bool = True) -> Any:
    """The content of a file. Raises ValueError when it is not JSON. curves: see `read_observations`."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.loads(file.read() if curves else _without_curve(file.read()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def lenient(path: Path) -> dict[str, Any]:
    """The object in a file that says nothing durable; empty when the file is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def parse(kind: Any, content: Any, where: object, *known: str) -> Any:
    """A Trial or an Observation from parsed JSON. Raises ValueError naming where it stands."""
    try:
        return kind.from_json(content, *known)
    except KeyError as error:
        raise ValueError(f"{where}: has no {error.args[0]!r}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {error}") from None


def _observation(line: str, where: str) -> Observation:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    observation: Observation = parse(Observation, content, where)
    return observation


def _without_curve(text: str) -> str:
    """An observation's JSON with an empty curve. Inside a string the quotes of its name would be escaped."""
    start = text.find('"curve": [[')
    return text if start < 0 else f'{text[:start]}"curve": []{text[text.index("]]", start) + 2 :]}'
