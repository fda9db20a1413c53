"""A sweep in optuna-dashboard: a projection of its trials into Optuna studies, made anew each time and never read back.

One study for every model and method. A trial's parameters are its rate, budget and seed, its value the held-out loss,
its intermediate values the training loss by step; all else that is known of it are user attributes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.commands import dashboard_server
from sweeps.commands.dashboard_server import HOST
from sweeps.store.base import Store
from sweeps.support.processes import die_with_parent, own_code
from sweeps.support.progress import Progress
from sweeps.trial import Observation, Trial, by_key

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

START = 30.0  # s that the server may take to answer
FIGURES = ("flops", "tokens", "params", "trainable", "seconds", "total_seconds", "peak_bytes", "accuracy", "start_loss")


def serve(store: Store, port: int, browse: bool, say: Callable[[str], None]) -> None:
    """Show the sweep as it is now until interrupted. port: 0 for any free one. Raises ValueError where it cannot."""
    if find_spec("optuna_dashboard") is None:
        raise ValueError("the dashboard needs optuna-dashboard; pip install 'recipe-planner[dashboard]'")
    port = _free(port)
    for number in (signal.SIGTERM, signal.SIGHUP):  # the server ends with this process, however that ends
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="sweep-dashboard-") as folder:
        path = Path(folder) / "studies.sqlite3"
        count = project(store, path)
        command = [sys.executable, "-P", "-m", dashboard_server.__name__, str(path), str(port)]
        with open(Path(folder) / "log.txt", "wb") as log:
            server = subprocess.Popen(
                command,
                env=os.environ | own_code(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_ends_with_us,  # noqa: PLW1509 (one call into C, which takes no lock)
            )
        try:
            _wait(server, port, Path(folder) / "log.txt")
            address = f"http://{HOST}:{port}/"
            say(f"{count} studies at {address}  (Ctrl-C ends it; begin it again to see what came since)")
            if browse:
                webbrowser.open(address)
            server.wait()
        finally:
            server.terminate()
            server.wait()


def _ends_with_us() -> None:
    """In the new process, before it is anything else."""
    die_with_parent(signal.SIGTERM)


def _free(port: int) -> int:
    """The port, or a free one for 0. Raises ValueError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ValueError(f"`port` is {port}, which cannot be used ({error}); 0 takes a free one") from None
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ValueError(f"optuna-dashboard does not start: {lines[-1] if lines else 'it says nothing'}")


def project(store: Store, path: Path) -> int:
    """Write the trials of a sweep as Optuna studies into an SQLite file that is not there yet; how many studies."""
    import optuna
    from sqlalchemy import event

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    event.listen(storage.engine, "connect", _hasty)
    storage.engine.dispose()  # what is connected already has not heard that
    studies = _studies(store)
    with Progress("studies", sum(map(len, studies.values())), "trials") as progress:
        for name, trials in studies.items():
            study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
            for trial in trials:
                study.add_trial(trial)
                progress.advance()
    storage.remove_session()
    storage.engine.dispose()
    return len(studies)


def _hasty(connection: Any, _: object) -> None:
    """The file is made anew whenever it is needed: nothing has to reach the disk."""
    connection.execute("PRAGMA synchronous = OFF")


def _studies(store: Store) -> dict[str, list[FrozenTrial]]:
    """Trials by the name of their study, in an order of their own: finished ones, running ones, those to come."""
    known = by_key(store.exported()) | by_key(store.results())
    running = {trial.key: (trial, figures) for trial, _, figures in store.running()}
    coming = [store.read_trial(key) for key in store.queue() if key not in known and key not in running]
    studies: dict[str, list[FrozenTrial]] = {}

    def add(trial: Trial, frozen: FrozenTrial) -> None:
        studies.setdefault(f"{trial.model} {trial.method.label}", []).append(frozen)

    for observation in _ordered(known.values()):
        add(observation.trial, _finished(observation))
    for trial, figures in running.values():
        values = {figures["step"]: figures["loss"]} if {"step", "loss"} <= set(figures) else {}
        add(trial, _frozen(trial, "RUNNING", values))
    for trial in coming:
        add(trial, _frozen(trial, "WAITING", {}))
    return studies


def _ordered(observations: Iterable[Observation]) -> list[Observation]:
    def place(observation: Observation) -> tuple[str, str, float, str]:
        trial = observation.trial
        return trial.model, trial.method.label, trial.budget, trial.key

    return sorted(observations, key=place)


def _finished(observation: Observation) -> FrozenTrial:
    """done: complete; diverged: pruned, for its curve says where it stopped being of use; else: failed."""
    state = {"done": "COMPLETE", "diverged": "PRUNED", "pruned": "PRUNED"}.get(observation.status, "FAIL")
    known = {"status": observation.status, "reason": observation.reason} | {
        name: getattr(observation, name) for name in FIGURES
    }
    return _frozen(
        observation.trial, state, {step: loss for step, _, loss in observation.curve}, observation.loss, known
    )


def _frozen(
    trial: Trial, state: str, curve: dict[int, float], loss: float | None = None, known: dict[str, Any] | None = None
) -> FrozenTrial:
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    rate = FloatDistribution(min(1e-12, trial.lr), max(1e3, trial.lr), log=True)  # one range for all trials of a study
    budget = FloatDistribution(min(1.0, trial.budget or 1.0), max(1e30, trial.budget), log=True)
    attributes = {"key": trial.key, "steps": trial.steps, **(known or {})}
    return create_trial(
        state=TrialState[state],
        value=loss if state == "COMPLETE" else None,
        params={"lr": trial.lr, "budget": trial.budget or 1.0, "seed": trial.seed},
        distributions={"lr": rate, "budget": budget, "seed": IntDistribution(0, 2**62)},
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        intermediate_values=curve,
    )
