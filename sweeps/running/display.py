"""How a sweep stands, for people and for programs: a snapshot, and its drawings."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.conditions import condition_name
from sweeps.experiment.grid import Cell, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.running.estimate import Speed, costs, makespan
from sweeps.search.goal_rounds import GoalRound, read_rounds
from sweeps.search.learning_rates import RateSearch
from sweeps.search.sweep_state import SweepState
from sweeps.store.base import Store
from sweeps.store.identity import edited
from sweeps.support.frames import html_table
from sweeps.support.progress import EVERY, bar, duration
from sweeps.support.text import plain, table
from sweeps.trial import Observation, Trial

SHOWN = 8  # failures and cells left out that are named one by one


@dataclass(frozen=True)
class Running:
    """A trial under way."""

    trial: Trial
    """What is trained."""
    where: str
    """Host and process."""
    step: int
    """The last step that it told; 0 before."""
    loss: float | None
    """Training loss at that step; None before."""
    seconds: float
    """Seconds since it began."""
    varied: tuple[str, ...] = ()
    """Settings in which the conditions of the sweep differ."""

    @property
    def text(self) -> str:
        figures = f"step {self.step}/{self.trial.steps}" if self.step else f"{self.trial.steps} steps"
        loss = "" if self.loss is None else f", loss {self.loss:.3f}"
        return f"{name(self.trial, self.varied)}: {figures}{loss}, {duration(self.seconds)}"


@dataclass(frozen=True)
class Snapshot:
    """A sweep at one moment."""

    directory: Path
    """Folder of the sweep."""
    finished: tuple[Observation, ...]
    """Observations of its trials."""
    running: tuple[Running, ...]
    """Trials under way."""
    waiting: int
    """Number of trials still to start."""
    left_out: tuple[Cell, ...]
    """Cells that are not tried."""
    searches: tuple[RateSearch, ...]
    """Searches of learning rates."""
    flops: float
    """Estimated FLOPs in all when it ends; what trials share counts once."""
    flops_done: float
    """Estimated FLOPs of the finished trials, counted alike."""
    eta: float
    """Seconds to the end with `workers` at once."""
    workers: int
    """Trials at once."""
    varied: tuple[str, ...] = ()
    """Settings in which its conditions differ."""
    state_bytes: int = 0
    """Bytes of shared states (trunks), kept until no trial can use them."""
    edited: bool = False
    """Whether its sweep.toml was edited since it was last run."""
    rounds: tuple[GoalRound, ...] = ()
    """Of its goal; none without one."""

    @property
    def flops_spent(self) -> float:
        """As observed, by the finished trials; what one took over from another counts once."""
        return sum(observation.spent_flops for observation in self.finished)

    @property
    def flops_alone(self) -> float:
        """FLOPs that the same trials would take if none shared a trunk."""
        return sum(observation.flops for observation in self.finished)

    @property
    def total(self) -> int:
        return len(self.finished) + len(self.running) + self.waiting

    @property
    def failures(self) -> tuple[Observation, ...]:
        return tuple(observation for observation in self.finished if observation.status != "done")

    def count(self, status: str) -> int:
        return sum(observation.status == status for observation in self.finished)

    def __repr__(self) -> str:
        return f"Snapshot({self.directory}: {counts(self)})"

    def __str__(self) -> str:
        return "\n".join(plain(line) for line in status_lines(self))

    def _repr_html_(self) -> str:
        lowest = best(self.finished).items()
        rows = [
            (f"{budget:.3g}", each.trial.model, each.trial.label, f"{each.trial.lr:.3g}", f"{each.loss:.4f}")
            for budget, each in lowest
        ]
        failed = [f"{result(each, self.varied)}" for each in self.failures[:SHOWN]]
        return html_table(
            f"{self.directory}: {counts(self)}", ("budget", "best model", "method", "lr", "loss"), rows, failed
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "total": self.total,
            **{status: self.count(status) for status in ("done", "diverged", "pruned", "failed")},
            "running": [
                {"trial": item.trial.to_json(), "key": item.trial.key, "where": item.where, "step": item.step}
                | {"loss": item.loss, "seconds": item.seconds}
                for item in self.running
            ],
            "waiting": self.waiting,
            "left_out": [cell.to_json() for cell in self.left_out],
            "failures": [
                {
                    "key": observation.key,
                    "trial": observation.trial.to_json(),
                    "status": observation.status,
                    "reason": observation.reason,
                }
                for observation in self.failures
            ],
            "searches": [search.to_json() for search in self.searches],
            "best": [
                {
                    "budget": budget,
                    "key": observation.key,
                    "model": observation.trial.model,
                    "method": observation.trial.method.label,
                }
                | {"lr": observation.trial.lr, "loss": observation.loss}
                for budget, observation in best(self.finished).items()
            ],
            "flops": self.flops,
            "flops_done": self.flops_done,
            "flops_spent": self.flops_spent,
            "flops_alone": self.flops_alone,
            "trunk_state_bytes": self.state_bytes,
            "eta_seconds": self.eta,
            "workers": self.workers,
            "edited": self.edited,
            "rounds": [each.to_json() for each in self.rounds],
        }


def under_way(store: Store, varied: tuple[str, ...] = ()) -> Iterator[Running]:
    """What runs now, by what its processes last told. varied: see Snapshot."""
    for trial, attempt, figures in store.running():
        seconds = max(0.0, time.time() - attempt.started)
        where = f"{attempt.host}:{attempt.pid}"
        yield Running(trial, where, figures.get("step", 0), figures.get("loss"), seconds, varied)


def snapshot(store: Store, sweep: Sweep, data: Data, state: SweepState, speed: Speed, workers: int) -> Snapshot:
    """How the sweep stands; `state` is what is known of it, `speed` and `workers` are for the time still needed."""
    wanted = {trial.key for trial in state.now}
    running = tuple(item for item in under_way(store, sweep.varied) if item.trial.key in wanted)
    coming = costs(state, sweep, data, store.trunks.steps())
    done = sum(trial_flops(observation.trial, sweep, data) - observation.reused_flops for observation in state.finished)
    begun = {item.trial.key: item for item in running}
    seconds, alone = [], []
    for cost in coming:
        item = begun.get(cost.trial.key)
        alone.append(_left(speed.seconds(cost.trial, cost.flops), item))
        own = _left(speed.seconds(cost.trial, cost.spent), item)
        seconds.append(alone[-1] if item and item.step else own)  # steps count from the trunk's first
    return Snapshot(
        directory=store.directory,
        finished=state.finished,
        running=running,
        waiting=len(coming) - len(running),
        left_out=state.left_out,
        searches=state.searches,
        flops=done + sum(cost.spent for cost in coming),
        flops_done=done,
        eta=makespan(seconds, workers, alone),
        workers=workers,
        varied=sweep.varied,
        state_bytes=store.trunks.size(),
        edited=edited(store.directory),
        rounds=tuple(read_rounds(store.directory)) if sweep.goal else (),
    )


def _left(seconds: float, running: Running | None) -> float:
    """What remains of the `seconds` that a trial should take."""
    if running is None:
        return seconds
    if running.step:
        return seconds * (1 - running.step / running.trial.steps)
    return max(0.0, seconds - running.seconds)


def best(finished: Iterable[Observation]) -> dict[float, Observation]:
    """The observation with the lowest held-out loss at each budget, budgets ascending."""
    lowest: dict[float, Observation] = {}
    for observation in sorted(
        (observation for observation in finished if observation.status == "done"),
        key=lambda observation: observation.trial.budget,
    ):
        now = lowest.get(observation.trial.budget)
        if observation.loss is not None and (now is None or now.loss is None or observation.loss < now.loss):
            lowest[observation.trial.budget] = observation
    return lowest


def name(trial: Trial, varied: Sequence[str] = ()) -> str:
    """A trial in a few words. varied: settings in which the conditions of its sweep differ."""
    seed = f" seed {trial.seed}" if trial.seed else ""
    condition = f", {condition_name(trial.training, varied)}" if varied else ""
    return f"{trial.model} {trial.label} at {trial.budget:.3g}, lr {trial.lr:.3g}{condition}{seed}"


def result(observation: Observation, varied: Sequence[str] = ()) -> str:
    """One line about a finished trial. varied: see `name`."""
    told = name(observation.trial, varied)
    if observation.status == "done":
        return f"{told}: loss {math.nan if observation.loss is None else observation.loss:.4f}"
    return f"{told} {observation.status}: {observation.reason}"


def counts(now: Snapshot) -> str:
    """One line on the whole sweep."""
    parts = [f"{now.total} trials: {now.count('done')} done"]
    parts += [f"{now.count(status)} {status}" for status in ("diverged", "pruned", "failed") if now.count(status)]
    parts += [f"{len(now.running)} running"] if now.running else []
    parts += [f"{now.waiting} to come"] if now.waiting else []
    share = f"; {100 * now.flops_done / now.flops:.0f} % of {now.flops:.3g} FLOPs" if now.flops else ""
    eta = f", {duration(now.eta)} left" if now.running or now.waiting else ""
    return ", ".join(parts) + share + eta


def status_lines(now: Snapshot) -> list[str]:
    """The whole standing: counts, running, failures, what is left out, searches, best by budget."""
    lines = [counts(now), *_cost_lines(now)]
    if now.edited:
        file = now.directory / "sweep.toml"
        lines += [f"{file} was edited since the last run, and is counted as it is now; to run it: sweep run {file}"]
    if now.running:
        lines += ["", "running", *(f"  {item.text}  ({item.where})" for item in now.running)]
    elif now.waiting:
        lines += ["no trial is running"]
    if now.failures:
        lines += ["", "no loss from", *_first(result(observation, now.varied) for observation in now.failures)]
    lines += goal_lines(now.rounds)
    lines += left_out_lines(now.left_out)
    settled = [search for search in now.searches if not search.open]
    if settled:
        lines += ["", "learning rates searched", *(f"  {settled_line(search)}" for search in settled)]
    if lowest := best(now.finished):
        rows = [
            [
                f"{budget:.3g}",
                observation.trial.model,
                observation.trial.label,
                f"{observation.trial.lr:.3g}",
                f"{observation.loss:.4f}",
                *([condition_name(observation.trial.training, now.varied)] if now.varied else []),
            ]
            for budget, observation in lowest.items()
        ]
        head = ["budget", "model", "method", "lr", "loss", *(["condition"] if now.varied else [])]
        lines += ["", "best so far", *table([head, *rows])]
    return lines


def round_line(number: int, now: GoalRound) -> str:
    """A round of a goal in a sentence."""
    standing = f"{now.regret:.3g} nats expected regret after {now.spent:.3g} of {now.limit:.3g} FLOPs"
    if now.stop:
        return f"the goal ends: {now.stop}; {standing}"
    return f"round {number}: {len(now.proposed)} trials of {now.cost:.3g} FLOPs; {standing}"


def goal_lines(rounds: Sequence[GoalRound]) -> list[str]:
    """How a goal stands: its rounds, the candidates for its recipe, and what comes next; nothing without a round."""
    if not rounds:
        return []
    last = rounds[-1]
    rows = [
        [f"{place}", f"{each.spent:.3g}", f"{each.regret:.3g}", f"{len(each.proposed)}", f"{each.cost:.3g}"]
        for place, each in enumerate(rounds, 1)
    ]
    head = ["round", "FLOPs before", "expected regret", "trials", "FLOPs"]
    lines = ["", f"goal of {last.budget:.3g} FLOPs, started from the laws of {last.laws}", *table([head, *rows])]
    rows = [
        [each.model, each.method, f"{each.loss:.3f}", f"{each.low:.3f} to {each.high:.3f}", f"{each.best:.0%}"]
        for each in last.contenders
    ]
    lines += ["", "candidates", *table([["model", "method", "loss", "90 % interval", "best"], *rows])]
    lines += ["", *last.remarks] if last.remarks else []
    if last.stop:
        return [*lines, "", f"ended: {last.stop}"]
    places = [f"{each.model} {each.method} at {each.budget:.3g}" for each in last.proposed]
    return [*lines, "", "this round", *_first(dict.fromkeys(places))]


def _cost_lines(now: Snapshot) -> list[str]:
    lines = []
    if now.flops_spent:
        alone = f"; {now.flops_alone:.3g} if each trial were trained alone" if now.flops_alone > now.flops_spent else ""
        lines += [f"{now.flops_spent:.3g} FLOPs spent{alone}"]
    if now.state_bytes:
        lines += [f"trunk states occupy {now.state_bytes / 1e6:.1f} MB while a trial can still start from them"]
    return lines


def left_out_lines(cells: Sequence[Cell]) -> list[str]:
    """What is not tried, with the reasons; nothing when there is no such cell."""
    return ["", "left out", *_first(f"{cell.label}: {cell.reason}" for cell in cells)] if cells else []


def settled_line(search: RateSearch) -> str:
    condition = f", {search.cell.condition}" if search.cell.condition else ""
    place = f"{search.cell.model.name} {search.cell.trial(1.0).label}{condition}"
    if search.chosen is None:
        return f"{place}: {search.note}"
    tried = ", ".join(f"{lr:.3g}: {_loss(observation)}" for lr, observation in search.tried.items())
    return f"{place}: {search.chosen:.3g}, {search.note} ({tried})"


def _loss(observation: Observation) -> str:
    return (
        f"{observation.loss:.4f}"
        if observation.status == "done" and observation.loss is not None
        else observation.status
    )


def _first(lines: Iterable[str]) -> list[str]:
    every = [f"  {line}" for line in lines]
    more = [f"  and {len(every) - SHOWN} more (--json lists all)"] if len(every) > SHOWN else []
    return every[:SHOWN] + more


class Screen:
    """Shows a running sweep on stderr: redrawn in place on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._live: Any = None
        self._shown = -math.inf

    def __enter__(self) -> Screen:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """A line that stays."""
        sentence = plain(sentence)
        if self._live:
            self._live.console.print(sentence, markup=False, highlight=False)
        else:
            print(sentence, file=sys.stderr, flush=True)

    def show(self, now: Snapshot) -> None:
        """The current standing; in a log only every ten seconds."""
        if self._live:
            self._live.update(_drawing(self.title, now), refresh=True)
        elif time.monotonic() - self._shown >= EVERY:
            self._shown = time.monotonic()
            running = "; ".join(item.text for item in now.running)
            print(f"{self.title}: {counts(now)}{'; ' + running if running else ''}", file=sys.stderr, flush=True)


def _drawing(title: str, now: Snapshot) -> Any:
    from rich.console import Group
    from rich.text import Text

    lines = [f"{bar(now.flops_done / (now.flops or 1.0))} {title}: {counts(now)}"]
    lines += [f"  {bar(item.step / item.trial.steps, 12)} {item.text} ({item.where})" for item in now.running]
    lines += [
        f"  best at {budget:.3g}: {result(observation, now.varied)}"
        for budget, observation in best(now.finished).items()
    ]
    drawn = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
    failed = [
        Text(f"  {result(observation, now.varied)}", style="red", no_wrap=True, overflow="ellipsis")
        for observation in now.failures[-3:]
    ]
    return Group(*drawn, *failed)
