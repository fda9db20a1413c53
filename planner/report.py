"""A plan as text for people, as JSON for programs (docs/plan-json.md), and as the file that `embed train` runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.quantities import short
from planner.recipe import Plan, Recipe
from planner.warnings import beyond
from sweeps.experiment.recipe_file import write_recipe

if TYPE_CHECKING:
    from planner.design import Calibration
    from planner.frontier import Crossover

FORMAT = 1


def to_json(plan: Plan, calibration: Calibration | None = None) -> dict[str, Any]:
    """The answer under stable names; numbers that are not known are null."""
    source = plan.laws.source
    return {
        "format": FORMAT,
        "budget": {"flops": plan.budget.flops, "asked": plan.budget.said, "kind": plan.budget.kind},
        "recipe": recipe_json(plan.recipe),
        "candidates": [recipe_json(recipe) for recipe in plan.candidates],
        "crossovers": [
            {**asdict(one), "extrapolation": beyond(one.flops, plan.laws.span.flops)} for one in plan.crossovers
        ],
        "refused": [asdict(refusal) for refusal in plan.refused],
        "warnings": [{"code": notice.code, "text": notice.text} for notice in plan.notices],
        "provenance": dict(plan.provenance),
        "published": [asdict(fact) for fact in plan.facts],
        "curve": [{"budget": budget, "recipe": recipe_json(recipe)} for budget, recipe in plan.curve],
        "calibration": asdict(calibration) if calibration else None,
        "laws": {
            "source": source.get("name"),
            "rows_hash": source.get("rows_hash"),
            "created_by": plan.laws.created_by,
            "models": list(plan.laws.models),
            "training": asdict(plan.laws.training) if plan.laws.training else None,
            "range": asdict(plan.laws.span),
        },
    }


def recipe_json(recipe: Recipe) -> dict[str, Any]:
    """One recipe: the trial's own fields, then what is predicted."""
    reach = asdict(recipe.reach)
    return {**recipe.trial.to_json(), **predicted(recipe), "extrapolation": reach}


def predicted(recipe: Recipe) -> dict[str, Any]:
    """What is expected of the trial, flat."""
    return {
        "params": recipe.params,
        "dim": recipe.dim,
        "tokens": recipe.tokens,
        "pairs": recipe.pairs,
        "epochs": recipe.epochs,
        "flops": recipe.flops,
        "exact_flops": recipe.exact_flops,
        "serving_flops": recipe.serving_flops,
        "loss": recipe.loss,
        "interval": [recipe.low, recipe.high],
        "best_probability": recipe.best,
        "expected_regret": recipe.regret,
        "lr_source": recipe.lr_source,
        "memory_bytes": recipe.memory,
        "micro_batch_tokens": recipe.micro_tokens,
        "second_forward": recipe.second_forward,
        "hours": recipe.hours,
        "cost": recipe.cost,
    }


def write(plan: Plan, path: Path) -> None:
    """The recipe as a file for `embed train`."""
    remarks = (
        f"`plan --budget {plan.budget.said}` chose this; `embed train {path.name}` trains it.",
        f"The predicted loss is {plan.recipe.reach}.",
    )
    write_recipe(path, plan.recipe.trial, predicted(plan.recipe), remarks)


def text(plan: Plan, calibration: Calibration | None = None, advised: Calibration | None = None) -> str:
    """The answer for a terminal. calibration: the sweep that was asked for; advised: one that nobody asked for."""
    parts = [
        _answer(plan.recipe, plan.laws.measure),
        _machine(plan.recipe),
        _candidates(plan.candidates),
        _crossovers(plan),
        _curve(plan.curve),
        _calibration(calibration, plan.laws.source.get("name", "the laws")),
        _advice(advised, plan),
        _refused(plan),
        _list("mind", [notice.text for notice in plan.notices]),
        _list("published, not measured here", [_fact(fact) for fact in plan.facts]),
        _list("where it comes from", [f"{part}: {source}" for part, source in plan.provenance.items()]),
    ]
    return "\n\n".join(part for part in parts if part)


def _answer(recipe: Recipe, measure: str) -> str:
    trial, training = recipe.trial, recipe.trial.training
    epochs = "" if recipe.epochs is None else f", {recipe.epochs:.3g} epochs"
    sure = "" if recipe.best is None else f"; best with probability {recipe.best:.2f}, regret {recipe.regret:.2g}"
    unit = "nats per pair" if measure == "loss" else f"as {measure}"
    rows = {
        "model": f"{trial.model}, N = {short(recipe.params)}, {recipe.dim} dimensions",
        "method": f"{trial.method.label}, learning rate {trial.lr:.3g}",
        "data": f"{short(recipe.tokens)} tokens, {short(recipe.pairs)} pairs of {training.data}{epochs}",
        "steps": f"{trial.steps:,} of {training.batch_size} pairs, temperature {training.temperature:g}",
        "loss": f"{recipe.loss:.3f} {unit}, held out; 90 % of runs in {recipe.low:.3f} to {recipe.high:.3f}",
        "evidence": f"{recipe.reach}{sure}",
    }
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def _machine(recipe: Recipe) -> str:
    rows = {"compute": f"{recipe.flops:.3g} FLOP of training" + _serving(recipe)}
    again = f", {recipe.second_forward:.0%} of the batch embedded twice" if recipe.second_forward else ""
    rows["memory"] = f"{short(recipe.memory)}B with {short(recipe.micro_tokens)} tokens in one graph{again}"
    if recipe.hours is not None:
        rows["time"] = f"{recipe.hours:.3g} h" + ("" if recipe.cost is None else f", cost {recipe.cost:,.2f}")
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def _serving(recipe: Recipe) -> str:
    return f", {recipe.serving_flops:.3g} kept for serving" if recipe.serving_flops else ""


def _candidates(recipes: Sequence[Recipe]) -> str:
    if len(recipes) < 2:
        return ""
    head = ("model", "method", "steps", "lr", "loss", "90 % interval", "best", "regret")
    return table(head, [_row(recipe) for recipe in recipes])


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


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1] in "0123456789" for cell in column[1:]) for column in columns]
    cells = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(cells)


def _crossovers(plan: Plan) -> str:
    lines = []
    for one in plan.crossovers:
        times = beyond(one.flops, plan.laws.span.flops)
        far = f"; {times:.2g} times beyond the evidence" if times > 1 else ""
        lines.append(f"{one.below} up to {one.flops:.2g} FLOP ({_ends(one)}{far}), then {one.above}")
    return _list("the best method changes", lines)


def _ends(crossover: Crossover) -> str:
    low, high = crossover.low, crossover.high
    if low is None and high is None:
        return "90 %: could be anywhere"
    if low is None or high is None:
        return f"90 %: below {high:.2g}" if low is None else f"90 %: above {low:.2g}"
    return f"90 %: {low:.2g} to {high:.2g}"


REFUSALS = 8  # lines of candidates that cannot be; --json lists all


def _refused(plan: Plan) -> str:
    lines = [f"{one.model} with {one.method}: {one.reason}" for one in plan.refused]
    more = [f"and {len(lines) - REFUSALS} more; --json lists them"] if len(lines) > REFUSALS else []
    return _list("not possible", [*lines[:REFUSALS], *more])


def _curve(curve: Sequence[tuple[float, Recipe]]) -> str:
    if not curve:
        return ""
    head = ("budget", "model", "method", "tokens", "loss", "90 % interval")
    rows = [
        (
            f"{c:.2g}",
            r.trial.model,
            r.trial.method.label,
            short(r.tokens),
            f"{r.loss:.3f}",
            f"{r.low:.3f} to {r.high:.3f}",
        )
        for c, r in curve
    ]
    return table(head, rows)


def _calibration(made: Calibration | None, lender: str) -> str:
    if made is None:
        return ""
    lines = [
        f"{made.cells} trials: {', '.join(made.models)}; {', '.join(made.methods)}",
        f"budgets {', '.join(f'{budget:.2g}' for budget in made.budgets)} FLOP",
        f"cost {made.flops:.3g} FLOP of the {made.limit:.3g} allowed, searches of learning rates included",
        f"expected regret {made.regret_now:.2g} nats now, {made.regret_after:.2g} after, if the laws keep their form",
        *([f"assumed of {made.assumed}"] if made.assumed else []),
        f"then `fit` its folder `--with` that of {lender} gives your own law: exponents shared, E, A and B yours",
    ]
    return _list("a sweep to be surer", lines)


def _advice(made: Calibration | None, plan: Plan) -> str:
    if made is None:
        return ""
    gain = f"expected regret {made.regret_now:.2g} nats now, {made.regret_after:.2g} after, if the laws keep their form"
    if made.regret_now < 1e-3:
        gain = "the choice is hardly in doubt if the laws keep their form; whether they do, nearer to it, is the test"
    share = made.limit / plan.budget.flops
    lines = [
        f"{made.cells} trials ({', '.join(made.models)}; {', '.join(made.methods)}) for {made.flops:.3g} FLOP, "
        f"{100 * made.flops / plan.budget.flops:.2g} % of the budget",
        gain,
        f"`--calibrate {share:.0%} --sweep-out calibrate.toml` behind this works it out in full for `sweep run`",
    ]
    return _list("try this sweep first", lines)


def _fact(fact: Any) -> str:
    verdict = {True: "; in line with this answer", False: "; against this answer", None: ""}[fact.agrees]
    return f"{fact.text} ({fact.citation}){verdict}"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
