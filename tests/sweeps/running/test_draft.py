"""A drafted sweep ends in laws on any data, and says in the file what every line is."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from sweeps.experiment.grid import cells, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.models import SUITES
from sweeps.running.draft import draft, draft_text
from sweeps.running.gate import prospect
from sweeps.search.learning_rates import EXTENSIONS
from sweeps.trial import Training

PAIRS = Data("", 50_000, 2_500, 96.0, 4_800.0)


def drafted(tmp_path, data: Data, suite: str = "nano", methods=("full", "lora"), limit=None):
    grid = draft(SUITES[suite], methods, Training(), data, limit)
    (tmp_path / "sweep.toml").write_text(draft_text(grid, suite, "python-env", ("A remark.",)))
    return grid, read_sweep(tmp_path / "sweep.toml")


@pytest.mark.parametrize("train_pairs", [250, 281, 2_850, 11_400, 47_500, 950_000, 100_000_000])
@pytest.mark.parametrize("suite", ["nano", "pythia", "qwen3"])
def test_it_ends_in_laws_on_few_pairs_and_on_many(tmp_path, train_pairs, suite):
    data = replace(PAIRS, train_pairs=train_pairs)
    grid, sweep = drafted(tmp_path, data, suite)
    expected = prospect(sweep, data)
    assert not expected.refusal and not [remark for remark in expected.remarks if "law" in remark]
    tried = [cell for cell in cells(sweep, data) if not cell.reason]
    more = sum(len(entry.search) - 1 + EXTENSIONS for entry in sweep.entries for _ in sweep.models)
    assert len(tried) + more == grid.trials
    spent = sum(trial_flops(cell.trial(1.0), sweep, data) for cell in tried)
    assert spent < grid.flops < 12 * spent


@pytest.mark.parametrize("methods", [("full",), ("full", "lora", "freeze", "bias"), ("dora", "freeze")])
def test_every_named_method_gets_its_law(tmp_path, methods):
    _, sweep = drafted(tmp_path, PAIRS, methods=methods)
    assert [entry.method.name for entry in sweep.entries] == list(methods)
    assert not prospect(sweep, PAIRS).remarks


def test_a_larger_limit_reaches_further_and_is_kept(tmp_path):
    cheapest, _ = drafted(tmp_path, PAIRS)
    grids = [drafted(tmp_path, PAIRS, limit=cheapest.flops * times)[0] for times in (1, 4, 20)]
    assert all(grid.flops <= cheapest.flops * times for grid, times in zip(grids, (1, 4, 20), strict=True))
    assert max(grids[0].budgets) < max(grids[1].budgets) < max(grids[2].budgets)
    with pytest.raises(
        ValueError, match=re.escape(f"the cheapest sweep that is enough for laws takes {cheapest.flops:.3g}")
    ):
        drafted(tmp_path, PAIRS, limit=cheapest.flops / 2)


def test_too_few_pairs_or_models_for_any_law_are_refused():
    with pytest.raises(ValueError, match="no grid of 9 models gives a law on 40 pairs"):
        draft(SUITES["nano"], ("full",), Training(), replace(PAIRS, train_pairs=40), None)
    with pytest.raises(ValueError, match="no grid of 2 models gives a law"):
        draft(SUITES["nano"][:2], ("full",), Training(), PAIRS, None)


@pytest.mark.parametrize(
    ("suite", "data", "limit"),
    [("nano", Data("", 2_861, 139, 40.0, 800.0), 1e12), ("pythia", Data("", 1_000_000, 0, 100.0, 5_000.0), 1e18)],
)
def test_some_trial_is_possible_at_every_budget(tmp_path, suite, data, limit):
    grid, sweep = drafted(tmp_path, data, suite, limit=limit)
    tried = {cell.budget for cell in cells(sweep, data) if not cell.reason}
    assert sweep.budgets == grid.budgets == tuple(sorted(tried))


def test_every_line_of_the_file_has_a_sentence(tmp_path):
    drafted(tmp_path, PAIRS)
    lines = (tmp_path / "sweep.toml").read_text().splitlines()
    explained = [above for above, line in pairwise(lines) if line.startswith(("max_ep", "batch_"))]
    assert lines[0] == "# A remark."
    assert explained == [
        "# Most passes over the unique pairs; a budget that buys more is left out.",
        "# Text pairs in a step, at least 2; a query has batch_size - 1 in-batch negatives.",
    ]
