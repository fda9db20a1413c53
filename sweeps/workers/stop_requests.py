"""Signals that ask a worker to save and leave, and how its trainer hears of them."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from sweeps.store.attempts import Claim
from sweeps.store.retry import PREEMPTED, STOPPED, TIME
from sweeps.workers.options import WorkerOptions

TERMINATED = 128 + signal.SIGTERM  # exit code of a worker that was asked to leave
HASTE = 5.0  # s to save in after SIGTERM: the launcher waits ten, Slurm thirty unless told otherwise


class StopRequests:
    """What asks a worker to stop: signals, the end of its time, or that its trial is cancelled.

    A trainer that asks `requested` between its steps saves and raises SystemExit when it is true; a trainer that does
    not ask is stopped where it is.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.until = time.monotonic() + options.usable  # when to save and leave
        self.smaller = 0  # times that the trainer is to halve its micro-batch
        self.cause = ""  # why the worker leaves, of retry.CAUSES
        self.cancelled = False  # the trial is cancelled; the worker stays
        self._asked = False
        self._deadline = math.inf

    def begin(self, claim: Claim) -> StopRequests:
        """The same requests for another trial."""
        self.smaller, self._asked, self.cancelled = claim.smaller, False, False
        return self

    def requested(self) -> bool:
        """Whether to save and raise SystemExit now. Asked between two steps."""
        self._asked = True
        return bool(self.cause or self.cancelled)

    def exit_if_requested(self) -> None:
        """Asked between two trials."""
        self._asked = False
        if self.cause:
            self._exit()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, SIGTERM and SIGUSR2 make the worker leave: the second is a cluster's early warning."""
        numbers = {signal.SIGTERM: self._stop, signal.SIGUSR2: self._warn, signal.SIGALRM: self._ring}
        numbers[signal.SIGUSR1] = self._cancel
        before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
        if self.until < math.inf:  # a cluster's own warning may be a minute early or late, or never come
            signal.setitimer(signal.ITIMER_REAL, max(1.0, self.until - time.monotonic()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def cancel(self) -> None:
        """Stop the trial under way, from any thread."""
        self.cancelled = True
        os.kill(os.getpid(), signal.SIGUSR1)

    def _cancel(self, *_: object) -> None:
        if self.cancelled and not self._asked:
            sys.exit(TERMINATED)

    def _stop(self, *_: object) -> None:
        self._request(STOPPED, min(HASTE, 0.7 * self.options.grace))

    def _warn(self, *_: object) -> None:
        near = self.until - time.monotonic() < self.options.grace + 60  # Slurm may be so early
        self._request(TIME if near else PREEMPTED, 0.7 * self.options.grace)

    def _ring(self, *_: object) -> None:
        if self.cause:
            self._exit()
        self._request(TIME, 0.7 * self.options.grace)

    def _request(self, cause: str, seconds: float) -> None:
        """Ask the trainer to save within so many seconds; leave at once where it does not ask."""
        self.cause = self.cause or cause
        if not self._asked:
            self._exit()
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, self._deadline - time.monotonic()))

    def _exit(self) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)  # the way out must not be interrupted by a second one
        sys.exit(TERMINATED)
