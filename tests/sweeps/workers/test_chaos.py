"""Whatever is killed, frozen, full, late or started twice: every trial ends with one whole result, the right one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import sweep_process
from support.missing import missing
from support.sweep_process import started
from support.toy_stores import FULL, fill, python
from support.toy_sweeps import COMMAND, SWEEP, observe
from support.waiting import wait_for
from sweeps.store import attempts, base
from sweeps.store.folder import FolderStore
from sweeps.store.records import read_observations
from sweeps.store.retry import BLAMELESS, STOPPED
from sweeps.trial import Trial
from sweeps.workers.lease import LOST_CLAIM

pytestmark = pytest.mark.slow

KILLS = 100
WORKER = """
import sys
from pathlib import Path
from sweeps.workers import loop
from support.toy_sweeps import toy_train
loop.IDLE = 0.05
sys.exit(loop.work(Path(sys.argv[1]), toy_train, lease=float(sys.argv[2])))
"""


def begin(folder: Path, seeds: int, **toy) -> tuple[FolderStore, list[Trial]]:
    """A sweep of so many trials, all of them wanted and no more to come."""
    store = FolderStore(folder)
    return store, fill(store, seeds, **toy)


def assert_whole(store: FolderStore, wanted: list) -> None:
    """Every trial has its one result, and every file that others read holds what it should."""
    assert {seen.key: seen for seen in store.results()} == {trial.key: observe(trial) for trial in wanted}
    assert store.queue() == [trial.key for trial in wanted]
    for path in store.files.trials.glob("[!.]*/[!.]*.json"):
        json.loads(path.read_text())
    for trial in wanted:
        assert len(list(store.folder(trial.key).glob("result*"))) == 1
        assert not list(store.folder(trial.key).glob("*.safetensors*"))


# -- kills


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def may_die(store: FolderStore, pid: int) -> bool:
    """Whether the rule that gives up a trial after two deaths from one state allows a stopped worker to be killed."""
    for key in store.queue():
        attempts = [] if store.finished(key) else store.attempts(key)
        if attempts and attempts[-1].pid == pid and not attempts[-1].ended:
            now = store.files.checkpointed(key)
            return not any(seen.state == now and seen.cause not in BLAMELESS for seen in attempts[:-1])
    return True


def test_100_kills_of_workers_and_launchers_lose_and_double_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(FULL.format(seeds=list(range(60))))
    launch = [*COMMAND, "sweep", "run", "toy.toml", "--workers", "3", "--out"]
    subprocess.run([*launch, "undisturbed/toy"], check=True, capture_output=True)
    folder = sweep_process.begin("results/toy", seconds=3.0, checkpoints=True)
    store, chance = FolderStore(folder), random.Random(5)

    launcher, killed = None, {"worker": 0, "launcher": 0}
    try:
        while sum(killed.values()) < KILLS:
            if launcher is None:
                launcher = subprocess.Popen(
                    [*launch, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                wait_for((folder / "queue.json").exists)
            time.sleep(chance.uniform(0.0, 0.3))
            assert launcher.poll() is None, f"the sweep ended after {killed} with {len(list(store.results()))} results"
            workers = [pid for pid in children(launcher.pid) if b"--sweep" in cmdline(pid)]
            if chance.random() < (0.1 if workers else 0.02):  # on a busy machine it is long without
                launcher.kill()
                launcher.wait()
                launcher, killed["launcher"] = None, killed["launcher"] + 1
            elif workers:
                victim = chance.choice(workers)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGSTOP)  # so that nothing changes between the look and the kill
                    if may_die(store, victim):
                        os.kill(victim, signal.SIGKILL)
                        killed["worker"] += 1
                    else:
                        os.kill(victim, signal.SIGCONT)
    finally:
        if launcher:
            launcher.kill()
            launcher.wait()
    assert killed["worker"] >= 70 and killed["launcher"] >= 3
    (folder / "toy.json").write_text("{}")
    subprocess.run([*launch, str(folder)], check=True, capture_output=True)
    keys = {row.key for row in read_observations(folder / "observations.jsonl")}
    wanted = [store.read_trial(key) for key in keys]
    assert len(keys) == 60 and {seen.key: seen for seen in store.results()} == {t.key: observe(t) for t in wanted}
    undisturbed = Path("undisturbed/toy/observations.jsonl").read_bytes()
    assert (folder / "observations.jsonl").read_bytes() == undisturbed
    for path in store.files.trials.glob("[!.]*/[!.]*.json"):
        json.loads(path.read_text())
    assert not list(store.files.trials.glob("*/*.safetensors"))


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


CHILD = """
import subprocess, sys, time
from pathlib import Path
from sweeps.workers import loop
def train(trial, folder, stop):
    child = subprocess.Popen(["sleep", "600"])
    (folder / "child").write_text(str(child.pid))
    time.sleep(600)
sys.exit(loop.work(Path(sys.argv[1]), train, lease=1.0))
"""


def test_a_frozen_workers_training_ends_with_its_claim(tmp_path):
    """Frozen beyond its lease and thawed, it ends, and so do the processes that trained for it."""
    store, (trial,) = begin(tmp_path / "sweep", 1)
    zombie = python(CHILD, store.directory)
    note = store.folder(trial.key) / "child"
    wait_for(lambda: note.exists() and note.read_text())
    child = int(note.read_text())
    zombie.send_signal(signal.SIGSTOP)
    assert python(WORKER, store.directory, 1.0).wait(30) == 0
    zombie.send_signal(signal.SIGCONT)
    assert zombie.wait(20) == LOST_CLAIM
    wait_for(lambda: not Path(f"/proc/{child}").exists(), 10)
    assert_whole(store, [trial])
    assert [attempt.number for attempt in store.attempts(trial.key)] == [1, 2]


def dying(act, monkeypatch, where: object, name: str, match: str = "") -> None:
    """Do `act` in a process that is killed when it calls `name` of `where` on a path that contains `match`."""

    def fatal(*arguments, **options):
        if match in str(arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **options)

    before = getattr(where, name)
    pid = os.fork()
    if not pid:
        try:
            setattr(where, name, fatal)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the fault was never reached"


def test_a_death_before_the_first_renewal_costs_the_lease_at_most(tmp_path, monkeypatch):
    store, (trial,) = begin(tmp_path / "sweep", 1)
    dying(store.claim, monkeypatch, base, "Claim")  # the attempt's file is there, nothing more was done
    (first,) = store.attempts(trial.key)
    assert first.pid and store.claim().attempt == 2  # seen at once on the same machine

    other, (trial,) = begin(tmp_path / "elsewhere", 1)
    other.lease = 0.5
    dying(other.claim, monkeypatch, base, "Claim")
    monkeypatch.setattr(attempts, "host_and_boot", lambda: ("another", "boot"))
    assert other.claim() is None  # it may live
    claims = []
    wait_for(lambda: claims.append(other.claim()) or claims[-1])
    assert claims[-1].attempt == 2


@pytest.mark.parametrize(
    ("where", "name", "match"),
    [(os, "link", "result.json"), (Path, "unlink", "result.json"), (os, "fsync", "")],
    ids=["before the link", "after the link", "before it is on the disk"],
)
def test_a_death_while_a_result_is_written_leaves_it_whole_or_not_at_all(tmp_path, monkeypatch, where, name, match):
    store, (trial,) = begin(tmp_path / "sweep", 1)
    claim = store.claim()
    dying(lambda: store.finish(observe(trial)), monkeypatch, where, name, match)
    assert store.finished(trial.key) == (name == "unlink")
    store.end(trial.key, claim.attempt, STOPPED)
    assert python(WORKER, store.directory, 5.0).wait(30) == 0
    assert_whole(store, [trial])


def test_a_death_before_an_attempt_is_linked_leaves_no_attempt(tmp_path, monkeypatch):
    store, (trial,) = begin(tmp_path / "sweep", 1)
    dying(store.claim, monkeypatch, os, "link", "attempt-0001")
    assert store.attempts(trial.key) == []
    assert store.claim().attempt == 1


@pytest.mark.parametrize(
    ("where", "name", "match"),
    [(os, "rename", ""), (Path, "write_text", "trial.json"), (os, "replace", "queue.json")],
    ids=["before the rename", "before its trial.json", "before the queue"],
)
def test_a_death_while_trials_are_added_leaves_none_half_made(tmp_path, monkeypatch, where, name, match):
    store, wanted = begin(tmp_path / "sweep", 3)
    shutil.rmtree(store.files.trials)
    (store.directory / "queue.json").unlink()
    dying(lambda: store.add(wanted), monkeypatch, where, name, match)
    assert store.queue() == []
    folders = [store.folder(trial.key) for trial in wanted]
    assert all((folder / "trial.json").exists() for folder in folders if folder.exists())
    store.add(wanted)
    assert python(WORKER, store.directory, 5.0).wait(30) == 0
    assert_whole(store, wanted)


# -- several at once

PLAN = """
import sys, time
from pathlib import Path
from sweeps.experiment.sweep_file import read_sweep
from sweeps.search.sweep_state import plan_next, sharing
from sweeps.store.folder import FolderStore
from support.toy_sweeps import DATA
store = FolderStore(Path(sys.argv[2]))
sweep = read_sweep(Path(sys.argv[1]))
while not store.closed:
    state = plan_next(sweep, DATA, store.results())
    store.trunks.share(sharing(state))
    store.add(state.now)
    time.sleep(0.01)
"""


def test_three_launchers_and_two_planners_on_one_folder_train_each_trial_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    folder = sweep_process.begin("results/toy", seconds=0.2)
    launch = [*COMMAND, "sweep", "run", "toy.toml", "--workers", "2", "--json"]
    running = [subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    wait_for((folder / "queue.json").exists)
    running += [python(PLAN, "toy.toml", folder, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 5, said
    assert [json.loads(out)["done"] for out, _ in said[:3]] == [13] * 3
    assert len(started(folder)) == len(set(started(folder))) == 13
    rows = list(read_observations(folder / "observations.jsonl"))
    assert {row.key: row for row in rows} == {row.key: row for row in FolderStore(folder).results()}
    assert len(rows) == 13 and all(row == observe(row.trial) for row in rows)


BEGIN = """
import json, sys
from pathlib import Path
from sweeps.store.folder import FolderStore
from sweeps.store.identity import identity_of
from sweeps.trial import Trial
from support.toy_sweeps import DATA
store = FolderStore(Path(sys.argv[1]))
store.begin(Path(sys.argv[2]), DATA)
print(identity_of(store.directory))
store.add([Trial.from_json(one) for one in json.loads(Path(sys.argv[3]).read_text())])
"""


def test_six_begin_the_same_sweep_at_once(tmp_path):
    elsewhere, wanted = begin(tmp_path / "elsewhere", 20)
    (tmp_path / "wanted.json").write_text(json.dumps([trial.to_json() for trial in wanted]))
    new = tmp_path / "results" / "sweep"
    arguments = (new, elsewhere.directory / "sweep.toml", tmp_path / "wanted.json")
    beginning = [python(BEGIN, *arguments, stdout=subprocess.PIPE) for _ in range(6)]
    identities = {process.communicate(timeout=30)[0] for process in beginning}
    assert [process.returncode for process in beginning] == [0] * 6 and len(identities) == 1
    store = FolderStore(new)
    assert store.queue() == [trial.key for trial in wanted]
    assert sorted(os.listdir(store.files.trials)) == sorted(store.queue())
    assert (new / "sweep.toml").read_bytes() == (elsewhere.directory / "sweep.toml").read_bytes()
    assert not list(new.glob(".*.tmp"))


# -- disks and clocks


@contextmanager
def mounted(path: Path, options: str):
    """A file system of its own; skips the test where that is not allowed."""
    path.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        missing("sweeps on a full or read-only disk", f"mounting is not allowed here ({done.stderr.strip()})")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill_bytes(path: Path) -> None:
    with suppress(OSError), open(path / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def fill_inodes(path: Path) -> None:
    (path / "filler").mkdir()
    with suppress(OSError):
        for number in range(100_000):
            (path / "filler" / str(number)).touch()


def free(path: Path) -> None:
    filler = path / "filler"
    shutil.rmtree(filler) if filler.is_dir() else filler.unlink()


@pytest.mark.parametrize("fill", [fill_bytes, fill_inodes])
def test_a_full_disk_is_waited_out_and_tears_nothing(tmp_path, fill):
    with mounted(tmp_path / "disk", "size=2m,nr_inodes=600") as disk:
        store, wanted = begin(disk / "sweep", 12, seconds=0.3, checkpoints=True)
        logs = [open(tmp_path / f"log-{index}", "w+") for index in range(2)]  # noqa: SIM115 (closed below)
        workers = [python(WORKER, store.directory, 5.0, stderr=log) for log in logs]
        wait_for(lambda: len(started(store.directory)) >= 3)
        fill(disk)
        wait_for(lambda: all("No space left on device" in Path(log.name).read_text() for log in logs))
        for path in store.files.trials.glob("[!.]*/[!.]*.json"):
            if path.name != "progress.json":
                json.loads(path.read_text())
        assert [worker.poll() for worker in workers] == [None, None]
        free(disk)
        assert [worker.wait(60) for worker in workers] == [0, 0]
        for log in logs:
            log.close()
        assert_whole(store, wanted)


def test_a_read_only_folder_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    with mounted(tmp_path / "disk", "ro,size=1m"):
        run = [*COMMAND, "sweep", "run", "toy.toml", "--out", "disk/toy"]
        done = subprocess.run(run, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sweep: error: disk/toy") and "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_an_hour_off_ends_no_lease(tmp_path, hours):
    """libfaketime 0.9.10 would also break waits whose deadline is by the monotonic clock, which is right there."""
    store, wanted = begin(tmp_path / "sweep", 6, seconds=1.5)
    off = f"import time\nright = time.time\ntime.time = lambda: right() + 3600 * {hours}\n"
    elsewhere = "from sweeps.store import attempts\nattempts.host_and_boot = lambda: (sys.argv[3], '')\n"
    code = WORKER.replace("loop.IDLE", f"{elsewhere}loop.IDLE")
    workers = [python(off + code, store.directory, 1.0, "off"), python(code, store.directory, 1.0, "right")]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert_whole(store, wanted)
    assert sorted(started(store.directory)) == sorted(trial.key for trial in wanted)  # none was taken away
    begun = {attempt.host: attempt.started for trial in wanted for attempt in store.attempts(trial.key)}
    assert (begun["off"] - begun["right"]) * hours > 3000
