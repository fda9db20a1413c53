"""The regret of a goal, where a sweep measured its candidates: `python -m analysis.goal.against GOAL GRID`.

GOAL is the folder of a sweep with a goal that has ended, GRID that of a sweep of the same data and conditions
that measured candidates at the goal's budget.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from analysis.tables.sweep_table import read_observations
from sweeps.search.goal_rounds import Contender, GoalRound, read_rounds
from sweeps.support import console
from sweeps.support.text import table
from sweeps.trial import Observation, Training

LOSSES = "observations.jsonl"  # of every sweep
SAME_BUDGET = 0.02  # share by which what a trial was cut for may differ from the goal's budget
FREE = ("data",)  # conditions that may differ: data have other names from other folders; their hash tells


@dataclass(frozen=True)
class Measured:
    """A candidate at the goal, as the grid measured it."""

    model: str
    """Name of the backbone."""
    method: str
    """Label of the method."""
    loss: float
    """Held-out loss at its best rate, mean over seeds, nats per pair."""
    seeds: int
    """Trials behind it."""


@dataclass(frozen=True)
class Verdict:
    """A goal held against a grid."""

    last: GoalRound
    """The goal's last round, its choice the first of the contenders."""
    trials: int
    """Trials of the goal."""
    measured: tuple[Measured, ...]
    """Candidates at the goal, the best first."""

    @property
    def chosen(self) -> Measured | None:
        """What the goal chose; None where the grid has not measured it."""
        choice = self.last.contenders[0]
        return next(
            (each for each in self.measured if (each.model, each.method) == (choice.model, choice.method)), None
        )

    @property
    def regret(self) -> float:
        """Nats by which the choice lies above the best that was measured; NaN where it was not measured."""
        return self.chosen.loss - self.measured[0].loss if self.chosen else math.nan

    def lines(self) -> list[str]:
        """The verdict as text."""
        last, choice, chosen, best = self.last, self.last.contenders[0], self.chosen, self.measured[0]
        lines = [
            f"chosen      {choice.model}, {choice.method}",
            f"spent       {last.spent:.3g} FLOP in {self.trials} trials, {last.spent / last.budget:.2%} of "
            f"{last.budget:.3g}, searches included; {last.limit / last.budget:.2%} were allowed",
            f"best        {best.model}, {best.method}: {best.loss:.4g} nats",
            f"regret      {self.regret:.4g} nats, {self.regret / best.loss:.2%} of the loss; "
            f"{last.regret:.2g} nats were expected"
            if chosen
            else "regret      unknown: the grid has not measured what was chosen",
            "",
        ]
        return lines + table([("model", "method", "measured", "trials", "expected", "90 %", "chance"), *self._rows()])

    def _rows(self) -> list[tuple[str, ...]]:
        """Every candidate that was measured, and those that were only believed in."""
        believed = {(each.model, each.method): each for each in self.last.contenders}
        rows: list[tuple[str, ...]] = []
        for each in self.measured:
            said = believed.pop((each.model, each.method), None)
            rows.append((each.model, each.method, f"{each.loss:.4g}", str(each.seeds), *_expected(said)))
        for said in believed.values():
            rows.append((said.model, said.method, "", "0", *_expected(said)))
        return rows


def _expected(said: Contender | None) -> tuple[str, str, str]:
    """What the goal expected of a candidate; empty where it was none of its contenders."""
    return (f"{said.loss:.4g}", f"{said.low:.3g} to {said.high:.3g}", f"{said.best:.0%}") if said else ("", "", "")


def against(goal: Path, grid: Path) -> Verdict:
    """Hold a goal against a grid. Raises ValueError naming the folder where either has not ended, where conditions
    differ, or where the grid has no trial at the goal's budget."""
    for folder in (goal, grid):
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; it must be that of a sweep")
    rounds = read_rounds(goal)
    if not rounds or not rounds[-1].stop:
        raise ValueError(f"{goal}: " + ("its goal has not ended" if rounds else "it holds no rounds of a goal"))
    tried, known = (read_observations(folder / LOSSES)[0] for folder in (goal, grid))
    budget = rounds[-1].budget
    there = [row for row in known if abs(row.trial.budget / budget - 1) <= SAME_BUDGET]
    if not there:
        budgets = ", ".join(f"{flops:.3g}" for flops in sorted({row.trial.budget for row in known})) or "none"
        raise ValueError(f"{grid}: no trial at the goal's {budget:.3g} FLOP, only at {budgets}")
    if tried:
        _same_conditions(tried[0].trial.training, there, grid)
    return Verdict(rounds[-1], len(tried), _measured(there))


def _same_conditions(training: Training, rows: Sequence[Observation], grid: Path) -> None:
    for name in [item.name for item in fields(Training) if item.name not in FREE]:
        here = getattr(training, name)
        for row in rows:
            if (other := getattr(row.trial.training, name)) != here:
                raise ValueError(
                    f"{grid}: its {name} is {other!r}, that of the goal {here!r}; their losses do not compare"
                )


def _measured(rows: Sequence[Observation]) -> tuple[Measured, ...]:
    """Every model and method at its best rate, the best first."""
    losses: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.loss is not None:
            losses[row.trial.model, row.trial.method.label][row.trial.lr].append(row.loss)
    best = {key: min(rates.values(), key=lambda own: sum(own) / len(own)) for key, rates in losses.items()}
    found = [Measured(*key, sum(own) / len(own), len(own)) for key, own in best.items()]
    return tuple(sorted(found, key=lambda each: each.loss))


def main(argv: Sequence[str] | None = None) -> int:
    parser = console.parser(
        "python -m analysis.goal.against",
        "The regret of a goal, where a sweep measured its candidates.",
        "  python -m analysis.goal.against results/language/goal-5 results/language/dense",
    )
    parser.add_argument("goal", type=Path, help="folder of a sweep with a goal that has ended")
    parser.add_argument("grid", type=Path, help="folder of a sweep that measured candidates at the goal's budget")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    return console.run("against", lambda: print("\n".join(against(arguments.goal, arguments.grid).lines())))


if __name__ == "__main__":
    raise SystemExit(main())
