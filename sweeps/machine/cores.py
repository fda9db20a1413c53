"""The cores and the GPUs that this process may use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path


def available_cores() -> list[int]:
    """Cores that this process may use, no more of them than its control group grants time for."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else cores[: max(1, round(int(quota) / int(period)))]


def gpus() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in (part.strip() for part in chosen.split(",")) if name not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False).stdout
    return re.findall(r"UUID: (MIG-[^)]+)\)", listed) or re.findall(r"UUID: (GPU-[^)]+)\)", listed)


def trials_at_once(slots: int = 1) -> int:
    """Trials that run at once on this machine unless told otherwise: `slots` on each GPU, or one on each core."""
    return slots * len(gpus()) or len(available_cores())
