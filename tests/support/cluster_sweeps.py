"""`sweep run` of the toy on a cluster, for its tests: what runs, and that every trial has its one result at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.sweep_process import begin, spawn
from support.toy_sweeps import observe
from sweeps.store.attempts import Attempt
from sweeps.store.files import CHECKPOINT
from sweeps.store.folder import FolderStore
from sweeps.store.records import read_observations

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


class ClusterSweep:
    """A sweep in a folder of its own, and the processes of `sweep run` there.

    text: of its file. toy: the orders of the toy trainer.
    """

    def __init__(self, folder: Path, text: str, **toy) -> None:
        self.folder = folder
        (folder / "toy.toml").write_text(text)
        self.store = FolderStore(folder / "results" / "toy")
        begin(str(self.store.directory), **toy)
        self.processes: list[subprocess.Popen[str]] = []

    def begin(self, *more: str, launcher: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        """`sweep run` by a launcher, with more options."""
        command = ["run", "toy.toml", "--launcher", launcher, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.processes.append(spawn(*command, cwd=self.folder, env=environment, **pipes))
        return self.processes[-1]

    def running(self) -> list[tuple[str, Attempt]]:
        """Attempts under way that have left a checkpoint of their own."""
        found = []
        for trial, attempt, _ in self.store.running():
            path = self.store.folder(trial.key) / CHECKPOINT
            if path.exists() and path.stat().st_mtime_ns > attempt.state:
                found.append((trial.key, attempt))
        return found

    def ends(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """What was printed; every trial has the one result that it has undisturbed."""
        said, _ = process.communicate(timeout=150)
        assert process.returncode == code, said + self._logs()
        if code == 0:
            results = {seen.key: seen for seen in self.store.results()}
            assert results and set(self.store.queue()) <= set(results), said
            assert all(seen == observe(seen.trial) for seen in results.values()), said
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
