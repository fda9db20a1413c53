"""Text for terminals: tables, and what others wrote without what would steer one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

NARROWEST = 8  # characters of a column that is cut


def table(rows: Sequence[Sequence[str]], numbers_right: bool = True) -> list[str]:
    """The rows, of which the first is the head, as lines of aligned columns two spaces apart.

    numbers_right: a column whose cells below the head are empty or begin with a digit stands to the right. On a
    terminal that is narrower than the table, the widest columns are cut with an ellipsis.
    """
    columns = list(zip(*rows, strict=True))
    widths = _fitting([max(map(len, column)) for column in columns], terminal_width())
    columns = [tuple(cut(cell, width) for cell in column) for column, width in zip(columns, widths, strict=True)]
    rows = list(zip(*columns, strict=True))
    right = [numbers_right and all(cell[:1] in "0123456789" for cell in column[1:]) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]


def terminal_width() -> int | None:
    """Characters of a line of the terminal; None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def _fitting(widths: list[int], room: int | None) -> list[int]:
    """The widths, of which the widest give way until all fit into the room; none gets narrower than NARROWEST."""
    if room is None or not widths:
        return widths
    fitted = list(widths)
    while sum(fitted) + 2 * (len(fitted) - 1) > room and max(fitted) > NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def cut(cell: str, width: int) -> str:
    """The cell, or as much of it as fits with an ellipsis at its end."""
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def plain(text: str) -> str:
    """Text of others, in which what would steer a terminal is a question mark."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
