"""The rounds of a goal are kept as they were, and a sweep gets its trials from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support.toy_sweeps import DATA
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep import Entry, Goal, Proposed, Sweep
from sweeps.methods import make_method
from sweeps.models import find_model
from sweeps.search.goal_rounds import FILE, Contender, GoalRound, read_rounds, with_rounds, write_rounds
from sweeps.search.sweep_state import plan_next, sharing
from sweeps.trial import MOST_STEPS, Observation, Training

FIRST = GoalRound(
    proposed=(Proposed("nano-25k", "full", 1e11, 1e-3, 0, "search"), Proposed("nano-25k", "full", 1e11, 3e-3)),
    regret=0.5,
    spent=0.0,
    cost=2e11,
    limit=1e12,
    budget=1e13,
    laws="reference",
    contenders=(Contender("nano-25k", "full", 2.0, 1.5, 2.5, 0.7),),
    remarks=("python-env: not seen",),
)
SECOND = replace(FIRST, proposed=(Proposed("nano-25k", "full", 4e11, 3e-3),), regret=0.2, spent=2e11)
END = replace(SECOND, proposed=(), stop="the spend is used up", recipe={"model": "nano-25k"})
SWEEP = Sweep(
    models=(replace(find_model("nano-25k"), name="nano-25k"),),
    budgets=(),
    entries=(Entry(make_method("full", {})),),
    training=Training(warmup_steps=10),
    goal=Goal("1e13"),
)


def test_rounds_are_read_as_they_were_written(tmp_path):
    assert read_rounds(tmp_path) == []
    write_rounds(tmp_path, [FIRST, SECOND, END])
    assert read_rounds(tmp_path) == [FIRST, SECOND, END]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda each: each["proposed"][0].pop("lr"), r"rounds\[0\].*lr"),
        (lambda each: each["contenders"][0].update(loss="low"), r"rounds\[0\].contenders\[0\].*loss"),
        (lambda each: each.update(regret=None), r"rounds\[0\].*regret"),
    ],
)
def test_a_damaged_round_is_named(tmp_path, change, said):
    write_rounds(tmp_path, [FIRST])
    content = json.loads((tmp_path / FILE).read_text())
    change(content["rounds"][0])
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        read_rounds(tmp_path)


def test_a_sweep_tries_what_its_goal_asked_for_and_keeps_its_trunks():
    assert cells(SWEEP, DATA) == []
    begun = with_rounds(SWEEP, [FIRST, SECOND])
    state = plan_next(begun, DATA, [])
    assert [(trial.budget, trial.lr) for trial in state.now] == [(1e11, 1e-3), (1e11, 3e-3), (4e11, 3e-3)]
    assert not state.later and not state.searches
    done = [Observation(trial, "done", loss=2.0) for trial in state.now]
    ended = plan_next(begun, DATA, done)
    assert not ended.now and len(ended.finished) == 3
    assert {trial.trunk for trial in sharing(ended)} == {each.trial.trunk for each in done}
    assert {trial.steps for trial in sharing(ended)} == {MOST_STEPS}  # whatever the goal will ask for
