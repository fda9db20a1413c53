"""What a worker carries between its own folder and where other machines can read it: checkpoints and logs of a trial.

A trainer knows of its folder alone. Before it begins, the newest copy of the trial's checkpoint is fetched into it;
whatever it saves there is copied from a thread, and once more when it ends without a result.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sweeps.store.attempts import Claim
from sweeps.store.base import Store
from sweeps.support.console import sentence

LOOK = 1.0  # s between looks at the trial's folder


class NotFetched(Exception):
    """The copy of a checkpoint cannot be had now, and why."""


class Carrier:
    """Fetches a trial's checkpoint, and copies what its trainer saves and says. Used around the training."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self.store, self.claim = store, claim
        self.finished = False  # whether there is a result: the checkpoint is of no more use
        self._log = store.files.log_file(claim.trial.key)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._failing = False

    def __enter__(self) -> Carrier:
        key = self.claim.trial.key
        try:
            for said in self.store.fetch_checkpoint(self.claim.trial):
                self.store.log_trial(key, said)
        except OSError as error:
            raise NotFetched(f"its checkpoint cannot be fetched: {sentence(error)}") from None
        self._copied = self.store.files.checkpointed(key)
        self._told = _size(self._log)
        if not self.store.shares_folder or self.store.checkpoints:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()  # a signal may cut it short; a copy that was begun is then as if it had not been

    def _keep(self) -> None:
        while not self._done.wait(LOOK):
            self._look()
        self._look()

    def _look(self) -> None:
        """Copy what is new. What cannot be copied now is tried at the next look, and that is said once."""
        try:
            changed = self.store.files.checkpointed(self.claim.trial.key)
            if changed != self._copied and not self.finished:
                self.store.copy_checkpoint(self.claim)
                self._copied = changed
            self._share_log()
            self._failing = False
        except OSError as error:
            if not self._failing:
                why = f"{self.claim.trial.key}: not copied for other machines; retrying: {sentence(error)}"
                print(why, file=sys.stderr, flush=True)
            self._failing = True

    def _share_log(self) -> None:
        if self.store.shares_folder or (size := _size(self._log)) <= self._told:
            return
        with open(self._log, "rb") as file:
            file.seek(self._told)
            added = file.read(size - self._told)
        self.store.share_log(self.claim.trial.key, added.decode("utf-8", errors="replace"))
        self._told = size


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
