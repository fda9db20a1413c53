"""What to do with a budget: `from planner import plan`. Starts without torch, numpy, scipy or pandas.

`plan(1e13)` answers with a Plan, whose `recipe` is a Recipe and whose `laws` are a LawBook. A notebook shows each as a
table; `to_frame()` gives a pandas.DataFrame, `plot()` draws with matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipe_planner.packages import claim, public

claim(__name__)

if TYPE_CHECKING:
    from planner.answer import Calibration as Calibration
    from planner.answer import Plan as Plan
    from planner.answer import Recipe as Recipe
    from planner.candidates import Limits as Limits
    from planner.design import calibrate as calibrate
    from planner.law_book import LawBook as LawBook
    from planner.law_file import read_laws as read_laws
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
    "LawBook": "law_book",
    "read_laws": "law_file",
}
__all__ = [
    "Calibration",
    "LawBook",
    "Limits",
    "Plan",
    "Recipe",
    "SizePlan",
    "calibrate",
    "plan",
    "plan_sizes",
    "read_laws",
]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: the fitter reads planner.laws alone."""
    return public(__name__, HOMES, name)
