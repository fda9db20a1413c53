"""What becomes of a trial depends on why its attempts ended: truths over every history of attempts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.store.retry import (
    BLAMELESS,
    CAUSES,
    EXCEPTION,
    LOST,
    MEMORY,
    PREEMPTED,
    STOPPED,
    TIME,
    TRIES,
    Verdict,
    verdict,
)


@dataclass(frozen=True)
class Past:
    cause: str
    state: int = 0

    @property
    def ended(self) -> str:
        return f"ended by {self.cause}"


HISTORIES = st.lists(st.builds(Past, st.sampled_from(CAUSES), st.integers(0, 3)), max_size=8)


def advancing(*causes: str) -> list[Past]:
    """Attempts that each began further than the one before."""
    return [Past(cause, state) for state, cause in enumerate(causes)]


@pytest.mark.parametrize("cause", [STOPPED, PREEMPTED, TIME, LOST])
def test_what_advances_goes_on_without_limit(cause):
    assert verdict(advancing(*[cause] * 1000), state=1000) == Verdict()


@pytest.mark.parametrize("cause", BLAMELESS)
def test_what_others_did_never_counts(cause):
    assert verdict([Past(cause)] * 1000, state=0) == Verdict()


@pytest.mark.parametrize("cause", [TIME, LOST])
def test_two_attempts_without_progress_are_the_last(cause):
    assert not verdict([Past(cause)], 0).reason
    assert verdict([Past(cause)] * 2, 0).reason == f"ended by {cause}; given up after 2 attempts without progress"
    assert not verdict([Past(cause)] * 2, state=5).reason  # the second left a newer checkpoint
    assert verdict([Past(LOST), Past(STOPPED), Past(TIME)], 0).reason.startswith("ended by time; given up")


def test_an_exception_is_tried_twice_in_all():
    assert not verdict([Past(EXCEPTION)], 0).reason
    assert (
        verdict(advancing(EXCEPTION, PREEMPTED, EXCEPTION), 3).reason == "ended by exception; given up after 2 attempts"
    )


def test_memory_is_answered_by_half_the_micro_batch_then_a_bigger_class_once():
    assert verdict([Past(MEMORY)], 0, classes_above=3) == Verdict(smaller=1)
    assert verdict([Past(MEMORY)] * 2, 0, classes_above=3) == Verdict(smaller=1, bigger=1)
    assert "3 attempts, the last in a larger class" in verdict([Past(MEMORY)] * 3, 0, classes_above=3).reason
    assert "there is no larger class" in verdict([Past(MEMORY)] * 2, 0).reason


@given(HISTORIES, st.integers(0, 3), st.integers(0, 2))
def test_every_history_has_one_answer_and_it_is_final(history, state, above):
    found = verdict(history, state, above)
    assert found == Verdict(reason=found.reason) or not found.reason
    assert found.bigger <= min(1, above)
    if found.reason:  # no further end from the same state brings it back
        assert all(verdict([*history, Past(cause, state)], state, above).reason for cause in CAUSES)
    blamed = [past for past in history if past.cause not in BLAMELESS]
    assert verdict(blamed, state, above) == found
    assert not found.reason or len(blamed) >= TRIES


@given(st.lists(st.sampled_from(CAUSES), min_size=1), st.integers(0, 2))
def test_nothing_that_keeps_failing_goes_on_for_ever(causes, above):
    """A trial that always ends the same way, not by others' doing, is given up after three attempts at most."""
    for cause in set(causes) - set(BLAMELESS):
        assert any(verdict([Past(cause)] * count, 0, above).reason for count in (2, 3))
