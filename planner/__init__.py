"""What to do with a budget: `from planner import plan`. Starts without torch, numpy, scipy or pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.answer import Calibration as Calibration
    from planner.answer import Plan as Plan
    from planner.answer import Recipe as Recipe
    from planner.candidates import Limits as Limits
    from planner.design import calibrate as calibrate
    from planner.recipe import plan as plan
    from planner.size_plan import SizePlan as SizePlan
    from planner.size_plan import plan_sizes as plan_sizes

HOMES = {
    "plan": "recipe",
    "plan_sizes": "size_plan",
    "calibrate": "design",
    "Calibration": "answer",
    "Plan": "answer",
    "Recipe": "answer",
    "SizePlan": "size_plan",
    "Limits": "candidates",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: the fitter reads planner.laws alone."""
    if name not in HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"planner.{HOMES[name]}"), name)
