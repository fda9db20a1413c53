"""The process that talks to Ray for `sweep run`: it starts and ends actors as it is ordered, and tells what is there.

It is apart because Ray's library ends the process that it is in when the cluster's head is gone; `sweep run` starts
another then. Orders come by standard input, and what it tells goes to standard output, a JSON object a line:

    {"start": {"name": ..., "bundles": [...], "command": [...], "variables": {...}, "folder": ..., "log": ...}}
    {"stop": [names], "grace": seconds}
    {"joined": id of the cluster's head}
    {"living": [names of all actors of sweeps], "cpus": ..., "gpus": ..., "nodes": [what each has]}
    {"ended": name, "code": exit code, null where the actor was lost, "why": ...}

When standard input ends it stops all that it started, and ends itself.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from sweeps.machine.cores import available_cores
from sweeps.workers import ray_node
from sweeps.workers.loop import PARENT
from sweeps.workers.ray_job import ADDRESS, HEAD, HOST, NAME, NAMESPACE

LOOK = 1.0  # s between looks at the cluster
DEAF = 90  # s without an answer of the cluster after which it is lost; Ray itself waits 60
ANSWER = 3.0  # s within which an actor says that it was told to stop
SAVE = 10.0  # s that workers have to save in unless told otherwise
NO_CLUSTER = 69  # exit code (EX_UNAVAILABLE of sysexits.h)
HEAD_RESOURCE = "node:__internal_head__"  # a resource that the head alone has


def main(address: str) -> int:
    """Serve until standard input ends. address: of the cluster, "" for one that is found or else started here."""
    tell = _teller()
    signal.alarm(DEAF)
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, orders), daemon=True).start()
    try:
        driver = Driver(_join(address), tell)
    except Exception as error:  # Ray raises whatever its parts raise
        print(f"no Ray cluster{_at(address)}: {_first_line(error)}", file=sys.stderr)
        return NO_CLUSTER
    return driver.serve(orders)


def _at(address: str) -> str:
    where = address or os.environ.get("RAY_ADDRESS", "")
    return f" at {where}" if where else ""


def _teller() -> IO[str]:
    """Where to tell; what Ray prints goes to standard error instead."""
    out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    return out


def _listen(lines: IO[str], orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in lines:
        orders.put(json.loads(line))
    orders.put({"end": True})


def _join(address: str) -> Any:
    """Ray, connected."""
    import ray

    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
    alone: dict[str, Any] = {"num_cpus": len(available_cores()), "include_dashboard": False}
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address:
        _reach(address)
        ray.init(address, **options, **(alone if address == "local" else {}))
        return ray
    try:
        ray.init("auto", **options)
    except ConnectionError:
        ray.init("local", **options, **alone)
    return ray


def _reach(address: str) -> None:
    """Raise OSError unless somebody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()


class Driver:
    """The actors that were started by this process."""

    def __init__(self, ray: Any, tell: IO[str]) -> None:
        self.ray, self.tell = ray, tell
        ray.cloudpickle.register_pickle_by_value(ray_node)
        self.worker = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=4)(ray_node.WorkerProcess)
        self.actors: dict[Any, tuple[str, Any, Any]] = {}  # by what `run` returns: name, actor, placement group
        self.address = ray.get_runtime_context().gcs_address
        self.head = next((node["NodeID"] for node in ray.nodes() if HEAD_RESOURCE in node["Resources"]), self.address)

    def serve(self, orders: queue.SimpleQueue[dict[str, Any]]) -> int:
        self._say(joined=self.head)
        while True:
            signal.alarm(DEAF)  # a call to a cluster that is gone may never return
            self._look()
            deadline = time.monotonic() + LOOK
            while (left := deadline - time.monotonic()) > 0:
                try:
                    order = orders.get(timeout=min(left, 0.2))
                except queue.Empty:
                    self._tell_ended()
                    continue
                if "start" in order:
                    self._start(**order["start"])
                else:
                    self._stop(order.get("stop"), order.get("grace", SAVE))
                if "end" in order:
                    return 0

    def _say(self, **what: Any) -> None:
        try:
            print(json.dumps(what), file=self.tell, flush=True)
        except BrokenPipeError:  # nobody listens: the end of the orders comes next
            return

    def _look(self) -> None:
        nodes = [dict(node["Resources"]) for node in self.ray.nodes() if node["Alive"]]
        totals = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
        living = self.ray.util.list_named_actors()
        self._say(living=living, cpus=totals["CPU"], gpus=totals["GPU"], nodes=nodes)

    def _start(
        self,
        name: str,
        bundles: list[dict[str, float]],
        command: list[str],
        variables: Mapping[str, str],
        folder: str,
        log: str,
    ) -> None:
        """Start a worker under a name. bundles: resources of each of its nodes, all on different ones."""
        group = None
        if len(bundles) > 1:
            group = self.ray.util.placement_group(bundles, strategy="STRICT_SPREAD", name=name)
            strategy = self.ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, 0)
            options = {"num_cpus": 0, "scheduling_strategy": strategy}  # the parts of its trials take what there is
        else:
            kinds = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
            options = {kinds[kind]: amount for kind, amount in bundles[0].items() if kind in kinds}
            options["resources"] = {kind: amount for kind, amount in bundles[0].items() if kind not in kinds}
        actor = self.worker.options(name=name, **options).remote()
        ours = {NAME: name, HEAD: self.head, ADDRESS: self.address}
        self.actors[actor.run.remote(command, {**variables, **ours}, (PARENT, HOST), folder, log)] = (
            name,
            actor,
            group,
        )

    def _tell_ended(self) -> None:
        if not self.actors:
            return
        for ref in self.ray.wait(list(self.actors), num_returns=len(self.actors), timeout=0)[0]:
            name, actor, group = self.actors.pop(ref)
            code: int | None = None
            try:
                code, why = self.ray.get(ref)
            except self.ray.exceptions.ActorUnavailableError:  # the connection broke; the actor may live
                self.actors[actor.outcome.remote()] = (name, actor, group)
                continue
            except self.ray.exceptions.RayError as error:
                why = _first_line(error)
            self._remove(actor, group)
            self._say(ended=name, code=code, why=why)

    def _remove(self, actor: Any, group: Any) -> None:
        self.ray.kill(actor)
        if group is not None:
            self.ray.util.remove_placement_group(group)

    def _stop(self, names: list[str] | None, grace: float) -> None:
        """Let these workers save and leave, all where no names are given, then end their actors."""
        chosen = {ref: what for ref, what in self.actors.items() if names is None or what[0] in names}
        asked = {actor.stop.remote(): ref for ref, (_, actor, _) in chosen.items()}
        signal.alarm(int(grace) + DEAF)
        if chosen:  # an actor that waits for its node has nothing to save, and does not answer
            answered = self.ray.wait(list(asked), num_returns=len(asked), timeout=min(ANSWER, grace))[0]
            if saving := [asked[ref] for ref in answered]:
                self.ray.wait(saving, num_returns=len(saving), timeout=grace)
        self._tell_ended()
        for ref, (name, actor, group) in chosen.items():
            if self.actors.pop(ref, None):
                self._remove(actor, group)
                self._say(ended=name, code=None, why="stopped")


def _first_line(error: Exception) -> str:
    """What an exception says first; of an actor's death, why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if " because " in line), lines[0])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
