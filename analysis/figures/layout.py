"""The parts of a figure around its data: panels, a heading with notes and keys, and words where a panel is empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text

from analysis.figures.style import INK, plain
from analysis.tables.table import Table

EDGE = 0.08  # inches between words and the figure's edge


def panels(
    count: int, columns: int = 3, size: tuple[float, float] = (2.7, 2.3), **sharing
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of this size in inches, at most so many a line; a single one is larger."""
    columns = 2 if count == 4 and columns == 3 else min(count, columns)
    lines = -(-count // columns)
    wide, high = (max(size[0], 6.6), max(size[1], 4.2)) if count == 1 else size
    figure, grid = plt.subplots(
        lines, columns, figsize=(wide * columns, high * lines), squeeze=False, layout="constrained", **sharing
    )
    every = list(grid.ravel())
    for unused in every[count:]:
        unused.remove()
    for lowest in every[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)  # sharing the axis hides the labels above an unused panel
    return figure, every[:count]


def head(figure: Figure, title: str, note: str = "", keys: Sequence[Artist] = ()) -> None:
    """Title, what to know, and a key above the panels, which get the rest; the figure grows by what it takes."""
    width, height = figure.get_size_inches()
    parts: list[Text | Legend] = []
    for text, style in (
        (title, {"fontsize": 11, "fontweight": "bold"}),
        (note.strip(), {"fontsize": 8, "color": INK}),
    ):
        if text:
            parts.append(_wrapped(figure, text, width - 2 * EDGE, style))
    if keys:
        parts.append(_key(figure, keys, width - 2 * EDGE))
    heights = [artist.get_window_extent().height / figure.dpi + 0.06 for artist in parts]
    top = height + sum(heights) + EDGE
    figure.set_size_inches(width, top)
    down = top - EDGE
    for artist, taken in zip(parts, heights, strict=True):
        place = (EDGE / width, down / top)
        if isinstance(artist, Text):
            artist.set_position(place)
        else:
            artist.set_bbox_to_anchor(place, figure.transFigure)
        down -= taken
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # `panels` makes no other figures
    engine.set(rect=(0, 0, 1, height / top))
    for words in figure.texts:
        if words.get_rotation() == 90:  # the label of all y axes, which the layout leaves in the middle of the figure
            words.set_y(height / top / 2)


def _wrapped(figure: Figure, text: str, width: float, style: Mapping[str, Any]) -> Text:
    """The text in as many lines as the width in inches takes; letters are a little wider at some resolutions."""
    words = figure.text(0, 1, "", va="top", linespacing=1.25, **style)
    words.set_in_layout(False)
    lines = [""]
    for word in text.split(" "):
        words.set_text(f"{lines[-1]} {word}".strip())
        if lines[-1] and words.get_window_extent().width > 0.96 * width * figure.dpi:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    words.set_text("\n".join(lines))
    return words


def _key(figure: Figure, keys: Sequence[Artist], width: float) -> Legend:
    """All entries in as few lines as the width in inches takes."""
    for columns in range(len(keys), 0, -1):
        legend = figure.legend(
            handles=list(keys),
            loc="upper left",
            ncols=columns,
            borderaxespad=0,
            borderpad=0.2,
            handletextpad=0.4,
            columnspacing=1.3,
        )
        legend.set_in_layout(False)
        if columns == 1 or legend.get_window_extent().width <= width * figure.dpi:
            return legend
        legend.remove()
    raise AssertionError("there is always one column")


def why_empty(table: Table) -> str:
    """In words why no run entered the fit, or nothing when some did."""
    if not table.rows.empty:
        return ""
    if not table.excluded:
        return "the sweep has no observation yet: nothing was run, or nothing has ended"
    counts = Counter(reason.split(":")[0].split(" (")[0] for _, reason in table.excluded).most_common(4)
    reasons = "; ".join(f"{count} x {plain(reason, 60)}" for reason, count in counts)
    return f"none of {len(table.excluded)} trials can enter a fit: {reasons}"
