"""What a goal gave away follows from the losses of a grid that measured its candidates."""

from __future__ import annotations

import json
import math

import pytest

from analysis.goal.against import against, main
from sweeps.methods import make_method
from sweeps.search.goal_rounds import Contender, GoalRound, write_rounds
from sweeps.trial import Observation, Training, Trial

FULL, LORA = make_method("full", {}), make_method("lora", {"rank": 8})
GOAL = 1e13


def observation(model, method, loss, budget=GOAL, lr=1e-3, seed=0, **training):
    trial = Trial(model, method, Training(data="there.jsonl", data_hash="1234", **training), lr, 100, seed, budget)
    return Observation(trial, "done", loss=loss)


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "observations.jsonl").write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))


@pytest.fixture
def goal(tmp_path):
    """A goal that chose LoRA of the small model after one trial."""
    contenders = (
        Contender("nano-25k", LORA.label, 1.9, 1.5, 2.4, 0.6),
        Contender("nano-1.2m", FULL.label, 2.2, 1.2, 3.0, 0.1),
    )
    last = GoalRound((), 0.1, 2e11, 0.0, 5e11, GOAL, "reference", contenders, stop="spent", recipe={})
    folder = tmp_path / "goal"
    write(folder, [observation("nano-25k", LORA, 3.0, budget=1e11)])
    write_rounds(folder, [last])
    return folder


def grid_of(tmp_path, *rows):
    write(tmp_path / "grid", rows)
    return tmp_path / "grid"


def test_the_choice_is_held_against_the_best_by_its_best_rate_and_the_mean_of_its_seeds(goal, tmp_path):
    grid = grid_of(
        tmp_path,
        observation("nano-25k", LORA, 2.5, lr=1e-2),
        observation("nano-25k", LORA, 2.0),
        observation("nano-25k", LORA, 2.2, seed=1),
        observation("nano-100k", FULL, 2.0),
        observation("nano-100k", FULL, 0.1, budget=1e12),
    )
    verdict = against(goal, grid)
    assert [(each.model, each.seeds) for each in verdict.measured] == [("nano-100k", 1), ("nano-25k", 2)]
    assert verdict.regret == pytest.approx(0.1)
    said = "\n".join(verdict.lines())
    assert "5.00% of the loss" in said and "2.00% of 1e+13" in said and "60%" in said
    assert "nano-1.2m" in said  # believed in, and not measured


def test_what_the_grid_has_not_measured_is_no_verdict(goal, tmp_path):
    verdict = against(goal, grid_of(tmp_path, observation("nano-100k", FULL, 2.0)))
    assert verdict.chosen is None and math.isnan(verdict.regret)
    assert "unknown" in "\n".join(verdict.lines())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([observation("nano-25k", FULL, 2.0, budget=1e12)], "only at 1e"),
        ([observation("nano-25k", FULL, 2.0, temperature=0.1)], "its temperature is 0.1"),
        ([], "none"),
    ],
)
def test_a_grid_that_cannot_judge_is_refused(goal, tmp_path, rows, said):
    with pytest.raises(ValueError, match=said):
        against(goal, grid_of(tmp_path, *rows))


def test_a_goal_that_has_not_ended_is_refused(goal, tmp_path):
    grid = grid_of(tmp_path, observation("nano-25k", FULL, 2.0))
    with pytest.raises(ValueError, match="no rounds"):
        against(grid, grid)
    write_rounds(goal, [GoalRound((), 0.1, 0.0, 0.0, 1.0, GOAL, "reference", ())])
    with pytest.raises(ValueError, match="not ended"):
        against(goal, grid)


def test_a_folder_that_is_not_there_is_named(goal, tmp_path, capsys):
    assert main([str(goal), str(tmp_path / "none")]) == 2
    assert (
        capsys.readouterr().err == f"against: error: {tmp_path / 'none'}: no such folder; it must be that of a sweep\n"
    )
