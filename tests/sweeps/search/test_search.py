"""What to try next follows from the sweep file and the observations alone, in whatever order these come in."""

from __future__ import annotations

import json
import math
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sweep_process import begin, spawn
from support.toy_sweeps import DATA, SWEEP, toy_main
from support.waiting import wait_for
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.search.learning_rates import EVERYTHING, EXTENSIONS, hopeless, propose
from sweeps.search.sweep_state import next_trials, plan_next, sharing
from sweeps.store.folder import FolderStore
from sweeps.trial import Observation, failure

TEXT = """
models = ["nano-25k", "nano-100k"]
budgets = [1e10, 1e11, 3e11]
seeds = [0, 1]
[[methods]]
name = "full"
lr = 2e-3
[[methods]]
name = "lora"
rank = [8, 32]
lr_search = [1e-3, 4e-3, 16e-3]
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.toml"
    path.write_text(TEXT)
    return read_sweep(path)


def bowl(best):
    """Observations whose loss is lowest at the rate `best`; ten times that rate diverges."""

    def observe(trial):
        if trial.lr > 10 * best:
            return failure(trial, "training loss is nan", "diverged")
        return Observation(trial, "done", loss=3 + math.log(trial.lr / best) ** 2)

    return observe


def run(sweep, observe, pick=lambda trials: trials):
    """Run the sweep; `pick` chooses which of those proposed are finished next."""
    known = {}
    while proposed := next_trials(sweep, DATA, known.values()):
        keys = [trial.key for trial in proposed]
        assert len(set(keys)) == len(keys)
        assert not set(keys) & set(known)  # what is finished is never proposed again
        known |= {trial.key: observe(trial) for trial in pick(proposed)}
        assert len(known) < 200  # it ends
    return known


def rates(known, method, model="nano-25k"):
    """Rates tried, ascending."""
    return sorted({o.trial.lr for o in known.values() if (o.trial.method.label, o.trial.model) == (method, model)})


@settings(max_examples=15)
@given(best=st.floats(1e-5, 1.0), seed=st.integers(0, 1000), bad=st.floats(0, 1))
def test_it_ends_and_every_possible_cell_has_its_trial(sweep, best, seed, bad):
    chance = random.Random(seed)
    broken = {}

    def observe(trial):
        fails = broken.setdefault(trial.key, chance.random() < bad / 3)
        return failure(trial, "out of memory") if fails else bowl(best)(trial)

    def some(trials):
        return chance.sample(trials, chance.randint(1, len(trials)))

    known = run(sweep, observe, some)
    end = plan_next(sweep, DATA, known.values())
    assert not end.now and not end.later
    seen = {(o.trial.model, o.trial.method, o.trial.budget, o.trial.seed) for o in end.finished}
    skipped = {(c.model.name, c.entry.method, c.budget, c.seed) for c in end.left_out}
    assert seen | skipped == {(c.model.name, c.entry.method, c.budget, c.seed) for c in cells(sweep, DATA)}
    assert not seen & skipped
    again = run(sweep, lambda trial: known[trial.key], some)
    assert again.keys() == known.keys()  # the order of the answers changes nothing


def test_a_best_rate_inside_is_used_everywhere_and_its_search_trial_is_a_grid_trial(sweep):
    known = run(sweep, bowl(4e-3))
    assert rates(known, "lora rank 8 alpha 8") == [1e-3, 4e-3, 16e-3]
    end = plan_next(sweep, DATA, known.values())
    assert {found.chosen for found in end.searches} == {4e-3}
    lora = [o.trial for o in end.finished if o.trial.method.name == "lora" and o.trial.model == "nano-25k"]
    # per rank: three rates at one cell, and the three other possible cells (two budgets by two seeds, less one)
    assert len(lora) == 2 * (3 + 3)


@pytest.mark.parametrize(
    ("best", "tried", "chosen"),
    [
        (20e-3, [1e-3, 4e-3, 16e-3, 64e-3], 16e-3),
        (60e-3, [1e-3, 4e-3, 16e-3, 64e-3, 256e-3], 64e-3),
        (100.0, [1e-3, 4e-3, 16e-3, 64e-3, 256e-3], 256e-3),  # never more than two beyond
        (3e-4, [0.0625e-3, 0.25e-3, 1e-3, 4e-3, 16e-3], 0.25e-3),
    ],
)
def test_a_best_rate_at_the_edge_is_followed_by_the_same_ratio(sweep, best, tried, chosen):
    found = plan_next(sweep, DATA, run(sweep, bowl(best)).values()).searches[0]
    assert found.chosen == chosen
    assert sorted(found.tried) == pytest.approx(tried)
    assert len(tried) - 3 <= EXTENSIONS
    assert ("edge" in found.note) == (best == 100.0)


def test_only_the_first_seed_is_searched_and_at_the_smallest_possible_budget(sweep):
    for found in plan_next(sweep, DATA, []).searches:
        same = (found.cell.model, found.cell.entry)
        possible = [c.budget for c in cells(sweep, DATA) if (c.model, c.entry) == same and not c.reason]
        assert found.cell.seed == 0
        assert found.cell.budget == min(possible) > 1e10  # 1e10 buys too few steps
    proposed = next_trials(sweep, DATA, [])
    assert {t.seed for t in proposed if t.method.name == "lora"} == {0}
    assert {t.seed for t in proposed if t.method.name == "full"} == {0, 1}


def test_diverged_rates_count_as_bad(sweep):
    known = run(sweep, lambda t: failure(t, "nan", "diverged") if t.lr > 2e-3 else bowl(1e-3)(t))
    found = plan_next(sweep, DATA, known.values()).searches[0]
    assert found.chosen == 1e-3
    assert set(found.tried) == {0.25e-3, 1e-3, 4e-3, 16e-3}


def test_when_every_rate_fails_the_method_is_left_out_with_the_reason(sweep):
    known = run(sweep, lambda t: failure(t, "no memory") if t.method.name == "lora" else bowl(2e-3)(t))
    end = plan_next(sweep, DATA, known.values())
    assert all(found.failed for found in end.searches)
    reasons = {cell.reason for cell in end.left_out if cell.entry.method.name == "lora" and cell.steps >= 50}
    assert reasons == {"no learning rate gave a loss (failed: no memory)"}
    assert rates(known, "lora rank 8 alpha 8") == [1e-3, 4e-3, 16e-3]


def test_a_search_trial_is_the_first_stretch_of_the_trials_at_its_rate(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TEXT.replace('"nano-25k", "nano-100k"', '"nano-25k"') + "[training]\nwarmup_steps = 10\n")
    sweep, known = read_sweep(path), {}
    while proposed := next_trials(sweep, DATA, known.values()):
        state = plan_next(sweep, DATA, known.values())
        of_use = {trial.trunk for trial in sharing(state)}
        for found in state.searches:  # a rate's trunk is of use while it may be chosen, or its trials are to come
            best = min((seen.loss for seen in found.tried.values()), default=None)
            for seen in found.tried.values():
                coming = any(trial.trunk == seen.trial.trunk for trial in state.now)
                assert (seen.trial.trunk in of_use) == (coming or bool(found.open and seen.loss == best))
        known |= {trial.key: bowl(4e-3)(trial) for trial in proposed[:2]}
    end = plan_next(sweep, DATA, known.values())
    assert len(end.searches) == 2 and not sharing(end)
    for found in end.searches:
        first = found.cell.trial(found.chosen)
        ladder = [seen.trial for seen in end.finished if seen.trial.trunk == first.trunk]
        assert {trial.budget for trial in ladder} == {1e11, 3e11} and first in ladder


SPAN = TEXT.replace("[1e-3, 4e-3, 16e-3]", "{ low = 1e-4, high = 1.0, trials = 9, together = 3 }")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.toml"
    path.write_text(SPAN)
    return read_sweep(path)


@settings(max_examples=10)
@given(best=st.floats(1e-3, 0.1), seed=st.integers(0, 1000), bad=st.floats(0, 1))
def test_rates_are_proposed_the_same_whoever_asks_and_none_twice(sampled, best, seed, bad):
    chance, broken = random.Random(seed), {}

    def observe(trial):
        fails = broken.setdefault(trial.key, chance.random() < bad / 2)
        return failure(trial, "out of memory") if fails else bowl(best)(trial)

    def some(trials):
        return chance.sample(trials, chance.randint(1, len(trials)))

    known = run(sampled, observe, some)
    propose.cache_clear()  # another process, that remembers nothing
    assert run(sampled, lambda trial: known[trial.key]).keys() == known.keys()
    for found in plan_next(sampled, DATA, known.values()).searches:
        assert len(found.tried) == 9 and all(1e-4 <= rate <= 1.0 for rate in found.tried)
        losses = {rate: seen.loss for rate, seen in found.tried.items() if seen.status == "done"}
        assert found.failed if not losses else found.chosen == min(losses, key=losses.get)


def test_sampled_rates_begin_evenly_and_close_in_on_the_best(sampled):
    assert propose(sampled.entries[1].rate_range, ()) == pytest.approx([10**-3.333, 1e-2, 10**-0.667], rel=1e-3)
    for best in (2e-3, 1e-2, 5e-2):
        found = plan_next(sampled, DATA, run(sampled, bowl(best)).values()).searches[0]
        rates = list(found.tried)
        assert abs(math.log(found.chosen / best)) < math.log(3)
        off = [abs(math.log(rate / best)) for rate in rates]
        assert sum(off[3:]) / 6 < sum(off[:3]) / 3
        assert "of 9 between 0.0001 and 1" in found.note


def test_rates_not_yet_proposed_are_counted(sampled):
    state = plan_next(sampled, DATA, [])
    assert all((len(found.open), found.more) == (3, 6) for found in state.searches)
    searched = [cell for cell in state.later if cell in [found.cell for found in state.searches]]
    assert len(searched) == 6 * len(state.searches)


@pytest.mark.slow
def test_a_killed_conductor_proposes_what_it_would_have(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = "lr_search = { low = 1e-3, high = 0.1, trials = 6, together = 2 }"
    Path("toy.toml").write_text(SWEEP.replace("lr_search = [1e-3, 3e-3]", search))
    assert toy_main(["run", "toy.toml", "--out", "undisturbed/toy"]) == 0
    folder = begin("results/toy", seconds=0.3)
    for done in (2, 5, 9):  # killed in the midst of each search's rounds
        process = spawn("run", "toy.toml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda done=done: len(list(folder.glob("trials/*/result.json"))) >= done)
        process.kill()
        process.wait()
    (folder / "toy.json").write_text("{}")
    assert toy_main(["run", "toy.toml"]) == 0
    assert (folder / "rates.json").read_bytes() == Path("undisturbed/toy/rates.json").read_bytes()
    assert (folder / "observations.jsonl").read_bytes() == Path("undisturbed/toy/observations.jsonl").read_bytes()
    rates = json.loads((folder / "rates.json").read_text())
    assert [len({tried["lr"] for tried in found["tried"]}) for found in rates] == [6, 6]


PRUNED = "{ low = 1e-5, high = 1.0, trials = 10, together = 2, prune = true }"


def test_a_trial_is_stopped_only_when_asked_and_late_and_worse_than_the_median(tmp_path):
    (tmp_path / "sweep.toml").write_text(SPAN.replace("together = 3", "together = 3, prune = true"))
    asked = read_sweep(tmp_path / "sweep.toml")
    known = {}
    for trial in next_trials(asked, DATA, []):
        known[trial.key] = Observation(trial, "done", loss=2.0, curve=((10, 0, 3.0), (20, 0, 2.5), (9999, 0, 2.0)))
    found = plan_next(asked, DATA, known.values()).searches[0]
    trial = found.cell.trial(found.open[0])
    assert trial.steps / 2 > 20
    late = trial.steps - 1
    assert "above the median" in hopeless(found, trial, late, 2.6)
    assert not hopeless(found, trial, late, 2.4)  # beside the losses of the others at that step, not their last
    assert not hopeless(found, trial, 20, 9.9)
    (tmp_path / "sweep.toml").write_text(SPAN)
    unasked = plan_next(read_sweep(tmp_path / "sweep.toml"), DATA, known.values()).searches[0]
    assert unasked.open == found.open and not hopeless(unasked, trial, late, 9.9)


@pytest.mark.slow
def test_a_pruned_trial_stops_and_its_record_lasts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = SWEEP.replace("lr_search = [1e-3, 3e-3]", f"lr_search = {PRUNED}").replace('"nano-25k", ', "")
    Path("toy.toml").write_text(text.replace("[1e11, 3e11]", "[2e11]"))
    folder = begin("results/toy", seconds=2.0, curves=True, checkpoints=True)
    assert toy_main(["run", "toy.toml", "--workers", "2", "--json"]) == 0
    end = json.loads(capsys.readouterr().out)
    pruned = [seen for seen in FolderStore(folder).results() if seen.status == "pruned"]
    assert end["pruned"] == len(pruned) > 0 and end["diverged"] > 0 and end["failed"] == 0
    (found,) = json.loads((folder / "rates.json").read_text())
    assert found["chosen"] == min((one["loss"], one["lr"]) for one in found["tried"] if one["status"] == "done")[1]
    for seen in pruned:
        assert "above the median" in seen.reason and 0 < seen.flops < 2.1e11
        assert not list(FolderStore(folder).folder(seen.key).glob("checkpoint*"))
    assert not FolderStore(folder).cancelled()
    before = (folder / "observations.jsonl").read_bytes()
    assert toy_main(["run", "toy.toml"]) == 0  # and is not tried again
    assert (folder / "observations.jsonl").read_bytes() == before


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1), span=st.booleans())
def test_what_is_cancelled_is_left_out_and_everything_else_is_tried(sweep, sampled, seed, share, span):
    chance, cancelled, known = random.Random(seed), set(), {}
    chosen = sampled if span else sweep
    while proposed := plan_next(chosen, DATA, known.values(), cancelled).now:
        cancelled |= {trial.key for trial in proposed if chance.random() < share}
        known |= {trial.key: bowl(4e-3)(trial) for trial in proposed if trial.key not in cancelled}
    end = plan_next(chosen, DATA, known.values(), cancelled)
    assert not end.later and not cancelled & known.keys()
    seen = {(o.trial.model, o.trial.method, o.trial.budget, o.trial.seed) for o in end.finished}
    skipped = {(c.model.name, c.entry.method, c.budget, c.seed) for c in end.left_out}
    assert seen | skipped == {(c.model.name, c.entry.method, c.budget, c.seed) for c in cells(chosen, DATA)}
    nothing = plan_next(chosen, DATA, [], {EVERYTHING})
    assert not nothing.now and not nothing.later and len(nothing.left_out) >= len(cells(chosen, DATA))
