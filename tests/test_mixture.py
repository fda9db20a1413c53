"""Several sources trained on together: each step is of one task, as often as its weight says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.data.pairs import draw, pools_by_source, prepare, source_of_step
from runner.trainer import train
from sweeps.experiment.recipe_file import read_recipe
from sweeps.experiment.sweep_file import read_sweep
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.trial import Training, Trial, mixed, parts_of

NANO = find_model("nano-25k")
TABLES = '[[data]]\nsource = "a.jsonl"\nweight = 3\n[[data]]\nsource = "b.jsonl"\n'


def sweep_file(folder, tables):
    path = folder / "sweep.toml"
    path.write_text(f'models = ["nano-25k"]\nbudgets = [1e12]\n{tables}[[methods]]\nname = "full"\nlr = 1e-3\n')
    return path


@pytest.fixture(scope="module")
def mixture(training, pairs_file, tmp_path_factory):
    """Conditions that mix a task with the same texts written backwards, three steps to one."""
    folder = tmp_path_factory.mktemp("mixture")
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    turned = [{"query": row["query"][::-1], "positive": row["positive"][::-1]} for row in rows]
    for name, content in (("plain", rows), ("turned", turned)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    parts = [(str(folder / "plain.jsonl"), 3.0), (str(folder / "turned.jsonl"), 1.0)]
    return replace(training, data=mixed(parts), pool_size=16)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.integers(0, 3000))
def test_every_source_has_its_share_of_the_steps_at_any_time(weights, step):
    shares = np.array(weights) / sum(weights)
    order = [source_of_step(tuple(weights), earlier)[0] for earlier in range(step - step % 50, step + 1)]
    source, before = source_of_step(tuple(weights), step)
    assert order[-1] == source and order[:-1].count(source) <= before
    assert abs(before - shares[source] * step) <= len(weights)


def test_a_step_is_of_one_source_and_goes_on_where_that_was_left(mixture):
    pairs = prepare(mixture, NANO.source).pairs
    seen: dict[int, list[int]] = {0: [], 1: []}
    for step in range(40):
        chosen = draw(pairs, mixture, step, seed=0)
        (source,) = set(pairs.sources[chosen].tolist())
        seen[source] += chosen.tolist()
    assert len(seen[0]) == 3 * len(seen[1]) == 30 * mixture.batch_size
    for drawn in seen.values():  # no pair comes back before all have been there
        assert len(set(drawn)) == len(drawn)


def test_the_mean_pair_is_weighted_by_the_steps(mixture):
    pairs = prepare(mixture, NANO.source).pairs
    each = [replace(pairs, sources=np.zeros_like(pairs.sources), train=train).mean_pair(0) for train in pairs.trained]
    expected = [(3 * one + other) / 4 for one, other in zip(*each, strict=True)]
    assert pairs.mean_pair(0, (3.0, 1.0)) == pytest.approx(tuple(expected))


def test_pools_are_of_one_source_each_and_its_loss_is_told(mixture):
    pairs = prepare(mixture, NANO.source).pairs
    made = pools_by_source(pairs, 16, 1)
    assert [set(pairs.sources[pool].tolist()) for (pool,) in made] == [{0}, {1}]
    seen = train(Trial(NANO.name, Full(), mixture, lr=1e-2, steps=8))
    losses = [value for name, value in seen.scores.items() if name.startswith("loss ")]
    assert len(losses) == 2 and seen.loss == pytest.approx(sum(losses) / 2)


def test_equal_groups_of_two_sources_are_two_groups(mixture):
    pairs = prepare(mixture, NANO.source).pairs
    first, second = (set(pairs.groups[pairs.sources == source].tolist()) for source in (0, 1))
    assert first and second and not first & second


def test_tables_in_files_and_the_name_mean_the_same(tmp_path):
    assert read_sweep(sweep_file(tmp_path, TABLES)).training.data == "a.jsonl*3 + b.jsonl*1"
    head, rest = 'model = "nano-25k"\nlr = 1e-3\nsteps = 9\n', '[method]\nname = "full"\n[training]\nbatch_size = 8\n'
    (tmp_path / "recipe.toml").write_text(head + TABLES + rest)
    assert read_recipe(tmp_path / "recipe.toml").training.data == "a.jsonl*3 + b.jsonl*1"
    assert parts_of("a.jsonl*3 + b.jsonl") == (("a.jsonl", 3.0), ("b.jsonl", 1.0))
    assert parts_of("a*b.jsonl") == (("a*b.jsonl", 1.0),)


@pytest.mark.parametrize("data", ["a + a", "a*0 + b", "a*-1 + b", "a*x + b", "a*inf + b", " + b", "a*nan + b"])
def test_weights_and_names_that_cannot_be_are_refused(data):
    with pytest.raises(ValueError, match=r"training\.data"):
        Training(data=data)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[[data]]\nsource = "a"\n', "two or more"),
        ('[[data]]\nsource = "a"\n[[data]]\nsource = "b"\nweigth = 2\n', "weight"),
        ('[[data]]\nsource = "a*2"\n[[data]]\nsource = "b"\n', "must not contain"),
        ('[[data]]\nsource = "a"\n[[data]]\nsource = "b"\nweight = -1\n', "weight"),
        (TABLES + '[training]\ndata = "c"\n', "give one"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path, tables, words):
    with pytest.raises(ValueError, match=words):
        read_sweep(sweep_file(tmp_path, tables))
