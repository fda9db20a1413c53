"""Kubernetes: a Job that runs the sweep, an Indexed Job of workers for each class of resources, and their files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.commands.deployment import STORE, Deployment
from sweeps.machine.cluster_file import ResourceClass
from sweeps.support.checks import require
from sweeps.support.yaml_text import yaml_text
from sweeps.workers import external
from sweeps.workers.base import TUNABLES, thread_environment
from sweeps.workers.classes import main_memory, worker_arguments
from sweeps.workers.loop import TIME_IS_UP
from sweeps.workers.stop_requests import TERMINATED

FILES, SHARED, WORK = "/sweep-files", "/shared", "/work"  # in the containers
TRIES = 20  # failures of one worker; they come ever slower, 6 min apart in the end
LEFT = [TIME_IS_UP, TERMINATED]  # exit codes of workers that would go on


def kubernetes(deployment: Deployment) -> str:
    """A stream of manifests for `kubectl apply -f`. Raises ValueError for a class that a Job cannot serve."""
    if not deployment.image:
        raise ValueError("`image` is missing; it names the container image of the workers, see --for docker")
    if bool(deployment.claim) == bool(deployment.secret):
        raise ValueError(
            "give `claim`, a volume claim that all pods can write to, or `secret`, a secret whose key url is the "
            "address of a PostgreSQL database or a bucket"
        )
    jobs = [_workers(deployment, resources) for resources in deployment.classes]
    return yaml_text(_files(deployment), _runner(deployment), *jobs)


def _files(deployment: Deployment) -> dict[str, Any]:
    texts = {"sweep.toml": deployment.text}
    if deployment.profile_text:
        texts["cluster.toml"] = deployment.profile_text
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(deployment.name), "data": texts}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name}


def _folder(deployment: Deployment) -> str:
    return f"{SHARED}/results/{deployment.name}" if deployment.claim else f"{WORK}/{deployment.name}"


def _store(deployment: Deployment) -> list[str]:
    """The option that says where the sweep is kept; Kubernetes puts the variable in."""
    return ["--store", f"$({STORE})"] if deployment.secret else []


def _literal(word: str) -> str:
    """A word of a command in which Kubernetes is to put no variables."""
    return word.replace("$", "$$")


def _runner(deployment: Deployment) -> dict[str, Any]:
    """The Job of `sweep run`, which ends with the sweep; what it refuses it would refuse again."""
    command = ["sweep", "run", f"{FILES}/sweep.toml", "--out", _folder(deployment), "--launcher", external.NAME]
    command += ["--workers", str(sum(resources.workers for resources in deployment.classes))]
    command += ["--profile", f"{FILES}/cluster.toml"] if deployment.profile_text else []
    command += ["--checkpoints", deployment.checkpoints] if deployment.checkpoints else []
    container: dict[str, Any] = {"name": "run", "command": [*map(_literal, command), *_store(deployment)]}
    container["resources"] = {"requests": {"cpu": "1", "memory": "2G"}, "limits": {"memory": "4G"}}
    ends = {"action": "FailJob", "onExitCodes": {"containerName": "run", "operator": "In", "values": [1, 2]}}
    spec = {"completions": 1, "parallelism": 1, "backoffLimit": 1000}
    return _job(deployment, f"{deployment.name}-run", spec, container, [ends], 60)


def _workers(deployment: Deployment, resources: ResourceClass) -> dict[str, Any]:
    """The Job of one class. A worker that leaves with 0 is done: all is finished. One that was preempted or evicted, or
    whose time was up, is started anew and that counts as no failure."""
    name = resources.name
    if resources.nodes > 1:
        raise ValueError(
            f"class {name}: nodes is {resources.nodes}; a pod runs on one node: use Slurm or Ray for several"
        )
    if resources.slots > 1 or resources.shards:
        raise ValueError(f"class {name}: a pod has its GPUs to itself; slots must be 1 and shards 0")
    told = worker_arguments(resources, deployment.profile, stays=True) if deployment.profile_text else []
    command = ["embed", "worker", "--sweep", _folder(deployment), *told]
    command = [*map(_literal, command), *_store(deployment)]
    if setup := deployment.profile.setup:
        script = "\n".join([*map(shlex.join, setup), 'exec "$@"'])
        command = ["bash", "-c", _literal(script), "bash", *command]
    variables = thread_environment(resources.cpus) | {"GLIBC_TUNABLES": TUNABLES}
    variables |= deployment.profile.environment
    container: dict[str, Any] = {"name": "worker", "command": command, "resources": _resources(resources)}
    container["env"] = [{"name": key, "value": _literal(value)} for key, value in variables.items()]
    left = {"action": "Ignore", "onExitCodes": {"containerName": "worker", "operator": "In", "values": LEFT}}
    spec: dict[str, Any] = {"completionMode": "Indexed", "completions": resources.workers}
    spec |= {"parallelism": resources.workers, "backoffLimitPerIndex": TRIES}
    job = f"{deployment.name}-{deployment.label(resources)}"
    return _job(deployment, job, spec, container, [left], deployment.profile.grace, resources.ranks > 1)


def _resources(resources: ResourceClass) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if resources.gpus:
        limits["nvidia.com/gpu"] = resources.gpus
    for kind, amount in resources.resources.items():
        require(f"resources.{kind}", amount, float(amount).is_integer(), "a whole number for Kubernetes")
        limits[kind] = int(amount)
    if memory := main_memory(resources):
        limits["memory"] = f"{1000 * memory:.0f}M"
    return {"requests": {"cpu": str(resources.cpus * resources.per_node), **limits}, "limits": limits}


def _job(
    deployment: Deployment,
    name: str,
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
    rules: Sequence[Mapping[str, Any]],
    grace: int,
    several: bool = False,
) -> dict[str, Any]:
    """A Job of one container a pod. several: whether that has several processes, which exchange data in /dev/shm."""
    mounts = [{"name": "files", "mountPath": FILES, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "files", "configMap": {"name": deployment.name}}]
    if deployment.claim:
        mounts.append({"name": "shared", "mountPath": SHARED})
        volumes.append({"name": "shared", "persistentVolumeClaim": {"claimName": deployment.claim}})
    else:
        mounts.append({"name": "work", "mountPath": WORK})
        volumes.append({"name": "work", "emptyDir": {}})
    if several:
        mounts.append({"name": "memory", "mountPath": "/dev/shm"})
        volumes.append({"name": "memory", "emptyDir": {"medium": "Memory"}})
    env = [*container.get("env", ())]
    if deployment.secret:
        env.append({"name": STORE, "valueFrom": {"secretKeyRef": {"name": deployment.secret, "key": "url"}}})
    full = {**container, "image": deployment.image, "env": env, "volumeMounts": mounts}
    if deployment.secret:  # what else is in it, such as AWS_ACCESS_KEY_ID, are variables too
        full["envFrom"] = [{"secretRef": {"name": deployment.secret}}]
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": grace, "containers": [full], "volumes": volumes}
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name),
        "spec": {**spec, "podFailurePolicy": {"rules": [disrupted, *rules]}, "template": {"spec": pod}},
    }
