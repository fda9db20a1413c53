"""What a probe of a place for sweeps finds."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.store.attempts import LEASE

LATE = LEASE / 3  # s after which a change must be seen, for a worker renews every LEASE / 5


@dataclass(frozen=True)
class Finding:
    """One promise."""

    promise: str
    """What must hold, in words."""
    holds: bool
    """Whether it did."""
    figure: str
    """What was measured, in words."""
