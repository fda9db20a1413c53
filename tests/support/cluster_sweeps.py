"""`sweep run` of the toy on a cluster, for its tests: what runs, and that every trial has its one result at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.sweep_process import begin, spawn
from support.toy_sweeps import observe
from sweeps.store.attempts import Attempt
from sweeps.store.folder import FolderStore
from sweeps.store.open import open_store
from sweeps.store.records import read_observations
from sweeps.trial import Observation

_TRIALS = """
models = ["nano-25k"]
budgets = [1e12]
min_steps = 1
seeds = {seeds}
[[methods]]
name = "full"
lr = 2e-3
"""


def trials(count: int) -> str:
    """A sweep file of so many trials, which differ in their seeds."""
    return _TRIALS.format(seeds=list(range(count)))


def one_class(
    workers: int, more: str = "", memory: float = 1.5, variables: Mapping[str, object] | None = None, **keys: int
) -> str:
    """A cluster profile of one class.

    more: lines of the class. variables: of the workers. keys: of the file.
    """
    lines = [f"{name} = {value}" for name, value in keys.items()]
    lines += [f'environment.{name} = "{value}"' for name, value in (variables or {}).items()]
    lines += ["[[classes]]", 'name = "cpu"', f"memory = {memory}", f"workers = {workers}", more]
    return "\n".join(lines) + "\n"


def devices(pid: int) -> str:
    """The GPUs that a process may see; "" where nothing says it. Raises OSError when it is gone."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    named = [each.partition(b"=")[2].decode() for each in variables if each.startswith(b"CUDA_VISIBLE_DEVICES=")]
    return named[0] if named else ""


class ClusterSweep:
    """A sweep in a folder of its own, and the processes of `sweep run` there.

    text: of its file. url: of its store, "" for the folder. copies: URL of those of checkpoints. toy: the orders of
    the toy trainer.
    """

    def __init__(self, folder: Path, text: str, url: str = "", copies: str = "", **toy) -> None:
        self.folder = folder
        (folder / "toy.toml").write_text(text)
        self.store = open_store(folder / "results" / "toy", url=url, checkpoints=copies)
        self.place = ["--store", url, "--checkpoints", copies] if url else []
        begin(str(self.store.directory), **toy)
        self.processes: list[subprocess.Popen[str]] = []

    def begin(self, *more: str, launcher: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        """`sweep run` by a launcher, with more options."""
        command = ["run", "toy.toml", "--launcher", launcher, *self.place, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.processes.append(spawn(*command, cwd=self.folder, env=environment, **pipes))
        return self.processes[-1]

    def running(self) -> list[tuple[str, Attempt]]:
        """Attempts under way that have left a checkpoint of their own."""
        running = [(trial.key, attempt) for trial, attempt, _ in self.store.running()]
        return [(key, attempt) for key, attempt in running if self.store.checkpointed(key) > attempt.state]

    def ends(
        self,
        process: subprocess.Popen[str],
        code: int = 0,
        expected: Callable[[Observation], bool] = lambda seen: seen == observe(seen.trial),
    ) -> str:
        """What was printed; every trial has its one result, which is as `expected`."""
        said, _ = process.communicate(timeout=300)
        assert process.returncode == code, said + self._logs()
        if code == 0:
            results = {seen.key: seen for seen in self.store.results()}
            assert results and set(self.store.queue()) <= set(results), said
            assert all(map(expected, results.values())), said
            exported = [seen.key for seen in read_observations(self.store.directory / "observations.jsonl")]
            assert sorted(exported) == sorted(results), said
        return said

    def _logs(self) -> str:
        return "\n".join(path.read_text() for path in (self.store.directory / "logs").glob("*.log"))


@contextmanager
def ended() -> Iterator[list[ClusterSweep]]:
    """A list of sweeps, of which nothing runs afterwards."""
    made: list[ClusterSweep] = []
    try:
        yield made
    finally:
        for process in [process for one in made for process in one.processes]:
            process.kill()
            process.wait()


_TWO_NODES = """
environment = {{ GLOO_SOCKET_IFNAME = "lo", RECIPE_PLANNER_CACHE = "{cache}" }}
[[classes]]
name = "2x1"
memory = 2
nodes = 2
"""
_REAL = """
models = ["{model}"]
budgets = [{budget}]
seeds = {seeds}
min_steps = 1
max_epochs = 1000
[[methods]]
name = "full"
lr = 1e-2
[training]
data = "{data}"
batch_size = 16
context = {context}
pool_size = 32
pools = 1
"""


def real_trials(data: Path, budget: float, count: int = 1, model: str = "nano-25k", context: int = 48) -> str:
    """A sweep file for the real trainer, of so many trials, which differ in their seeds."""
    return _REAL.format(model=model, budget=budget, seeds=list(range(count)), data=data, context=context)


def two_nodes_train_one_trial(
    folder: Path, pairs: Path, launcher: str, environment: dict[str, str], **keys: int
) -> None:
    """Two nodes of a cluster train one trial with the real trainer and gloo. keys: of the cluster profile."""
    out = folder / "out"
    (folder / "real.toml").write_text(real_trials(pairs, 2e9))
    profile = "".join(f"{name} = {value}\n" for name, value in keys.items())
    (folder / "cluster.toml").write_text(profile + _TWO_NODES.format(cache=os.environ["RECIPE_PLANNER_CACHE"]))
    command = [sys.executable, "-m", "sweeps.cli", "run", "real.toml", "--no-law", "--out", str(out)]
    done = subprocess.run(
        [*command, "--launcher", launcher, "--profile", "cluster.toml"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=400,
    )
    logs = "\n".join(path.read_text() for path in out.glob("*/**/*log*") if path.is_file())
    assert done.returncode == 0, done.stderr + logs
    (seen,) = FolderStore(out).results()
    assert seen.status == "done" and seen.environment["ranks"] == 2, logs
    assert not list(out.glob("trials/*/ranks-*"))
