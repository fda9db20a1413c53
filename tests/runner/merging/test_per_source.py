"""Joint training beside merging in one sweep: what it costs, that it resumes, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from runner.cli import main
from runner.data.pairs import draw, prepare
from runner.merging.per_source import rule_of, search_of
from runner.trainer import train, train_encoder
from runner.training.engine import Options
from support.waiting import wait_for
from sweeps.experiment.grid import cells, search_flops, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.methods import Full, LoRA, QLoRA
from sweeps.models import find_model
from sweeps.running.estimate import costs
from sweeps.search.sweep_state import plan_next
from sweeps.store import records
from sweeps.store.files import CHECKPOINT
from sweeps.store.folder import FolderStore
from sweeps.store.trunks import parts_folder
from sweeps.trial import MERGES, PROBED_PAIRS, SEARCHED, Observation, Training, Trial, mixed, shared_out

NANO = find_model("nano-25k")
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "merging.toml"
FIRST = Path(__file__).parents[2] / "records" / "first-observations.jsonl"
DATA = Data("d0", 200_000, 5000, 90.0, 5500.0, sources=((60.0, 3000.0), (90.0, 5000.0), (120.0, 9000.0)))


@pytest.fixture(scope="module")
def mixture(training, pairs_file, tmp_path_factory):
    """Conditions that mix a task with the same texts written backwards, two steps to one."""
    folder = tmp_path_factory.mktemp("apart")
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    turned = [{"query": row["query"][::-1], "positive": row["positive"][::-1]} for row in rows]
    for name, content in (("plain", rows), ("turned", turned)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    parts = [(str(folder / "plain.jsonl"), 2.0), (str(folder / "turned.jsonl"), 1.0)]
    return replace(training, data=mixed(parts), search_steps=6, search_rate=2e-2)


def merged(mixture, merge: str, steps: int = 18, method=None, seed: int = 0) -> Trial:
    return Trial(NANO.name, method or Full(), replace(mixture, merge=merge), lr=1e-2, steps=steps, seed=seed)


def alike(one: Observation, other: Observation) -> bool:
    """Whether all but the time they took is the same."""
    took = {"seconds": 0.0, "total_seconds": 0.0, "peak_bytes": 0, "reused_flops": 0.0, "environment": {}}
    return replace(one, **took).to_json() == replace(other, **took).to_json()


def test_observations_made_before_there_was_merging_keep_their_keys():
    for line in FIRST.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        for name in ("merge", "search_steps", "search_rate"):
            content["trial"]["training"].pop(name, None)
        assert Trial.from_json(content["trial"]).key == content["key"]


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_steps_are_shared_out_to_the_last_one(steps, weights):
    counts = shared_out(steps, weights)
    assert sum(counts) == steps
    assert all(abs(count - steps * weight / sum(weights)) < 1 for count, weight in zip(counts, weights, strict=True))


def test_parts_train_on_what_joint_training_draws_of_each_source(mixture):
    pairs = prepare(mixture, NANO.source).pairs
    joint: dict[int, list[int]] = {0: [], 1: []}
    for step in range(18):
        chosen = draw(pairs, mixture, step, seed=0)
        joint[int(pairs.sources[chosen[0]])] += chosen.tolist()
    for source, part in enumerate(merged(mixture, "average").parts):
        own = pairs.of(source)
        drawn = [i for step in range(part.steps) for i in draw(own, part.training, step, seed=0).tolist()]
        assert drawn == joint[source]


@pytest.mark.parametrize("merge", ["average", SEARCHED])
def test_what_a_merged_trial_costs_is_what_torch_counts(mixture, tmp_path, monkeypatch, merge):
    """Texts of one length, so that torch counts no padding; nothing but training is run."""
    rows = [{"query": f"{i} " + "word " * 20, "positive": f"{i} " + "other " * 20} for i in range(200)]
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({**row, "group": f"{name}{i}"}) + "\n" for i, row in enumerate(rows))
        )
    data = mixed([(str(tmp_path / f"{name}.jsonl"), 1.0) for name in ("a", "b")])
    monkeypatch.setattr("runner.training.outcome.held_out_loss", lambda *_: (1.0, 0.5))
    monkeypatch.setattr("runner.training.outcome._scores", lambda *_: {})
    monkeypatch.setattr("runner.training.engine.graph_bytes", lambda *_: 1000)
    trial = merged(replace(mixture, data=data, context=8, pool_size=2), merge, steps=8)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # of the others it counts nothing
        seen = train(trial)
    assert seen.flops == pytest.approx(counter.get_total_flops(), rel=0.01)
    parts = sum(
        train(part).flops
        for part in (replace(one, training=replace(one.training, data_hash="")) for one in trial.parts)
    )
    assert seen.flops - parts == pytest.approx(seen.merged.get("search", {"flops": 0.0})["flops"], abs=1.0)


def test_every_way_and_ratio_spends_its_budget_to_within_a_step():
    sweep = read_sweep(EXAMPLE)
    places = [cell for cell in cells(sweep, DATA) if not cell.reason]
    assert {cell.training.merge for cell in places} == {"", *MERGES}
    for cell in places:
        trial = cell.trial(1e-3)
        step = trial_flops(replace(trial, steps=2), sweep, DATA) - trial_flops(replace(trial, steps=1), sweep, DATA)
        assert abs(trial_flops(trial, sweep, DATA) - cell.budget) <= step


def test_the_mean_pair_follows_the_ratio():
    even, twice = (DATA.pair_of(Training(data=data)) for data in ("a + b + c", "a*2 + b + c"))
    assert even.tokens == pytest.approx(90) and twice.tokens == pytest.approx(82.5)
    assert DATA.pair_of(Training(data="a")).tokens == DATA.tokens
    assert Data.from_json(json.loads(json.dumps(DATA.to_json())), "here") == DATA
    with pytest.raises(ValueError, match="here: sources"):
        Data.from_json(DATA.to_json() | {"sources": [[1.0], "x"]}, "here")


def test_a_search_that_leaves_nothing_to_train_with_is_said():
    sweep = read_sweep(EXAMPLE)
    dear = replace(sweep, training=replace(sweep.training, search_steps=1000))
    reasons = {cell.training.merge: cell.reason for cell in cells(dear, DATA) if cell.budget == min(sweep.budgets)}
    assert reasons["slerp"] == "" and "the search takes" in reasons[SEARCHED]
    assert search_flops(NANO, replace(dear.training, merge=SEARCHED), DATA) > min(sweep.budgets)


@pytest.mark.parametrize("merge", ["average", "slerp"])
def test_a_merge_of_models_that_are_the_same_is_that_model(mixture, tmp_path, merge):
    first = mixture.sources[0][0]
    copy = tmp_path / "copy.jsonl"
    copy.write_text(Path(first).read_text())
    trial = merged(replace(mixture, data=mixed([(first, 1.0), (str(copy), 1.0)])), merge, steps=12)
    _, whole = train_encoder(trial)
    _, part = train_encoder(Trial(NANO.name, Full(), replace(mixture, data=first), trial.lr, 6))
    for one, other in zip(whole.backbone.parameters(), part.backbone.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("table", LoRA.token_tables())
def test_adapters_are_merged_as_what_they_make_of_the_model(mixture, table):
    trial = merged(mixture, "average", steps=12, method=LoRA(2, token_table=table))
    seen, encoder = train_encoder(trial)
    whole = train(replace(trial, training=replace(trial.training, merge="")))
    assert seen.status == "done" and seen.trainable == whole.trainable
    assert not any("lora" in name for name, _ in encoder.backbone.named_parameters())
    assert seen.loss < seen.start_loss


class Leaving:
    """Tells a training to leave when it asks for the n-th time."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self) -> bool:
        self.after -= 1
        return self.after < 0


@pytest.fixture(scope="module")
def undisturbed(mixture) -> Observation:
    """What the trial of the next test leaves when nothing disturbs it."""
    return train(merged(mixture, SEARCHED))


@pytest.mark.parametrize("after", [4, 15, 20])  # in the first part, in the second, in the search
def test_a_trial_that_had_to_leave_ends_as_if_it_had_not(mixture, undisturbed, tmp_path, after):
    trial = merged(mixture, SEARCHED)
    with pytest.raises(SystemExit):
        train(trial, tmp_path, options=Options(stop_requested=Leaving(after)))
    assert (tmp_path / CHECKPOINT).exists() == (after < 18)
    assert alike(train(trial, tmp_path), undisturbed)


KILLED = """
import json, sys
from pathlib import Path
from runner import trainer
from runner.training import train
from sweeps.trial import Trial
train.CHECKPOINT_SECONDS = 0.0
trainer.train(Trial.from_json(json.loads(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_trial_that_was_killed_ends_as_if_it_had_not(mixture, tmp_path):
    trial = merged(mixture, "slerp", steps=75)
    running = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(trial.to_json()), str(tmp_path)])
    first = parts_folder(tmp_path) / f"{trial.parts[0].key}.safetensors"
    wait_for(lambda: running.poll() is not None or (first.exists() and (tmp_path / CHECKPOINT).exists()))
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert alike(train(trial, tmp_path), train(trial))


def test_parts_are_trained_once_in_a_sweep_and_counted_in_every_trial(mixture, tmp_path):
    (tmp_path / "sweep.toml").touch()
    (tmp_path / "data.json").write_text(json.dumps({"data_hash": "made"}))  # what makes it a folder of a sweep
    store = FolderStore(tmp_path)
    trials = [merged(mixture, merge) for merge in ("average", "ties", SEARCHED)]
    store.add(trials)  # makes their folders
    seen = [train(trial, store.folder(trial.key)) for trial in trials]
    assert seen[0].reused_flops == 0 and seen[1].spent_flops == 0
    assert seen[1].flops == seen[0].flops and seen[2].spent_flops == seen[2].merged["search"]["flops"] > 0
    assert seen[1].seconds > 0.5 * seen[0].seconds  # what was reused counts
    store.trunks.share(trials[1:])
    assert len(list((tmp_path / "parts").iterdir())) == 2
    store.trunks.share([])
    assert not list((tmp_path / "parts").iterdir())


def test_an_estimate_counts_parts_once():
    sweep = read_sweep(EXAMPLE)
    known = replace(sweep, entries=tuple(replace(entry, rates={NANO.name: 1e-3}, search=()) for entry in sweep.entries))
    coming = costs(plan_next(known, DATA, []), known, DATA, {})
    rules = [cost for cost in coming if cost.trial.training.merge not in ("", SEARCHED)]
    assert sum(cost.spent for cost in rules) == pytest.approx(sum(cost.flops for cost in rules) / 4)
    assert all(cost.reused == 0 for cost in coming if cost not in rules)


def test_a_part_that_diverges_is_named(mixture):
    seen = train(replace(merged(mixture, "average"), lr=1e4))
    assert seen.status == "diverged" and "the model of" in seen.reason and "plain.jsonl" in seen.reason
    assert seen.loss is None and seen.flops > 0


def test_a_searched_trial_tells_where_it_went(mixture):
    trial = merged(mixture, SEARCHED)
    seen = train(trial)
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))).merged["search"]["scale"]
    search = seen.merged["search"]
    assert len(search["path"]) == trial.training.search_steps and len(search["path"][0]) == 2 + len(trial.parts)
    assert len(seen.merged["factors"]) == len(seen.merged["alone"]) == 2
    asked = search_of(trial.training, 3)
    assert (asked.batch, asked.temperature, asked.seed) == (PROBED_PAIRS, trial.training.temperature, 3)


def test_rules_weigh_a_model_as_its_source(mixture):
    rule = rule_of(replace(mixture, merge="task-arithmetic"))
    assert rule.weights == pytest.approx((4 / 3, 2 / 3)) and rule.scale == 0.4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"merge": "slerp", "data": "a.jsonl"}, "one source"),
        ({"merge": "slurp", "data": "a + b"}, "one of average, slerp"),
        ({"merge": "slerp", "data": "a + b", "warmup_steps": 3}, "warmup_steps"),
        ({"merge": "slerp", "data": "a + b", "evaluate_every": 3}, "evaluate_every"),
        ({"merge": "ties", "data": "a + b", "learn_temperature": True}, "learn_temperature"),
        ({"search_steps": 0}, "search_steps"),
        ({"search_rate": 0.0}, "search_rate"),
    ],
)
def test_conditions_that_cannot_be_merged_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Training(**settings)


def test_trials_that_cannot_be_merged_are_refused(mixture):
    with pytest.raises(ValueError, match="in few bits, which cannot be merged"):
        train(merged(mixture, "slerp", method=QLoRA(2)))
    with pytest.raises(ValueError, match=r"of 1 steps .* gets none"):
        train(merged(mixture, "slerp", steps=1))


SOURCES = '[[data]]\nsource = "a.jsonl"\n[[data]]\nsource = "b.jsonl"\n'


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[compare]\nmerges = ["joint", "slerp"]\n', "needs several sources"),
        (SOURCES + "[compare]\n", "compare.merges"),
        (SOURCES + '[compare]\nmerges = ["slurp"]\n', "meant 'slerp'"),
        (SOURCES + '[compare]\nmerges = ["slerp", "slerp"]\n', "twice"),
        (SOURCES + '[compare]\nmerges = ["slerp"]\nratios = [[1, 2, 3]]\n', "2 weights"),
        (SOURCES + '[compare]\nmerges = ["slerp"]\nratios = [[1, 0]]\n', "positive"),
        (SOURCES + '[compare]\nmerges = ["slerp"]\n[training]\nmerge = "ties"\n', "compare.merges"),
        (SOURCES + '[compare]\nmerges = ["slerp"]\n[training]\nwarmup_steps = 9\n', "warmup_steps"),
        (SOURCES + '[compare]\nmerges = ["slerp"]\n[racing]\n', "one of the two"),
    ],
)
def test_comparisons_that_cannot_be_are_refused(tmp_path, tables, words):
    path = tmp_path / "sweep.toml"
    path.write_text(f'models = ["nano-25k"]\nbudgets = [1e12]\n{tables}[[methods]]\nname = "full"\nlr = 1e-3\n')
    with pytest.raises(ValueError, match=words):
        read_sweep(path)


def test_adapters_are_not_written_of_a_merge(mixture, tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text(
        'model = "nano-25k"\nlr = 1e-3\nsteps = 9\n[[data]]\nsource = "a.jsonl"\n[[data]]\nsource = "b.jsonl"\n'
        '[method]\nname = "lora"\nrank = 2\n[training]\nmerge = "slerp"\n'
    )
    assert main(["train", str(tmp_path / "recipe.toml"), "--adapter"]) == 2
    assert "training.merge is 'slerp', which gives a whole model, not an adapter" in capsys.readouterr().err


def test_the_example_runs_dry_and_its_ways_are_told(capsys):
    from support.toy_sweeps import toy_main

    assert toy_main(["run", str(EXAMPLE), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "full, self-positioning 4:1:1" in said and "full, joint 1:1:1" in said


def test_a_comparison_lies_in_one_file(tmp_path):
    """Observations of all its conditions, each way with the rate that is best for it."""
    sweep, store = read_sweep(EXAMPLE), FolderStore(tmp_path)
    conditions = sweep.conditions(DATA)
    assert len(set(conditions)) == 2 * (len(MERGES) + 1)
    seen = []
    while state := plan_next(sweep, DATA, seen).now:
        seen += [Observation(one, "done", loss=1.0 + (one.lr - 3e-3) ** 2) for one in state]
    assert len(seen) == len(conditions) * (3 * 3 + 2)
    records.export(store.directory, seen, *conditions)
    assert len(list(store.exported())) == len(seen) and not (tmp_path / "other-conditions.jsonl").exists()
