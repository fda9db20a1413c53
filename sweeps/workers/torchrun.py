"""One trial trained by several processes: torchrun in a session of its own, until nothing of it is left.

The worker claims and keeps the claim; the ranks train. They meet in a folder beside the checkpoint: trial.json says
what to train, `leave` gets a byte when they are to save and go, observation.json is the result, written before the
ranks take their group apart, for that has been seen to hang (8 of 72 runs with gloo on a loaded machine).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeps.store.records import read_record
from sweeps.store.retry import WANTED_MEMORY
from sweeps.support.atomic import append_text
from sweeps.support.processes import die_with_parent, end_group, own_code
from sweeps.trial import Observation, Trial
from sweeps.workers.base import ClusterJob, last_line, memory_environment
from sweeps.workers.stop_requests import TERMINATED, StopRequests

TORCHRUN = (sys.executable, "-P", "-m", "torch.distributed.run")
RANK = ("-m", "runner.cli", "rank")
AFTER = 20.0  # s that ranks may take to end once the result is there
POLL = 0.1  # s
LINE = 300  # characters of an error that are kept


@dataclass(frozen=True)
class TorchrunTrainer:
    """Trains each trial with several processes."""

    processes: int
    """Processes on each node."""
    nodes: int = 1
    """Nodes of one trial; several need a cluster's job around them."""
    arguments: tuple[str, ...] = ()
    """What every rank is given besides the trial."""
    job: ClusterJob | None = None
    """The cluster's job that the worker runs in."""
    rank: tuple[str, ...] = RANK
    """What starts a rank."""

    def __post_init__(self) -> None:
        if self.nodes > 1 and not self.job:
            raise ValueError(f"a trial on {self.nodes} nodes needs a cluster's job around its worker")

    def command(self, folder: Path) -> list[str]:
        """What starts all ranks of the trial in `folder`."""
        each = ["--nproc-per-node", str(self.processes)]
        if not self.job or self.nodes == 1:
            return [*TORCHRUN, "--standalone", *each, *self.rank, str(folder), *self.arguments]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{self.job.host}:{self.job.port}"]
        meeting += ["--rdzv-id", folder.name, "--nnodes", str(self.nodes)]
        return [*self.job.step(self.nodes), *TORCHRUN, *meeting, *each, *self.rank, str(folder), *self.arguments]

    def train(self, trial: Trial, folder: Path, stop: StopRequests) -> Observation:
        """The observation of `trial`, as `sweeps.workers.loop.Train`. Raises MemoryError when the ranks wanted memory,
        ChildProcessError when one was killed, RuntimeError with their last words for anything else."""
        meeting = Path(tempfile.mkdtemp(prefix="ranks-", dir=folder))
        try:
            (meeting / "trial.json").write_text(json.dumps(trial.to_json()), encoding="utf-8")
            (meeting / "leave").touch()
            with open(meeting / "output", "ab") as output:
                command = [*self.command(meeting), "--smaller", str(stop.smaller)]
                process = subprocess.Popen(
                    command,
                    env=os.environ | memory_environment() | own_code(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=_alone,  # noqa: PLW1509 (two calls into C, which take no lock)
                )
            try:
                _await(process, meeting, stop)
            finally:
                end_group(process)
            return _result(process.returncode, meeting, folder)
        finally:
            shutil.rmtree(meeting, ignore_errors=True)


def _alone() -> None:
    """In the new process: a session of its own, and an end with the worker's, however that comes."""
    os.setsid()
    die_with_parent(signal.SIGTERM)


def _await(process: subprocess.Popen[bytes], meeting: Path, stop: StopRequests) -> None:
    """Until the ranks have ended, or should have."""
    since = None
    while process.poll() is None:
        if stop.requested() and not (meeting / "leave").stat().st_size:
            (meeting / "leave").write_bytes(b"!")  # in place: a network file system shows that at the next opening
        if (meeting / "observation.json").exists():
            since = since or time.monotonic()
            if time.monotonic() - since > AFTER:
                return
        time.sleep(POLL)


def _result(code: int, meeting: Path, folder: Path) -> Observation:
    with suppress(FileNotFoundError):
        observation: Observation = read_record(Observation, meeting / "observation.json")
        return observation
    if (meeting / "left").exists():
        raise SystemExit(TERMINATED)
    output = (meeting / "output").read_text(encoding="utf-8", errors="replace")
    with suppress(OSError):
        append_text(folder / "log.txt", output)
    if any(sign in output for sign in WANTED_MEMORY):
        raise MemoryError(_words(output, WANTED_MEMORY))
    if "SIGKILL" in output or code == -signal.SIGKILL:
        raise ChildProcessError(f"a process of the trial was killed (exit code {code})")
    raise RuntimeError(f"ranks ended with exit code {code}: {_words(output, ('error:', 'Error:'))}")


def _words(output: str, signs: Sequence[str]) -> str:
    """The last line with one of the signs, else the last of all."""
    lines = [line.strip() for line in output.split("\n") if any(sign in line for sign in signs)]
    return (lines[-1] if lines else last_line(output))[:LINE]


def told_to_leave(meeting: Path) -> Callable[[], bool]:
    """For a rank: whether the worker wants it to save and go. It opens the file, which a network file system checks."""
    next_look = 0.0

    def told() -> bool:
        nonlocal next_look
        if time.monotonic() < next_look:
            return False
        next_look = time.monotonic() + 0.5
        try:
            return bool((meeting / "leave").read_bytes())
        except FileNotFoundError:  # the worker is gone and has tidied up
            return True

    return told
