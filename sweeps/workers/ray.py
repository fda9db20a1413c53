"""Workers as Ray actors: each runs one worker as a process, with the CPUs, GPUs and other resources of its class.

Actors are known by their names, which say whose sweep they are, and attempts note them as their job: an attempt whose
actor lives no more is taken over at once. A trial of several nodes has a placement group, one bundle a node. Nothing of
Ray is loaded here, see ray_driver.py; where its head is lost, it is looked for until it is back.
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from sweeps.machine.cluster_file import ClusterProfile, ResourceClass
from sweeps.store.access import access
from sweeps.store.base import Store
from sweeps.store.note import read_note
from sweeps.store.retry import LOST, STOPPED
from sweeps.workers.base import ClusterJob, Launcher, LaunchOptions, Workers, environment, sweep_name
from sweeps.workers.classes import main_memory, most_workers, wanted, worker_arguments
from sweeps.workers.lease import LOST_CLAIM
from sweeps.workers.local import GRACE
from sweeps.workers.loop import RARELY, TIME_IS_UP
from sweeps.workers.ray_job import job_of, this_actor
from sweeps.workers.ray_link import Event, Link
from sweeps.workers.stop_requests import TERMINATED

POLL = 5.0  # s between counts of what is wanted, at least
AGAIN = 5.0  # s between looks for a cluster that was lost
ABSENT = 3  # looks in a row at a cluster without an actor, after which it is gone; it may just have been made
BARREN = 3  # workers in a row that may fail before a trial is begun or ended
ANY = "any"  # in the names of actors: workers of no class
ORDINARY = (0, TIME_IS_UP, LOST_CLAIM, TERMINATED)  # exit codes of workers that left as they should


class Ray(Launcher):
    """Starts workers as actors of a Ray cluster, at most `workers` of each class; without a profile one on each GPU, or
    on each CPU where there is none."""

    def start(self, store: Store, trials: int) -> Workers:
        if find_spec("ray") is None:
            raise ValueError("the launcher ray needs the extra ray: pip install 'recipe-planner[ray]'")
        for resources in self.options.profile.classes if self.options.profile else ():
            _refuse(resources, store.shares_folder)
        return RayWorkers(store, self.options)

    @classmethod
    def this_job(cls) -> ClusterJob | None:
        return this_actor()


def _refuse(resources: ResourceClass, shares_folder: bool) -> None:
    """Raise ValueError for a class that Ray cannot serve."""
    each = resources.gpus / resources.slots
    if resources.shards:
        raise ValueError(f"class {resources.name}: shards are Slurm's; with the launcher ray give gpus and slots")
    if each > 1 and not each.is_integer():
        raise ValueError(
            f"class {resources.name}: gpus is {resources.gpus} and slots is {resources.slots}; Ray gives a worker "
            "a part of one GPU, or whole ones"
        )
    if resources.nodes > 1 and not shares_folder:
        raise ValueError(
            f"class {resources.name}: nodes is {resources.nodes}; the processes of a trial on several nodes meet in "
            "the sweep's folder, which these do not share"
        )


@dataclass(frozen=True)
class Kind:
    """One kind of workers: those of a class, or of none."""

    name: str
    """That of the class; ANY without classes."""
    most: int
    """Workers at once."""
    bundles: tuple[Mapping[str, float], ...]
    """What a worker gets on each of its nodes, as Ray names it."""
    threads: int
    """Threads of each process."""
    arguments: tuple[str, ...]
    """What its workers are told."""


class RayWorkers(Workers):
    """The actors of a sweep: as many of each class as it allows and as there are trials for."""

    def __init__(self, store: Store, options: LaunchOptions) -> None:
        self.store, self.profile, self.most = store, options.profile, options.workers
        python = self.profile.python if self.profile else ""
        self.command = [python, *options.command[1:]] if python else list(options.command)
        self.prefix = sweep_name(store)
        self.link: Link | None = self._connect()
        self.head = ""  # of the cluster; "" before it is joined
        self.cpus = self.gpus = 0.0
        self.mine: set[str] = set()  # actors started here whose end is not known
        self.started: set[str] = set()  # jobs of all actors started here
        self.barren: list[str] = []  # what workers said that failed since something happened
        self._happened = -1
        self._told: set[str] = set()  # what need not be said again
        self._absent: dict[str, int] = {}  # jobs of attempts -> looks without them
        self._counting = self._lost = 0.0  # when to count again; when the cluster was lost

    def _connect(self) -> Link:
        return Link(self.profile.address if self.profile else "", self.store.files.logs / "ray.log")

    @property
    def count(self) -> int:
        return max(1, sum(kind.most for kind in self._kinds()))

    def _kinds(self) -> list[Kind]:
        if self.profile:
            return [_kind(resources, self.profile, self.most) for resources in self.profile.classes]
        most = self.most or int(self.gpus) or int(self.cpus)
        return [Kind(ANY, most, ({"CPU": 1.0, "GPU": 1.0} if self.gpus >= 1 else {"CPU": 1.0},), 1, ())]

    def tend(self) -> list[str]:
        if self.link is None:
            if time.monotonic() - self._lost > AGAIN:
                self.link = self._connect()
            return []
        messages, living = [], None
        for event in self.link.events():
            messages += self._take(event)
            living = event if "living" in event else living
        if living is not None:
            messages += self._reap(living["living"]) + self._misfits(living["nodes"])
            if messages or time.monotonic() > self._counting:
                messages += self._start_missing(living["living"])
        return messages + (self._lose() if self.link.over else [])

    def _take(self, event: Event) -> list[str]:
        if "joined" in event:
            again, self.head = bool(self.head), event["joined"]
            return ["reconnected to the Ray cluster"] if again else []
        if "ended" in event:
            return self._end(event["ended"], event["code"], event["why"])
        self.cpus, self.gpus = event["cpus"], event["gpus"]
        return []

    def _lose(self) -> list[str]:
        """The process that talks to Ray is gone, and with it all that it started, sooner or later."""
        assert self.link is not None
        why, self.link, self._lost = self.link.last_words, None, time.monotonic()
        if not self.head:
            raise ValueError(f"{why}; see {self.store.files.logs / 'ray.log'}")
        lost = bool(self.mine)
        self.mine.clear()
        return [f"lost the Ray cluster: {why}; reconnecting"] if lost else []

    def _end(self, name: str, code: int | None, why: str) -> list[str]:
        """An actor is gone. code: its worker's exit code, None where that is not known."""
        self.mine.discard(name)
        job = job_of(name, self.head)
        begun = [attempt for key in self.store.queue() for attempt in self.store.attempts(key) if attempt.job == job]
        cause = why if code is None else f"worker killed by signal {-code}" if code < 0 else why
        keys = self._end_attempts({job}, LOST, cause)
        if code in ORDINARY and not keys:
            return []
        if code and code not in ORDINARY and not begun:
            self.barren.append(why or f"exit code {code}")
        return [f"{name}: {cause or f'exit code {code}'}{' during ' + ', '.join(keys) if keys else ''}"]

    def _end_attempts(self, jobs: set[str], cause: str, reason: str = "") -> list[str]:
        """Record how the attempts of these jobs ended that have not; the keys of their trials."""
        keys = []
        for key in self.store.unfinished():
            attempts = self.store.attempts(key)
            if attempts and not attempts[-1].ended and attempts[-1].job in jobs:
                self.store.end(key, attempts[-1].number, cause, reason)
                keys.append(key)
        return keys

    def _reap(self, living: Sequence[str]) -> list[str]:
        """Record the end of attempts whose actors were in this cluster and are not any more, whoever started them."""
        here = {job_of(name, self.head) for name in {*living, *self.mine}}
        suffix, seen = job_of("", self.head), {}
        for _, attempt, _ in self.store.running():
            if attempt.job.endswith(suffix) and attempt.job not in here:
                seen[attempt.job] = self._absent.get(attempt.job, 0) + 1
        self._absent = seen
        gone = {job for job, looks in seen.items() if looks >= ABSENT}
        return [
            f"{job} is gone during {key}" for job in gone for key in self._end_attempts({job}, LOST, f"{job} is gone")
        ]

    def _misfits(self, nodes: Sequence[Mapping[str, float]]) -> list[str]:
        """Sentences on classes whose workers must wait for other nodes than there are, each said once."""
        messages = []
        for kind in self._kinds():
            bundle = kind.bundles[0]
            fitting = sum(all(node.get(name, 0) >= amount for name, amount in bundle.items()) for node in nodes)
            if fitting < len(kind.bundles) and kind.name not in self._told:
                self._told.add(kind.name)
                takes = ", ".join(f"{name} {amount:g}" for name, amount in bundle.items())
                where = f"each of {len(kind.bundles)} nodes" if len(kind.bundles) > 1 else "its node"
                messages.append(
                    f"a worker of class {kind.name} takes {takes} on {where}; the Ray cluster has {fitting} such among "
                    f"{len(nodes)}: it waits for more"
                )
        return messages

    def _start_missing(self, living: Sequence[str]) -> list[str]:
        assert self.link is not None
        begun = time.monotonic()
        self._notice_failures()
        kinds = self._kinds()
        trials = wanted(self.store, [kind.name for kind in kinds])
        messages = []
        for kind in kinds:
            begin = f"{self.prefix}.{kind.name}."
            there = sum(name.startswith(begin) for name in {*living, *self.mine})
            new = min(kind.most, trials.get(kind.name, 0)) - there
            for _ in range(new):
                self._start(f"{begin}{secrets.token_hex(4)}", kind)
            if new > 0:
                messages.append(f"{new} {'worker' if new == 1 else 'workers'} of class {kind.name} started")
        self._counting = time.monotonic() + max(POLL, RARELY * (time.monotonic() - begun))
        return messages

    def _notice_failures(self) -> None:
        """Raise ValueError when workers only fail: what they need is not there, and more would not find it."""
        happened = sum(1 + len(self.store.attempts(key)) for key in self.store.queue())
        if happened != self._happened:
            self.barren.clear()
        self._happened = happened
        if len(self.barren) >= BARREN:
            raise ValueError(f"workers did not start: {self.barren[-1]}")

    def _start(self, name: str, kind: Kind) -> None:
        assert self.link is not None
        folder = str(self.store.directory.resolve())
        shared = self.store.shares_folder
        url = "" if shared else read_note(self.store.directory).store
        worker = [*self.command, "--sweep", folder, *(["--store", url] if url else []), *kind.arguments]
        setup = self.profile.setup if self.profile else ()
        if setup:
            lines = [*map(shlex.join, setup), f"exec {shlex.join(worker)}"]
            worker = ["bash", "-c", "\n".join(lines)]
        variables = environment(kind.threads) | access(self.store)
        variables |= self.profile.environment if self.profile else {}
        log = f"{name.replace('/', '-')}.log"
        self.mine.add(name)
        self.started.add(job_of(name, self.head))
        self.link.order(
            start={
                "name": name,
                "bundles": list(kind.bundles),
                "command": worker,
                "variables": variables,
                "folder": folder if shared else "",
                "log": str(self.store.files.logs.resolve() / log) if shared else log,
            }
        )

    def stop(self) -> None:
        try:
            if self.link:
                self.link.close(self.profile.grace if self.profile else GRACE)
        finally:
            self._end_attempts(self.started, STOPPED)


def _kind(resources: ResourceClass, profile: ClusterProfile, workers: int | None) -> Kind:
    amounts: dict[str, Any] = {
        "CPU": float(resources.cpus * resources.per_node),
        "GPU": resources.gpus / resources.slots,
        "memory": float(round(1e9 * main_memory(resources) / resources.slots)),
        **resources.resources,
    }
    bundle = {name: float(amount) for name, amount in amounts.items() if amount}
    most = most_workers(resources, workers) * resources.slots
    told = tuple(worker_arguments(resources, profile))
    return Kind(resources.name, most, (bundle,) * resources.nodes, resources.cpus, told)
