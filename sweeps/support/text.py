"""Text for terminals: tables, and what others wrote without what would steer one."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], numbers_right: bool = True) -> list[str]:
    """The rows, of which the first is the head, as lines of aligned columns two spaces apart.

    numbers_right: a column whose cells below the head are empty or begin with a digit stands to the right.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [numbers_right and all(cell[:1] in "0123456789" for cell in column[1:]) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]


def plain(text: str) -> str:
    """Text of others, in which what would steer a terminal is a question mark."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
