"""A sweep in Python: `from sweeps import Sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.commands.conduct import OpenedSweep, folder_of_file, launching, opened
from sweeps.commands.goal import with_next_round, write_chosen
from sweeps.commands.views import Standing, existing
from sweeps.experiment import sweep as experiment
from sweeps.experiment.sweep_file import read_sweep, sweep_of
from sweeps.running.display import Snapshot
from sweeps.running.dry_run import plan_lines
from sweeps.store.base import Store
from sweeps.store.export import flat_rows
from sweeps.store.open import placed
from sweeps.support.atomic import write_text
from sweeps.support.checks import choice
from sweeps.support.frames import cell, data_frame, html_table
from sweeps.support.paths import relative_to
from sweeps.support.toml_io import comments, lines
from sweeps.trial import by_key
from sweeps.workers import DEFAULT
from sweeps.workers.base import TRACKERS

REMARK = "Written by sweeps.Sweep from its arguments; `sweep run` runs it too."
SHOWN = ("model", "method", "budget", "seed", "lr", "steps", "epochs", "flops", "state")  # columns in a notebook
ROWS = 20  # trials that a notebook shows


class Sweep:
    """A sweep: trials of models, budgets and tuning methods, what they take, and their observations.

    >>> sweep = Sweep(
    ...     out="results/mine",
    ...     suite="nano",
    ...     budgets=[1e11, 2e11, 4e11],
    ...     methods=[{"name": "full", "lr": 3e-3}],
    ...     training={"data": "pairs.jsonl"},
    ... )  # doctest: +SKIP
    """

    def __init__(self, file: Path | str | None = None, *, out: Path | str | None = None, store: str = "", **keys: Any):
        """A sweep of a sweep file, or of the keys of one (docs/sweep-file.md).

        file: the sweep file. out: folder of the sweep, by default results/<the file's name>, or its URL in a bucket.
        store: a database or a bucket for machines that share no folder. keys: without a file, what would stand in it;
        `out` is needed then, and beside the folder <out>.toml is written. Raises ValueError naming the key, its value
        and the choices.
        """
        if (file is None) == (not keys):
            raise ValueError("give either a sweep file or the keys of one")
        if file is None and out is None:
            raise ValueError("`out` is missing: the folder of a sweep that is given by keys")
        own = Path("results")
        if file is not None:
            self.file = Path(file)
            self.folder, self.store = placed(out or folder_of_file(self.file), store, own)
        else:
            self.folder, self.store = placed(out or "", store, own)
            self.file = _written(self.folder, keys)
        with relative_to(self.file):
            self.experiment: experiment.Sweep = read_sweep(self.file)

    def dry_run(
        self,
        *,
        workers: int | None = None,
        hardware: str | None = None,
        mfu: float | None = None,
        price: float | None = None,
        fresh: bool = False,
    ) -> DryRun:
        """What would be trained and what that takes; trains nothing and writes nothing.

        workers: trials at once. hardware: another machine, such as "8xh100"; mfu: the share of its peak rate that
        training reaches; price: of a chip for an hour. fresh: no observations of other sweeps are reused. Raises
        ValueError.
        """
        launcher, options = launching(DEFAULT, workers, None)
        reached, hourly = (None if each is None else str(each) for each in (mfu, price))
        with relative_to(self.file):
            asked = with_next_round(self._opened(fresh))
            plan, state = asked.foresee(launcher, options, hardware, reached, hourly)
        expected = asked.expected
        remarks = (*expected.remarks, *([expected.refusal] if expected.refusal else []))
        return DryRun(plan, tuple(plan_lines(plan, asked.data, state)), remarks)

    def run(
        self,
        *,
        workers: int | None = None,
        launcher: str = DEFAULT,
        profile: Path | str | None = None,
        slots: int = 1,
        track: str | None = None,
        fresh: bool = False,
        retry_failed: bool = False,
        no_law: bool = False,
    ) -> Snapshot:
        """Train the trials, or continue where a run stopped; returns how the sweep stands at its end.

        workers: trials at once, by default one for each GPU or core. launcher: a key of sweeps.workers.LAUNCHERS;
        profile: the cluster profile of one that needs it. slots: trials at once on each GPU. track: one of
        sweeps.workers.base.TRACKERS. fresh: no observations of other sweeps are reused. retry_failed: failed trials
        are tried again. no_law: run it even where the trials cannot give a law. The recipe of a sweep with a goal is
        written into its folder. Raises ValueError; KeyboardInterrupt leaves a state that the next call continues.
        """
        kind, options = launching(launcher, workers, None if profile is None else Path(profile), slots=slots)
        if track is not None:
            choice("`track`", track, TRACKERS)
        with relative_to(self.file):
            asked = self._opened(fresh, no_law)
            asked.refuse_hopeless(no_law)
            end, _ = asked.conduct(kind, options.tracked_in(track), retry_failed)
            write_chosen(end)
            return end

    def status(self) -> Snapshot:
        """How the sweep stands now; it may be run from elsewhere. Raises ValueError where it was never run."""
        return Standing(self._kept()).look()

    def observations(self) -> Any:
        """What the trials left, as a pandas.DataFrame: a row each, the cheapest first; columns as of `sweep export`.

        Raises ValueError where the sweep was never run.
        """
        store = self._kept()
        columns, rows = flat_rows((by_key(store.exported()) | by_key(store.results())).values())
        return data_frame(rows, columns)

    def _opened(self, fresh: bool, no_law: bool = True) -> OpenedSweep:
        return opened(self.file, self.folder, self.store, fresh, no_law=no_law)

    def _kept(self) -> Store:
        return existing(self.folder, self.store)

    def __repr__(self) -> str:
        asked = self.experiment
        methods = ", ".join(entry.method.label for entry in asked.entries)
        spent = f"a goal of {asked.goal.budget}" if asked.goal else f"{len(asked.budgets)} budgets"
        return f"Sweep({self.file}: {len(asked.models)} models x {spent} x [{methods}])"


@dataclass(frozen=True)
class DryRun:
    """What a sweep would train, and what that takes."""

    plan: Mapping[str, Any]
    """What `sweep run --dry-run --json` prints: trials, FLOPs, seconds, hours, price, what is left out."""
    lines: tuple[str, ...]
    """The same for people."""
    remarks: tuple[str, ...]
    """What to know before it runs, and why the trials cannot give a law, where none can."""

    def to_frame(self) -> Any:
        """The trials as a pandas.DataFrame, a row each."""
        return data_frame(self.plan["trials"])

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"note      {each}" for each in self.remarks)])

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"DryRun({len(plan['trials'])} trials, {plan['known']} of them known; {plan['flops']:.3g} FLOPs, "
            f"about {plan['seconds']:.0f} s with {plan['workers']} at once)"
        )

    def _repr_html_(self) -> str:
        trials = self.plan["trials"]
        rows = [[cell(row[name]) for name in SHOWN] for row in trials[:ROWS]]
        more = [f"and {len(trials) - ROWS} more; to_frame() has all"] if len(trials) > ROWS else []
        return html_table(repr(self), SHOWN, rows, [*more, *(f"Note: {each}." for each in self.remarks)])


def _written(out: Path, keys: Mapping[str, Any]) -> Path:
    """Write the keys as the sweep file <out>.toml.

    Raises ValueError, and writes nothing, where they make no sweep or a file of somebody else lies there.
    """
    path = out.with_name(f"{out.name}.toml")
    head = comments((REMARK,))
    if path.exists() and not path.read_text(encoding="utf-8").startswith(head[0]):
        raise ValueError(
            f"{path}: exists and was not written by Sweep; name another folder with `out`, or pass this file"
        )
    text = "\n".join([*head, *lines(keys)]) + "\n"
    with relative_to(path):
        sweep_of(text, "Sweep(...)")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
