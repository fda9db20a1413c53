"""Results folders that mean harm to a page, or have no law to show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.page import page
from planner.law_book import Caveat
from support.known_laws import FULL, LORA, law_book, method_law
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observation, observations, write_sweep
from sweeps.methods import Full
from sweeps.trial import Observation, failure

HOSTILE = [
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    "{{scripts}}",
    "\u202eevil\u2066",
    "\ud800",
    "__proto__",
    "x" * 100_000,
]


def hostile_observations() -> list[Observation]:
    """Trials whose every text is an attack, with numbers as far out as observations may hold."""
    good = observation(NANO[0], Full(), LAWS_OF_THE_TESTS[Full()], 1e13)
    made = [replace(good, trial=replace(good.trial, model=name, seed=i)) for i, name in enumerate(HOSTILE)]
    lost = [failure(replace(one.trial, lr=2e-3), text) for one, text in zip(made, HOSTILE, strict=True)]
    odd = replace(good, scores={HOSTILE[0]: 9e4, "__proto__": 0.5})
    curve = ((1, 10, 9e4), (2, 20, 3.0), (3, 30, -1.0), (4, 40, 2.0))
    return [good, *made, *lost, replace(odd, curve=curve)]


def hostile_page(folder: Path) -> str:
    """Of a sweep and laws whose names, notices and methods are attacks; its laws can still plan."""
    settings = {"name": "lora", "rank": 8, "alpha": 8.0, "only": f"q_proj,{HOSTILE[1]}"}
    book = law_book(method_law(FULL, {"name": "full"}), method_law(LORA, settings))
    warnings = tuple(Caveat(text, text) for text in HOSTILE)
    source = {"name": HOSTILE[0], "rows_hash": HOSTILE[1], "filters": HOSTILE}
    book = replace(book, warnings=warnings, source=source, models=(*HOSTILE[:3], *book.models), created_by=HOSTILE[1])
    return page(write_sweep(folder, hostile_observations()), book, laws=folder / "$(touch owned).json")


def diverged(folder: Path) -> Path:
    """A sweep of which every trial diverged."""
    found = observations(models=NANO[:2], budgets=[1e13])
    return write_sweep(folder, [failure(one.trial, "loss is nan", "diverged") for one in found])
