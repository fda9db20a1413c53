"""A goal pursued: how the expected regret fell with what was spent, and how likely each candidate was."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.axes import flops, limits, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels
from analysis.figures.style import INK, looks_in, plain
from analysis.tables.table import Table
from planner.law_book import LawBook
from planner.palette import looks
from sweeps.search.goal_rounds import GoalRound

TITLE = "Spend and expected regret, round by round"
LEAST = 1e-4  # nats: below it a regret is drawn there
SHOWN = 5  # candidates
DASHES = ("-", "--", ":", "-.")  # of models; the method has the colour


def draw_goal(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Expected regret and probabilities of the candidates against the FLOPs spent."""
    rounds = table.rounds
    if not rounds:
        return NotDrawn("the sweep has no goal ([goal] in its file)")
    figure, (regret, chances) = panels(2, columns=2, size=(3.7, 3.0))
    spent = np.array([each.spent for each in rounds]) / rounds[-1].budget * 100
    fallen = np.maximum([each.regret for each in rounds], LEAST)
    regret.plot(spent, fallen, "o-", color=INK, markersize=4, lw=1.3)
    regret.set_yscale("log")
    regret.set_ylim(*limits(fallen, room=1.5))
    log_axis(regret, "y", plain_number)
    regret.set_ylabel("expected regret (nats per pair)")
    names = _candidates(rounds)
    keys = []
    given = looks_in(table)
    models = list(dict.fromkeys(model for model, _ in names))
    for model, method in names:
        look = given.get(method) or looks({method: {"name": method.split()[0]}})[method]  # one that was not tried yet
        dashes = DASHES[models.index(model) % len(DASHES)]
        drawn = [_chance(each, model, method) for each in rounds]
        (line,) = chances.plot(spent, drawn, dashes, color=look.colour, marker=look.marker, markersize=4, lw=1.3)
        line.set_label(plain(f"{model}, {method}"))
        keys.append(line)
    chances.set_ylim(-0.03, 1.03)
    chances.set_ylabel("probability of being the best")
    for axes in (regret, chances):
        axes.set_xlim(left=0)
    figure.supxlabel("spent (% of the FLOP of the recipe)", fontsize=9)
    last = rounds[-1]
    ended = f" It ended: {last.stop}." if last.stop else ""
    start = f"A recipe for {flops(last.budget)} FLOP, started from the laws of {plain(last.laws)}"
    note = f"{start}; a point is a round.{ended}"
    head(figure, TITLE, note, keys)
    return figure


def _candidates(rounds: tuple[GoalRound, ...]) -> list[tuple[str, str]]:
    """Models and methods that were likeliest in any round, those of the last round first."""
    highest: dict[tuple[str, str], float] = {}
    for each in reversed(rounds):
        for one in each.contenders:
            highest[one.model, one.method] = max(one.best, highest.get((one.model, one.method), 0.0))
    return sorted(highest, key=lambda name: -highest[name])[:SHOWN]


def _chance(each: GoalRound, model: str, method: str) -> float:
    """Probability of a candidate in a round; 0 where it was not among those named."""
    return next((one.best for one in each.contenders if (one.model, one.method) == (model, method)), 0.0)
