"""The lease of a claim, kept from a thread while the trial trains."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

from sweeps.store.attempts import Claim
from sweeps.store.base import Store
from sweeps.support.processes import end_descendants
from sweeps.workers.stop_requests import StopRequests

LOST_CLAIM = 75  # exit code: another worker has the trial now (EX_TEMPFAIL of sysexits.h)


class Lease:
    """Keeps a claim alive from a thread, and ends the process when the claim or the parent process is lost.

    A trainer that goes on without its claim would fight the next one for the checkpoint, hence the hard end. Once it
    is no longer `training` nothing is left to fight for: the first result stays.
    """

    def __init__(self, store: Store, claim: Claim, parent: int, stop: StopRequests) -> None:
        self.store, self.claim, self.parent, self.stop = store, claim, parent, stop
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
                if self.training and not self.stop.cancelled and self.store.is_cancelled(self.claim.trial.key):
                    self.stop.cancel()
            if time.monotonic() - renewed < every:
                continue
            try:
                alive = self.store.renew(self.claim)
                renewed = time.monotonic()
            except OSError:  # not known: hope until the lease would be over for others
                alive = time.monotonic() - renewed < self.store.lease
            if not alive and self.training:
                self._end()

    def _end(self) -> None:
        with suppress(OSError):
            self.store.files.log_trial(self.claim.trial.key, f"attempt {self.claim.attempt} lost its claim")
        end_descendants()
        os._exit(LOST_CLAIM)
