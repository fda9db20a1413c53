"""The cluster profile: a TOML file of resource classes and of what the cluster wants to be told. Nothing of it is run
on reading, and what goes into a job script is quoted there.

    minutes = 240                         # of all classes that say nothing else
    setup   = ["module load cuda/12.4"]   # commands before the worker

    [[classes]]                           # the smallest first
    name    = "gpu/4"
    gpus    = 1
    slots   = 4                           # four trials on one GPU
    memory  = 20                          # GB that one trial may use
    workers = 2                           # jobs at once
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sweeps.support.checks import from_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_.+-]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*(?:=[A-Za-z0-9_.,:@%+*/\[\]&|()=-]+)?")
_OPERATORS = re.compile(r"[;&|<>`$(){}\n\r\0]")
OURS = (  # options of sbatch that follow from other keys
    *("account", "array", "chdir", "cpus-per-task", "error", "export", "gpus-per-node", "gres", "input", "job-name"),
    *("mem", "nodes", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "partition", "qos"),
    *("requeue", "signal", "time", "wrap"),
)
SHARED = ("minutes", "partition", "account", "qos", "options")  # keys of a class that the file may give for all


@dataclass(frozen=True)
class ResourceClass:
    """What one job of this class gets, and how many there are.

    memory: GB that one trial may use, of a GPU where it has one, else of main memory. cpus: of each process.
    gpus, shards: on each node; at most one of them. nodes: of one trial. processes: that train one trial together, on
    each node; by default one a GPU. sharded: each of them keeps only a part of the model. slots: trials at once in a
    job, which share its GPU. workers: jobs at once. longest: hours; trials estimated to take longer go to the next
    class, 0 for no limit. ram: GB of main memory of a job, 0 to ask for none. minutes: time limit of a job.
    partition, account, qos, options: for sbatch.
    """

    name: str
    memory: float
    cpus: int = 1
    gpus: int = 0
    shards: int = 0
    nodes: int = 1
    processes: int = 0
    sharded: bool = False
    slots: int = 1
    workers: int = 1
    longest: float = 0.0
    ram: float = 0.0
    minutes: int = 60
    partition: str = ""
    account: str = ""
    qos: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _strings("options", self.options))
        _check("name", self.name, bool(_NAME.fullmatch(self.name)), "letters, digits and . _ + -, with one / at most")
        for name in ("cpus", "nodes", "slots", "workers", "minutes"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("gpus", "shards", "processes"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name, most in (("memory", 1e6), ("longest", 1e5), ("ram", 1e6)):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= most, f"between 0 and {most:g}")
        _check("memory", self.memory, self.memory > 0, "positive, GB that one trial may use")
        for name, most in (("cpus", 4096), ("gpus", 64), ("shards", 4096), ("nodes", 1000), ("processes", 64)):
            _check(name, getattr(self, name), getattr(self, name) <= most, f"at most {most}")
        for name, most in (("slots", 256), ("workers", 10000), ("minutes", 366 * 24 * 60)):
            _check(name, getattr(self, name), getattr(self, name) <= most, f"at most {most}")
        for name in ("partition", "account", "qos"):
            value = getattr(self, name)
            _check(name, value, not value or bool(re.fullmatch(r"[A-Za-z0-9_.,@+-]+", value)), "letters, digits, . _ -")
        for i, option in enumerate(self.options):
            _check(f"options[{i}]", option, bool(_OPTION.fullmatch(option)), "like --name or --name=value")
            name = option[2:].partition("=")[0]
            _check(f"options[{i}]", option, name not in OURS, f"another; --{name} follows from the class's own keys")
        if self.gpus and self.shards:
            raise ValueError(f"gpus is {self.gpus} and shards is {self.shards}; a class has one of them")
        if self.slots > 1 and self.ranks > 1:
            raise ValueError(f"slots is {self.slots} with {self.ranks} processes in a trial; one of them must be 1")
        if self.sharded and self.ranks == 1:
            raise ValueError("sharded is true with one process in a trial; there is nothing to share")

    @property
    def per_node(self) -> int:
        """Processes of a trial on each node."""
        return self.processes or max(1, self.gpus if self.slots == 1 else 1)

    @property
    def ranks(self) -> int:
        """Processes that train one trial together."""
        return self.nodes * self.per_node

    @property
    def on_gpu(self) -> bool:
        return bool(self.gpus or self.shards)


@dataclass(frozen=True)
class ClusterProfile:
    """A checked cluster profile. classes: smallest first. setup: commands, each as its words. environment: variables.

    grace: seconds between Slurm's signal and the end of a job. patience: seconds that a worker waits for something to
    do. python: the interpreter on the nodes, "" for the one that runs `sweep`.
    """

    classes: tuple[ResourceClass, ...]
    setup: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: int = 90
    patience: int = 60
    python: str = ""


def read_profile_file(path: Path) -> ClusterProfile:
    """The checked profile of a TOML file. Raises ValueError naming the file, the key, its value and the choices."""
    with open(path, "rb") as file:
        try:
            table = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        return _profile(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _profile(table: dict[str, Any]) -> ClusterProfile:
    _known("the file", table, [*(item.name for item in fields(ClusterProfile)), *SHARED])
    shared = {key: table[key] for key in SHARED if key in table}
    setup = _strings("setup", table.get("setup", []))
    python = table.get("python", "")
    _check("python", python, isinstance(python, str) and python.isprintable(), "the path of an interpreter")
    classes, grace = _classes(table.get("classes"), shared), _whole("grace", table.get("grace", 90), 1, 3600)
    shortest = min(60 * one.minutes for one in classes)
    _check("grace", grace, grace < shortest, f"less than the {shortest} s that the shortest job has")
    return ClusterProfile(
        classes=classes,
        setup=tuple(_words(f"setup[{i}]", line) for i, line in enumerate(setup)),
        environment=_environment(table.get("environment", {})),
        grace=grace,
        patience=_whole("patience", table.get("patience", 60), 0, 24 * 3600),
        python=python,
    )


def _classes(tables: Any, shared: dict[str, Any]) -> tuple[ResourceClass, ...]:
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ValueError("has no [[classes]]; at least one is needed")
    made: list[ResourceClass] = []
    for i, table in enumerate(tables):
        where = f"classes[{i}]"
        _known(where, table, [item.name for item in fields(ResourceClass)])
        missing = [name for name in ("name", "memory") if name not in table]
        if missing:
            raise ValueError(f"{where} has no {' and no '.join(missing)}")
        try:
            made.append(from_table(ResourceClass, shared | table, where))
        except ValueError as error:
            said = str(error)
            raise ValueError(said if said.startswith(where) else f"{where}.{said}") from None
    files = [one.name.replace("/", "-") for one in made]
    for i, name in enumerate(files):
        _check(f"classes[{i}].name", made[i].name, name not in files[:i], "a name that no other class has")
    return tuple(made)


def _words(where: str, line: str) -> tuple[str, ...]:
    """A command as words. What only a shell could make of it is refused: it belongs in a script of the user's own."""
    _check(where, line, not _OPERATORS.search(line), "one plain command; put more in a script and `source` that")
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{where} is {line!r}: {error}") from None
    _check(where, line, bool(words), "a command")
    return tuple(words)


def _environment(table: Any) -> dict[str, str]:
    _check("environment", table, isinstance(table, dict), "a table")
    for name, value in table.items():
        _check(f"environment.{name}", name, bool(_VARIABLE.fullmatch(name)), "the name of a variable")
        plain = isinstance(value, str) and value.isprintable()
        _check(f"environment.{name}", value, plain, "a string without line breaks")
    return dict(table)


def _strings(where: str, value: Any) -> tuple[str, ...]:
    wanted = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    _check(where, value, wanted, "a list of strings")
    return tuple(value)


def _whole(where: str, value: Any, least: int, most: int) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _check(where, value, whole and least <= value <= most, f"a whole number between {least} and {most}")
    return int(value)


def _known(where: str, table: Mapping[str, Any], known: list[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f" (meant {near[0]!r}?)" if near else ""
            raise ValueError(f"{where} has no key {key!r}{meant}; known: {', '.join(known)}")


def _check(where: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{where} is {value!r}; it must be {wanted}")
