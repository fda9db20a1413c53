"""Laws as formulas for people: L = 0.52 + 121 / N^0.39 + 55 / D^0.27."""

from __future__ import annotations

import re

from planner.laws import Law

DIGITS = 4  # of coefficients; laws.json has them all
END = re.compile(r": | \([A-Z][a-z]+ |\.(?: |$)")  # of the formula, in the first sentence of a family's description


def symbols(law: Law) -> str:
    """The formula of a law's family in the names of its coefficients; empty where it is not written down."""
    first = END.split(" ".join((type(law).__doc__ or "").split()))[0]
    return first.replace("**", "^") if first.startswith("L = ") else ""


def numbers(law: Law) -> str:
    """The same with the coefficients of this law."""
    values = {name: f"{value:.{DIGITS}g}" for name, value in law.coefficients.items()}
    return re.sub(r"[A-Za-z_]\w*'?", lambda name: values.get(name[0], name[0]), symbols(law))
