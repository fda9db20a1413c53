"""Accelerators by name, as their makers' datasheets have them."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Share of the peak that products of large matrices reach: what MPT of 760M to 7B reached on H100s (see utilisation.py).
PRODUCTS = 0.7


@dataclass(frozen=True)
class Chip:
    """One accelerator."""

    peak: float
    """Dense FLOP/s in the format of training, without the doubling that makers quote for sparse matrices."""
    memory: float
    """Bytes of memory."""
    source: str
    """Where the numbers come from."""
    bandwidth: float = math.inf
    """Bytes a second that its memory reads or writes."""
    link: float = math.inf
    """Bytes a second that it sends to other chips of its machine, and receives besides."""
    products: float = PRODUCTS
    """Share of the peak that products of large matrices reach, 0 to 1."""
    reached: float | None = None
    """Share of the peak that training reaches, 0 to 1, where that was measured; None: see utilisation.py."""
    mixed: bool = True
    """Whether products are in 16 bits over fp32 weights."""


# Peak and memory, then bandwidth and link: NVLink, Infinity Fabric or PCIe 4.0 x16, half of what is quoted both ways.
CHIPS = {
    "a100": Chip(312e12, 80e9, "NVIDIA A100 datasheet, 80 GB SXM, bf16", 2.039e12, 300e9, products=0.85),
    "a100-40gb": Chip(312e12, 40e9, "NVIDIA A100 datasheet, 40 GB SXM, bf16", 1.555e12, 300e9, products=0.85),
    "h100": Chip(989.4e12, 80e9, "NVIDIA H100 datasheet, SXM5, bf16: half of the sparse 1,979", 3.35e12, 450e9),
    "h200": Chip(989.4e12, 141e9, "NVIDIA H200 datasheet, SXM, bf16: half of the sparse 1,979", 4.8e12, 450e9),
    "b200": Chip(
        2250e12, 180e9, "NVIDIA HGX B200 datasheet, bf16: half of the sparse 4,500; 180 GB in DGX B200", 8e12, 900e9
    ),
    "l4": Chip(121e12, 24e9, "NVIDIA L4 datasheet, bf16: half of the sparse 242", 300e9, 32e9),
    "l40s": Chip(362e12, 48e9, "NVIDIA L40S datasheet, bf16, dense", 864e9, 32e9),
    "rtx4090": Chip(
        165.2e12, 24e9, "NVIDIA Ada architecture whitepaper, bf16 with fp32 accumulation, dense", 1.008e12, 32e9
    ),
    "mi300x": Chip(1307.4e12, 192e9, "AMD Instinct MI300X datasheet, bf16, dense", 5.3e12, 448e9, products=0.45),
    "cpu": Chip(
        90e9,
        math.inf,
        "measured: one core of a 2-core Xeon with AVX-512, torch 2.13, fp32 products of 1024 x 256..1024 x 4096",
        reached=0.33,  # 30 GFLOP/s a core seen in training the nano suite
        mixed=False,
    ),
}
