"""A real Ray cluster of three nodes on this machine: whatever becomes of its nodes, every trial has one result.

The trainer is the toy of toy_sweeps.py, but for the sixty trainings and for the trial on two nodes, which are real.
ray_cluster.py starts the cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.cluster_sweeps import (
    ClusterSweep,
    devices,
    ended,
    one_class,
    real_trials,
    trials,
    two_nodes_train_one_trial,
)
from support.missing import missing
from support.ray_cluster import missing as ray_missing
from support.sweep_process import started
from support.toy_sweeps import COMMAND, HURRY
from support.waiting import wait_for
from sweeps.machine.cluster_file import ResourceClass
from sweeps.store.attempts import Attempt
from sweeps.store.folder import FolderStore
from sweeps.store.identity import mark
from sweeps.store.note import Note, write_note
from sweeps.store.open import open_store
from sweeps.store.retry import LOST, STOPPED
from sweeps.trial import Observation
from sweeps.workers import LAUNCHERS
from sweeps.workers.base import LaunchOptions
from sweeps.workers.ray_link import Link


def three_workers(**variables: object) -> str:
    return one_class(3, variables=variables, grace=20, patience=60)


class Sweep(ClusterSweep):
    """`sweep run` of the toy, on the cluster unless told otherwise."""

    def __init__(self, ray_cluster, folder: Path, text: str, **options) -> None:
        super().__init__(folder, text, **options)
        self.ray_cluster = ray_cluster
        (folder / "ray.toml").write_text(three_workers())

    def run(self, *more: str, launcher: str = "ray", environment: dict[str, str] | None = None):
        there = os.environ | self.ray_cluster.environment
        return self.begin(*more, launcher=launcher, environment=environment or there)

    def caught(self, node: str) -> tuple[str, Attempt]:
        """A trial that a node's worker is at for the first time, and its attempt; there the worker is stopped."""
        found: list[tuple[str, Attempt]] = []

        def look() -> bool:
            for trial, attempt, _ in self.store.running():
                if attempt.number == 1 and self.ray_cluster.node_of(attempt.pid) == node:
                    os.kill(attempt.pid, signal.SIGSTOP)
                    time.sleep(0.1)
                    if not self.store.finished(trial.key) and not self.store.attempts(trial.key)[-1].ended:
                        found.append((trial.key, attempt))
                        return True
                    os.kill(attempt.pid, signal.SIGCONT)
            return False

        wait_for(look)
        return found[0]

    def lose_a_node(self, node: str, key: str) -> None:
        """The node where that trial runs dies: that is seen long before the lease is over."""
        self.ray_cluster.kill(node)
        wait_for(lambda: self.store.attempts(key)[0].ended)
        lost = self.store.attempts(key)[0]
        assert lost.cause == LOST and "node" in lost.ended, f"{node} is dead: {lost}"

    def outlast_the_lease(self, key: str, paused: Attempt) -> None:
        """The stopped worker of that trial goes on when another has it: it leaves."""
        wait_for(lambda: len(self.store.attempts(key)) > 1)
        lost = self.store.attempts(key)[0]
        assert lost.cause == LOST and "no heartbeat" in lost.ended, f"it was paused: {lost}"
        os.kill(paused.pid, signal.SIGCONT)
        wait_for(lambda: not Path(f"/proc/{paused.pid}").exists())


@pytest.fixture
def sweep(ray_cluster, tmp_path):
    """Makes a Sweep in a folder of its own; afterwards nothing of it runs."""

    def make(text: str, **options) -> Sweep:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Sweep(ray_cluster, folder, text, **options))
        return made[-1]

    with ended() as made:
        yield make
    ray_cluster.revive()


@pytest.mark.slow
def test_sixty_trainings_lose_a_node_a_lease_and_the_head_and_leave_the_same_bits(sweep, ray_cluster, pairs_file):
    text = real_trials(pairs_file, 4e8, 60, "nano-7k", context=16)
    alone, crowd = sweep(text), sweep(text)
    real = ray_cluster.environment | {"REAL_PACE": "0"}
    undisturbed = alone.run("--workers", "2", launcher="local", environment=real)
    os.sched_setaffinity(undisturbed.pid, sorted(os.sched_getaffinity(0))[:2])  # one thread each, as on the cluster
    # Trials take their time until the head is back: on a slow machine none would be left for it.
    (crowd.folder / "ray.toml").write_text(three_workers(TOY_LEASE=15, REAL_PACE=0.4))
    process = crowd.run("--profile", "ray.toml", environment=real)
    wait_for(lambda: len(list(crowd.store.results())) > 2, 300)  # five processes load torch
    (at_n2, _), (at_n3, paused) = crowd.caught("n2"), crowd.caught("n3")
    crowd.lose_a_node("n2", at_n2)
    crowd.outlast_the_lease(at_n3, paused)
    # A trial that is lost twice is given up.
    wait_for(lambda: all(crowd.store.finished(key) for key in (at_n2, at_n3)))
    at_the_head, _ = crowd.caught("head")
    ray_cluster.restart_head()
    (crowd.store.directory / HURRY).touch()
    alone.ends(undisturbed, expected=lambda seen: seen.status == "done")
    losses = {seen.key: bits(seen) for seen in alone.store.results()}
    said = crowd.ends(process, expected=lambda seen: bits(seen) == losses[seen.key])
    assert "60 trials: 60 done" in said and f"during {at_n2}" in said
    assert "lost the Ray cluster" in said and "reconnected to the Ray cluster" in said
    lost, *_ = crowd.store.attempts(at_the_head)
    assert lost.cause == LOST and "no heartbeat" in lost.ended, f"no Ray is left to say that it died: {lost}"


def bits(seen: Observation) -> Observation:
    """An observation without what differs from run to run."""
    return replace(seen, seconds=0.0, total_seconds=0.0, peak_bytes=0, environment={})


@pytest.mark.slow
def test_where_nodes_share_no_folder_a_lost_trial_goes_on_elsewhere_from_its_copy(sweep, database, s3):
    one = sweep(trials(6), url=database, copies=s3, seconds=4.0, checkpoints=True)
    process = one.run("--profile", "ray.toml")
    wait_for(lambda: len(one.running()) == 3)
    nodes = {one.ray_cluster.node_of(attempt.pid): key for key, attempt in one.running()}
    assert set(nodes) == {"head", "n2", "n3"}
    one.lose_a_node("n2", nodes["n2"])
    one.ends(process)
    first, second = one.store.attempts(nodes["n2"])
    assert second.state and second.job != first.job
    folders = {path.parts[-4] for path in one.folder.glob("machines/*/toy/trials/*") if path.is_dir()}
    assert len(folders) > 2 and not list(one.store.directory.glob("trials/*/checkpoint*"))


def test_a_sweep_goes_on_from_this_machine_to_ray_to_slurm_in_one_folder(sweep, cluster, ray_cluster):
    one = sweep(trials(9), seconds=2.0, checkpoints=True)
    for launcher, environment, more in (
        ("local", dict(os.environ), ["--workers", "2"]),
        ("ray", ray_cluster.environment, []),
    ):
        before = len(list(one.store.results()))
        process = one.run(*more, launcher=launcher, environment=environment)
        wait_for(lambda before=before: len(list(one.store.results())) > before and one.running())
        running = [key for key, _ in one.running()]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert all(one.store.finished(key) or one.store.attempts(key)[-1].cause == STOPPED for key in running)
    profile = one_class(3, grace=20, minutes=10, patience=5)
    (one.folder / "slurm.toml").write_text(profile)
    one.ends(one.run("--profile", "slurm.toml", launcher="slurm", environment=cluster.environment))
    jobs = {attempt.job for seen in one.store.results() for attempt in one.store.attempts(seen.key)}
    assert "" in jobs and any("@" in job for job in jobs) and any(job.partition("_")[0].isdecimal() for job in jobs)
    cluster.clear()


def test_workers_get_the_share_of_a_gpu_and_the_resources_of_their_class(sweep, ray_cluster):
    one = sweep(trials(6), seconds=1.0)
    text = "[[classes]]\nname = 'half'\nmemory = 2\ngpus = 1\nslots = 2\nresources = {roomy = 0.1}\nworkers = 2\n"
    (one.folder / "ray.toml").write_text(text)
    process = one.run("--profile", "ray.toml")
    given: dict[int, str] = {}
    while process.poll() is None:
        for _, attempt, _ in one.store.running():
            given[attempt.pid] = devices(attempt.pid)
        time.sleep(0.1)
    one.ends(process)
    assert given


def test_workers_that_cannot_start_end_the_sweep_with_their_last_words(sweep):
    one = sweep(trials(3))
    (one.folder / "ray.toml").write_text('setup = ["false", "exit 3"]\n' + three_workers())
    said = one.ends(one.run("--profile", "ray.toml"), code=2)
    assert "sweep: error: workers did not start: exit code 3" in said and "Traceback" not in said


def test_a_class_that_no_node_can_serve_is_said_and_waited_for(sweep):
    one = sweep(trials(3))
    (one.folder / "ray.toml").write_text("[[classes]]\nname = 'many'\nmemory = 2\ncpus = 64\n")
    process = one.run("--profile", "ray.toml")
    log = one.store.directory / "logs" / "sweep.log"
    wait_for(lambda: log.exists() and "takes CPU 64, memory" in log.read_text() and "started" in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


@pytest.mark.slow
def test_where_there_is_no_cluster_one_is_started_and_ends_with_the_sweep(tmp_path):
    if why := ray_missing():
        missing("Ray", why)
    (tmp_path / "toy.toml").write_text(trials(2))
    done = subprocess.run(
        [*COMMAND, "sweep", "run", "toy.toml", "--launcher", "ray", "--workers", "1"],
        cwd=tmp_path,
        env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    jobs = {attempt.job for key in started(tmp_path / "results/toy") for attempt in attempts(tmp_path, key)}
    assert len(jobs) == 1 and "@" in jobs.pop()


def attempts(folder: Path, key: str) -> list:
    return FolderStore(folder / "results" / "toy").attempts(key)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    if why := ray_missing():
        missing("Ray", why)
    (tmp_path / "toy.toml").write_text(trials(1))
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    done = subprocess.run(
        [*COMMAND, "sweep", "run", "toy.toml", "--launcher", "ray"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "sweep: error: no Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_launcher_says_what_to_install(new_store, monkeypatch):
    from sweeps.workers import ray

    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    store, _ = new_store(1)
    with pytest.raises(ValueError, match=r"needs the extra ray: pip install 'recipe-planner\[ray\]'"):
        LAUNCHERS["ray"](LaunchOptions()).start(store, 1)


def test_workers_on_other_nodes_get_what_opens_the_places_of_their_sweep(tmp_path, monkeypatch):
    from sweeps.workers import ray

    mark(tmp_path)
    write_note(tmp_path, Note("postgresql://u@h/d", "s3://b/p"))
    for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "GOOGLE_SERVICE_ACCOUNT"):
        monkeypatch.setenv(name, "secret")
    orders = []

    def take(start):
        orders.append(start)

    monkeypatch.setattr(ray.RayWorkers, "_connect", lambda self: SimpleNamespace(order=take))
    workers = ray.RayWorkers(open_store(tmp_path), LaunchOptions())
    workers._start("sweep-x.any.1", ray.Kind(ray.ANY, 1, ({"CPU": 1.0},), 1, ()))
    (order,) = orders
    secrets = {name for name, value in order["variables"].items() if value == "secret"}
    assert secrets == {"PGPASSWORD", "AWS_SECRET_ACCESS_KEY"}
    assert order["command"][-2:] == ["--store", "postgresql://u@h/d"] and "secret" not in " ".join(order["command"])


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "[06:36 C 2 2] a.cc:11:  A bug. Check failed: wrong cluster\n  at main()\n/lib/libc.so\n",
            "wrong cluster",
        ),
        ("[2026-11-29 06:14 E 1 2] (raylet) rpc.h:4: Failed to connect\n", "Failed to connect"),
        (
            "[06:14 E 1 2] rpc.h:4: Failed\nno Ray cluster at a:1: refused\n",
            "no Ray cluster at a:1: refused",
        ),
        ("", "exit code -6"),
    ],
)
def test_of_what_ray_prints_the_error_is_told(tmp_path, printed, said):
    link = Link.__new__(Link)
    link.log, link._process = tmp_path / "ray.log", SimpleNamespace(returncode=-signal.SIGABRT)
    link.log.write_text(printed)
    assert link.last_words == said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shards": 2}, "shards are Slurm's"),
        ({"gpus": 3, "slots": 2}, "a part of one GPU, or whole ones"),
    ],
)
def test_a_class_that_ray_has_not_is_refused(new_store, wrong, said):
    from sweeps.workers import ray

    with pytest.raises(ValueError, match=said):
        ray._refuse(ResourceClass("x", memory=2, **wrong), True)
    with pytest.raises(ValueError, match="which these do not share"):
        ray._refuse(ResourceClass("x", memory=2, nodes=2), False)


def test_two_nodes_train_one_trial_with_the_real_trainer(ray_cluster, tmp_path, pairs_file):
    two_nodes_train_one_trial(tmp_path, pairs_file, "ray", ray_cluster.environment)
