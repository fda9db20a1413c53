"""Records as a notebook shows them: HTML tables and pandas data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()) -> str:
    """The rows under their head as HTML, with a caption above and notes below, a paragraph each."""
    import html  # only here, as pandas below: the planner starts without

    cells = [("th", head), *(("td", row) for row in rows)]
    lines = [
        "<tr>" + "".join(f"<{kind}>{html.escape(str(item))}</{kind}>" for item in row) + "</tr>" for kind, row in cells
    ]
    table = f"<table><caption>{html.escape(caption)}</caption>{''.join(lines)}</table>"
    return table + "".join(f"<p>{html.escape(note)}</p>" for note in notes)


def data_frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """The rows as a pandas.DataFrame; columns: their order, by default that in which the rows name them.

    Raises ModuleNotFoundError where pandas is not installed.
    """
    import pandas

    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))


def cell(value: Any) -> str:
    """A value as a table shows it; None is empty."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
