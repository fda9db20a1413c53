"""A plan as text for people, and as the file that `embed train` runs."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.answer import SURE, SWEEP_FILE, Calibration, Plan, Recipe
from planner.candidates import Refusal
from planner.evidence import Other
from planner.extrapolation import extrapolation_factor
from planner.frontier import Crossover
from planner.published import Fact
from planner.quantities import memory_text, short, time_text
from sweeps.support.text import table

REFUSALS = 8  # lines of models with methods that cannot be chosen; --json lists all
SCREEN, WIDTH, LABEL = 25, 100, 10  # lines; characters of a line, and of the name before it
USUAL = 5  # candidates
LIKELY = 3  # methods and models whose probabilities the first screen shows, and tasks
SHOWN = (
    "too-far",
    "borrowed-law",
    "above-chance",
    "data-limited",
    "pairs-unknown",
    "other-conditions",
    "other-rate",
    "batch-size",
    "suites-unknown",
    "few-rows",
    "no-draws",
    "edge-of-menu",
    "short-steps",
    "lack_of_fit",
    "experiments",
    "scattered",
    "exponents_differ",
)
WORTH_RUNNING = 0.05  # the share by which a sweep must lower the expected regret
FAR = 1  # decades from the evidence from which on an answer is called far: as far as a suite that was not measured
DISTANT = ("too-far", "extrapolated", "other-suite", "other-data")  # codes of the warnings that say how far
RECIPE = "recipe.toml"  # the file that the first screen names
CANDIDATE = ("model", "method", "steps", "lr", "loss", "90 % interval", "best", "regret")  # columns of the table


def write(plan: Plan, path: Path) -> None:
    """The recipe as a file for `embed train`, which finds data and model from there.

    Raises ValueError where its data are those of a paper.
    """
    if plan.evidence.kind == "published" and not _own_data(plan):
        raise ValueError(
            f"{path}: not written: the laws are of {plan.recipe.trial.training.data}, which do not come with this "
            "program; name your training pairs with `data`"
        )
    from sweeps.experiment.recipe_file import write_recipe  # only here: a plan that is not written starts at once

    trial = plan.recipe.trial
    training = replace(trial.training, data=plan.named_in(path, trial.training.data))
    trial = replace(trial, model=plan.named_in(path, trial.model), training=training)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_recipe(path, trial, predicted_table(plan), recipe_remarks(plan, shlex.quote(path.name)))


def recipe_remarks(plan: Plan, name: str) -> tuple[str, ...]:
    """What stands at the top of a recipe file of this name."""
    return (
        f"`plan --budget {plan.budget.asked}` chose this; `{plan.recipe.train_command(name)}` trains it.",
        f"Evidence: {plan.recipe.extrapolation}.",
    )


def predicted_table(plan: Plan) -> dict[str, Any]:
    """What a recipe file says under [predicted]."""
    scores = {each.task: [each.score, each.low, each.high] for each in plan.scores}
    return {**plan.recipe.predicted(), "measure": plan.laws.measure, **({"scores": scores} if scores else {})}


def text(
    plan: Plan,
    calibration: Calibration | None = None,
    advised: Calibration | None = None,
    written: Path | None = None,
    sweep_file: Path | None = None,
) -> str:
    """The first screen: the recipe, what it reaches, how sure that is, what it rests on, and what to do next.

    calibration: the sweep that was asked for; advised: one that nobody asked for. written: the recipe's file;
    sweep_file: that of the sweep.
    """
    recipe = lined(recipe_rows(plan))
    answer = lined(outlook_rows(plan))
    asked = [part for part in (_curve(plan.curve), _calibration(calibration)) if part]
    files = {"written": ", ".join(str(path) for path in (written, sweep_file) if path)}
    improve = _advice(advised, plan)
    if calibration and _helps(calibration):
        improve = _goal(sweep_file)
    next_steps = lined({**(files if files["written"] else {}), **improve, **_commands(plan, written)})
    taken = sum(part.count("\n") + 2 for part in (recipe, answer, next_steps))
    parts = [recipe, answer, _candidates(plan.candidates, SCREEN - taken - 1), *asked, next_steps]
    return "\n\n".join(part for part in parts if part)


def explanation(plan: Plan) -> str:
    """Everything that stands behind the answer."""
    measured = plan.laws.measured.flops
    parts = [
        _list("cost", spent_lines(plan.recipe)),
        _list(
            "crossovers, where the best method changes",
            [crossover_text(crossover, measured) for crossover in plan.crossovers],
        ),
        _list("law books, nearest first", book_lines(plan)),
        refused_text(plan.refused),
        _list("warnings", [warning.text for warning in plan.warnings]),
        _list("published findings, not measured here", [fact_text(fact) for fact in plan.facts]),
        _list("sources", [f"{part}: {source}" for part, source in plan.provenance.items()]),
    ]
    return "\n\n".join(part for part in parts if part)


def lined(rows: Mapping[str, str]) -> str:
    """Names and what belongs to them; long lines are wrapped under their start."""
    indent = " " * LABEL
    lines = []
    for name, value in rows.items():
        paragraphs = value.split("\n")
        for first, paragraph in zip([f"{name:<{LABEL}}", *[indent] * len(paragraphs)], paragraphs, strict=False):
            lines += textwrap.wrap(
                paragraph, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
            )
    return "\n".join(lines)


def recipe_rows(plan: Plan) -> dict[str, str]:
    """The recipe as the first screen says it: name of a line -> its text."""
    return {**_recipe_lines(plan), **_machine(plan.recipe)}


def outlook_rows(plan: Plan) -> dict[str, str]:
    """What the recipe reaches, how sure that is, what it rests on and its caveats: name of a line -> its text."""
    return {**_prediction(plan), **_sureness(plan), **_evidence(plan), **_notes(plan)}


def banner_lines(plan: Plan) -> list[str]:
    """What to say above an answer that lies far from the evidence: FAR decades or more; none nearer by."""
    if plan.recipe.extrapolation.distance < FAR:
        return []
    return [warning.text for warning in plan.warnings if warning.code in DISTANT]


def _recipe_lines(plan: Plan) -> dict[str, str]:
    recipe = plan.recipe
    trial, training = recipe.trial, recipe.trial.training
    theirs = plan.evidence.kind == "published" and not _own_data(plan)
    data = "your pairs" if theirs and recipe.epochs is not None else training.data
    epochs = "" if recipe.epochs is None else f": {recipe.epochs:.3g} epochs of {short(recipe.pairs / recipe.epochs)}"
    return {
        "model": f"{trial.model}, N = {short(recipe.params)}, vectors of {recipe.dim} dimensions",
        "method": trial.method.label,
        "data": f"{short(recipe.pairs)} pairs{epochs}, {short(recipe.tokens)} tokens of {data}",
        "steps": f"{trial.steps:,} of {training.batch_size:,} pairs, learning rate {trial.lr:.2g}, "
        f"temperature {training.temperature:g}, {training.pooling} pooling, context {training.context}",
    }


def _machine(recipe: Recipe) -> dict[str, str]:
    if recipe.hours is None:
        return {}
    cost = "" if recipe.cost is None else f", cost {recipe.cost:,.2f}"
    reached = "" if recipe.utilisation is None else f", {recipe.utilisation:.0%} of the peak rate"
    memory = f"{memory_text(recipe.memory)} per chip" + (", sharded (FSDP)" if recipe.sharded else "")
    memory += ", gradient checkpointing" if recipe.recompute else ""
    return {"time": f"{time_text(3600 * recipe.hours)}{cost}{reached}; {memory}"}


def _prediction(plan: Plan) -> dict[str, str]:
    recipe, book = plan.recipe, plan.laws
    if recipe.loss is None or recipe.low is None or recipe.high is None:
        return {"loss": "not predicted this far from the evidence"}
    unit = "nats per pair" if book.measure == "loss" else f"as {book.measure}"
    ends = f"{recipe.low:#.3g} to {recipe.high:#.3g}"
    rows = {"loss": f"{recipe.loss:.3f} {unit}, held out; 90 % prediction interval {ends}"}
    scores = [f"{score.task} {score.score:.3f} ({score.low:.3f} to {score.high:.3f})" for score in plan.scores[:LIKELY]]
    return {**rows, "scores": "; ".join(scores)} if scores else rows


def _sureness(plan: Plan) -> dict[str, str]:
    recipe = plan.recipe
    if recipe.best is None or recipe.regret is None or recipe.share is None:
        return {"sure": "unknown"}
    regret = f"expected regret {100 * recipe.share:.2g} % of the loss ({recipe.regret:.2g} nats)"
    chance = f"probability {recipe.best:.2f}" if recipe.best >= 0.005 else "a probability under 0.01"
    first = f"best with {chance}; {regret}"
    if recipe.best >= SURE:
        return {"sure": first}
    shares = [
        ", ".join(f"{name} {chance:.2f}" for name, chance in list(chances.items())[:LIKELY] if chance >= 0.005)
        for chances in (plan.method_chances, plan.model_chances)
    ]
    return {"sure": f"{first}\n{'; '.join(shares)}"}


def _evidence(plan: Plan) -> dict[str, str]:
    evidence, book = plan.evidence, plan.laws
    paper = book.published.split(", arXiv")[0]
    kind = f"published ({paper}), not measured by us" if book.published else f"measured ({book.name})"
    if book.weighed_by:
        kind = f"published ({paper}) and the runs of {book.weighed_by}"
    unseen = "".join(f", {name} not seen" for name in evidence.extrapolation.unseen)
    lines = f"{kind}: {evidence.extrapolation}{unseen}"
    if plan.size and plan.size.chooses:
        lines += f"\n{plan.size}"
    if plan.recipe.batch.by_law:
        lines += f"\nbatch size: {plan.recipe.batch.source}"
    differs = [other for other in evidence.others if other.differs and other.distance is not None]
    if differs:
        other = differs[0]
        lines += f"\nnext nearest law book, {other.book} ({other.distance:.2g} decades away): {other.answer}"
    return {"evidence": lines}


def _notes(plan: Plan) -> dict[str, str]:
    """The warnings that change what a reader does and stand in no other line; of the fit, those of this law."""
    size = ("size-rule",) if plan.size and not plan.size.chooses else ()  # else the evidence says it
    told, about = (*SHOWN, *size), ("", plan.recipe.trial.method.label)
    notes = [warning.text for warning in plan.warnings if warning.code in told and warning.method in about]
    return {"note": "\n".join(notes[:2])} if notes else {}


def _commands(plan: Plan, written: Path | None) -> dict[str, str]:
    trains = f"`{plan.recipe.train_command(shlex.quote(str(written or RECIPE)))}`"
    add = "" if written else f"add `{recipe_flags(plan)}`, then "
    return {"train": add + trains, "more": "add `--explain` or `--json`"}


def recipe_flags(plan: Plan) -> str:
    """What to add to the command that asked, so that it writes the recipe."""
    own = "" if plan.evidence.kind == "measured" or _own_data(plan) else "--data PAIRS.jsonl "
    return f"{own}--out {RECIPE}"


def sweep_flags(share: float) -> str:
    """What to add to it, so that it writes the sweep for a share of the budget that lowers the expected regret."""
    return f"--calibrate {share:.0%} --sweep-out {SWEEP_FILE}"


def _own_data(plan: Plan) -> bool:
    """Whether the data were named; those of a paper come with no plan."""
    return plan.recipe.trial.training.data in plan.recipe.extrapolation.unseen


def spent_lines(recipe: Recipe) -> list[str]:
    """What training takes: FLOPs and memory."""
    spent = (
        f"{recipe.flops:.4g} FLOP of training{_kept_for_serving(recipe)}; {recipe.exact_flops:.4g} by the exact count"
    )
    again = f", {recipe.second_forward:.0%} of the batch embedded twice" if recipe.second_forward else ""
    where = "memory on one device without a limit" if recipe.hours is None else "memory per chip"
    held = f"{where}: {memory_text(recipe.memory)}, micro-batches of {short(recipe.micro_batch_tokens)} tokens{again}"
    return [spent, held]


def book_lines(plan: Plan) -> list[str]:
    """The law book that answers and the others, the nearest first."""
    evidence = plan.evidence
    first = f"{evidence.book} ({evidence.kind}), {evidence.extrapolation.distance:.2g} decades away: answers"
    return [first, *(_other(other) for other in evidence.others)]


def _other(other: Other) -> str:
    if other.distance is None:
        return f"{other.book}: no answer: {other.answer}"
    return f"{other.book}, {other.distance:.2g} decades away: {other.answer}"


def _kept_for_serving(recipe: Recipe) -> str:
    return f", {recipe.serving_flops:.3g} kept for serving" if recipe.serving_flops else ""


def _candidates(recipes: Sequence[Recipe], room: int) -> str:
    """The recipes that fit into so many lines, none where one alone does; all where more than USUAL were asked for."""
    shown = recipes if len(recipes) > USUAL else recipes[: max(0, room)]
    if len(shown) < 2 or recipes[0].loss is None:
        return ""
    return "\n".join(table([CANDIDATE, *map(candidate_row, shown)]))


def candidate_row(recipe: Recipe) -> tuple[str, ...]:
    """A candidate as its line of the table shows it; CANDIDATE names the columns."""
    trial = recipe.trial
    chance = ("", "")
    if recipe.best is not None and recipe.share is not None:
        chance = (f"{recipe.best:.2f}", f"{100 * recipe.share:.2g} %")
    return (trial.model, trial.method.label, f"{trial.steps:,}", f"{trial.lr:.2g}", *_loss(recipe), *chance)


def _loss(recipe: Recipe) -> tuple[str, str]:
    if recipe.loss is None:
        return "", ""
    return f"{recipe.loss:.3f}", f"{recipe.low:.3f} to {recipe.high:.3f}"


def crossover_text(crossover: Crossover, measured: tuple[float, float]) -> str:
    """Where the best method changes, in words. measured: lowest and highest budget of the laws, FLOP."""
    factor = extrapolation_factor(crossover.flops, measured)
    far = f"; {factor:.2g}x outside the measured budgets" if factor > 1 else ""
    interval = interval_text(crossover)
    return f"{crossover.below} up to {crossover.flops:.2g} FLOP ({interval}{far}), then {crossover.above}"


def interval_text(crossover: Crossover) -> str:
    """The 90 % interval of a crossover in words, FLOP."""
    low, high = crossover.low, crossover.high
    if low is None and high is None:
        return "90 %: unbounded"
    if low is None or high is None:
        return f"90 %: below {high:.2g}" if low is None else f"90 %: above {low:.2g}"
    return f"90 %: {low:.2g} to {high:.2g}"


def refused_text(refused: Sequence[Refusal], most: int = REFUSALS) -> str:
    """The first refusals, so many, and how many there are besides."""
    lines = [f"{refusal.model} with {refusal.method}: {refusal.reason}" for refusal in refused]
    more = [f"and {len(lines) - most} more; --json lists them"] if len(lines) > most else []
    return _list("not possible", [*lines[:most], *more])


def _curve(curve: Sequence[tuple[float, Recipe | None]]) -> str:
    if not curve:
        return ""
    head = ("budget", "model", "method", "tokens", "loss", "90 % interval")
    rows = [
        (
            f"{budget:.2g}",
            recipe.trial.model,
            recipe.trial.method.label,
            short(recipe.tokens),
            *_loss(recipe),
        )
        for budget, recipe in curve
        if recipe
    ]
    without = [f"{budget:.2g}" for budget, recipe in curve if recipe is None]
    none = [f"no candidate can be trained at {', '.join(without)} FLOP"] if without else []
    return "\n".join([*table([head, *rows]), *none])


def _calibration(sweep: Calibration | None) -> str:
    if sweep is None:
        return ""
    lines = [
        f"{sweep.cells} trials: {', '.join(sweep.models)}; {', '.join(sweep.methods)}",
        f"budgets {', '.join(f'{budget:.2g}' for budget in sweep.budgets)} FLOP",
        f"cost {sweep.flops:.3g} FLOP of the {sweep.limit:.3g} allowed, learning-rate searches included",
        f"expected regret {sweep.regret_now:.2g} nats now, {sweep.regret_after:.2g} after, if the laws keep their form",
        *([f"assumed for {sweep.assumed}"] if sweep.assumed else []),
        *(["it hardly makes the choice safer: train the recipe without it"] if not _helps(sweep) else []),
    ]
    folded = [
        part
        for line in lines
        for part in textwrap.wrap(line, WIDTH - 2, subsequent_indent="  ", break_on_hyphens=False)
    ]
    return _list("calibration sweep", folded)


def _helps(sweep: Calibration) -> bool:
    """Whether it makes the choice safer by more than a little."""
    return sweep.regret_after <= (1 - WORTH_RUNNING) * sweep.regret_now


def _goal(file: Path | None) -> dict[str, str]:
    """How to run the sweep that was asked for; file: where it was written."""
    runs = f"`sweep run {shlex.quote(str(file or SWEEP_FILE))}`"
    if file is None:
        runs = f"add `--sweep-out {SWEEP_FILE}`, then {runs}"
    return {"improve": f"{runs}: it chooses its trials in rounds, as losses come in, and ends with the recipe"}


def _advice(sweep: Calibration | None, plan: Plan) -> dict[str, str]:
    if sweep is None:
        return {}
    gain = ""  # not the regret after it: the few draws that advice takes promise too much
    if sweep.regret_now < 1e-3 or plan.recipe.loss is None:
        gain = "; it tests the laws closer to the budget"
    share = sweep.limit / plan.budget.flops
    cost = f"about {sweep.cells} trials, {100 * sweep.flops / plan.budget.flops:.2g} % of the budget{gain}"
    return {"improve": f"add `{sweep_flags(share)}`: {cost}"}


def fact_text(fact: Fact) -> str:
    """A published finding, where it stands, and whether the answer is in line with it."""
    verdict = {True: "; agrees with this answer", False: "; contradicts this answer", None: ""}[fact.agrees]
    return f"{fact.text} ({fact.citation}){verdict}"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
