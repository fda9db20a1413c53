"""A law book of what a paper printed and of somebody's own runs: the facts are the prior, the runs weigh its draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.fitting.describe import measured_range
from analysis.fitting.fit import created_by
from analysis.fitting.published.book import DRAWS, covering, laws_of
from analysis.fitting.published.draws import Draws
from analysis.fitting.published.facts_file import Paper
from analysis.fitting.published.weigh import FEWEST, OTHER, SAME, Runs, Spread, Weighed, weigh
from analysis.tables.table import Table
from planner.candidates import PUBLISHED_REPEATS
from planner.law_book import Caveat, LawBook, MethodLaw
from planner.laws import worth
from sweeps.methods import Method, make_method
from sweeps.models import find_model

ALIKE = {"qlora": "lora", "dora": "lora"}  # methods that a paper's law of another is used for
MISSED = 0.05  # by so much in log loss, root mean square: then the laws are said not to describe the runs


@dataclass(frozen=True)
class Match:
    """A method of the runs, and the setting of the paper whose law it is used to have."""

    label: str
    """The method's label."""
    method: Method
    """The method."""
    group: str
    """Name of the paper's group."""
    member: str
    """What the facts call the setting."""
    named: str
    """Label of the paper's setting."""

    @property
    def same(self) -> bool:
        """Whether the paper has this very setting."""
        return self.label == self.named


def fit_with_facts(
    table: Table, paper: Paper, draws: int = DRAWS, seed: int = 0, tell: Callable[[int], None] = lambda done: None
) -> LawBook:
    """Laws that agree with the facts and predict the runs of the table. tell: is given the percent that was done.

    Raises ValueError when the paper has a law of none of the methods that were run.
    """
    if table.measure != "loss":
        raise ValueError(f"the facts of {paper.name} are about losses, not about {table.measure}")
    matches, caveats = _matches(table, paper)
    runs = _runs(table, paper, matches)
    weighed = weigh(paper, runs, draws, seed, tell)
    caveats = [_evidence(table, paper, runs, draws), *_doubts(table, paper, weighed, draws), *caveats]
    named = _named(weighed.draws, matches)
    citation = f"{paper.citation}, and {len(runs.params)} runs of {table.name}"
    by_label = {match.label: match for match in matches}
    laws = [_with_own(law, table, weighed, by_label.get(law.label)) for law in laws_of(named, paper.citation)]
    names = {model.name: model.params for model in paper.grid.models}
    names.update({name: find_model(name).params for name in table.models})
    return LawBook(
        laws=tuple(laws),
        measured=covering([law.measured for law in laws]),
        models=tuple(sorted(names, key=lambda name: names[name])),
        training=table.training,
        pair=table.pair,
        source={
            "name": table.name,
            "kind": "published",
            "citation": citation,
            "title": paper.title,
            "grid": paper.grid_citation,
            "observations": len(table.rows),
            "rows_hash": table.hash,
            "measure": table.measure,
            "filters": list(table.filters),
            "unique_tokens": _known(float(table.rows["unique"].max())),
            "seed": seed,
            "weighed": _record(table, paper, matches, runs, weighed, draws),
        },
        excluded=table.excluded,
        warnings=(*table.caveats, *caveats),
        created_by=created_by(),
    )


def _matches(table: Table, paper: Paper) -> tuple[list[Match], list[Caveat]]:
    """The setting of every method that was run, and why others have none."""
    found, caveats = [], []
    for label, settings in table.settings.items():
        options = {key: value for key, value in settings.items() if key != "name"}
        method = make_method(str(settings["name"]), options)
        nearest = _nearest(label, method, paper)
        if nearest is None:
            text = f"{label}: {paper.citation} has no law for it, so its runs are left out; `fit` them alone"
            caveats.append(Caveat("no_prior", text, label))
            continue
        found.append(nearest)
        if not nearest.same:
            text = f"{label}: {paper.citation} has no law for it; that of {nearest.named} is used"
            caveats.append(Caveat("other_setting", text, label))
    if not found:
        raise ValueError(f"{table.name}: {'; '.join(caveat.text for caveat in caveats)}")
    return found, caveats


def _nearest(label: str, method: Method, paper: Paper) -> Match | None:
    """The same setting of the paper, else that of its kind with the nearest rank or share."""
    kind = ALIKE.get(method.name, method.name)
    alike = [
        (group.name, member, held)
        for group in paper.groups.values()
        for member, held in group.members.items()
        if held.name == kind
    ]
    if not alike:
        return None
    group, member, held = min(alike, key=lambda one: (one[2].label != label, abs(_size(one[2]) - _size(method))))
    return Match(label, method, group, member, held.label)


def _size(method: Method) -> float:
    """ln of the rank or of the share."""
    options = method.options
    return math.log(options.get("rank") or options.get("share") or 1.0)


def _runs(table: Table, paper: Paper, matches: list[Match]) -> Runs:
    rows = table.of([match.label for match in matches])
    return Runs(
        place=rows.group,
        settings=tuple((match.group, match.member) for match in matches),
        params=rows.N,
        tokens=worth(rows.D, rows.U, PUBLISHED_REPEATS),
        log_losses=np.log(rows.loss),
        spread=_spread(table, paper),
    )


def _spread(table: Table, paper: Paper) -> Spread:
    """None where the runs repeat what the paper did: its suite, its data, its conditions."""
    menu = {model.name for model in paper.grid.menu}
    same = table.training is not None and replace(table.training, data_hash="") == paper.training
    return SAME if same and menu.issuperset(table.models) else OTHER


def _named(draws: Draws, matches: list[Match]) -> Draws:
    """The draws with the settings that were run: in the place of the paper's nearest one, or beside it."""
    groups, laws, taken = dict(draws.groups), dict(draws.laws), set()
    for match in sorted(matches, key=lambda match: not match.same):
        group, law, place = groups[match.group], laws[match.group], (match.group, match.member)
        name = match.label if place in taken else match.member
        taken.add(place)
        members = {**group.members, name: match.method}
        groups[match.group] = replace(group, members=members)
        laws[match.group] = replace(law, offsets={**law.offsets, name: law.offsets[match.member]})
    return replace(draws, groups=groups, laws=laws)


def _with_own(law: MethodLaw, table: Table, weighed: Weighed, match: Match | None) -> MethodLaw:
    """The law with what the runs say besides: their range, their rates and their noise.

    Rates of the paper stay where the setting is the paper's own; with another scale of LoRA they would be wrong.
    """
    law = replace(law, noise=float(f"{weighed.noise.mean():.4g}"))
    if match is None:
        return law
    rows, rates = table.of([law.label]), dict(table.learning_rates.get(law.label, {}))
    published = law.learning_rates if match.same else {}
    others = f"; others {law.rates_from}" if set(published) - set(rates) else ""
    return replace(
        law,
        measured=covering([law.measured, measured_range(rows)]),
        learning_rates={**published, **rates},
        rates_from=f"of {', '.join(rates)} measured in {table.name}: the best of the tried rates{others}",
    )


def _evidence(table: Table, paper: Paper, runs: Runs, draws: int) -> Caveat:
    free = "" if runs.spread == SAME else ", with a free level for other data and another suite"
    return Caveat(
        "published",
        f"{draws} sets of laws that agree with the facts printed in {paper.citation} and predict the "
        f"{len(runs.params)} runs of {table.name}{free}; only those runs were measured by us",
    )


def _doubts(table: Table, paper: Paper, weighed: Weighed, draws: int) -> list[Caveat]:
    found = []
    if weighed.effective < FEWEST * draws:
        text = f"the {draws} draws have an effective sample size of {weighed.effective:.0f}: intervals and odds are "
        found.append(Caveat("few_draws", f"{text}rough; more draws (`bootstraps`) help"))
    if weighed.missed > MISSED:
        text = f"the laws of {paper.citation} do not describe the runs of {table.name}: the error is "
        found.append(
            Caveat("other_laws", f"{text}{100 * weighed.missed:.2g} %, more than the noise of runs; fit them alone")
        )
    return found


def _record(
    table: Table, paper: Paper, matches: list[Match], runs: Runs, weighed: Weighed, draws: int
) -> dict[str, Any]:
    """What was weighed by what, for the law file: its `source.weighed`."""
    return {
        "facts": paper.name,
        "citation": paper.citation,
        "runs": table.name,
        "observations": len(runs.params),
        "methods": {match.label: match.named for match in matches},
        "rows": {match.label: len(table.of([match.label])) for match in matches},
        "free": asdict(runs.spread),
        "draws": draws,
        "effective": float(f"{weighed.effective:.3g}"),
        "missed": float(f"{weighed.missed:.3g}"),
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
