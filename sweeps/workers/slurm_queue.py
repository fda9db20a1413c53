"""Slurm's queue: what it says of a sweep's jobs, and of the one that a worker runs in.

Nothing but sbatch, squeue, scancel and scontrol is asked; sacct need not be there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.store.attempts import Attempt
from sweeps.store.base import Store
from sweeps.store.retry import LOST, MEMORY, PREEMPTED, STOPPED, TIME
from sweeps.workers.base import ClusterJob, last_line

ASKED = 60.0  # s that a command may take
FIELDS = "JobArrayID:60,RestartCnt:12,State:24,Name:80"  # columns; of our jobs none holds a space
ALIVE = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")
WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
ENDS = {"PREEMPTED": PREEMPTED, "TIMEOUT": TIME, "DEADLINE": TIME, "OUT_OF_MEMORY": MEMORY, "CANCELLED": STOPPED}
_NUMBER = re.compile(r"\d+(?:_\d+)?")


@dataclass(frozen=True)
class Job:
    """A job as Slurm shows it. number: 12, or 12_3 in an array; restarts: how often it was put back into the queue."""

    number: str
    restarts: int
    state: str
    name: str

    def runs(self, attempt: Attempt) -> bool:
        """Whether the attempt that it began may still be running. A job that is being requeued counts its
        restart before its processes are gone."""
        return self.state == "COMPLETING" or (self.state in ALIVE and self.restarts == attempt.restarts)

    def why(self, attempt: Attempt) -> tuple[str, str]:
        """How an attempt of this job ended: its cause, and that as a sentence."""
        if self.state in (*ALIVE, *WAITING):
            return LOST, f"job {self.number} was put back into the queue"
        return ENDS.get(self.state, LOST), f"job {self.number} ended as {self.state}"


def ask(*command: str) -> str:
    """What one of Slurm's commands prints. Raises ValueError with its last line when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASKED, check=False)
    except FileNotFoundError:
        raise ValueError(f"the launcher slurm needs the command {command[0]}, which is not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"{command[0]} did not answer in {ASKED:g} s") from None
    if done.returncode:
        raise ValueError(f"{command[0]}: {last_line(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def jobs(prefix: str) -> list[Job]:
    """A sweep's jobs, those that ended lately too. Raises ValueError when Slurm does not answer."""
    listed = ask("squeue", "--noheader", "--me", "--array", "--states=all", f"--Format={FIELDS}")
    rows = [line.split() for line in listed.splitlines() if f" {prefix}." in line]
    if bad := next((row for row in rows if len(row) != 4 or not row[1].isdecimal()), None):
        raise ValueError(f"squeue printed {' '.join(bad)!r} where {FIELDS} was asked for")
    return [Job(row[0], int(row[1]), row[2], row[3]) for row in rows]


def reap(store: Store, known: Sequence[Job]) -> list[str]:
    """Record the end of attempts whose jobs run no more; what happened, as sentences.

    A job that Slurm does not list proves nothing: it may be another cluster's. The lease decides then.
    """
    by_number = {job.number: job for job in known}
    messages = []
    for key in store.queue():
        attempts = [] if store.finished(key) else store.attempts(key)
        if not attempts or attempts[-1].ended or not (job := by_number.get(attempts[-1].job)):
            continue
        if not job.runs(attempts[-1]):
            cause, sentence = job.why(attempts[-1])
            store.end(key, attempts[-1].number, cause, sentence)
            messages.append(f"{sentence} during {key}")
    return messages


class ArrayTask(ClusterJob):
    """The job that this worker runs in, a task of an array."""

    def __init__(self, number: str, restarts: int, prefix: str) -> None:
        self.number, self.restarts, self.prefix = number, restarts, prefix

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"job": self.number, "restarts": self.restarts}

    @property
    def port(self) -> int:
        return 20000 + _whole(os.environ.get("SLURM_JOB_ID", "")) % 20000

    def step(self, nodes: int) -> list[str]:
        step = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
        return [*step, "--kill-on-bad-exit=1", "--wait=30"]

    def requeue(self) -> bool:
        """Put this job back into the queue, unless it is being cancelled or was put back already."""
        try:
            mine = [job for job in jobs(self.prefix) if job.number == self.number]
            if not mine or mine[0].state != "RUNNING" or mine[0].restarts != self.restarts:
                return False
            ask("scontrol", "requeue", self.number)
        except ValueError as error:  # it ends all the same; the launcher starts another
            print(f"not requeued: {error}", file=sys.stderr, flush=True)
            return False
        return True

    def reap(self, store: Store) -> None:
        try:
            for sentence in reap(store, jobs(self.prefix)):
                print(sentence, file=sys.stderr, flush=True)
        except ValueError as error:  # squeue may not be there on a node; the lease still is
            print(f"other jobs cannot be seen: {error}", file=sys.stderr, flush=True)


def this_task() -> ArrayTask | None:
    """The job that this process runs in; None outside Slurm."""
    variables = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_JOB_NAME")
    array, task, job, restarts, name = (os.environ.get(variable, "") for variable in variables)
    number = f"{array}_{task}" if array and task else job
    return ArrayTask(number, _whole(restarts), name.partition(".")[0]) if _NUMBER.fullmatch(number) else None


def _whole(text: str) -> int:
    """A variable of Slurm's as a number; 0 for what it never sets."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0
