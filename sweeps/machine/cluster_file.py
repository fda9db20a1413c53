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

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sweeps.support.checks import from_table, known_keys, require, strings, tables, whole
from sweeps.support.toml_io import read_checked

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_.+-]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*(?:=[A-Za-z0-9_.,:@%+*/\[\]&|()=-]+)?")
_ADDRESS = re.compile(r"(?:ray://)?[A-Za-z0-9_.:\[\]-]+")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*")
_WORD = re.compile(r"[A-Za-z0-9_.,@+-]+")
_OPERATORS = re.compile(r"[;&|<>`$(){}\n\r\0]")
OURS = (  # options of sbatch that follow from other keys
    *("account", "array", "chdir", "cpus-per-task", "error", "export", "gpus-per-node", "gres", "input", "job-name"),
    *("mem", "nodes", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "partition", "qos"),
    *("requeue", "signal", "time", "wrap"),
)
RANGES: dict[str, tuple[int, int]] = {  # least and most of a class's numbers
    "memory": (0, 10**6),
    "cpus": (1, 4096),
    "gpus": (0, 64),
    "shards": (0, 4096),
    "nodes": (1, 1000),
    "processes": (0, 64),
    "slots": (1, 256),
    "workers": (1, 10_000),
    "longest": (0, 10**5),
    "ram": (0, 10**6),
    "minutes": (1, 366 * 24 * 60),
}
SHARED = ("minutes", "partition", "account", "qos", "options")  # keys of a class that the file may give for all


@dataclass(frozen=True)
class ResourceClass:
    """What one job of this class gets, and how many such jobs there are. RANGES bounds the numbers."""

    name: str
    """Letters, digits and . _ + -, with one / at most; no two classes share it."""
    memory: float
    """GB that one trial may use: of a GPU where the class has one, else of main memory."""
    cpus: int = 1
    """Cores of each process."""
    gpus: int = 0
    """GPUs on each node; 0 where the class has shards or none."""
    shards: int = 0
    """Slurm shards of GPUs on each node; 0 where the class has gpus or none."""
    nodes: int = 1
    """Nodes that one trial uses together."""
    processes: int = 0
    """Processes on each node that train one trial together; 0: one per GPU."""
    sharded: bool = False
    """Whether each process keeps only a part of the model (FSDP)."""
    slots: int = 1
    """Trials at once in a job, which share its GPU."""
    workers: int = 1
    """Jobs at once."""
    longest: float = 0.0
    """Hours; trials estimated to take longer go to the next class. 0: no limit."""
    ram: float = 0.0
    """GB of main memory that a job asks for; 0: it asks for none."""
    minutes: int = 60
    """Time limit of a job."""
    partition: str = ""
    """Slurm partition; "": the default one."""
    account: str = ""
    """Slurm account; "": the default one."""
    qos: str = ""
    """Slurm quality of service; "": the default one."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, each like --name or --name=value."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Ray: custom resources on each node, by name. Kubernetes: extended ones, such as amd.com/gpu, in whole numbers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", strings("options", self.options))
        require("name", self.name, bool(_NAME.fullmatch(self.name)), "letters, digits and . _ + -, with one / at most")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            require(name, value, least <= value <= most, f"between {least} and {most:,}")
        require("memory", self.memory, self.memory > 0, "positive, GB that one trial may use")
        for name in ("partition", "account", "qos"):
            value = getattr(self, name)
            require(name, value, not value or bool(_WORD.fullmatch(value)), "letters, digits, . _ -")
        for i, option in enumerate(self.options):
            require(f"options[{i}]", option, bool(_OPTION.fullmatch(option)), "like --name or --name=value")
            name = option[2:].partition("=")[0]
            require(f"options[{i}]", option, name not in OURS, f"another; --{name} follows from the class's own keys")
        for name, amount in self.resources.items():
            fits = bool(_RESOURCE.fullmatch(name)) and name not in ("CPU", "GPU", "memory")
            require("resources", name, fits, "names of custom resources; cpus, gpus and ram are keys of their own")
            require(f"resources.{name}", amount, 0 < amount <= 10**6, "a positive number")
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
    """A checked cluster profile."""

    classes: tuple[ResourceClass, ...]
    """Classes of resources, the smallest first."""
    setup: tuple[tuple[str, ...], ...] = ()
    """Commands before the worker, each as its words."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the worker."""
    grace: int = 90
    """Seconds between Slurm's signal and the end of a job."""
    patience: int = 60
    """Seconds that a worker waits for something to do."""
    python: str = ""
    """Interpreter on the nodes; "" for the one that runs `sweep`."""
    address: str = ""
    """Ray: address of the cluster; "" for the one of RAY_ADDRESS, or on this machine, or else one that is started."""


def read_cluster_profile(path: Path) -> ClusterProfile:
    """The checked profile of a TOML file. Raises ValueError naming the file, the key, its value and the choices."""
    return read_checked(path, _profile)


def _profile(table: dict[str, Any]) -> ClusterProfile:
    known_keys("the file", table, [*(item.name for item in fields(ClusterProfile)), *SHARED])
    shared = {key: table[key] for key in SHARED if key in table}
    setup = strings("setup", table.get("setup", []))
    python = table.get("python", "")
    require("python", python, isinstance(python, str) and python.isprintable(), "the path of an interpreter")
    address = table.get("address", "")
    plain = isinstance(address, str) and (not address or bool(_ADDRESS.fullmatch(address)))
    require("address", address, plain, "the address of a Ray cluster, such as 10.0.0.1:6379 or ray://head:10001")
    classes, grace = _classes(table.get("classes"), shared), whole("grace", table.get("grace", 90), 1, 3600)
    shortest = min(60 * resource_class.minutes for resource_class in classes)
    require("grace", grace, grace < shortest, f"less than the {shortest} s that the shortest job has")
    return ClusterProfile(
        classes=classes,
        setup=tuple(_words(f"setup[{i}]", line) for i, line in enumerate(setup)),
        environment=_environment(table.get("environment", {})),
        grace=grace,
        patience=whole("patience", table.get("patience", 60), 0, 24 * 3600),
        python=python,
        address=address,
    )


def _classes(classes: Any, shared: dict[str, Any]) -> tuple[ResourceClass, ...]:
    checked: list[ResourceClass] = []
    for i, table in enumerate(tables(classes, 1, "has no [[classes]]; at least one is needed")):
        where = f"classes[{i}]"
        try:
            checked.append(from_table(ResourceClass, shared | table, where))
        except ValueError as error:
            message = str(error)
            raise ValueError(message if message.startswith(where) else f"{where}.{message}") from None
    files = [resource_class.name.replace("/", "-") for resource_class in checked]
    for i, name in enumerate(files):
        require(f"classes[{i}].name", checked[i].name, name not in files[:i], "a name that no other class has")
    return tuple(checked)


def _words(where: str, line: str) -> tuple[str, ...]:
    """A command as words. What only a shell could make of it is refused: it belongs in a script of the user's own."""
    require(where, line, not _OPERATORS.search(line), "one plain command; put more in a script and `source` that")
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{where} is {line!r}: {error}") from None
    require(where, line, bool(words), "a command")
    return tuple(words)


def _environment(table: Any) -> dict[str, str]:
    require("environment", table, isinstance(table, dict), "a table")
    for name, value in table.items():
        require(f"environment.{name}", name, bool(_VARIABLE.fullmatch(name)), "the name of a variable")
        plain = isinstance(value, str) and value.isprintable()
        require(f"environment.{name}", value, plain, "a string without line breaks")
    return dict(table)
