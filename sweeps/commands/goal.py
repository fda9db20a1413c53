"""What `sweep run` shows of a goal: the next round before anything is trained, and the recipe at the end."""

from __future__ import annotations

from dataclasses import replace

from sweeps.commands.conduct import OpenedSweep
from sweeps.experiment.grid import cells
from sweeps.experiment.recipe_file import write_recipe
from sweeps.running.display import Snapshot, round_line
from sweeps.running.proposals import propose
from sweeps.search.goal_rounds import GoalRound, read_rounds, with_rounds
from sweeps.support.paths import named_in
from sweeps.trial import Trial, by_key


def with_next_round(asked: OpenedSweep) -> OpenedSweep:
    """A sweep with a goal and its next round, which is not begun; remarks say what later ones may cost.

    A sweep without a goal is as it was.
    """
    if not asked.sweep.goal:
        return asked
    rounds = [each for each in read_rounds(asked.directory) if not each.stop]
    begun, known = with_rounds(asked.sweep, rounds), by_key(asked.store.results())
    running = not all(cell.reason or cell.trial(cell.lr or 0.0).key in known for cell in cells(begun, asked.data))
    if running:
        told: tuple[str, ...] = (_later(rounds[-1]),)
    else:
        rounds.append(propose(asked.file, begun, asked.data, known))
        now = rounds[-1]
        told = (round_line(len(rounds), now), *now.remarks, *(() if now.stop else (_later(now),)))
    expected = replace(asked.expected, remarks=(*asked.expected.remarks, *told))
    return replace(asked, sweep=with_rounds(asked.sweep, rounds), expected=expected)


def _later(now: GoalRound) -> str:
    more = now.limit - now.spent - now.cost
    return f"later rounds follow from its losses; they may take up to {more:.3g} more FLOPs"


def write_chosen(end: Snapshot) -> list[str]:
    """Write the recipe of a goal that has ended into its folder; the lines that say so."""
    if not end.rounds or end.rounds[-1].recipe is None:
        return []
    last, path = end.rounds[-1], end.directory / "recipe.toml"
    trial, best = Trial.from_json(dict(end.rounds[-1].recipe)), last.contenders[0]
    training = replace(trial.training, data=named_in(path, trial.training.data))
    predicted = {"loss": best.loss, "interval": [best.low, best.high], "best": best.best, "regret": last.regret}
    remark = f"`sweep run` with the goal of {last.budget:.3g} FLOPs chose this; `embed train {path.name}` trains it."
    write_recipe(path, replace(trial, model=named_in(path, trial.model), training=training), predicted, (remark,))
    return [
        "",
        f"plan      {trial.model}, {trial.method.label}, {trial.steps:,} steps, learning rate {trial.lr:.2g}",
        f"loss      {best.loss:.3f} (90 %: {best.low:.3f} to {best.high:.3f}), best with {best.best:.0%}, "
        f"{last.regret:.2g} nats expected regret",
        f"{path}  the recipe; embed train {path}",
    ]
