"""Trying it: `from runner import train`. Starts without torch and transformers, which load when something is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipe_planner.packages import claim, public

claim(__name__)

if TYPE_CHECKING:
    from runner.commands.train_recipe import train as train

HOMES = {"train": "commands.train_recipe"}
__all__ = ["train"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: the command line starts without the heavy libraries."""
    return public(__name__, HOMES, name)
