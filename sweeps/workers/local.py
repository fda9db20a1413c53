"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from sweeps.machine.cores import available_cores, gpus, trials_at_once
from sweeps.store.base import Store
from sweeps.store.retry import LOST, STOPPED
from sweeps.support.atomic import following_no_link
from sweeps.support.json_io import read_end
from sweeps.support.processes import signal_group
from sweeps.workers.base import Launcher, Workers, environment, last_line
from sweeps.workers.lease import LOST_CLAIM
from sweeps.workers.loop import PARENT

GRACE = 10.0  # s between asking a worker to stop and ending it
BARREN = 3  # workers in a row that may end by themselves before they claim a trial


class Local(Launcher):
    """Starts `slots` workers on each GPU, or one on each core where there is none."""

    here = True

    def start(self, store: Store, trials: int) -> Workers:
        at_once = self.options.workers or trials_at_once(self.options.slots)
        return LocalWorkers(store, min(trials, at_once), self.options.command)


class LocalWorkers(Workers):
    """Processes on this machine, each in its own process group, on its own cores, with as many threads."""

    def __init__(self, store: Store, count: int, command: Sequence[str]) -> None:
        self.store, self._count, self.command = store, count, command
        self.barren = 0
        self.processes = [self._start(index) for index in range(count)]

    @property
    def count(self) -> int:
        return self._count

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        cores, devices = available_cores(), gpus()
        share = len(cores) // self.count
        variables = os.environ | environment(share) | {PARENT: str(os.getpid())}
        if devices:
            variables["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        with open(self.store.files.worker_log(index + 1), "ab", opener=following_no_link) as log:
            process = subprocess.Popen(
                [*self.command, "--sweep", str(self.store.directory)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only us, and a worker's own children end with it
            )
        if share and hasattr(os, "sched_setaffinity"):
            # Before it has a second thread; those made later inherit the cores.
            with suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cores[index * share : (index + 1) * share])
        return process

    def tend(self) -> list[str]:
        messages = []
        for index, process in enumerate(self.processes):
            if process.poll() is None:
                continue
            cause = self._cause(index, process.returncode)
            keys = _end_attempts(self.store, process.pid, LOST, cause)
            self.barren = 0 if keys or process.returncode == LOST_CLAIM else self.barren + 1
            # Being killed says less about the worker than ending with an error does.
            if self.barren >= (BARREN if process.returncode >= 0 else 10 * BARREN):
                raise ValueError(f"workers did not start: {cause}; see {self.store.files.worker_log(index + 1)}")
            messages.append(f"{cause}{' during ' + ', '.join(keys) if keys else ''}; restarted")
            self.processes[index] = self._start(index)
        return messages

    def _cause(self, index: int, code: int) -> str:
        if code == LOST_CLAIM:
            return "worker lost its claim to another worker"
        if code == -signal.SIGKILL:
            return "worker killed by signal 9 (out of memory?)"
        if code < 0:
            return f"worker killed by signal {-code} ({signal.strsignal(-code)})"
        last = last_line(read_end(self.store.files.worker_log(index + 1)))
        return f"worker ended with exit code {code}{': ' + last if last else ''}"

    def stop(self) -> None:
        for process in self.processes:
            signal_group(process, signal.SIGTERM)
        try:
            deadline = time.monotonic() + GRACE
            while any(process.poll() is None for process in self.processes) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:  # a second Ctrl-C ends the patience, not the cleaning up
            for process in self.processes:
                signal_group(process, signal.SIGKILL)
                process.wait()
                _end_attempts(self.store, process.pid, STOPPED)


def _end_attempts(store: Store, pid: int, cause: str, reason: str = "") -> list[str]:
    """Record how the attempts of a dead process of ours ended; the keys of their trials."""
    keys = []
    for key in store.unfinished():
        attempts = store.attempts(key)
        if attempts and attempts[-1].here and attempts[-1].pid == pid:
            store.end(key, attempts[-1].number, cause, reason)
            keys.append(key)
    return keys
