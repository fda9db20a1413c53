"""Racing drops what small budgets show to be dominated, and nothing whose curve may yet cross."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sweep_process import begin, started
from support.toy_sweeps import DATA, SWEEP, toy_main
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.search.racing import race
from sweeps.search.sweep_state import next_trials, plan_next
from sweeps.trial import Observation, failure

TEXT = """
models = ["nano-25k", "nano-100k"]
budgets = [1e11, 2e11, 4e11, 8e11]
[[methods]]
name = "full"
lr = 2e-3
[[methods]]
name = "bias"
lr_search = [1e-2, 3e-2]
[[methods]]
name = "freeze"
lr = 1e-3
"""
RACING = "[racing]\nmargin = 0.05\nfrom_budgets = 2\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text: str):
        (tmp_path / "sweep.toml").write_text(text)
        return read_sweep(tmp_path / "sweep.toml")

    return read_text


def power(scale: float, exponent: float, floor: float = 0.0):
    return lambda budget: floor + scale * (budget / 1e11) ** -exponent


def run(sweep, laws, pick=lambda trials: trials):
    """Run to the end; losses follow the laws by method, and the higher of two rates is better."""
    known = {}
    while proposed := next_trials(sweep, DATA, known.values()):
        assert not {trial.key for trial in proposed} & set(known)
        for trial in pick(proposed):
            loss = laws[trial.method.name](trial.budget) + (0.01 if trial.lr == 1e-2 else 0.0)
            known[trial.key] = Observation(trial, "done", loss=loss)
    end = plan_next(sweep, DATA, known.values())
    assert not end.now and not end.later
    return known, end


def budgets(end, method, model="nano-100k"):
    tried = [seen.trial for seen in end.finished if (seen.trial.method.name, seen.trial.model) == (method, model)]
    return sorted({trial.budget for trial in tried})


DOMINATED = {"full": power(2.0, 0.1), "bias": power(2.6, 0.05), "freeze": power(2.0, 0.11)}


def test_what_is_dominated_is_dropped_with_who_and_by_how_much(read):
    _, end = run(read(TEXT + RACING), DOMINATED)
    first, second, *rest = [1e11, 2e11, 4e11, 8e11]
    assert budgets(end, "bias") == [first, second]
    assert budgets(end, "freeze") == [first, second, *rest]
    dropped = [cell for cell in end.left_out if cell.reason.startswith("racing") and cell.model.name == "nano-100k"]
    assert [cell.budget for cell in dropped] == rest
    gaps = [DOMINATED["bias"](budget) / DOMINATED["freeze"](budget) - 1 for budget in (first, second)]
    assert dropped[0].reason == (
        f"racing: dominated by freeze share 0.5, its loss {gaps[0]:.1%} higher at {first:.3g} "
        f"and {gaps[1]:.1%} higher at {second:.3g} FLOPs"
    )


def test_nothing_is_dropped_unless_the_file_says_so(read):
    _, end = run(read(TEXT), DOMINATED)
    assert budgets(end, "bias") == [1e11, 2e11, 4e11, 8e11]
    assert not any(cell.reason.startswith("racing") for cell in end.left_out)


@pytest.mark.parametrize(
    "laws",
    [
        {"full": power(2.0, 0.05), "bias": power(2.0, 0.06), "freeze": power(3.0, 0.3)},  # freeze will win: it narrows
        {"full": power(2.0, 0.1), "bias": power(2.06, 0.1), "freeze": power(2.0, 0.1)},  # not by the margin
        {"full": power(2.0, 0.1), "bias": power(2.0, 0.1), "freeze": power(2.0, 0.1)},
    ],
)
def test_what_may_yet_cross_or_is_near_stays(read, laws):
    _, end = run(read(TEXT + RACING), laws)
    assert not any(cell.reason.startswith("racing") for cell in end.left_out)


def test_a_loss_that_is_missing_decides_nothing(read):
    sweep = read(TEXT + RACING)
    known = {}
    while proposed := next_trials(sweep, DATA, known.values()):
        for trial in proposed:
            worse = trial.method.name == "bias"
            lost = worse and trial.budget == 2e11
            known[trial.key] = failure(trial, "no") if lost else Observation(trial, "done", loss=3.0 if worse else 2.0)
    end = plan_next(sweep, DATA, known.values())
    assert 4e11 in budgets(end, "bias", "nano-25k") and 8e11 in budgets(end, "bias", "nano-25k")


def test_a_method_stays_where_those_that_beat_it_cannot_be_tried(read):
    sweep = read(TEXT + RACING)
    made = [cell for cell in cells(sweep, DATA) if cell.model.name == "nano-25k" and not cell.reason]
    kept = [cell for cell in made if cell.entry.method.name == "bias" or cell.budget < 8e11]
    losses = {cell: 3.0 if cell.entry.method.name == "bias" else 2.0 for cell in kept}
    raced = race(sweep.racing, losses, [])
    assert {(cell.entry.method.name, cell.budget) for cell in raced.dropped} == {("bias", 4e11)}
    assert not raced.waiting


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), scale=st.floats(1.5, 4.0), exponent=st.floats(0.01, 0.4))
def test_the_choice_is_the_same_in_whatever_order_the_answers_come(tmp_path_factory, seed, scale, exponent):
    path = tmp_path_factory.mktemp("sweep") / "sweep.toml"
    path.write_text(TEXT + RACING)
    chance = random.Random(seed)
    laws = DOMINATED | {"bias": power(scale, exponent)}
    once, end = run(read_sweep(path), laws)
    again, other = run(read_sweep(path), laws, lambda some: chance.sample(some, chance.randint(1, len(some))))
    assert once.keys() == again.keys()
    assert {(cell.label, cell.reason) for cell in end.left_out} == {(c.label, c.reason) for c in other.left_out}


def test_the_dry_run_the_status_and_the_record_say_what_was_dropped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(TEXT.replace("lr_search = [1e-2, 3e-2]", "lr = 3e-4") + RACING)
    folder = begin("results/toy")
    assert toy_main(["run", "toy.toml", "--dry-run", "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["racing"] and toy_main(["run", "toy.toml", "--json"]) == 0
    end = json.loads(capsys.readouterr().out)
    assert toy_main(["run", "toy.toml", "--dry-run", "--json"]) == 0
    after = json.loads(capsys.readouterr().out)
    record = json.loads((folder / "left-out.json").read_text())
    dropped = [cell for cell in record if cell["reason"].startswith("racing: dominated by ")]
    assert dropped and all(cell["method"]["name"] == "bias" for cell in dropped)
    for told in (end, after):
        assert [cell for cell in told["left_out"] if "racing" in cell["reason"]] == dropped
    assert len(before["trials"]) == len(after["trials"]) + len(dropped) == len(started(folder)) + len(dropped)
    capsys.readouterr()
    assert toy_main(["run", "toy.toml"]) == 0  # a rerun reaches the same choice
    assert len(started(folder)) == len(after["trials"])
    assert "racing: dominated by" in capsys.readouterr().out


def test_what_waits_for_a_verdict_still_starts_from_the_trunk_of_the_smaller(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = SWEEP.replace("[1e11, 3e11]", "[2e11, 3e11, 5e11]").replace("lr_search = [1e-3, 3e-3]", "lr = 1e-2")
    spent = []
    for name, racing in (("free", ""), ("raced", "[racing]\nmargin = 9.0\n")):
        Path("toy.toml").write_text(text + racing + "[training]\nwarmup_steps = 20\n")
        assert toy_main(["run", "toy.toml", "--out", f"{name}/toy", "--fresh", "--workers", "1", "--json"]) == 0
        end = json.loads(capsys.readouterr().out)
        spent.append((end["done"], end["flops_spent"], end["flops_alone"]))
    assert spent[0] == pytest.approx(spent[1]) and spent[0][1] < spent[0][2]
