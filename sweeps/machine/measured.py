"""What `embed bench` measured of a machine: `runner` writes it, `planner` reads it, neither knows the other."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeps.machine.cores import available_cores
from sweeps.support.atomic import write_text
from sweeps.support.checks import from_table
from sweeps.support.json_io import parse_json, read_bytes

FORMAT = 1
MEMORY_TOLERANCE = 0.05  # a kernel's update changes how much of the memory it shows


def cache_folder() -> Path:
    """Where mined pairs, token files and the profile are kept: $RECIPE_PLANNER_CACHE, else ~/.cache/recipe-planner."""
    named = os.environ.get("RECIPE_PLANNER_CACHE")
    try:
        folder = Path(named) if named else Path.home() / ".cache" / "recipe-planner"
        folder.mkdir(parents=True, exist_ok=True)
    except RuntimeError:
        raise ValueError("this user has no home folder; set RECIPE_PLANNER_CACHE to a folder for caches") from None
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}; set RECIPE_PLANNER_CACHE to another folder") from None
    return folder


def profile_path() -> Path:
    return cache_folder() / "profile.json"


@dataclass(frozen=True)
class Host:
    """A machine as the operating system shows it."""

    cpu: str
    """The processor's name."""
    cores: int
    """Cores that a process may use."""
    memory: int
    """Bytes of main memory."""
    gpus: tuple[str, ...] = ()
    """Names of the GPUs."""

    def difference(self, other: Host) -> str:
        """What is not the same in `other`, as text; "" for one machine."""
        facts = [(name, getattr(self, name), getattr(other, name)) for name in ("cpu", "cores", "gpus")]
        unlike = [f"{name} {here!r}, there {there!r}" for name, here, there in facts if here != there]
        if abs(self.memory - other.memory) > MEMORY_TOLERANCE * self.memory:
            unlike.append(f"memory {self.memory / 1e9:.1f} GB, there {other.memory / 1e9:.1f} GB")
        return "; ".join(unlike)


def this_host() -> Host:
    return Host(processor(), len(available_cores()), installed_memory(), _gpu_names())


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def installed_memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpu_names() -> tuple[str, ...]:
    """As NVIDIA's driver lists them: asking torch would take seconds."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    return tuple(line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:"))


@dataclass(frozen=True)
class Reached:
    """What training reached for one model and method, medians over some steps."""

    model: str
    """Name of the model."""
    params: int
    """N: parameters outside the embedding tables."""
    method: Mapping[str, Any]
    """Name of the method, and its settings."""
    batch_size: int
    """Text pairs in a step."""
    steps: int
    """Steps that were measured."""
    pairs: float
    """Text pairs per second."""
    tokens: float
    """Real tokens per second."""
    flops: float
    """FLOP/s by the exact count."""
    mfu: float
    """Model FLOPs utilisation: the share that `flops` is of `MachineProfile.peak`, 0 to 1."""
    products: float
    """FLOP/s that the matrix products of a step reach alone."""
    overhead: float
    """Share of a step on one thread that is spent outside torch's kernels, 0 to 1."""
    peak_bytes: int
    """Most memory in use, bytes."""
    random: bool = False
    """Whether random weights replaced weights that were not on the machine."""


@dataclass(frozen=True)
class MachineProfile:
    """A machine and what training reached on it."""

    host: Host
    """The machine."""
    device: str
    """Name of what trained: the CPU or a GPU."""
    memory: int
    """Bytes of its memory."""
    threads: int
    """Threads of the CPU in training."""
    precision: str
    """Of the matrix products in training: fp32 or bf16."""
    torch: str
    """torch's version."""
    created: str
    """When it was measured: UTC, ISO 8601."""
    data: str
    """What was trained on."""
    load: float
    """Processes that ran or waited for a core in the minute before."""
    peaks: Mapping[str, Mapping[str, float]]
    """FLOP/s of large matrix products: precision -> "core" or "all" (of the threads, or the GPU) -> FLOP/s."""
    rows: tuple[Reached, ...]
    """What was reached, for each model and method."""
    compiled: bool = False
    """Whether blocks ran through torch.compile, as with `embed train --compile`."""

    @property
    def peak(self) -> float:
        """FLOP/s of the largest matrix products, in the precision and with the threads of training."""
        return self.peaks[self.precision]["all"]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MachineProfile:
        """The profile written by `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        fields = {name: value for name, value in content.items() if name != "format"}
        host = from_table(Host, {**content["host"], "gpus": tuple(content["host"]["gpus"])}, "host")
        rows = tuple(from_table(Reached, row, f"rows[{i}]") for i, row in enumerate(content["rows"]))
        profile = from_table(cls, {**fields, "host": host, "rows": rows}, "profile")
        numbers = [profile.peak, profile.memory, *(value for row in rows for value in (row.params, row.flops, row.mfu))]
        if not rows or not all(math.isfinite(number) and number > 0 for number in numbers):
            raise ValueError("a rate, a size or the peak is not a positive number, or there are no rows")
        return profile


def write_machine_profile(profile: MachineProfile, path: Path) -> None:
    write_text(path, json.dumps(profile.to_json(), indent=2) + "\n")


def read_machine_profile(path: Path | None = None) -> MachineProfile:
    """This machine's profile. Raises ValueError when there is none, or one of another machine or format."""
    path = path or profile_path()
    if not path.exists():
        raise ValueError(f"{path}: this machine has not been measured; run `embed bench` first")
    try:
        content = parse_json(read_bytes(path))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        profile = MachineProfile.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: cannot be used ({error}); run `embed bench` again") from None
    if unlike := this_host().difference(profile.host):
        raise ValueError(f"{path}: was measured on another machine (here {unlike}); run `embed bench` here")
    return profile
