"""What becomes of a trial after the attempts at it: it goes on, in a bigger class if need be, or is given up.

    stopped, preempted    never the trial's fault: goes on, however often
    time, lost            goes on for as long as its checkpoint advances; twice from the same one, and it is given up
    memory                once with half the micro-batch, then once in a bigger class, then it is given up
    exception             tried twice in all, for it may have been the machine

A trial that diverged has a result and is no failure. What is given up gets a result too, so that nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

STOPPED = "stopped"  # by a person, or by the launcher
PREEMPTED = "preempted"  # the cluster took the machine for somebody else
TIME = "time"  # the worker's time limit
LOST = "lost"  # its process or machine is gone
MEMORY = "memory"  # the machine's or the GPU's was not enough
EXCEPTION = "exception"  # the trainer's own
CAUSES = (STOPPED, PREEMPTED, TIME, LOST, MEMORY, EXCEPTION)
BLAMELESS = (STOPPED, PREEMPTED)
WANTED_MEMORY = (
    "MemoryError",
    "OutOfMemoryError",
    "can't allocate memory",  # torch on a CPU
    "could not create a primitive",  # its oneDNN, which gives no reason; any other fails again with less
)
TRIES = 2  # with the same exception, or from the same state


def out_of_memory(error: Exception) -> bool:
    """Whether memory was what an exception wanted. torch's own is known by its name, for torch is not imported here."""
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    return any(sign in f"{names} {error}" for sign in WANTED_MEMORY)


class Ended(Protocol):
    """An attempt without a result. state: names the checkpoint that it began from. cause: of CAUSES; ended: as said."""

    @property
    def state(self) -> int: ...
    @property
    def cause(self) -> str: ...
    @property
    def ended(self) -> str: ...


@dataclass(frozen=True)
class Verdict:
    """How the next attempt is to be made. smaller: times that the micro-batch is halved. bigger: classes above its own.

    reason: why there is to be none; "" otherwise.
    """

    smaller: int = 0
    bigger: int = 0
    reason: str = ""


def verdict(attempts: Sequence[Ended], state: int, classes_above: int = 0) -> Verdict:
    """What becomes of a trial after `attempts`, all ended, oldest first, since it was last answered for.

    state: names the checkpoint that the next would begin from. classes_above: bigger classes than the trial's own.
    """
    scarce = [attempt for attempt in attempts if attempt.cause == MEMORY]
    raised = [attempt for attempt in attempts if attempt.cause == EXCEPTION]
    same = [attempt for attempt in attempts if attempt.state == state]
    stuck = [attempt for attempt in same if attempt.cause not in (*BLAMELESS, MEMORY)]
    bigger = len(scarce) - 1 if len(scarce) > 1 else 0
    if len(raised) >= TRIES:
        return Verdict(reason=f"{raised[-1].ended}; given up after {len(raised)} attempts")
    if len(stuck) >= TRIES:
        return Verdict(reason=f"{stuck[-1].ended}; given up after {len(stuck)} attempts without progress")
    if bigger > min(1, classes_above):
        where = "in a larger class" if bigger > 1 else "with half the micro-batch, and there is no larger class"
        return Verdict(reason=f"{scarce[-1].ended}; given up after {len(scarce)} attempts, the last {where}")
    return Verdict(smaller=min(1, len(scarce)), bigger=bigger)
