"""Machines and prices: how fast one trains and what an hour of it costs. sweeps/machine/chips.py lists them.

`this` is this machine as `embed bench` measured it: its rate depends on the model and the method.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.flops import Work, exact_flops
from sweeps.machine.chips import CHIPS, Chip
from sweeps.machine.utilisation import ESTIMATED, NOMINAL, launch_seconds, step_seconds, step_work
from sweeps.methods import Method, label_of
from sweeps.models import ModelSpec
from sweeps.support.console import positive

if TYPE_CHECKING:
    from sweeps.machine.measured import MachineProfile, Reached  # needed on machines that were measured alone

THIS = "this"


@dataclass(frozen=True)
class Machine:
    """Chips of one kind that work on one trial together."""

    chip: str
    """Name of the chip: one of CHIPS, or `this`."""
    count: int
    """Number of chips."""
    mfu: float | None
    """Model FLOPs utilisation: the share of the peak that training reaches, 0 to 1; None: estimated for each step."""
    price: float | None = None
    """Price of one chip for an hour; None: not known."""
    profile: MachineProfile | None = None
    """Of a measured machine, what was measured; `mfu` is then the median over its rows."""

    @property
    def kind(self) -> Chip:
        profile = self.profile
        if profile is None:
            return CHIPS[self.chip]
        source, mixed = f"measured: {profile.device}", profile.precision == "bf16"
        return Chip(profile.peak, profile.memory, source, reached=self.mfu, mixed=mixed)

    @property
    def rate(self) -> float:
        """FLOPs a second, whatever is trained: what a budget of time is told in."""
        return self.kind.peak * self.count * (NOMINAL if self.mfu is None else self.mfu)

    def rate_of(self, model: ModelSpec, method: Method) -> float:
        """FLOPs a second in training this model like this, of a machine that was measured."""
        assert self.profile
        return _between(alike(self.profile, method), model.params)

    def step_seconds(
        self,
        model: ModelSpec,
        method: Method,
        pair: Work,
        second_forward: float = 0.0,
        micro_tokens: float = math.inf,
        sharded: bool = False,
    ) -> float:
        """Seconds of an optimiser step of `pair.batch_size` pairs like `pair`.

        second_forward: share of the batch that is embedded twice. micro_tokens: tokens that go through the model
        together on each chip. sharded: whether each chip keeps its part of the model only.
        """
        flops = pair.batch_size * exact_flops(model, method, pair, second_forward)
        if self.profile:
            return flops / self.rate_of(model, method)
        work = step_work(model, method, pair, second_forward)
        if self.mfu is None:
            return step_seconds(work, pair, self.kind, self.count, micro_tokens, sharded)
        floor = launch_seconds(work, pair, self.count, micro_tokens, sharded) if self.kind.mixed else 0.0
        return max(flops / self.rate, floor)

    def origin(self, model: ModelSpec, method: Method) -> str:
        """Where `step_seconds` comes from."""
        if self.profile is None:
            peak = f"peak {self.kind.peak:.4g} FLOP/s per chip ({self.kind.source})"
            return f"{peak}, {ESTIMATED if self.mfu is None else f'{self.mfu:.0%} of it reached'}"
        rows = alike(self.profile, method)
        names = ", ".join(dict.fromkeys(row.model for row in rows))
        methods = ", ".join(dict.fromkeys(label_of(row.method) for row in rows))
        inside = min(row.params for row in rows) <= model.params <= max(row.params for row in rows)
        how = "interpolated in N" if inside else "nearest in N"
        measured = f"measured by `embed bench` on {self.profile.created[:10]} with {methods} on {names}"
        return f"{self.rate_of(model, method):.3g} FLOP/s, {how}; {measured}"

    @property
    def memory(self) -> float:
        """Bytes that one chip's share of the batch may use; the cores of a CPU share all of the machine's."""
        if math.isfinite(self.kind.memory):
            return self.kind.memory
        from sweeps.machine.measured import installed_memory

        return installed_memory()

    def utilisation(self, flops: float, hours: float) -> float:
        """Share of the peak rate that `flops` in so many hours are, 0 to 1."""
        return flops / (hours * 3600 * self.kind.peak * self.count)

    def cost(self, hours: float) -> float | None:
        """Price of so many hours of all chips, in the currency of `price`."""
        return None if self.price is None else hours * self.count * self.price


def alike(profile: MachineProfile, method: Method) -> Sequence[Reached]:
    """The rows of this method; where there are none those of other settings of it, and else all."""
    settings = {"name": method.name, **method.options}
    same = [row for row in profile.rows if row.method == settings]
    return same or [row for row in profile.rows if row.method["name"] == method.name] or profile.rows


def _between(rows: Sequence[Reached], params: int) -> float:
    """FLOPs a second at this size: straight between the measured ones in log N and log rate, level beyond them."""
    sizes = sorted({row.params for row in rows})
    logs = [[math.log(row.flops) for row in rows if row.params == size] for size in sizes]
    rates = [sum(same) / len(same) for same in logs]
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
        raise ValueError(f"`mfu` is {mfu!r}: `hardware` this has a measured rate; leave one of the two out")
    from statistics import median

    from sweeps.machine.measured import read_machine_profile

    profile = read_machine_profile()
    return Machine(THIS, 1, median(row.mfu for row in profile.rows), _hourly(price), profile)


def _hourly(price: str | None) -> float | None:
    return None if price is None else positive("`price`", price, "a price per chip-hour, such as 2.5")
