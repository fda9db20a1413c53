"""What a worker process does: claim a trial, keep the claim alive while it trains, leave the result, take the next."""

from __future__ import annotations

import errno
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from sweeps.machine.eligibility import MIN_SECONDS, Eligibility
from sweeps.store.folder import LEASE, Claim, Store
from sweeps.store.postgres import open_store
from sweeps.store.retry import EXCEPTION, LOST, MEMORY, PREEMPTED, STOPPED, TIME, out_of_memory
from sweeps.support.processes import end_descendants
from sweeps.trial import Observation, Trial

LOST_CLAIM = 75  # exit code: another worker has the trial now (EX_TEMPFAIL of sysexits.h)
TIME_IS_UP = 75  # likewise: there is more to do, but not by this process
TERMINATED = 128 + signal.SIGTERM
LAUNCHER = "SWEEP_LAUNCHER"  # variable: process id of what started the worker; it may be gone before we can ask
IDLE = 0.5  # s between looks at the queue
LOOK = 20.0  # s between looks at the cluster's jobs, while idle
HASTE = 5.0  # s to save in after SIGTERM: the launcher waits ten, Slurm thirty unless told otherwise
REASON_LENGTH = 300  # characters
DISK_FULL = os.strerror(errno.ENOSPC)


class Cluster(Protocol):
    """What the worker of a cluster's job can ask of the cluster."""

    job: Mapping[str, Any]  # what its attempts note, see store.Attempt

    def requeue(self) -> bool:
        """Start this job anew unless it is being ended; True if that was done."""

    def reap(self, store: Store) -> None:
        """Record the end of attempts whose jobs run no more."""


@dataclass(frozen=True)
class Terms:
    """On what terms a worker works. size: its class; lower: whether it takes smaller ones too when none of it waits.

    seconds: time that it has, from now. grace: between a signal and the end, for saving. patience: how long it waits
    for something to do.
    """

    resource_class: str = ""
    takes_smaller: bool = True
    seconds: float = math.inf
    grace: float = 30.0
    patience: float = math.inf
    cluster: Cluster | None = None

    @property
    def usable(self) -> float:
        """Seconds for trials: the last ones are for saving."""
        return self.seconds - self.grace

    @property
    def min_seconds(self) -> float:
        """The least time to begin a trial with: of a short limit, a part."""
        return min(MIN_SECONDS, self.usable / 4)


class Orders:
    """What a worker tells its trainer, and how it leaves when a signal tells it to.

    smaller: times that the trainer is to halve its micro-batch. A trainer that asks `leave` between its steps saves
    and raises SystemExit when it is told to; one that does not ask is stopped where it is.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.until = time.monotonic() + terms.usable  # when to save and leave
        self.smaller = 0
        self.cause = ""  # why the worker leaves, of retry.CAUSES
        self.cancelled = False  # nobody wants the trial any more; the worker stays
        self._asked = False
        self._deadline = math.inf

    def begin(self, claim: Claim) -> Orders:
        """These orders for another trial."""
        self.smaller, self._asked, self.cancelled = claim.smaller, False, False
        return self

    def leave(self) -> bool:
        """Whether to save and raise SystemExit now. Asked between two steps."""
        self._asked = True
        return bool(self.cause or self.cancelled)

    def leave_now_if_told(self) -> None:
        """Asked between two trials."""
        self._asked = False
        if self.cause:
            self._go()

    @contextmanager
    def heeded(self) -> Iterator[None]:
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

    def _stop(self, *_: object) -> None:
        self._leave_by(STOPPED, min(HASTE, 0.7 * self.terms.grace))

    def _warn(self, *_: object) -> None:
        near = self.until - time.monotonic() < self.terms.grace + 60  # Slurm may be so early
        self._leave_by(TIME if near else PREEMPTED, 0.7 * self.terms.grace)

    def cancel(self) -> None:
        """Stop the trial under way, from any thread."""
        self.cancelled = True
        os.kill(os.getpid(), signal.SIGUSR1)

    def _cancel(self, *_: object) -> None:
        if self.cancelled and not self._asked:
            sys.exit(TERMINATED)

    def _ring(self, *_: object) -> None:
        if self.cause:
            self._go()
        self._leave_by(TIME, 0.7 * self.terms.grace)

    def _leave_by(self, cause: str, seconds: float) -> None:
        self.cause = self.cause or cause
        if not self._asked:
            self._go()
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, self._deadline - time.monotonic()))

    def _go(self, *_: object) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)  # the way out must not be interrupted by a second one
        sys.exit(TERMINATED)


Train = Callable[[Trial, Path, Orders], Observation]


def work(directory: Path, train: Train, lease: float = LEASE, terms: Terms = Terms()) -> int:
    """Run trials of the sweep in `directory` until it is closed and all are finished. Returns the exit code.

    `train` gets the trial, the folder it may keep a checkpoint in, as checkpoint.safetensors, and its orders. What it
    raises ends the attempt; see store/retry.py for what follows. SIGTERM and SIGUSR2 stop the worker and leave the
    trial to be continued by another. `lease`: seconds, see Store. The process leaves when its parent is gone, when it
    loses its claim, and as `terms` say.
    """
    store, orders = open_store(directory, lease), Orders(terms)
    parent = int(os.environ.get(LAUNCHER) or os.getppid())
    idle = Idle(terms)
    try:
        with orders.heeded():
            while os.getppid() == parent:
                orders.leave_now_if_told()
                eligibility = _eligibility(store, orders)
                try:
                    if claim := store.claim(eligibility):
                        _run(store, claim, train, orders, parent)
                        idle = Idle(terms)
                        continue
                    if (code := idle.over(store, eligibility)) is not None:
                        return code
                except OSError as error:  # a full disk or a cut connection may pass: what is claimed stays claimable
                    idle.complain(str(error))
                    time.sleep(10 * IDLE)
                time.sleep(IDLE)
        return 0
    except SystemExit:  # folding up torch has taken 9 s on a busy machine, as long as a launcher waits
        if terms.cluster and orders.cause:
            terms.cluster.requeue()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(TERMINATED)


def _eligibility(store: Store, orders: Orders) -> Eligibility:
    terms = orders.terms
    job = terms.cluster.job if terms.cluster else {}
    return Eligibility(
        terms.resource_class, terms.takes_smaller, orders.until, terms.min_seconds, store.requirements(), job
    )


class Idle:
    """A worker without a trial, since its making: when it leaves."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.since = self.looked = time.monotonic()
        self.complaint = ""

    def over(self, store: Store, eligibility: Eligibility) -> int | None:
        """The exit code to leave with now; None to wait on."""
        left = store.unfinished()
        if store.closed and not left:
            return _leave("all trials are finished", 0)
        if left and eligibility.seconds < self.terms.min_seconds:
            again = bool(self.terms.cluster and self.terms.cluster.requeue())
            return _leave(f"the time is up{', starting anew' if again else ''}", TIME_IS_UP)
        if time.monotonic() - self.since > self.terms.patience:
            where = f" in class {eligibility.resource_class}" if eligibility.resource_class else ""
            return _leave(f"nothing to do{where} for {self.terms.patience:g} s", 0)
        if self.terms.cluster and time.monotonic() - self.looked > LOOK:
            self.looked = time.monotonic()
            self.terms.cluster.reap(store)
        return None

    def complain(self, complaint: str) -> None:
        """Say once why it waits."""
        if complaint != self.complaint:
            self.complaint = complaint
            print(f"waiting: {complaint}", file=sys.stderr, flush=True)


def _leave(why: str, code: int) -> int:
    print(f"{why}: worker leaves", file=sys.stderr, flush=True)
    return code


def _run(store: Store, claim: Claim, train: Train, orders: Orders, parent: int) -> None:
    try:
        with Lease(store, claim, parent, orders) as lease:
            observation = _observe(store, claim, train, orders.begin(claim))
            lease.training = False
            if observation:
                _insist(claim, lambda: store.finish(observation))
    except (SystemExit, KeyboardInterrupt):
        with suppress(OSError):  # nothing may keep it from leaving; others see that it is gone
            store.end(claim.trial.key, claim.attempt, orders.cause or STOPPED)
            if orders.cancelled:
                store.stopped(claim.trial.key)
        if orders.cause or not orders.cancelled:
            raise


def _observe(store: Store, claim: Claim, train: Train, orders: Orders) -> Observation | None:
    """What `train` leaves. None when it raised: how the attempt ended is recorded then."""
    trial = claim.trial
    try:
        observation = train(trial, store.folder(trial.key), orders)
        if observation.key != trial.key:
            raise ValueError(f"training {trial.key} gave the observation of {observation.key}")
        return observation
    except Exception as error:
        if disk_is_full(error):  # not the trial's fault; the worker waits until there is space again
            _insist(claim, lambda: store.end(trial.key, claim.attempt, STOPPED, DISK_FULL))
            raise OSError(errno.ENOSPC, DISK_FULL) from None
        with suppress(OSError):
            store.log_trial(trial.key, traceback.format_exc())
        said = " ".join(traceback.format_exception_only(error)[-1].split())[:REASON_LENGTH]
        lost = LOST if isinstance(error, ChildProcessError) else EXCEPTION
        cause = MEMORY if out_of_memory(error) else lost
    _insist(claim, lambda: store.end(trial.key, claim.attempt, cause, said))
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
            print(f"{claim.trial.key}: result not written, trying again: {error}", file=sys.stderr, flush=True)
            time.sleep(10 * IDLE)


class Lease:
    """Keeps a claim alive from a thread, and ends the process when the claim or the parent process is lost.

    A trainer that goes on without its claim would fight the next one for the checkpoint, hence the hard end. Once it
    is no longer `training` nothing is left to fight for: the first result stays.
    """

    def __init__(self, store: Store, claim: Claim, parent: int, orders: Orders) -> None:
        self.store, self.claim, self.parent, self.orders = store, claim, parent, orders
        self.training = True
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        renewed = time.monotonic()
        every = self.store.lease / 5
        while not self._done.wait(min(1.0, every)):
            if os.getppid() != self.parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            with suppress(OSError):  # not known: asked again in a second
                if self.training and not self.orders.cancelled and self.store.is_cancelled(self.claim.trial.key):
                    self.orders.cancel()
            if time.monotonic() - renewed < every:
                continue
            try:
                alive = self.store.renew(self.claim)
                renewed = time.monotonic()
            except OSError:  # not known: hope until the lease would be over for others
                alive = time.monotonic() - renewed < self.store.lease
            if not alive and self.training:
                with suppress(OSError):
                    self.store.log_trial(self.claim.trial.key, f"attempt {self.claim.attempt} lost its claim")
                end_descendants()
                os._exit(LOST_CLAIM)
