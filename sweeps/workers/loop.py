"""What a worker process does: claim a trial, keep the claim alive while it trains, leave the result, take the next."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sweeps.machine.eligibility import Eligibility
from sweeps.store.attempts import LEASE, Claim
from sweeps.store.base import Store
from sweeps.store.open import open_store
from sweeps.store.retry import EXCEPTION, LOST, MEMORY, STOPPED, out_of_memory
from sweeps.support.console import sentence
from sweeps.trial import Observation, Trial
from sweeps.workers.carrier import Carrier, NotFetched
from sweeps.workers.lease import Lease
from sweeps.workers.options import WorkerOptions
from sweeps.workers.stop_requests import TERMINATED, StopRequests

TIME_IS_UP = 75  # exit code: there is more to do, but not by this process (EX_TEMPFAIL of sysexits.h)
PARENT = "SWEEP_LAUNCHER"  # variable: process id of what started the worker; it may be gone before we can ask
IDLE = 0.5  # s between looks at the queue, at least
# Times as long as a look at all trials took, until the next: what a thousand idle workers ask of the store, or what
# `sweep run` asks about a thousand trials, must not slow down those that train.
RARELY = 10
LONGEST = 10.0  # s between looks at the queue, at most
LOOK = 20.0  # s between looks at the cluster's jobs, while idle
REASON_LENGTH = 300  # characters
DISK_FULL = os.strerror(errno.ENOSPC)

Train = Callable[[Trial, Path, StopRequests], Observation]


def work(directory: Path, train: Train, lease: float = LEASE, options: WorkerOptions = WorkerOptions()) -> int:
    """Run trials of the sweep in `directory` until it is closed and all are finished. Returns the exit code.

    `train` gets the trial, the folder it may keep a checkpoint in, as checkpoint.safetensors, and the requests to stop.
    What it raises ends the attempt; see store/retry.py for what follows. SIGTERM and SIGUSR2 stop the worker and leave
    the trial to be continued by another. The process leaves when its parent is gone, when it loses its claim, and as
    `options` say. lease: seconds, see Store.
    """
    store, stop = open_store(directory, lease), StopRequests(options)
    store.files.refuse_links()
    named = os.environ.get(PARENT, "")
    parent = int(named) if named.isdecimal() else os.getppid()
    idle = IdleTimer(options)
    try:
        with stop.installed():
            while os.getppid() == parent:
                stop.exit_if_requested()
                began = time.monotonic()
                eligibility = _eligibility(store, stop)
                try:
                    claim = store.claim(eligibility)
                    idle.complaint = ""
                    if claim:
                        idle = IdleTimer(options)
                        _run(store, claim, train, stop, parent)
                        idle = IdleTimer(options)
                        continue
                except OSError as error:  # a full disk or a cut connection may pass: what is claimed stays claimable
                    idle.complain(sentence(error))
                    time.sleep(10 * IDLE)
                    began = time.monotonic()
                if (code := idle.over(store, eligibility)) is not None:
                    return code
                time.sleep(max(IDLE, store.pause, min(RARELY * (time.monotonic() - began), LONGEST)))
        return 0
    except SystemExit:  # folding up torch has taken 9 s on a busy machine, as long as a launcher waits
        if options.job and stop.cause:
            options.job.requeue()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(TERMINATED)


def _eligibility(store: Store, stop: StopRequests) -> Eligibility:
    options = stop.options
    return Eligibility(
        options.resource_class,
        options.takes_smaller,
        stop.until,
        options.min_seconds,
        store.requirements(),
        options.job.identity if options.job else {},
    )


class IdleTimer:
    """How long a worker has been without a trial, and when it leaves for that."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.since = self.looked = time.monotonic()
        self.complaint = ""

    def over(self, store: Store, eligibility: Eligibility) -> int | None:
        """The exit code to leave with now; None to wait on."""
        try:
            left = store.unfinished()
        except OSError as error:  # as above: it may pass
            self.complain(sentence(error))
            return None
        if store.closed and not left:
            return _leave("all trials are finished", 0)
        if left and eligibility.seconds < self.options.min_seconds:
            again = bool(self.options.job and self.options.job.requeue())
            return _leave(f"the time limit is reached{', restarting' if again else ''}", TIME_IS_UP)
        if time.monotonic() - self.since > self.options.patience:
            where = f" in class {eligibility.resource_class}" if eligibility.resource_class else ""
            why = f", because {self.complaint}" if self.complaint else ""
            return _leave(f"nothing to do{where} for {self.options.patience:g} s{why}", 0)
        if self.options.job and time.monotonic() - self.looked > LOOK:
            self.looked = time.monotonic()
            self.options.job.reap(store)
        return None

    def complain(self, complaint: str) -> None:
        """Say once why it waits."""
        if complaint != self.complaint:
            self.complaint = complaint
            print(f"waiting: {complaint}", file=sys.stderr, flush=True)


def _leave(why: str, code: int) -> int:
    print(f"{why}: worker stops", file=sys.stderr, flush=True)
    return code


def _run(store: Store, claim: Claim, train: Train, stop: StopRequests, parent: int) -> None:
    try:
        with Lease(store, claim, parent, stop) as lease:
            with Carrier(store, claim) as carrier:
                observation = _observe(store, claim, train, stop.begin(claim))
                carrier.finished = observation is not None
            lease.training = False
            if observation:
                _insist(claim, lambda: store.finish(observation))
    except NotFetched as error:  # not the trial's fault; the worker waits until it can be had again
        why = str(error)
        _insist(claim, lambda: store.end(claim.trial.key, claim.attempt, STOPPED, why))
        raise OSError(why) from None
    except (SystemExit, KeyboardInterrupt):
        with suppress(OSError):  # nothing may keep it from leaving; others see that it is gone
            store.end(claim.trial.key, claim.attempt, stop.cause or STOPPED)
            if stop.cancelled:
                store.stopped(claim.trial.key)
        if stop.cause or not stop.cancelled:
            raise


def _observe(store: Store, claim: Claim, train: Train, stop: StopRequests) -> Observation | None:
    """What `train` leaves. None when it raised: how the attempt ended is recorded then."""
    trial = claim.trial
    try:
        observation = train(trial, store.folder(trial.key), stop)
        if observation.key != trial.key:
            raise ValueError(f"training {trial.key} gave the observation of {observation.key}")
        return observation
    except Exception as error:
        if disk_is_full(error):  # not the trial's fault; the worker waits until there is space again
            _insist(claim, lambda: store.end(trial.key, claim.attempt, STOPPED, DISK_FULL))
            raise OSError(errno.ENOSPC, DISK_FULL) from None
        with suppress(OSError):
            store.files.log_trial(trial.key, traceback.format_exc())
        reason = " ".join(traceback.format_exception_only(error)[-1].split())[:REASON_LENGTH]
        lost = LOST if isinstance(error, ChildProcessError) else EXCEPTION
        cause = MEMORY if out_of_memory(error) else lost
    _insist(claim, lambda: store.end(trial.key, claim.attempt, cause, reason))
    return None


def disk_is_full(error: Exception) -> bool:
    """Whether space on a disk or in a quota was what an exception wanted. safetensors' own is known by its words."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or DISK_FULL in str(error)


def _insist(claim: Claim, write: Callable[[], object]) -> None:
    """Write how an attempt ended; a full disk or a cut connection is waited out, for the training is already paid."""
    while True:
        try:
            write()
            return
        except OSError as error:
            print(f"{claim.trial.key}: result not written; retrying: {error}", file=sys.stderr, flush=True)
            time.sleep(10 * IDLE)
