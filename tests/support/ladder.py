"""Six sizes of the nano suite, each about four times the last: the models of made-up sweeps."""

from __future__ import annotations

from sweeps.models import find_model

NANO = tuple(find_model(f"nano-{size}") for size in ("7k", "25k", "100k", "340k", "1.2m", "4.7m"))
