"""A plan as text for people, and as the file that `embed train` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.answer import Calibration, Plan, Recipe
from planner.extrapolation import extrapolation_factor
from planner.frontier import Crossover
from planner.law_book import LawBook
from planner.published import Fact
from planner.quantities import short
from sweeps.experiment.recipe_file import write_recipe
from sweeps.support.text import table

REFUSALS = 8  # lines of models with methods that cannot be chosen; --json lists all


def write(plan: Plan, path: Path) -> None:
    """The recipe as a file for `embed train`."""
    remarks = (
        f"`plan --budget {plan.budget.asked}` chose this; `embed train {path.name}` trains it.",
        f"Evidence: {plan.recipe.extrapolation}.",
    )
    write_recipe(path, plan.recipe.trial, plan.recipe.predicted(), remarks)


def text(plan: Plan, calibration: Calibration | None = None, advised: Calibration | None = None) -> str:
    """The answer for a terminal. calibration: the sweep that was asked for; advised: one that nobody asked for."""
    parts = [
        _answer(plan.recipe, plan.laws),
        _machine(plan.recipe),
        _candidates(plan.candidates),
        _crossovers(plan),
        _curve(plan.curve),
        _calibration(calibration, plan.laws.source.get("name", "the laws")),
        _advice(advised, plan),
        _refused(plan),
        _list("warnings", [warning.text for warning in plan.warnings]),
        _list("published, not measured here", [_fact(fact) for fact in plan.facts]),
        _list("where it comes from", [f"{part}: {source}" for part, source in plan.provenance.items()]),
    ]
    return "\n\n".join(part for part in parts if part)


def _answer(recipe: Recipe, book: LawBook) -> str:
    trial, training = recipe.trial, recipe.trial.training
    epochs = "" if recipe.epochs is None else f", {recipe.epochs:.3g} epochs"
    chance = "" if recipe.best is None else f"; best with probability {recipe.best:.2f}, regret {recipe.regret:.2g}"
    unit = "nats per pair" if book.measure == "loss" else f"as {book.measure}"
    distance = str(recipe.extrapolation)
    if book.published:
        distance = f"published, not measured by us: {distance}"
    rows = {
        "model": f"{trial.model}, N = {short(recipe.params)}, {recipe.dim} dimensions",
        "method": f"{trial.method.label}, learning rate {trial.lr:.3g}",
        "data": f"{short(recipe.tokens)} tokens, {short(recipe.pairs)} pairs of {training.data}{epochs}",
        "steps": f"{trial.steps:,} of {training.batch_size} pairs, temperature {training.temperature:g}",
        "loss": f"{recipe.loss:.3f} {unit}, held out; 90 % prediction interval {recipe.low:#.3g} to {recipe.high:#.3g}",
        "evidence": f"{distance}{chance}",
    }
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def _machine(recipe: Recipe) -> str:
    rows = {"compute": f"{recipe.flops:.3g} FLOP of training" + _serving(recipe)}
    again = f", {recipe.second_forward:.0%} of the batch embedded twice" if recipe.second_forward else ""
    rows["memory"] = f"{short(recipe.memory)}B with micro-batches of {short(recipe.micro_batch_tokens)} tokens{again}"
    if recipe.hours is not None:
        rows["time"] = f"{recipe.hours:.3g} h" + ("" if recipe.cost is None else f", cost {recipe.cost:,.2f}")
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def _serving(recipe: Recipe) -> str:
    return f", {recipe.serving_flops:.3g} kept for serving" if recipe.serving_flops else ""


def _candidates(recipes: Sequence[Recipe]) -> str:
    if len(recipes) < 2:
        return ""
    head = ("model", "method", "steps", "lr", "loss", "90 % interval", "best", "regret")
    return "\n".join(table([head, *map(_row, recipes)]))


def _row(recipe: Recipe) -> tuple[str, ...]:
    trial = recipe.trial
    chance = ("", "") if recipe.best is None else (f"{recipe.best:.2f}", f"{recipe.regret:.3g}")
    interval = f"{recipe.low:.3f} to {recipe.high:.3f}"
    return (
        trial.model,
        trial.method.label,
        f"{trial.steps:,}",
        f"{trial.lr:.3g}",
        f"{recipe.loss:.3f}",
        interval,
        *chance,
    )


def _crossovers(plan: Plan) -> str:
    lines = []
    for crossover in plan.crossovers:
        factor = extrapolation_factor(crossover.flops, plan.laws.measured.flops)
        far = f"; {factor:.2g}x outside the measured budgets" if factor > 1 else ""
        interval = interval_text(crossover)
        lines.append(f"{crossover.below} up to {crossover.flops:.2g} FLOP ({interval}{far}), then {crossover.above}")
    return _list("the best method changes", lines)


def interval_text(crossover: Crossover) -> str:
    """The 90 % interval of a crossover in words, FLOP."""
    low, high = crossover.low, crossover.high
    if low is None and high is None:
        return "90 %: could be anywhere"
    if low is None or high is None:
        return f"90 %: below {high:.2g}" if low is None else f"90 %: above {low:.2g}"
    return f"90 %: {low:.2g} to {high:.2g}"


def _refused(plan: Plan) -> str:
    lines = [f"{refusal.model} with {refusal.method}: {refusal.reason}" for refusal in plan.refused]
    more = [f"and {len(lines) - REFUSALS} more; --json lists them"] if len(lines) > REFUSALS else []
    return _list("not possible", [*lines[:REFUSALS], *more])


def _curve(curve: Sequence[tuple[float, Recipe]]) -> str:
    if not curve:
        return ""
    head = ("budget", "model", "method", "tokens", "loss", "90 % interval")
    rows = [
        (
            f"{budget:.2g}",
            recipe.trial.model,
            recipe.trial.method.label,
            short(recipe.tokens),
            f"{recipe.loss:.3f}",
            f"{recipe.low:.3f} to {recipe.high:.3f}",
        )
        for budget, recipe in curve
    ]
    return "\n".join(table([head, *rows]))


def _calibration(sweep: Calibration | None, lender: str) -> str:
    if sweep is None:
        return ""
    lines = [
        f"{sweep.cells} trials: {', '.join(sweep.models)}; {', '.join(sweep.methods)}",
        f"budgets {', '.join(f'{budget:.2g}' for budget in sweep.budgets)} FLOP",
        f"cost {sweep.flops:.3g} FLOP of the {sweep.limit:.3g} allowed, searches of learning rates included",
        f"expected regret {sweep.regret_now:.2g} nats now, {sweep.regret_after:.2g} after, if the laws keep their form",
        *([f"assumed of {sweep.assumed}"] if sweep.assumed else []),
        f"then `fit` its folder `--with` that of {lender} gives your own law: exponents shared, E, A and B yours",
    ]
    return _list("a sweep that makes the choice surer", lines)


def _advice(sweep: Calibration | None, plan: Plan) -> str:
    if sweep is None:
        return ""
    gain = (
        f"expected regret {sweep.regret_now:.2g} nats now, {sweep.regret_after:.2g} after, if the laws keep their form"
    )
    if sweep.regret_now < 1e-3:
        gain = "the choice is nearly certain if the laws keep their form; runs nearer to the budget test that"
    share = sweep.limit / plan.budget.flops
    lines = [
        f"{sweep.cells} trials ({', '.join(sweep.models)}; {', '.join(sweep.methods)}) for {sweep.flops:.3g} FLOP, "
        f"{100 * sweep.flops / plan.budget.flops:.2g} % of the budget",
        gain,
        f"add `--calibrate {share:.0%} --sweep-out calibrate.toml` to this command to write the sweep for `sweep run`",
    ]
    return _list("try this sweep first", lines)


def _fact(fact: Fact) -> str:
    verdict = {True: "; in line with this answer", False: "; against this answer", None: ""}[fact.agrees]
    return f"{fact.text} ({fact.citation}){verdict}"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
