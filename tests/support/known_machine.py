"""What `embed bench` might have measured on this machine, for tests of plans and pages that use it."""

from __future__ import annotations

from support.ladder import NANO
from sweeps.machine.measured import MachineProfile, Reached, profile_path, this_host, write_machine_profile
from sweeps.methods import Full, LoRA, Method
from sweeps.models import ModelSpec


def reached(model: ModelSpec, method: Method, flops: float) -> Reached:
    """A row of a profile; of its numbers only the rate and the size matter to a plan."""
    settings = {"name": method.name, **method.options}
    return Reached(model.name, model.params, settings, 64, 5, 1.0, 87.0, flops, flops / 1e11, 0.6, 0.1, 10**9)


# Full tuning reaches ten times as much on the largest model as on the smallest; adapters reach half.
ENDS = [(NANO[0], 1e9), (NANO[-1], 1e10)]
ROWS = [reached(model, Full(), rate) for model, rate in ENDS] + [reached(m, LoRA(32), r / 2) for m, r in ENDS]
PEAKS = {"fp32": {"core": 5e10, "all": 1e11}, "bf16": {"core": 5e10, "all": 1e11}}


def measured_machine() -> MachineProfile:
    """This machine's profile with these rows, written where plans look for one: the test sets RECIPE_PLANNER_CACHE."""
    host = this_host()
    day = "2026-01-31T12:00:00+00:00"
    made = MachineProfile(host, host.cpu, host.memory, 2, "fp32", "2.13.0", day, "python-env", 0.1, PEAKS, tuple(ROWS))
    write_machine_profile(made, profile_path())
    return made
