"""What a training ran on, and the memory it took."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import peft
import torch
import transformers

from runner.model.encoder import uses_bf16
from sweeps.machine.measured import processor


def environment(device: torch.device, precision: str, ranks: int = 1) -> dict[str, str | int]:
    """Returns what a loss may depend on besides the trial: versions, device, threads, precision, number of ranks."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "device": name,
        "ranks": ranks,
        "threads": torch.get_num_threads(),
        "precision": "bf16" if uses_bf16(precision, device) else "fp32",
    }


def reset_peak_memory() -> None:
    """Begin anew what `peak_memory` tells: a worker trains many trials, and each has a peak of its own."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Returns the peak in bytes: of the GPU's allocator, else the largest resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
