"""A real Slurm of four nodes on this machine: whatever it does to jobs, every trial has one result.

The trainer is the toy of toy_sweeps.py, but for the trial on two nodes. slurm_cluster.py starts the cluster.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.cluster_sweeps import ClusterSweep, devices, ended, one_class, trials, two_nodes_train_one_trial
from support.slurm_cluster import Cluster
from support.sweep_process import started
from support.toy_sweeps import SWEEP
from support.waiting import wait_for
from sweeps.store.retry import LOST, PREEMPTED, STOPPED, TIME

SIZES = """
models = ["nano-25k", "nano-100k"]
budgets = [1e11, 3e11]
min_steps = 1
seeds = [0, 1]
[[methods]]
name = "full"
lr = 2e-3
"""


def workers_of(workers: int, more: str = "", memory: float = 1.5, minutes: int = 10, grace: int = 20) -> str:
    return one_class(workers, more, memory, minutes=minutes, grace=grace, patience=5)


class Sweep(ClusterSweep):
    """`sweep run` of the toy on the cluster."""

    def __init__(self, cluster: Cluster, folder: Path, seeds: int = 0, text: str = SWEEP, **toy) -> None:
        super().__init__(folder, trials(seeds) if seeds else text, **toy)
        self.cluster = cluster

    def run(self, *more: str, profile: str = "", workers: int = 4, classes: str = "", **environment: str):
        text = profile or workers_of(workers, classes)
        (self.folder / "cluster.toml").write_text(text)
        known = self.cluster.environment | environment
        return self.begin("--profile", "cluster.toml", *more, launcher="slurm", environment=known)

    def started(self) -> list[str]:
        return started(self.store.directory)

    def jobs(self) -> list[str]:
        """Elements of arrays that wait or run."""
        return self.cluster.run("squeue", "-h", "-r", "-o", "%i").split()

    def attempts(self, key: str) -> list:
        return self.store.attempts(key)


@pytest.fixture
def sweep(cluster, tmp_path):
    """Makes a Sweep; afterwards nothing of it runs."""

    def make(*arguments, **toy) -> Sweep:
        made.append(Sweep(cluster, tmp_path, *arguments, **toy))
        return made[-1]

    with ended() as made:
        yield make
    cluster.clear()


def test_an_array_of_workers_runs_a_sweep_and_asks_no_accounting(sweep, tmp_path):
    (tmp_path / "sacct").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    one = sweep()
    said = one.ends(one.run(PATH=f"{tmp_path}:{os.environ['PATH']}"))
    assert "4 workers of class cpu submitted" in said
    assert "13 trials: 13 done" in said
    assert sorted(one.started()) == sorted({*one.started()}) and len(one.started()) == 13
    assert said.count("submitted") <= 2
    assert not (tmp_path / "asked").exists()


def test_a_second_launch_while_the_first_runs_adds_no_work_and_no_jobs(sweep):
    one = sweep(6, seconds=3.0)
    first = one.run(workers=3)
    wait_for(lambda: len(one.started()) == 3)
    second = one.run(workers=3)
    most = 0
    while first.poll() is None or second.poll() is None:
        most = max(most, len(one.jobs()))
    one.ends(first)
    assert "submitted" not in one.ends(second)
    assert most == 3 and sorted(one.started()) == sorted({*one.started()})


def test_cancelled_killed_and_requeued_jobs_cost_no_result(sweep):
    one = sweep(6, seconds=4.0, checkpoints=True)
    process = one.run(workers=4)
    wait_for(lambda: len(one.running()) >= 3)
    (key_a, cancelled), (key_b, killed), (key_c, requeued) = one.running()[:3]
    one.cluster.run("scancel", cancelled.job)
    os.kill(killed.pid, signal.SIGKILL)
    one.cluster.run("scontrol", "requeue", requeued.job)
    wait_for(lambda: all(one.attempts(key)[0].ended for key in (key_a, key_b, key_c)))
    causes = [one.attempts(key)[0].cause for key in (key_a, key_b, key_c)]
    assert causes == [STOPPED, LOST, STOPPED]
    one.ends(process)
    for key in (key_a, key_b, key_c):
        assert len(one.attempts(key)) == 2 and one.attempts(key)[1].state  # went on where the first was
    assert len(one.started()) == 9


def test_an_early_signal_saves_and_requeues_that_element_only(sweep):
    one = sweep(2, seconds=6.0, checkpoints=True)
    process = one.run(workers=2)
    wait_for(lambda: len(one.running()) == 2)
    (key, attempt), (other, _) = one.running()
    one.cluster.run("scancel", "--signal=USR2", attempt.job)
    wait_for(lambda: one.attempts(key)[0].ended)
    assert one.attempts(key)[0].cause == PREEMPTED
    said = one.ends(process)
    assert said.count("submitted") == 1  # the element came back by itself, or the other worker took its trial
    assert len(one.attempts(key)) == 2 and one.attempts(key)[1].state
    assert len(one.attempts(other)) == 1


def test_a_job_of_higher_priority_takes_the_machine_and_gives_it_back(sweep, tmp_path):
    one = sweep(4, seconds=5.0, checkpoints=True)
    process = one.run(workers=4)
    wait_for(lambda: len(one.running()) == 4)
    (tmp_path / "urgent.sh").write_text("#!/bin/sh\nexec sleep 1\n")
    options = ("--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null")
    one.cluster.run("sbatch", *options, str(tmp_path / "urgent.sh"))
    keys = one.store.queue()
    wait_for(lambda: all(one.attempts(key)[0].ended for key in keys))
    assert {one.attempts(key)[0].cause for key in keys} <= {PREEMPTED, STOPPED}
    one.ends(process)
    assert all(one.attempts(key)[-1].restarts >= 1 or len(one.attempts(key)) > 1 for key in keys)
    assert all(one.attempts(key)[1].state for key in keys)


def test_a_node_that_dies_loses_no_more_than_since_the_checkpoint(sweep):
    one = sweep(2, seconds=6.0, checkpoints=True)
    process = one.run(workers=2, classes='options = ["--exclusive"]')
    wait_for(lambda: len(one.running()) == 2)
    key, attempt = one.running()[0]
    node = one.cluster.run("squeue", "-h", "-o", "%N", f"--jobs={attempt.job}").strip()
    one.cluster.kill(node)
    one.ends(process)
    first, *_, last = one.attempts(key)
    assert first.cause == LOST and last.state


def test_a_time_limit_is_passed_in_segments(sweep):
    one = sweep(1, seconds=11.0, checkpoints=True)
    process = one.run(profile=workers_of(1, minutes=1, grace=55))
    one.ends(process)
    (key,) = [seen.key for seen in one.store.results()]
    attempts = one.attempts(key)
    assert len(attempts) >= 3 and {attempt.cause for attempt in attempts[:-1]} == {TIME}
    # Each goes on from where those before had come, most of them as the same job, put back into the queue. On a slow
    # machine a segment may end before its first checkpoint: the next begins where it began.
    states = [attempt.state for attempt in attempts]
    assert states == sorted(states) and states[-1]
    assert len({attempt.job for attempt in attempts}) < len(attempts) and attempts[1].restarts == 1


GPUS = """
minutes = 10
patience = 5
[[classes]]
name = "gpu/2"
memory = 2
gpus = 1
slots = 2
workers = 1
longest = 0.0028
[[classes]]
name = "shard"
memory = 2
shards = 4
workers = 4
"""


def test_classes_get_their_gpus_and_small_trials_share_one(sweep):
    one = sweep(0, SIZES, seconds=2.0)
    process = one.run(profile=GPUS)
    given: dict[int, str] = {}  # the GPU of each process
    at_once: dict[str, int] = {}  # processes of each job that are at a trial
    classes: set[str] = set()
    while process.poll() is None:
        requirements = one.store.requirements()
        classes |= {requirements.resource_class(key) for key in requirements.trials}
        attempts = [attempt for _, attempt, _ in one.store.running()]
        jobs = [job for job, _ in {(attempt.job, attempt.pid) for attempt in attempts}]
        at_once = {job: max(jobs.count(job), at_once.get(job, 0)) for job in {*jobs, *at_once}}
        for attempt in attempts:
            with suppress(OSError):
                given[attempt.pid] = devices(attempt.pid)
        time.sleep(0.1)
    one.ends(process)
    assert classes == {"gpu/2", "shard"}
    logs = [path.name for path in (one.store.directory / "logs").glob("*.log")]
    (pair,) = {name[6:-4] for name in logs if name.startswith("gpu-2-")}
    assert at_once.pop(pair) == 2 and set(at_once.values()) == {1}
    assert given and set(given.values()) <= {"0", "1"}  # one GPU each


def test_ctrl_c_cancels_the_jobs_and_the_same_command_continues(sweep):
    one = sweep(4, seconds=2.5, checkpoints=True)
    process = one.run(workers=2)
    wait_for(lambda: len(one.running()) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    wait_for(lambda: not one.jobs())
    one.ends(one.run(workers=2))
    assert len(one.started()) == 6


def test_detached_jobs_go_on_alone_and_leave_when_nothing_is_left(sweep):
    one = sweep(4, seconds=2.0)
    process = one.run("--detach", workers=2)
    wait_for(lambda: len(one.started()) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    keys = one.store.queue()
    wait_for(lambda: all(one.store.finished(key) for key in keys))
    wait_for(lambda: not one.jobs())
    logs = [path.read_text() for path in (one.store.directory / "logs").glob("cpu-*.log")]
    assert len(logs) == 2 and all("nothing to do in class cpu for 5 s: worker stops" in log for log in logs)
    assert len(one.started()) == 4
    one.ends(one.run(workers=2))  # takes in what was done meanwhile


def test_jobs_that_cannot_start_are_not_submitted_for_ever(sweep):
    one = sweep(4)
    process = one.run(profile='setup = ["exit 3"]\n' + workers_of(2))
    said = one.ends(process, code=2)
    assert "sweep: error: workers did not start" in said and said.count("submitted") <= 3
    wait_for(lambda: not one.jobs())


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ('partition = "none"\n' + workers_of(1), "sbatch: "),
        (
            workers_of(1, memory=0.5),
            "nano-25k full at 1e+12 FLOPs needs about 1.01 GB",
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_job(sweep, profile, said):
    one = sweep(1)
    text = one.ends(one.run(profile=profile), code=2)
    assert f"sweep: error: {said}" in text and text.count("error:") <= 2  # sbatch has its own
    assert "Traceback" not in text
    wait_for(lambda: not one.jobs())


def test_two_nodes_train_one_trial_with_the_real_trainer(cluster, tmp_path, pairs_file):
    try:
        two_nodes_train_one_trial(tmp_path, pairs_file, "slurm", cluster.environment, minutes=10, patience=5)
    finally:
        cluster.clear()
