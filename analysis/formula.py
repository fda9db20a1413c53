"""Laws as formulas for people: L = 0.52 + 121 / N^0.39 + 55 / D^0.27."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from planner.laws import Law

DIGITS = 4  # of coefficients; laws.json has them all
END = re.compile(r": | \([A-Z][a-z]+ |\.(?: |$)")  # of the formula, in the first sentence of a family's description
# Terms that a law in one variable lacks.
LACKING = {"N": re.compile(r" \+ B / .*$"), "D": re.compile(r" \+ A / N\^\w+"), "C": re.compile(r" \+ A / N\^\w+")}
# What a coefficient means, where its name does not say it.
MEANINGS = {
    "D_l": "D_l is the value of pretraining, as tokens to the power of beta. "
    "Where nothing was pretrained, it only makes the curve flatter at small D.",
    "repeats": "repeats is how many passes after the first keep most of their value.",
}


def symbols(law: Law, variables: Sequence[str] = ("N", "D")) -> str:
    """The formula of a law's family in the names of its coefficients; empty where it is not written down.

    variables: what the law is in, where that is one of N, D and C alone.
    """
    first = END.split(" ".join((type(law).__doc__ or "").split()))[0]
    formula = first.replace("**", "^") if first.startswith("L = ") else ""
    if len(variables) > 1:
        return formula
    alone = LACKING[variables[0]].sub("", formula)
    return re.sub(r"\bD\b", "C", alone) if variables[0] == "C" else alone


def numbers(law: Law, variables: Sequence[str] = ("N", "D")) -> str:
    """The same with the coefficients of this law."""
    values = {name: f"{value:.{DIGITS}g}" for name, value in law.coefficients.items()}
    return re.sub(r"[A-Za-z_]\w*'?", lambda name: values.get(name[0], name[0]), symbols(law, variables))


def meanings(laws: Iterable[Law], variables: Sequence[str] = ("N", "D")) -> list[str]:
    """What is to be said of each coefficient of the laws whose name does not say what it is."""
    names = dict.fromkeys(name for law in laws for name in law.coefficients)
    told = [MEANINGS[name] for name in names if name in MEANINGS]
    return [text.replace("small D", "small C").replace("tokens", "FLOP") for text in told] if "C" in variables else told
