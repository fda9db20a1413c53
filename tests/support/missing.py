"""What this machine lacks: tests of it are skipped, and the end of the run says so in a line of its own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_SAYS = "NOT TESTED: "


def missing(what: str, why: str) -> None:
    """Skip a test for want of something on this machine."""
    pytest.skip(f"{_SAYS}{what}: {why}")


def not_tested(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """The lines to end a run with, from its reports: those of other processes come with them."""
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)}
    return sorted(reason for reason in reasons if reason.startswith(_SAYS))
