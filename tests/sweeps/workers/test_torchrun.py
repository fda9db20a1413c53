"""A trial by several processes ends whole or leaves nothing behind: not a process, not a folder, not a claim."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from support.cluster_sweeps import real_trials
from support.pretending_ranks import TRIAL, PretendingRanks
from support.toy_stores import python
from support.toy_sweeps import observe
from support.waiting import wait_for
from sweeps.methods import Full
from sweeps.store.files import CHECKPOINT
from sweeps.store.folder import FolderStore
from sweeps.trial import Observation
from sweeps.workers import torchrun
from sweeps.workers.options import WorkerOptions
from sweeps.workers.slurm_queue import this_task
from sweeps.workers.stop_requests import TERMINATED, StopRequests

ROOT = Path(__file__).parents[3]
CHILD = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
TELL = CHILD + " open('{folder}/pids', 'w').write(str(child.pid));"


@pytest.fixture
def train(tmp_path):
    def act(program: str, stop: StopRequests | None = None) -> Observation:
        return PretendingRanks(2, program=program).train(TRIAL, tmp_path, stop or StopRequests(WorkerOptions()))

    yield act
    assert not list(tmp_path.glob("ranks-*"))
    assert not alive(tmp_path)


def alive(folder: Path) -> bool:
    """Whether the child that the program started still runs."""
    try:
        os.kill(int((folder / "pids").read_text()), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


RESULT = repr(json.dumps(observe(TRIAL).to_json()))
WRITE = f"open('{{meeting}}/observation.json', 'w').write({RESULT});"


def test_the_result_is_what_the_ranks_wrote(train):
    assert train(WRITE) == observe(TRIAL)


def test_ranks_that_hang_after_their_result_are_ended(train, monkeypatch):
    monkeypatch.setattr(torchrun, "AFTER", 0.3)
    assert train(TELL + WRITE + "import time; time.sleep(600)") == observe(TRIAL)


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("sys.exit('embed: error: no model')", RuntimeError, "exit code 1: embed: error: no model"),
        ("raise MemoryError('one text does not fit')", MemoryError, "one text does not fit"),
        ("print('exitcode : -9 (SIGKILL)'); sys.exit(1)", ChildProcessError, "was killed"),
        ("import os; os.kill(os.getpid(), 9)", ChildProcessError, "was killed"),
    ],
)
def test_what_ends_the_ranks_is_told_apart(train, tmp_path, program, error, said):
    with pytest.raises(error, match=said):
        train(TELL + program)
    if "model" in program:
        assert "no model" in (tmp_path / "log.txt").read_text()


def test_ranks_are_told_to_leave_and_leave(train):
    stop = StopRequests(WorkerOptions())
    stop.cause = "preempted"
    waits = "import os, time\nwhile not os.path.getsize('{meeting}/leave'): time.sleep(0.01)\n"
    with pytest.raises(SystemExit) as left:
        train(waits + "open('{meeting}/left', 'w'); raise SystemExit(143)", stop)
    assert left.value.code == TERMINATED


WORKER = """
import sys
from pathlib import Path
from support.pretending_ranks import TRIAL, PretendingRanks
from sweeps.workers.options import WorkerOptions
from sweeps.workers.stop_requests import StopRequests
PretendingRanks(2, program=sys.argv[1]).train(TRIAL, Path(sys.argv[2]), StopRequests(WorkerOptions()))
"""


def test_a_killed_worker_takes_its_ranks_along(tmp_path):
    """torchrun would be told by its parent's death, and ends its own; so does the program here."""
    program = TELL + "import signal; signal.signal(15, lambda *_: (child.kill(), sys.exit())); child.wait()"
    worker = python(WORKER, program, tmp_path)
    wait_for((tmp_path / "pids").exists)
    wait_for((tmp_path / "pids").read_text)
    worker.kill()
    worker.wait()
    wait_for(lambda: not alive(tmp_path))


def test_every_job_has_its_own_port(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    here = this_task().port
    monkeypatch.setenv("SLURM_JOB_ID", "123457")
    assert 1024 < here < 65536 and here != this_task().port


def ranks_of(worker: subprocess.Popen) -> list[psutil.Process]:
    """The ranks that a worker's torchrun has started."""
    try:
        below = psutil.Process(worker.pid).children(recursive=True)
        return [each for each in below if "rank" in each.cmdline() and "torch.distributed.run" not in each.cmdline()]
    except psutil.NoSuchProcess:  # one ended during the look
        return []


@pytest.mark.slow
def test_two_processes_save_on_a_signal_and_others_go_on_from_there(tmp_path, pairs_file):
    """`embed worker --processes 2` and the real trainer: USR2 at the beginning, then a second worker ends it."""
    (tmp_path / "real.toml").write_text(real_trials(pairs_file, 5e9))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    prepare(tmp_path, environment)
    store = FolderStore(tmp_path / "out")
    (key,) = store.queue()
    worker = [sys.executable, "-m", "runner.cli", "worker", "--sweep", str(tmp_path / "out"), "--processes", "2"]
    first = subprocess.Popen([*worker, "--grace", "300"], env=environment)
    # A worker that has not begun to ask whether to leave is stopped at once, with nothing to save.
    wait_for(lambda: ranks_of(first))
    first.send_signal(signal.SIGUSR2)  # heeded after the first step
    assert first.wait(200) == TERMINATED
    assert (store.folder(key) / CHECKPOINT).exists() and not list(store.folder(key).glob("ranks-*"))
    second = subprocess.Popen(worker, env=environment)
    assert second.wait(200) == 0
    seen = store.result(key)
    assert seen.status == "done" and seen.environment["ranks"] == 2, seen.reason
    steps = [point[0] for point in seen.curve]
    assert steps == sorted(set(steps)) and steps[-1] == seen.trial.steps
    assert [attempt.cause for attempt in store.attempts(key)] == ["preempted", ""]


def prepare(tmp_path: Path, environment: dict) -> None:
    """The sweep's queue as `sweep run` leaves it, closed."""
    code = """
import sys
from pathlib import Path
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.running.conductor import prepare
from sweeps.store.folder import FolderStore
file = Path(sys.argv[1])
data = prepare(file)
store = FolderStore(Path(sys.argv[2]))
store.begin(file, data)
store.add([cell.trial(1e-2) for cell in cells(read_sweep(file), data) if not cell.reason])
store.close()
"""
    arguments = [str(tmp_path / "real.toml"), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_trainer_told_to_leave_saves_and_the_rest_has_the_same_bits(training, tmp_path):
    from runner.data.pairs import prepare as prepare_pairs
    from runner.trainer import train
    from runner.training.engine import Options
    from sweeps.models import find_model

    data_hash = prepare_pairs(training, find_model("nano-25k").source).data_hash
    trial = replace(TRIAL, training=replace(training, data_hash=data_hash), lr=1e-2, steps=6)
    for name in ("whole", "cut", "small"):
        (tmp_path / name).mkdir()
    whole = train(trial, tmp_path / "whole", on="cpu")
    for _ in range(2):
        asked = iter([False, True])
        with pytest.raises(SystemExit) as left:
            train(trial, tmp_path / "cut", on="cpu", options=Options(stop_requested=lambda asked=asked: next(asked)))
        assert left.value.code == TERMINATED and (tmp_path / "cut" / CHECKPOINT).exists()
    cut = train(trial, tmp_path / "cut", on="cpu")
    assert (cut.loss, cut.curve, cut.tokens) == (whole.loss, whole.curve, whole.tokens)
    small = train(trial, tmp_path / "small", on="cpu", options=Options(smaller=1))
    assert small.loss == pytest.approx(whole.loss, abs=1e-5)


def test_each_halving_halves_the_micro_batch():
    import torch

    from runner.model.encoder import make_encoder
    from runner.training.engine import Engine, Options
    from sweeps.models import find_model

    model = find_model("nano-25k")
    encoder = make_encoder(model, Full(), "mean", torch.device("cpu"), seed=0)
    sizes = [Engine(model, TRIAL, encoder, Options(smaller=halvings)).micro_tokens for halvings in range(3)]
    assert sizes[0] == 2 * sizes[1] == 4 * sizes[2]
