"""Waiting for what another process or thread is to do: as long as it takes, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Ask `condition` fifty times a second until it is true; an AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)
