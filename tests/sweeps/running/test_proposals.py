"""The process that proposes: it is told what was tried, and what it prints is checked."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from support.toy_sweeps import DATA
from sweeps.experiment.sweep import Entry, Goal, Proposed, Sweep
from sweeps.methods import make_method
from sweeps.models import find_model
from sweeps.running.proposals import propose, tried
from sweeps.search.sweep_state import plan_next
from sweeps.trial import Observation, by_key, failure

SWEEP = Sweep(
    models=(replace(find_model("nano-25k"), name="nano-25k"),),
    budgets=(),
    entries=(Entry(make_method("full", {})),),
    goal=Goal("1e13"),
    proposed=(Proposed("nano-25k", "full", 1e11, 1e-3, 0, "search"), Proposed("nano-25k", "full", 1e11, 3e-3)),
)


def test_what_was_tried_is_told_with_its_losses():
    first, second = plan_next(SWEEP, DATA, []).now
    known = by_key([Observation(first, "done", loss=2.0), failure(second, "it broke", "failed")])
    told = tried(SWEEP, DATA, known)
    assert [(each["lr"], each["loss"]) for each in told] == [(1e-3, 2.0), (3e-3, None)]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit(2)", "its goal cannot be pursued .exit code 2"),
        ("print('no')", "printed 'no"),
        ("print('{}')", "proposal for"),
        ('print(\'{"refused": "goal.spend is too much"}\')', "^[^ ]*goal.toml: goal.spend is too much$"),
    ],
)
def test_what_cannot_be_proposed_is_said(tmp_path, program, said):
    with pytest.raises(ValueError, match=said):
        propose(tmp_path / "goal.toml", SWEEP, DATA, {}, (sys.executable, "-c", program))


def test_a_round_is_what_the_process_prints(tmp_path):
    figures = dict.fromkeys(("regret", "spent", "cost", "limit", "budget"), 1.0)
    printed = json.dumps({**figures, "proposed": [], "laws": "mine", "contenders": [], "stop": "enough"})
    program = f"import sys, json; json.load(sys.stdin)['tried'][1]; print({printed!r})"
    now = propose(tmp_path / "goal.toml", SWEEP, DATA, {}, (sys.executable, "-c", program))
    assert now.stop == "enough" and now.laws == "mine" and now.recipe is None
