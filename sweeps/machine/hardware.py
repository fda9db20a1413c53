"""Machines and prices: how fast one trains and what an hour of it costs. CHIPS lists them.

`this` is the machine at hand as `embed bench` measured it: its rate depends on the model and the method.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from sweeps.machine.measured import MachineProfile, Reached, installed_memory, read_machine_profile
from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.support.console import positive

ASSUMED = 0.3  # large language models reach 0.3 to 0.5 (Chowdhery et al. 2022, table 3); short texts do no better


@dataclass(frozen=True)
class Chip:
    """One accelerator."""

    peak: float
    """Dense FLOP/s in the format of training, without the doubling that makers quote for sparse matrices."""
    memory: float
    """Bytes of memory."""
    source: str
    """Where the numbers come from."""
    reached: float = ASSUMED
    """Share of the peak that training is taken to reach, 0 to 1."""
    mixed: bool = True
    """Whether products are in 16 bits over fp32 weights."""


CHIPS = {
    "a100": Chip(312e12, 80e9, "NVIDIA A100 datasheet, 80 GB SXM, bf16"),
    "a100-40gb": Chip(312e12, 40e9, "NVIDIA A100 datasheet, 40 GB SXM, bf16"),
    "h100": Chip(989.4e12, 80e9, "NVIDIA H100 datasheet, SXM5, bf16: half of the sparse 1,979"),
    "h200": Chip(989.4e12, 141e9, "NVIDIA H200 datasheet, SXM, bf16: half of the sparse 1,979"),
    "b200": Chip(2250e12, 180e9, "NVIDIA HGX B200 datasheet, bf16: half of the sparse 4,500; 180 GB in DGX B200"),
    "l4": Chip(121e12, 24e9, "NVIDIA L4 datasheet, bf16: half of the sparse 242"),
    "l40s": Chip(362e12, 48e9, "NVIDIA L40S datasheet, bf16, dense"),
    "rtx4090": Chip(165.2e12, 24e9, "NVIDIA Ada architecture whitepaper, bf16 with fp32 accumulation, dense"),
    "mi300x": Chip(1307.4e12, 192e9, "AMD Instinct MI300X datasheet, bf16, dense"),
    "cpu": Chip(
        90e9,
        math.inf,
        "measured: one core of a 2-core Xeon with AVX-512, torch 2.13, fp32 products of 1024 x 256..1024 x 4096",
        reached=0.33,  # 30 GFLOP/s a core seen in training the nano suite
        mixed=False,
    ),
}


THIS = "this"


@dataclass(frozen=True)
class Machine:
    """Chips of one kind that work on one trial together."""

    chip: str
    """Name of the chip: one of CHIPS, or `this`."""
    count: int
    """Number of chips."""
    mfu: float
    """Model FLOPs utilisation: the share of the peak that training reaches, 0 to 1."""
    price: float | None = None
    """Price of one chip for an hour; None: not known."""
    profile: MachineProfile | None = None
    """Of a measured machine, what was measured; `mfu` is then the median over its rows."""

    @property
    def kind(self) -> Chip:
        profile = self.profile
        if profile is None:
            return CHIPS[self.chip]
        return Chip(profile.peak, profile.memory, f"measured: {profile.device}", self.mfu, profile.precision == "bf16")

    @property
    def rate(self) -> float:
        """FLOPs a second, whatever is trained."""
        return self.kind.peak * self.count * self.mfu

    def rate_of(self, model: ModelSpec, method: Method) -> float:
        """FLOPs a second in training this model like this."""
        return self.rate if self.profile is None else _between(alike(self.profile, method), model.params)

    def origin(self, model: ModelSpec, method: Method) -> str:
        """Where `rate_of` comes from."""
        if self.profile is None:
            return f"peak {self.kind.peak:.4g} FLOP/s a chip ({self.kind.source}), {self.mfu:.0%} of it reached"
        rows = alike(self.profile, method)
        names = ", ".join(dict.fromkeys(row.model for row in rows))
        methods = ", ".join(dict.fromkeys(_label(row) for row in rows))
        inside = min(row.params for row in rows) <= model.params <= max(row.params for row in rows)
        how = "between the nearest in N" if inside else "that of the nearest in N"
        measured = f"measured by `embed bench` on {self.profile.created[:10]} with {methods} on {names}"
        return f"{self.rate_of(model, method):.3g} FLOP/s, {how}; {measured}"

    @property
    def memory(self) -> float:
        """Bytes that one chip's share of the batch may use; the cores of a CPU share all of the machine's."""
        return self.kind.memory if math.isfinite(self.kind.memory) else installed_memory()

    def hours(self, flops: float, rate: float | None = None) -> float:
        """rate: FLOPs a second, where it is known better."""
        return flops / (rate or self.rate) / 3600

    def cost(self, flops: float, rate: float | None = None) -> float | None:
        """Price of `flops`, in the currency of `price`."""
        return None if self.price is None else self.hours(flops, rate) * self.count * self.price


def alike(profile: MachineProfile, method: Method) -> Sequence[Reached]:
    """The rows of this method; where there are none those of other settings of it, and else all."""
    settings = {"name": method.name, **method.options}
    same = [row for row in profile.rows if row.method == settings]
    return same or [row for row in profile.rows if row.method["name"] == method.name] or profile.rows


def _label(row: Reached) -> str:
    return " ".join([str(row.method["name"]), *(f"{k} {v:g}" for k, v in row.method.items() if k != "name")])


def _between(rows: Sequence[Reached], params: int) -> float:
    """FLOPs a second at this size: straight between the measured ones in log N and log rate, level beyond them."""
    sizes = sorted({row.params for row in rows})
    rates = [fmean(math.log(row.flops) for row in rows if row.params == size) for size in sizes]
    if params <= sizes[0] or params >= sizes[-1]:
        return math.exp(rates[0 if params <= sizes[0] else -1])
    above = next(place for place, size in enumerate(sizes) if size > params)
    low, high = math.log(sizes[above - 1]), math.log(sizes[above])
    share = (math.log(params) - low) / (high - low)
    return math.exp(rates[above - 1] * (1 - share) + rates[above] * share)


def read_machine(text: str, mfu: str | None = None, price: str | None = None) -> Machine:
    """`8xh100`, `rtx4090`, `cpu` (all cores), or `this`. Raises ValueError naming the parameter and the choices."""
    if text.lower() == THIS:
        return _this(mfu, price)
    number, _, chip = text.lower().partition("x")
    if not number.isdecimal():
        number, chip = "", text.lower()
    if chip not in CHIPS or (number and int(number) < 1):
        known = ", ".join([*CHIPS, THIS])
        raise ValueError(f"`hardware` is {text!r}; it must be a chip or COUNTxCHIP such as 8xh100; known: {known}")
    count = int(number) if number else (os.cpu_count() or 1) if chip == "cpu" else 1
    reached = CHIPS[chip].reached
    if mfu is not None:
        wanted = "a share of the peak rate above 0 and up to 1, such as 0.4"
        reached = positive("`mfu`", mfu, wanted)
        if reached > 1:
            raise ValueError(f"`mfu` is {mfu!r}; it must be {wanted}")
    return Machine(chip, count, reached, _hourly(price))


def _this(mfu: str | None, price: str | None) -> Machine:
    if mfu is not None:
        raise ValueError(f"`mfu` is {mfu!r}: what `hardware` this reaches was measured; leave one of the two out")
    profile = read_machine_profile()
    return Machine(THIS, 1, median(row.mfu for row in profile.rows), _hourly(price), profile)


def _hourly(price: str | None) -> float | None:
    return None if price is None else positive("`price`", price, "the price of one chip for an hour, such as 2.5")
