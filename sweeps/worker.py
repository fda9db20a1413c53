"""What a worker process does: claim a trial, keep the claim alive while it trains, leave the result, take the next."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sweeps.store import LEASE, STOPPED, Claim, Store
from sweeps.trial import Observation, Trial, failure

LOST_CLAIM = 75  # exit code: another worker has the trial now (EX_TEMPFAIL of sysexits.h)
TERMINATED = 128 + signal.SIGTERM
IDLE = 0.5  # s between looks at the queue
REASON_LENGTH = 300  # characters

Train = Callable[[Trial, Path], Observation]


def work(directory: Path, train: Train, lease: float = LEASE) -> int:
    """Run trials of the sweep in `directory` until it is closed and all are finished. Returns the exit code.

    `train` gets the trial and the folder it may keep a checkpoint in, as checkpoint.safetensors. What it raises
    becomes a failed observation. SIGTERM stops the worker and leaves the trial to be continued by another.
    `lease`: seconds, see Store. The process leaves when its parent is gone, and when it loses its claim.
    """
    store, parent = Store(directory, lease), os.getppid()
    before = signal.signal(signal.SIGTERM, _terminate)
    complaint = ""
    try:
        while os.getppid() == parent:
            try:
                if claim := store.claim():
                    _run(store, claim, train, parent)
                    continue
                if store.closed and all(store.finished(key) for key in store.queue()):
                    break
            except OSError as error:  # a full disk or a cut connection may pass: what is claimed stays claimable
                if str(error) != complaint:
                    complaint = str(error)
                    print(f"waiting: {complaint}", file=sys.stderr, flush=True)
                time.sleep(10 * IDLE)
            time.sleep(IDLE)
        return 0
    except SystemExit:  # folding up torch has taken 9 s on a busy machine, as long as a launcher waits
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the way out must not be interrupted by a second one
    sys.exit(TERMINATED)


def _run(store: Store, claim: Claim, train: Train, parent: int) -> None:
    try:
        with Lease(store, claim, parent) as lease:
            observation = _observe(store, claim.trial, train)
            lease.training = False
            _finish(store, observation)
    except (SystemExit, KeyboardInterrupt):
        store.end(claim.trial.key, claim.attempt, STOPPED)
        raise


def _observe(store: Store, trial: Trial, train: Train) -> Observation:
    """What `train` leaves, whatever becomes of it."""
    start = time.monotonic()
    try:
        observation = train(trial, store.folder(trial.key))
        if observation.key != trial.key:
            raise ValueError(f"training {trial.key} gave the observation of {observation.key}")
        return observation
    except Exception as error:
        with suppress(OSError):
            store.log_trial(trial.key, traceback.format_exc())
        reason = " ".join(traceback.format_exception_only(error)[-1].split())
        return failure(trial, reason[:REASON_LENGTH], total_seconds=time.monotonic() - start)


def _finish(store: Store, observation: Observation) -> None:
    """Leave the result; a full disk or a cut connection is waited out, for the training is already paid for."""
    while True:
        try:
            store.finish(observation)
            return
        except OSError as error:
            print(f"{observation.key}: result not written, trying again: {error}", file=sys.stderr, flush=True)
            time.sleep(10 * IDLE)


class Lease:
    """Keeps a claim alive from a thread, and ends the process when the claim or the parent process is lost.

    A trainer that goes on without its claim would fight the next one for the checkpoint, hence the hard end. Once it
    is no longer `training` nothing is left to fight for: the first result stays.
    """

    def __init__(self, store: Store, claim: Claim, parent: int) -> None:
        self.store, self.claim, self.parent = store, claim, parent
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
                os._exit(LOST_CLAIM)
