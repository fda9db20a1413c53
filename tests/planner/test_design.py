"""The sweep that `plan --calibrate` designs: affordable, runnable, and worth its FLOPs."""

import math
import shlex
from dataclasses import replace

import pytest

from planner import Limits, calibrate, plan
from planner.cli import main
from planner.design import DesignPoint, _Beliefs, _for_sweeps, advised, goal_file
from planner.laws import Chinchilla
from support.known_laws import FULL, LORA, PAIR, RATES, law_book, method_law
from sweeps.experiment.grid import cells
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Goal
from sweeps.experiment.sweep_file import read_sweep
from sweeps.running.gate import prospect


def sweep_of(calibration, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(calibration.toml)
    return read_sweep(path)


@pytest.mark.parametrize(("budget", "options"), [(1e15, {}), (1e18, {"suite": "pythia"}), (1e19, {"suite": "smollm2"})])
def test_the_sweep_file_holds_what_was_designed(budget, options, tmp_path):
    calibration = calibrate(plan(budget, laws=law_book(), **options), 0.1)
    sweep = sweep_of(calibration, tmp_path)
    tried = [cell for cell in cells(sweep, Data("", 10**12, 0, PAIR.tokens, PAIR.sum_sq_lengths)) if not cell.reason]
    assert len(tried) == calibration.cells > 3
    assert calibration.flops <= calibration.limit == pytest.approx(0.1 * budget)
    assert sum(cell.budget for cell in tried) <= calibration.flops
    assert len({cell.model.name for cell in tried}) >= 2 and len({cell.budget for cell in tried}) >= 2
    assert calibration.regret_after < calibration.regret_now


def test_measured_rates_are_kept_and_unknown_ones_are_searched(tmp_path):
    known = sweep_of(calibrate(plan(1e15, laws=law_book(), models=list(RATES)), 0.1), tmp_path)
    assert all(entry.rates == {model.name: RATES[model.name] for model in known.models} for entry in known.entries)
    unknown = calibrate(plan(1e18, laws=law_book(), suite="pythia"), 0.1)
    assert all(len(entry.search) >= 3 for entry in sweep_of(unknown, tmp_path).entries)
    assert unknown.assumed.startswith("pythia: factors")


def test_a_method_that_cannot_win_is_not_swept():
    hopeless = method_law(replace(FULL, E=1.5), {"name": "bias"}, seed=2)
    book = law_book(*law_book().laws, hopeless)
    assert calibrate(plan(1e15, laws=book), 0.1).methods == ("full", "lora rank 8 alpha 8")


@pytest.mark.parametrize("pairs", [300, 3_000, 12_000, 50_000, math.inf])
@pytest.mark.parametrize(("laws", "budget"), [("reference", 1e14), ("ziarko2024", 1e19)])
def test_what_is_promised_is_what_a_sweep_on_these_pairs_trains(laws, budget, pairs, tmp_path):
    batch = {"batch_size": 2} if pairs == 300 else {"batch_size": 16} if pairs < 1e5 else {}
    limits = Limits(max_pairs=pairs, max_params=1e9)
    answer = plan(budget, laws=[laws], limits=limits, conditions=batch, tokens_per_pair=60)
    promised = calibrate(answer, 0.2)
    sweep = sweep_of(promised, tmp_path)
    pair = answer.considered[0].pair
    measured = answer.laws.source.get("unique_tokens")  # on whose pairs a sweep without own ones is trained
    there = round(measured / answer.laws.pair.tokens) if measured else 10**9
    data = Data("", there if pairs == math.inf else pairs, 300, pair.tokens, pair.sum_sq_lengths)
    tried = [cell for cell in cells(sweep, data) if not cell.reason]
    assert len(tried) == promised.cells and sum(cell.budget for cell in tried) <= promised.flops
    expected = prospect(sweep, data)
    assert not expected.refusal and not any("fit leaves out" in remark for remark in expected.remarks)
    labels = {cell.entry.method.label for cell in tried}
    assert labels == set(promised.methods)


def test_settings_of_a_method_are_likely_together():
    """Three ranks as good as each other share a probability that one rank alone would be swept for."""
    ranks = [method_law(LORA, {"name": "lora", "rank": rank, "alpha": rank}, seed=rank) for rank in range(1, 60)]
    answer = plan(1e15, laws=law_book(method_law(FULL, {"name": "full"}), *ranks), models=["nano-340k"])
    assert answer.method_chances["lora"] > 0.3
    tried = calibrate(answer, 0.2).methods
    assert any(label.startswith("lora") for label in tried) and len(tried) < 20


def test_a_method_that_may_win_is_in_the_published_calibration():
    answer = plan(1e19, laws=["ziarko2024"], suite="pythia")
    names = {label.partition(" ")[0] for label in calibrate(answer, 0.02).methods}
    assert names == {name for name, chance in answer.method_chances.items() if chance >= 0.05} >= {"full", "lora"}


def test_pairs_that_hold_no_sweep_ask_for_a_smaller_batch():
    answer = plan(1e14, laws=["reference"], limits=Limits(max_pairs=300))
    with pytest.raises(ValueError, match=r"4 epochs of 300 pairs give 50 steps of 24, .* set a smaller `batch_size`"):
        calibrate(answer, 0.5)


def test_no_sweep_is_advised_that_takes_more_than_the_recipe():
    few = plan(1e16, laws=["reference"], limits=Limits(max_pairs=6000), conditions={"batch_size": 8})
    sweep = advised(few)
    assert sweep and sweep.flops <= few.recipe.flops < 1e14
    dear = replace(few, candidates=(replace(few.recipe, flops=sweep.flops / 2),))
    assert advised(dear) is None


def test_learning_in_two_steps_is_learning_at_once():
    answer = plan(1e15, laws=law_book())
    beliefs = _Beliefs(answer.considered, 1e15)
    points = [DesignPoint(_for_sweeps(candidate, answer.laws), 1e13) for candidate in answer.considered[:4]]
    assert beliefs.after(points[:2], points).spread(points[2:]) == pytest.approx(beliefs.spread(points), rel=1e-9)


def test_the_sweep_file_names_data_from_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("".join(f'{{"query": "{i}", "positive": "p{i}"}}\n' for i in range(3000)))
    answer = plan(1e14, laws=["reference"], data="pairs.jsonl")
    assert 'data = "../pairs.jsonl"' in calibrate(answer, 0.2, file=tmp_path / "deep" / "sweep.toml").toml


def test_too_small_a_share_says_what_the_smallest_sweep_takes():
    with pytest.raises(ValueError, match="smallest sweep takes") as caught:
        calibrate(plan(1e13, laws=law_book()), 0.001)
    least = float(str(caught.value).partition("takes ")[2].partition(":")[0])
    assert calibrate(plan(1e13, laws=law_book()), 1.02 * least / 1e13).flops <= 1.02 * least


def test_the_design_beats_cheapest_first_at_the_same_cost():
    answer = plan(1e16, laws=law_book())
    calibration = calibrate(answer, 0.05)
    beliefs = _Beliefs(answer.considered, 1e16)
    candidates = [_for_sweeps(candidate, answer.laws) for candidate in answer.considered]
    smallest = [candidate for candidate in candidates if not candidate.refusal(calibration.budgets[0])]
    repeats = calibration.flops / calibration.budgets[0] / len(smallest)  # as one trial each with that much less noise
    quiet = [replace(candidate, law=replace(candidate.law, noise=0.02 / repeats**0.5)) for candidate in smallest]
    cheap = [DesignPoint(candidate, calibration.budgets[0]) for candidate in quiet]
    designed = [
        DesignPoint(candidate, c)
        for candidate in candidates
        for c in calibration.budgets
        if candidate.model.name in calibration.models and not candidate.refusal(c)
    ]
    assert repeats > 1
    assert beliefs.spread(designed) < beliefs.spread(cheap)


def test_one_trial_teaches_what_bayes_says():
    """Two candidates that one number tells apart, and a trial that shows this number under known noise."""
    noisy = replace(method_law(FULL, {"name": "full"}), noise=0.05)
    answer = plan(1e15, laws=law_book(noisy), models=["nano-100k", "nano-1.2m"])
    beliefs = _Beliefs(answer.considered, 1e15)
    cell = DesignPoint(_for_sweeps(answer.considered[0], answer.laws), 1e13)
    observed, gap = beliefs._point(cell), [a - b for a, b in zip(*beliefs.targets, strict=True)]
    n, mean = len(observed), lambda row: sum(row) / len(row)
    product = lambda a, b: sum((x - mean(a)) * (y - mean(b)) for x, y in zip(a, b, strict=True)) / (n - 1)  # noqa: E731
    left = product(gap, gap) - product(gap, observed) ** 2 / (product(observed, observed) + 0.05**2)
    assert beliefs.spread([cell]) == pytest.approx(left / 4, rel=1e-9)  # variance of half the gap


def test_seeing_the_truth_without_noise_leaves_no_regret():
    floor = Chinchilla(E=0.5, A=1e-9, alpha=0.3, B=400.0, beta=0.36)
    books = [method_law(floor, {"name": name}, spread=0.05, seed=i) for i, name in enumerate(("full", "lora"))]
    book = law_book(*(replace(law, noise=0.0) for law in books))
    answer = plan(1e15, laws=book, models=["nano-340k"])
    beliefs = _Beliefs(answer.considered, 1e15)
    assert beliefs.regret([]) > 1e-3
    assert beliefs.regret([DesignPoint(candidate, 1e15) for candidate in answer.considered]) < 1e-6


def test_laws_without_draws_cannot_be_calibrated():
    with pytest.raises(ValueError, match="bootstrap draws"):
        calibrate(plan(1e15, laws=law_book(method_law(LORA, {"name": "lora"}, draws=0))), 0.1)


def test_the_command_writes_the_sweep(tmp_path, capsys):
    from support.known_laws import write_laws

    laws, out = str(write_laws(tmp_path / "laws.json")), tmp_path / "a new folder" / "sweep.toml"
    asked = ["--budget", "1e15", "--laws", laws, "--calibrate", "10%"]
    assert main(["--budget", "1e13", "--calibrate", "2%"]) == 0
    useless = capsys.readouterr().out
    assert "it hardly makes the choice safer" in useless and "improve" not in useless
    assert main(asked) == 0 and "add `--sweep-out calibrate.toml`, then `sweep run" in capsys.readouterr().out
    assert main([*asked, "--sweep-out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "expected regret" in printed and f"written {out} improve `sweep run {shlex.quote(str(out))}`" in printed
    sweep = read_sweep(out)
    assert len(sweep.models) >= 2 and sweep.goal == Goal("1e15", "10%", laws=laws)
    assert main([*asked[:-1], "150%"]) == 2 and "--calibrate is '150%'" in capsys.readouterr().err
    assert main([*asked[:-2], "--sweep-out", str(out)]) == 2 and "--sweep-out" in capsys.readouterr().err
    assert main([*asked[:-2], "--run"]) == 2 and "--run" in capsys.readouterr().err


def test_the_goal_is_that_of_the_plan(tmp_path):
    answer = plan("24h", laws=["reference"], hardware="cpu", mfu=0.5, price=1.0, suite="nano", methods=["full", "lora"])
    path = tmp_path / "goal.toml"
    path.write_text(goal_file(answer, 0.02, path, "reference", "cpu", 1.0))
    sweep = read_sweep(path)
    assert sweep.goal == Goal("24h", "2%", laws="reference", hardware="cpu", price=1.0)
    assert {model.name for model in sweep.models} == {each.model.name for each in answer.considered}
    assert {entry.method.name for entry in sweep.entries} <= {"full", "lora"} and not sweep.entries[0].search
    assert sweep.training.batch_size == answer.recipe.trial.training.batch_size
