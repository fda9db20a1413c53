"""Compute-optimal recipes for text-embedding models: `from recipe_planner import plan`. Starts without any library.

Its names are those of the packages `planner`, `sweeps`, `runner` and `analysis`, which are this program's own here even
where another package of such a name is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import fit_laws as fit_laws
    from planner import LawBook as LawBook
    from planner import Limits as Limits
    from planner import Plan as Plan
    from planner import Recipe as Recipe
    from planner import plan as plan
    from planner import plan_sizes as plan_sizes
    from planner import read_laws as read_laws
    from runner import train as train
    from sweeps import Observation as Observation
    from sweeps import Sweep as Sweep
    from sweeps import Trial as Trial

HOMES = {
    "plan": "planner",
    "plan_sizes": "planner",
    "read_laws": "planner",
    "LawBook": "planner",
    "Limits": "planner",
    "Plan": "planner",
    "Recipe": "planner",
    "Sweep": "sweeps",
    "Observation": "sweeps",
    "Trial": "sweeps",
    "train": "runner",
    "fit_laws": "analysis",
}
__all__ = [
    "LawBook",
    "Limits",
    "Observation",
    "Plan",
    "Recipe",
    "Sweep",
    "Trial",
    "fit_laws",
    "plan",
    "plan_sizes",
    "read_laws",
    "train",
]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recipe_planner.packages import own

    return getattr(own(HOMES[name]), name)
