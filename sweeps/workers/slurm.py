"""Workers as Slurm jobs: one array of identical jobs for each class of resources.

A job runs one worker, or as many as its class has slots. Told by USR2 that its time is up or that somebody else wants
the machine, a worker saves, records why its attempt ended, requeues its array task and leaves. Jobs are known by their
name, which says whose sweep they are: a second `sweep run` finds those of the first.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from sweeps.machine.cluster_file import ClusterProfile, ResourceClass
from sweeps.store.base import Store
from sweeps.support.atomic import write_text
from sweeps.support.json_io import read_end
from sweeps.workers.base import ClusterJob, Launcher, LaunchOptions, Workers, environment, last_line, sweep_name
from sweeps.workers.classes import main_memory, most_workers, wanted, worker_arguments
from sweeps.workers.slurm_queue import ALIVE, WAITING, Job, ask, jobs, reap, this_task

POLL = 15.0  # s between looks at Slurm's queue
BARREN = 3  # jobs in a row that may fail before a trial is begun or ended
# The warning may come before a worker has learnt to heed it, and would end it; it leaves by its own clock then.
DEAF = "trap '' USR2; exec \"$@\""
FAREWELL = 10.0  # s that workers may take to see that all is finished


def job_name(prefix: str, resource_class: str) -> str:
    return f"{prefix}.{resource_class.replace('/', '-')}"


class Slurm(Launcher):
    """Submits workers as jobs, at most `workers` of each class of the cluster profile."""

    needs_profile = True
    detachable = True

    def start(self, store: Store, trials: int) -> Workers:
        if self.options.profile is None:
            raise ValueError("the launcher slurm needs a cluster profile; examples/slurm.toml is one")
        for name in ("sbatch", "squeue", "scancel"):
            if not shutil.which(name):
                raise ValueError(f"the launcher slurm needs the command {name}, which is not on the PATH")
        return SlurmWorkers(store, self.options.profile, self.options)

    @classmethod
    def this_job(cls) -> ClusterJob | None:
        return this_task()


class SlurmWorkers(Workers):
    """The jobs of a sweep: as many of each class as it allows and as there are trials for."""

    def __init__(self, store: Store, profile: ClusterProfile, options: LaunchOptions) -> None:
        self.store, self.profile, self.most, self.detach = store, profile, options.workers, options.detach
        self.command = [profile.python, *options.command[1:]] if profile.python else list(options.command)
        self.prefix = sweep_name(store)
        self.barren: list[str] = []  # jobs that failed since something happened
        self._ended: set[tuple[str, int]] | None = None  # jobs whose end is known, by number and restarts
        self._happened = -1
        self._looked = 0.0

    @property
    def count(self) -> int:
        return max(1, sum(most_workers(resources, self.most) * resources.slots for resources in self.profile.classes))

    def tend(self) -> list[str]:
        if self._looked and time.monotonic() - self._looked < POLL:
            return []
        first, self._looked = not self._looked, time.monotonic()
        try:
            known = jobs(self.prefix)
            messages = reap(self.store, known)
            self._notice_failures(known)
            return messages + self._submit(known)
        except ValueError as error:
            if first or self.barren:
                raise
            return [f"{error}; retrying"]  # a controller that restarts is no reason to end

    def _submit(self, known: Sequence[Job]) -> list[str]:
        trials = wanted(self.store, [resources.name for resources in self.profile.classes])
        messages = []
        for resources in self.profile.classes:
            name = job_name(self.prefix, resources.name)
            living = [job for job in known if job.name == name and job.state in (*ALIVE, *WAITING)]
            most = most_workers(resources, self.most)
            new = min(most, -(-trials.get(resources.name, 0) // resources.slots)) - len(living)
            if new > 0:
                number = ask(*self._sbatch(resources, new)).strip().partition(";")[0]
                messages.append(
                    f"job {number}: {new} {'worker' if new == 1 else 'workers'} of class {resources.name} submitted"
                )
        return messages

    def _notice_failures(self, known: Sequence[Job]) -> None:
        """Raise ValueError when jobs only fail: what they need is not there, and more of them would not find it."""
        attempts = [attempt for key in self.store.queue() for attempt in self.store.attempts(key)]
        happened = len(attempts) + len(self.store.queue())
        claimed = {attempt.job for attempt in attempts}
        ended = {(job.number, job.restarts): job for job in known if job.state not in (*ALIVE, *WAITING)}
        if self._ended is None or happened != self._happened:
            self.barren = []
        else:
            new = [job for place, job in ended.items() if place not in self._ended]
            self.barren += [job.number for job in new if job.state == "FAILED" and job.number not in claimed]
        self._ended, self._happened = set(ended), happened
        if len(self.barren) >= BARREN:
            log = self._log(known, self.barren[-1])
            raise ValueError(f"workers did not start: {last_line(read_end(log)) or 'their jobs failed'}; see {log}")

    def _log(self, known: Sequence[Job], number: str) -> Path:
        resource_class = next(job.name for job in known if job.number == number).partition(".")[2]
        return self.store.directory / "logs" / f"{resource_class}-{number}.log"

    def _sbatch(self, resources: ResourceClass, count: int) -> list[str]:
        """The command that submits `count` jobs of a class. Options go by argument, so that no shell reads them."""
        file_name = resources.name.replace("/", "-")
        logs = (self.store.directory / "logs").resolve()
        script = logs / f"{file_name}.sh"
        write_text(script, job_script(resources, self.profile, self.command, self.store.directory.resolve()))
        # With several nodes the worker is the batch script itself, and starts a step on all nodes for every trial.
        whole = resources.nodes > 1
        options = {
            "job-name": job_name(self.prefix, resources.name),
            "array": f"1-{count}",
            "open-mode": "append",
            "output": f"{str(logs).replace('%', '%%')}/{file_name}-%A_%a.log",
            "signal": f"{'B:' if whole else ''}USR2@{self.profile.grace}",
            "time": str(resources.minutes),
            "nodes": str(resources.nodes),
            "ntasks-per-node": "1" if whole else str(resources.slots),
            "cpus-per-task": str(resources.cpus * resources.per_node),
            "gpus-per-node": str(resources.gpus or ""),
            "gres": f"shard:{resources.shards}" if resources.shards else "",
            "mem": f"{1000 * main_memory(resources):.0f}M" if main_memory(resources) else "",
            "partition": resources.partition,
            "account": resources.account,
            "qos": resources.qos,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value]
        return ["sbatch", "--parsable", "--requeue", *given, *resources.options, str(script)]

    def stop(self) -> None:
        """Cancel the jobs, which save on the way. With `detach` they go on without us while there is something to do;
        where there is nothing, they leave by themselves."""
        left = any(not self.store.finished(key) for key in self.store.queue())
        if left and self.detach:
            return
        deadline = time.monotonic() + (0.0 if left else FAREWELL)
        while (living := self._living()) and time.monotonic() < deadline:
            if all(job.state in WAITING for job in living):
                break
            time.sleep(0.5)
        if living:
            ask("scancel", "--quiet", f"--name={','.join({job.name for job in living})}")

    def _living(self) -> list[Job]:
        return [job for job in jobs(self.prefix) if job.state in (*ALIVE, *WAITING)]


def job_script(resources: ResourceClass, profile: ClusterProfile, command: Sequence[str], directory: Path) -> str:
    """The script of a class's jobs. Every word of it is quoted."""
    variables = environment(resources.cpus) | dict(profile.environment)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    worker = [*command, "--sweep", str(directory), *worker_arguments(resources, profile)]
    worker += ["--seconds", str(60 * resources.minutes)]
    step = [] if resources.nodes > 1 else ["srun", "--kill-on-bad-exit=0", "bash", "-c", DEAF, "bash"]
    lines = [
        "#!/bin/bash",
        f"# Workers of class {resources.name}, written by `sweep run`.",
        *map(shlex.join, profile.setup),
    ]
    return "\n".join([*lines, *exports, "trap '' USR2", f"exec {shlex.join([*step, *worker])}", ""])
