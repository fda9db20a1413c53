"""What a sweep would train and what that takes, before anything is spent: trials, FLOPs, hours, price, time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.conditions import condition_name
from sweeps.experiment.grid import cells, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.flops import exact_flops
from sweeps.machine.cluster_file import ResourceClass
from sweeps.machine.cores import available_cores, gpus, trials_at_once
from sweeps.machine.hardware import Machine
from sweeps.memory import micro_tokens
from sweeps.running.display import left_out_lines
from sweeps.running.estimate import Cost, Speed, costs, made_here, makespan, speed
from sweeps.running.resources import smallest
from sweeps.search.learning_rates import EXTENSIONS
from sweeps.search.sweep_state import SweepState, plan_next
from sweeps.store.base import Store
from sweeps.store.reuse import Library
from sweeps.support.progress import duration
from sweeps.support.text import table
from sweeps.trial import Trial, by_key


@dataclass(frozen=True)
class Throughput:
    """How fast trials go."""

    seconds: Callable[[Trial, float], float]
    """Seconds that a trial of so many FLOPs takes."""
    workers: int
    """Trials at once."""
    chips: float
    """Chips that each trial uses."""
    unit: str
    """What a chip is: GPU, core, machine or the name of the chip."""
    price: float | None
    """Price of a chip for an hour; None: not asked for."""
    flops: float
    """FLOP/s of a worker or a chip, to show."""
    source: str
    """Where the speed comes from, as a sentence."""


def throughput_here(measured: Speed, workers: int, price: float | None) -> Throughput:
    """On this machine, all of which is taken to be used."""
    chips = len(gpus()) or len(available_cores())
    unit = "GPU" if gpus() else "core"

    def seconds(trial: Trial, flops: float) -> float:
        return measured.seconds(trial, flops)

    return Throughput(seconds, workers, chips / workers, unit, price, measured.typical, measured.source)


def throughput_on(machine: Machine, sweep: Sweep, data: Data, workers: int | None) -> Throughput:
    """On another: as many trials at once as it has chips. A trial may use several cores, but one accelerator only."""
    workers = workers or machine.count
    unit = "core" if machine.chip == "cpu" else "machine" if machine.profile else machine.chip
    share = machine.count / workers if unit == "core" else min(1.0, machine.count / workers)
    one = replace(machine, count=1)

    def seconds(trial: Trial, flops: float) -> float:
        model, pair = sweep.model(trial.model), data.pair_of(trial.training)
        together = micro_tokens(model, "cuda" if machine.kind.mixed else "cpu")
        step = one.step_seconds(model, trial.method, pair, micro_tokens=together)
        return flops / (exact_flops(model, trial.method, pair) * pair.batch_size) * step / share

    rate = machine.rate / machine.count
    known = "by an estimate for each trial" if machine.mfu is None else f"{machine.mfu:.0%} of its peak rate"
    source = f"{rate:.2g} FLOP/s per {unit}, {known}; loading and evaluation are not included"
    return Throughput(seconds, workers, share, unit, machine.price, rate, source)


def foresee(
    sweep: Sweep,
    data: Data,
    store: Store,
    library: Library | None,
    throughput: Throughput,
    again: bool = False,
    classes: Sequence[ResourceClass] = (),
    machine: ResourceClass | None = None,
) -> tuple[dict[str, Any], SweepState]:
    """What is to be trained, as rows of trials and sums, and the state of the sweep behind it; nothing is written.

    A row's flops are those of the trial on its own. again: failed trials are tried again. classes: of a cluster, among
    which the trials are shared out. machine: what a trial may use of this one, where all run here. Raises ValueError
    for a trial that fits none of these.
    """
    known = by_key(result for result in store.results() if not (again and result.status == "failed"))
    cancelled = store.cancelled()
    state = plan_next(sweep, data, known.values(), cancelled)
    while library and (hits := [hit for trial in state.now if (hit := library.find(trial))]):
        known |= by_key(observation for observation, _ in hits)
        state = plan_next(sweep, data, known.values(), cancelled)
    coming = costs(state, sweep, data, store.trunks.steps())
    alone = [throughput.seconds(cost.trial, cost.flops) for cost in coming]
    if machine:
        for cost in coming:
            smallest(cost.trial, sweep.model(cost.trial.model), 0.0, [machine])
    chosen = [
        smallest(cost.trial, sweep.model(cost.trial.model), seconds, classes) if classes else None
        for cost, seconds in zip(coming, alone, strict=True)
    ]
    names = [resource_class.name if resource_class else "" for resource_class in chosen]
    plan = _plan(sweep, data, state, coming, throughput, names)
    return plan | (_spread(classes, chosen, alone) if classes else {}), state


def _spread(
    classes: Sequence[ResourceClass], chosen: Sequence[ResourceClass | None], alone: Sequence[float]
) -> dict[str, Any]:
    """How trials that take a process so long `alone` spread over the classes, and what that takes together."""
    spread: list[dict[str, Any]] = []
    for resource_class in classes:
        own = [took for took, where in zip(alone, chosen, strict=True) if where is resource_class]
        seconds = [took / resource_class.ranks for took in own]
        places = resource_class.workers * resource_class.slots
        spread.append(
            {
                "name": resource_class.name,
                "trials": len(seconds),
                "places": places,
                "seconds": makespan(seconds, places),
            }
        )
    workers = sum(row["places"] for row in spread if row["trials"])
    return {"classes": spread, "workers": workers, "seconds": max(row["seconds"] for row in spread)}


def here(store: Store, workers: int | None, price: float | None) -> Throughput:
    """The throughput of this machine, from what was measured on it."""
    workers = workers or trials_at_once()
    return throughput_here(speed(made_here(store.directory), max(1, len(available_cores()) // workers)), workers, price)


def _plan(
    sweep: Sweep, data: Data, state: SweepState, coming: Sequence[Cost], throughput: Throughput, sizes: Sequence[str]
) -> dict[str, Any]:
    searching = {trial.key for search in state.searches for trial in map(search.cell.trial, search.open)}
    if sweep.goal:
        asked = zip(sweep.proposed, cells(sweep, data), strict=True)
        searching |= {cell.trial(each.lr).key for each, cell in asked if each.purpose == "search"}
    proposed = {search.cell.trial(1.0).key for search in state.searches if search.more}
    rows = [
        _row(
            observation.trial,
            f"{observation.trial.lr:.3g}",
            "known",
            data,
            trial_flops(observation.trial, sweep, data),
            observation.reused_flops,
            sweep.varied,
        )
        for observation in state.finished
    ]
    rates = [trial.lr for trial in state.now] + [state.rate(cell) for cell in state.later]
    for cost, rate, size in zip(coming, rates, sizes, strict=True):
        searched = cost.trial.key in searching or (rate is None and cost.trial.key in proposed)
        lr = "?" if rate is None else f"{rate:.3g}"
        purpose = "search" if searched else "train"
        rows.append(
            _row(cost.trial, lr, purpose, data, cost.flops, cost.reused, sweep.varied)
            | ({"class": size} if size else {})
        )
    order = {name: index for index, name in enumerate(model.name for model in sweep.models)}
    conditions = [condition_name(training, sweep.varied) for training in sweep.conditions(data)]
    order |= {name: index for index, name in enumerate(conditions)}
    rows.sort(key=lambda row: (order[row["model"]], row["method"], order[row["condition"]], row["budget"], row["seed"]))
    own = [throughput.seconds(cost.trial, cost.spent) for cost in coming]
    hours = sum(own) * throughput.chips / 3600
    listed = [search.cell for search in state.searches if search.open and search.cell.entry.rate_range is None]
    further = EXTENSIONS * sum(trial_flops(cell.trial(1.0), sweep, data) for cell in listed)
    return {
        "trials": rows,
        "flops": sum(cost.spent for cost in coming),
        "flops_most": sum(cost.spent for cost in coming) + further,
        "flops_alone": sum(cost.flops for cost in coming),
        "known": len(state.finished),
        "search_trials": sum(row["state"] == "search" for row in rows),
        "listed_searches": len(listed),
        "racing": bool(sweep.racing),
        "workers": throughput.workers,
        "seconds": makespan(
            own, throughput.workers, alone=[throughput.seconds(cost.trial, cost.flops) for cost in coming]
        ),
        "hours": hours,
        "hours_of": throughput.unit,
        "price": None if throughput.price is None else hours * throughput.price,
        "speed": throughput.flops,
        "speed_source": throughput.source,
        "left_out": [cell.to_json() for cell in state.left_out],
    }


def _row(
    trial: Trial, lr: str, state: str, data: Data, flops: float, reused: float, varied: Sequence[str]
) -> dict[str, Any]:
    return {
        "model": trial.model,
        "method": trial.label,
        "condition": condition_name(trial.training, varied),
        "budget": trial.budget,
        "seed": trial.seed,
        "lr": lr,
        "steps": trial.steps,
        "pairs": trial.pairs,
        "epochs": trial.pairs / data.train_pairs,
        "flops": flops,
        "reused_flops": reused,
        "state": state,
    }


def plan_lines(plan: dict[str, Any], data: Data, state: SweepState) -> list[str]:
    """The plan for people."""
    header = ["model", "method", "budget", "seed", "lr", "steps", "pairs", "epochs", "FLOPs", "state"]
    form = "{model}\n{method}\n{budget:.3g}\n{seed}\n{lr}\n{steps}\n{pairs:,}\n{epochs:.2f}\n{flops:.3g}\n{state}"
    rows = [form.format(**row).split("\n") for row in plan["trials"]]
    if any(row["condition"] for row in plan["trials"]):
        header, rows = (
            [*header, "condition"],
            [[*row, trial["condition"]] for row, trial in zip(rows, plan["trials"], strict=True)],
        )
    if "classes" in plan:
        header, rows = (
            [*header, "class"],
            [[*row, trial.get("class", "")] for row, trial in zip(rows, plan["trials"], strict=True)],
        )
    lines = table([header, *rows]) if rows else ["no trial is possible"]
    lines += left_out_lines(state.left_out)
    lines += ["", f"data      {data.train_pairs:,} training pairs of {data.tokens:.1f} tokens, hash {data.data_hash}"]
    new = len(plan["trials"]) - plan["known"]
    alone = f" ({plan['flops_alone']:.3g} if each were trained alone)" if plan["flops_alone"] > plan["flops"] else ""
    lines += [f"to train  {new} trials, {plan['flops']:.3g} FLOPs{alone}; {plan['known']} already known"]
    if plan["search_trials"]:
        beyond = f"; a list may grow by {EXTENSIONS} rates beyond its ends, to at most {plan['flops_most']:.3g} FLOPs"
        extra = beyond if plan["listed_searches"] else ""
        lines += [f"search    {plan['search_trials']} of them search a learning rate{extra}"]
    if plan["racing"] and new:
        lines += ["racing    methods that are dominated at smaller budgets will not be run; they are counted here"]
    used = [row for row in plan.get("classes", ()) if row["trials"]]
    for row in used:
        lines += [
            f"class     {row['name']}: {row['trials']} trials, {row['places']} at once, {duration(row['seconds'])}"
        ]
    workers = "1 worker" if plan["workers"] == 1 else f"{plan['workers']} workers"
    price = ""
    if plan["price"] is not None:
        price = f", price {plan['price']:,.2f}" if plan["price"] >= 1 else f", price {plan['price']:.3g}"
    lines += [f"takes     {plan['hours']:.3g} {plan['hours_of']}-hours{price}"]
    return [*lines, f"time      about {duration(plan['seconds'])} with {workers} ({plan['speed_source']})"]
