"""The device that training runs on: what `on` may name, and why a name cannot be used here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda", "rocm", "mps")  # what people call them; torch calls an AMD GPU cuda too


def device_of(on: str | None) -> torch.device:
    """The device of one of DEVICES; None: the GPU where there is one, else the CPU.

    Raises ValueError for a name that is none of them, and for a device that is not here or cannot be trained on.
    """
    import torch

    here = torch.cuda.is_available()
    if on is None:
        return torch.device("cuda" if here else "cpu")
    if on not in DEVICES:
        raise ValueError(f"`on` is {on!r}; known: {', '.join(DEVICES)}")
    if on == "mps":
        raise ValueError("`on` is 'mps': Apple GPUs are not supported, since nothing was measured there; use cpu")
    if on == "cpu":
        return torch.device("cpu")
    if not here:
        raise ValueError(f"`on` is {on!r}: torch {torch.__version__} sees no GPU here; use cpu")
    if on == "rocm" and not torch.version.hip:
        raise ValueError(f"`on` is 'rocm': torch {torch.__version__} is not built for ROCm; the GPU here is cuda")
    return torch.device("cuda")
