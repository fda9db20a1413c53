"""What can come of a sweep, said before a FLOP is spent: which laws, what `fit` will leave out, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.admission import MAX_EPOCHS, MIN_STEPS, why_no_law, why_no_shared_law
from sweeps.conditions import condition_name
from sweeps.experiment.grid import Cell, cells, places, unfit
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Entry, Sweep

NAMED = 3  # reasons in one sentence


@dataclass(frozen=True)
class Prospect:
    """What is to be expected of a sweep."""

    remarks: tuple[str, ...] = ()
    """What to know before it runs, a sentence each."""
    refusal: str = ""
    """Why nothing can come of it; "" where something can."""


def prospect(sweep: Sweep, data: Data) -> Prospect:
    """What can come of a sweep on these data; racing and trials that fail may leave less."""
    if sweep.goal:  # which chooses its own trials, and gives a recipe
        return Prospect(tuple(_pools(sweep, data)))
    tried = [cell for cell in cells(sweep, data) if not cell.reason]
    if not tried:
        return Prospect(refusal=_nothing_left(sweep, data))
    remarks = list(_pools(sweep, data))
    if sweep.compare:  # a table, no law
        return Prospect(tuple(remarks))
    groups = _groups(tried)
    verdicts = [_verdict(name, group, data) for name, group in groups.items()]
    remarks += [remark for remark, _ in verdicts if remark]
    if any(hopeful for _, hopeful in verdicts):
        return Prospect(tuple(remarks))
    return Prospect(tuple(remarks), _no_law([remark for remark, _ in verdicts]))


def no_law_on_any_data(sweep: Sweep) -> str:
    """Why the trials cannot give a law even if all of them can be trained; "" where they may, or none is wanted."""
    if sweep.goal or sweep.compare:
        return ""
    groups: dict[str, list[tuple[float, Any]]] = {}
    for model, entry, budget, training, seeds in places(sweep, sweep.conditions()):
        group = groups.setdefault(_law_name(entry, condition_name(training, sweep.varied)), [])
        if not unfit(model, entry, training):
            # At the most, every model, budget and batch size has a number of tokens of its own.
            group += [(model.params, (model.name, budget, training.batch_size)) for _ in seeds]
    if any(not why_no_shared_law(runs) for runs in groups.values()):
        return ""
    return _no_law([f"{name}: {why_no_law(runs)}" for name, runs in groups.items()])


def _no_law(reasons: Sequence[str]) -> str:
    return f"the trials cannot give a law: {'; '.join(reasons[:NAMED])}"


def _nothing_left(sweep: Sweep, data: Data) -> str:
    reasons = list(dict.fromkeys(f"{cell.label}: {cell.reason}" for cell in cells(sweep, data)))
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return f"no trial is possible: {'; '.join(reasons[:NAMED])}{more}"


def _pools(sweep: Sweep, data: Data) -> Iterator[str]:
    asked, got = sweep.training, data.fitted(sweep.training)
    if (asked.pool_size, asked.pools) != (got.pool_size, got.pools):
        beside = f", and {got.pool_size} to monitor the training" if asked.evaluate_every else ""
        yield (
            f"the held-out loss is measured in {got.pools} x {got.pool_size} pairs, not in {asked.pools} x "
            f"{asked.pool_size}: the data hold out {data.held_out_pairs:,}{beside}; chance is ln {got.pool_size}"
        )


def _groups(tried: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Cells of each law by its name: those of a method, under one condition."""
    groups: dict[str, list[Cell]] = {}
    for cell in tried:
        groups.setdefault(_law_name(cell.entry, cell.condition), []).append(cell)
    return groups


def _law_name(entry: Entry, condition: str) -> str:
    return ", ".join(filter(None, (entry.method.label, condition)))


def _verdict(name: str, group: Sequence[Cell], data: Data) -> tuple[str, bool]:
    """What to say of a law, and whether it can come to be at all."""
    repeated = [cell for cell in group if cell.pairs / data.train_pairs > MAX_EPOCHS]
    short = [cell for cell in group if cell.steps < MIN_STEPS]
    fitted = [cell for cell in group if cell not in repeated and cell not in short]
    if not (why := why_no_law(map(_run, fitted))):
        remark = f"{name}: fit leaves out {_left_out(group, repeated, short)}" if len(fitted) < len(group) else ""
        return remark, True
    if not why_no_law(map(_run, group)):
        flags = [f"--max-epochs {_most_epochs(repeated, data):g}"] if repeated else []
        flags += [f"--min-steps {min(cell.steps for cell in short)}"] if short else []
        left = _left_out(group, repeated, short)
        return f"{name}: fit leaves out {left}, and {why}; fit {' '.join(flags)} takes them", True
    if not why_no_shared_law(map(_run, group)):
        return f"{name}: {why_no_law(map(_run, group))}; fit --with another sweep shares its exponents", True
    return f"{name}: {why_no_law(map(_run, group))}", False


def _run(cell: Cell) -> tuple[float, float]:
    """N and D, the latter in pairs."""
    return cell.model.params, cell.pairs


def _left_out(group: Sequence[Cell], repeated: Sequence[Cell], short: Sequence[Cell]) -> str:
    parts = [f"{len(repeated)} of {len(group)} trials for more than {MAX_EPOCHS:g} epochs"] if repeated else []
    parts += [f"{len(short)} of {len(group)} for fewer than {MIN_STEPS} steps"] if short else []
    return " and ".join(parts)


def _most_epochs(repeated: Sequence[Cell], data: Data) -> float:
    return float(-(-max(cell.pairs for cell in repeated) // data.train_pairs))
