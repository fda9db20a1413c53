"""What can be tried, what it costs, and getting it tried: `from sweeps import Sweep`. Starts without torch or numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipe_planner.packages import public

if TYPE_CHECKING:
    from sweeps.commands.in_python import DryRun as DryRun
    from sweeps.commands.in_python import Sweep as Sweep
    from sweeps.running.display import Snapshot as Snapshot
    from sweeps.trial import Observation as Observation
    from sweeps.trial import Training as Training
    from sweeps.trial import Trial as Trial

HOMES = {
    "Sweep": "commands.in_python",
    "DryRun": "commands.in_python",
    "Snapshot": "running.display",
    "Observation": "trial",
    "Training": "trial",
    "Trial": "trial",
}
__all__ = ["DryRun", "Observation", "Snapshot", "Sweep", "Training", "Trial"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: whoever needs one module waits for no other."""
    return public(__name__, HOMES, name)
