"""What all figures share: palette, markers, type, which methods are shown, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: a window system need not be there

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType

from analysis.tables.table import Table
from planner.law_book import LawBook, MethodLaw
from planner.palette import Look, looks
from sweeps.methods import METHODS, Method

# Okabe and Ito (2008), for what is no tuning method; those have planner/palette.py.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
INK, PALE = "#444444", "#767676"  # of words beside the data; the paler one still has a contrast of 4.5 on white
GREY = "#B0B0B0"  # of lines that are there for comparison
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-planner",  # the same picture gives the same file
}
MOST_METHODS = 8  # names beside a panel, and keys above it, that can be read
BEYOND = 10  # times the largest budget that laws are drawn to
MOST_NAMED = 4  # of the methods that are not shown
SHORTER = {"token_table": "table"}  # settings whose names are long
LONGEST = 26  # letters of a name; a longer one loses its middle


@dataclass(frozen=True)
class Shown:
    """A method in a figure."""

    label: str
    """What tables and laws call it, every setting included."""
    name: str
    """What figures call it: without the settings that all shown methods of its kind share."""
    family: str
    """The name of its tuning method, without settings."""
    law: MethodLaw | None
    """Its law; None where its runs are too few for one."""
    runs: pd.DataFrame
    """Its rows of the table, maybe none."""
    look: Look
    """Its colour and marker, here and in every other figure."""

    @property
    def colour(self) -> str:
        return self.look.colour

    @property
    def marker(self) -> str:
        return self.look.marker

    def points(self, rim: float = 0.4, colour: ColorType = "", **other: Any) -> dict[str, Any]:
        """Arguments of `plot` for its markers.

        rim: width of the white line around full ones, points. colour: other than its own.
        """
        style = {"color": colour or self.colour, "marker": self.marker, "mec": "white", "mew": rim}
        if self.look.hollow:
            style |= {"mfc": "white", "mec": style["color"], "mew": 1.0}
        return style | other

    def key(self, **other: Any) -> Line2D:
        """Its entry in a key above the panels."""
        return Line2D([], [], **self.points(rim=0.0, markersize=5, label=self.name, **other))


def shown(table: Table, book: LawBook) -> list[Shown]:
    """The methods with their looks.

    Where there are too many to tell apart, those that reached the lowest losses; `left_out` says so.
    """
    laws = {law.label: law for law in book.laws}
    every, kept = _methods(table), _kept(table)
    names = _names(table, every)
    settings, given = _settings(table), looks_in(table)
    return [
        Shown(
            label,
            names[label],
            plain(str(settings[label]["name"])),
            laws.get(label),
            table.rows[table.rows["method"] == label],
            given[label],
        )
        for label in every
        if label in kept
    ]


def family_keys(methods: Iterable[Shown]) -> list[Line2D]:
    """A key of the markers alone, one a family, for figures whose colours say something else."""
    first = {method.family: method for method in reversed(list(methods))}
    return [
        Line2D([], [], color=INK, marker=method.marker, markersize=5, linestyle="", label=family)
        for family, method in reversed(first.items())
    ]


def looks_in(table: Table) -> dict[str, Look]:
    """The look of every method of the table, by its label."""
    return looks(_settings(table))


def left_out(table: Table) -> str:
    """What a figure says of the methods that it does not show."""
    every, kept = _methods(table), _kept(table)
    names = [name for label, name in _names(table, every).items() if label not in kept]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"Not shown, with higher losses: {', '.join(names[:MOST_NAMED])}{more}. " if names else ""


def _kept(table: Table) -> set[str]:
    """Labels of the methods that are shown: where there are too many, those of the lowest losses."""
    every = _methods(table)
    if len(every) <= MOST_METHODS:
        return set(every)
    lowest = table.rows.groupby("method")["loss"].min()
    return set(sorted(every, key=lambda label: lowest.get(label, float("inf")))[:MOST_METHODS])


def _methods(table: Table) -> list[str]:
    """Labels of the methods of the table and of those of which no run entered it, our own in the order of METHODS."""
    tried = {observation.trial.method.label: observation.trial.method for observation in table.observations}
    order = list(METHODS)
    ours = sorted(tried, key=lambda label: (order.index(tried[label].name), *_sizes(tried[label])))
    return list(dict.fromkeys([*ours, *table.settings]))


def _sizes(method: Method) -> list[str]:
    """Settings as text that sorts as the numbers do."""
    return [f"{value:020.6f}" if isinstance(value, (int, float)) else str(value) for value in method.options.values()]


def _names(table: Table, methods: list[str]) -> dict[str, str]:
    """Labels less the settings that all methods of one name share: lora rank 8 alpha 8 is lora rank 8 beside rank 2."""
    settings = _settings(table)
    alike = Counter(str(settings[label]["name"]) for label in methods)
    names = {}
    for label in methods:
        own = settings[label]
        others = [settings[other] for other in methods if settings[other]["name"] == own["name"]]
        varied = [key for key in own if key != "name" and any(other.get(key) != own[key] for other in others)]
        text = " ".join([str(own["name"]), *(f"{SHORTER.get(key, key)} {_value(own[key])}" for key in varied)])
        names[label] = plain(label if alike[str(own["name"])] == 1 else text)
    return names


def _settings(table: Table) -> dict[str, dict[str, Any]]:
    """By label the name and the settings of every method that was tried."""
    tried = {observation.trial.method.label: observation.trial.method for observation in table.observations}
    settings = {label: {"name": method.name, **method.options} for label, method in tried.items()}
    return settings | {label: dict(given) for label, given in table.settings.items()}


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def plain(text: str, longest: int = LONGEST) -> str:
    """Text from data on one line, cut in its middle, and never read as a formula."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - longest + longest // 2 + 1 :]}"
    return text.replace("\\", "/").replace("$", r"\$")


def loss_label(table: Table) -> str:
    if table.measure != "loss":
        return f"{plain(table.measure)}, held out"
    return "held-out loss (nats per pair)" if table.observations else "loss"
