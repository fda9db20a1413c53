"""A sweep file opened with its data and its store, and conducted: what `sweep run` and `sweeps.Sweep` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sweeps.commands.bucket_doctor import refuse_unfit_objects
from sweeps.commands.doctor import refuse_unfit
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.cluster_file import ResourceClass, read_cluster_profile
from sweeps.machine.cores import gpus
from sweeps.machine.hardware import Machine, read_machine
from sweeps.running.conductor import Conductor, prepare
from sweeps.running.display import Screen, Snapshot, result
from sweeps.running.dry_run import foresee, here, throughput_on
from sweeps.running.gate import Prospect, no_law_on_any_data, prospect
from sweeps.running.proposals import propose
from sweeps.running.resources import this_machine
from sweeps.search.sweep_state import SweepState
from sweeps.store.base import Store
from sweeps.store.identity import refuse_foreign
from sweeps.store.open import open_store
from sweeps.store.reuse import Library
from sweeps.support.checks import choice, whole
from sweeps.support.console import positive
from sweeps.support.extras import require
from sweeps.workers import LAUNCHERS
from sweeps.workers.base import Launcher, LaunchOptions

ANYWAY = "; `no_law` runs it anyway"


@dataclass(frozen=True)
class OpenedSweep:
    """A sweep file and what is needed to run it."""

    file: Path
    """The sweep file."""
    directory: Path
    """Folder of the sweep."""
    sweep: Sweep
    """What the file says."""
    data: Data
    """Its data, read and tokenised."""
    store: Store
    """Where its trials and observations are kept."""
    library: Library | None
    """Where identical trials are looked for; None to train everything."""
    expected: Prospect
    """What can come of it."""

    def refuse_hopeless(self, no_law: bool) -> None:
        """Raise ValueError where no trial is possible or no law is possible; no_law: the latter is allowed."""
        expected = self.expected
        if expected.refusal and not (no_law and expected.remarks):
            raise ValueError(f"{self.file}: {expected.refusal}{ANYWAY if expected.remarks else ''}")

    def foresee(
        self,
        launcher: type[Launcher],
        options: LaunchOptions,
        hardware: str | None = None,
        mfu: str | None = None,
        price: str | None = None,
        again: bool = False,
    ) -> tuple[dict[str, Any], SweepState]:
        """What would be trained and what that takes, here or on other hardware; see sweeps.running.dry_run.foresee.

        hardware, mfu, price: as a user writes them. Raises ValueError naming the parameter.
        """
        classes, own = _classes(options), None
        machine, each = elsewhere(hardware, mfu, price)
        if machine is not None:
            throughput = throughput_on(machine, self.sweep, self.data, options.workers)
        else:
            throughput = here(self.store, options.workers, each)
            own = None if classes else this_class(launcher, options)
        return foresee(self.sweep, self.data, self.store, self.library, throughput, again, classes, own)

    def conduct(
        self, launcher: type[Launcher], options: LaunchOptions, retry_failed: bool = False
    ) -> tuple[Snapshot, int]:
        """Run the sweep to its end; how it stands then, and how many trials were taken over from other sweeps.

        retry_failed: failed trials are tried again. KeyboardInterrupt leaves a state that can be continued.
        """
        store, starter = self.store, launcher(options)
        if store.shares_folder:
            refuse_unfit(self.directory)
        for place, claims in store.places:
            refuse_unfit_objects(place, claims)
        store.admit(self.file, self.data)
        failed = store.retry_failed() if retry_failed else []
        with Screen(self.directory.resolve().name) as screen:
            own = this_class(launcher, options)
            ask = partial(propose, self.file)
            conductor = Conductor(self.sweep, self.data, store, self.library, screen, _classes(options), own, ask)
            store.begin(self.file, self.data)  # only now: nothing is written for a sweep that cannot be
            for remark in self.expected.remarks:
                conductor.say(remark)
            for observation in failed:
                conductor.say(f"to be retried: {result(observation)}")
            return conductor.run(starter.start), conductor.reused


def elsewhere(hardware: str | None, mfu: str | None, price: str | None) -> tuple[Machine | None, float | None]:
    """The machine that a dry run is about, None for this one, and the price of an hour of each of its chips.

    Raises ValueError naming the parameter.
    """
    if hardware is not None:
        machine = read_machine(hardware, mfu, price)
        return machine, machine.price
    if mfu is not None:
        raise ValueError("`mfu` needs `hardware`")
    return None, None if price is None else positive("`price`", price, "a price per core-hour or GPU-hour")


def opened(
    file: Path, directory: Path, url: str = "", fresh: bool = False, checkpoints: str = "", no_law: bool = True
) -> OpenedSweep:
    """The sweep of a file, its data prepared; notes on these go to stderr.

    url: of a database or of objects, and checkpoints: of their copies; see sweeps.store.open. fresh: no observations of
    other sweeps are reused. no_law: without it a sweep that can give no law on any data is refused before they are
    read, which takes minutes. Raises ValueError, and ModuleNotFoundError where what trains is not installed.
    """
    sweep = read_sweep(file)
    refuse_foreign(directory, file)
    if not no_law and (refusal := no_law_on_any_data(sweep)):
        raise ValueError(f"{file}: {refusal}{ANYWAY}")
    require("torch", "transformers", "peft")  # else a process that is started below says so, and this one again
    store = open_store(directory, url=url, checkpoints=checkpoints)  # before what may take minutes
    data = prepare(file)
    for note in data.notes:
        print(f"sweep: {note}", file=sys.stderr)
    return OpenedSweep(file, directory, sweep, data, store, None if fresh else Library(store), prospect(sweep, data))


def launching(
    launcher: str, workers: int | None, profile: Path | None, detach: bool = False, slots: int = 1
) -> tuple[type[Launcher], LaunchOptions]:
    """The launcher of that name and how it is to start workers.

    Raises ValueError for a name that is not known, for what the launcher lacks, and for what it has no use for.
    """
    kind = LAUNCHERS[choice("`launcher`", launcher, list(LAUNCHERS))]
    if workers is not None:
        whole("`workers`", workers)
    if kind.needs_profile and profile is None:
        raise ValueError(f"`launcher` {launcher} needs `profile`, such as examples/slurm.toml")
    if detach and not kind.detachable:
        raise ValueError(f"`detach` is for `launcher` {launchers('detachable')}; the launcher is {launcher}")
    if whole("`slots`", slots) > 1 and not kind.here:
        told = f"with {launcher} a class of the profile has slots"
        raise ValueError(f"`slots` is for `launcher` {launchers('here')}; {told}")
    if profile is not None and kind.here:
        raise ValueError(f"`profile` is for `launcher` {launchers('here', False)}; the launcher is {launcher}")
    cluster = read_cluster_profile(profile) if profile is not None else None
    return kind, LaunchOptions(workers, cluster, detach, slots)


def launchers(property: str, value: bool = True) -> str:
    """The launchers of which that is true, or not, as words."""
    names = [name for name, launcher in LAUNCHERS.items() if getattr(launcher, property) == value]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _classes(options: LaunchOptions) -> Sequence[ResourceClass]:
    return options.profile.classes if options.profile else ()


def this_class(launcher: type[Launcher], options: LaunchOptions) -> ResourceClass | None:
    """What a trial may use of this machine; None where workers run elsewhere."""
    if not launcher.here:
        return None
    devices = gpus()
    shared = options.workers / len(devices) if options.workers and devices else options.slots
    return this_machine(devices, shared)


def folder_of_file(file: Path) -> Path:
    """Where a sweep lies unless told otherwise; the copy of a sweep file in its folder continues that sweep.

    Raises ValueError for a name that gives none.
    """
    copied = file.name == "sweep.toml" and (file.parent / "observations.jsonl").exists()
    if file.stem in (".", ".."):
        raise ValueError(f"{file}: no folder for the sweep follows from this name; give `out`")
    return file.parent if copied else Path("results") / file.stem
