"""Nothing starts that cannot end in a law, and what `fit` will leave out is said before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from support.toy_sweeps import DATA
from sweeps import cli
from sweeps.admission import MAX_EPOCHS, MIN_STEPS, why_no_law, why_no_shared_law
from sweeps.commands import conduct
from sweeps.experiment.grid import cells
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.running.gate import Prospect, no_law_on_any_data, prospect

THREE = 'models = ["nano-25k", "nano-100k", "nano-340k"]\nbudgets = [4e11, 8e11, 1.6e12]\n'
FULL = '[[methods]]\nname = "full"\nlr = 1e-3\n'


@pytest.fixture
def asked(tmp_path):
    """What is to be expected of the text of a sweep file."""

    def of(text: str, data: Data = DATA) -> Prospect:
        (tmp_path / "sweep.toml").write_text(text)
        return prospect(read_sweep(tmp_path / "sweep.toml"), data)

    return of


def test_a_sweep_that_ends_in_laws_needs_no_word(asked):
    assert asked(THREE + FULL) == Prospect()


def test_two_sizes_are_no_law_of_their_own_but_may_share_anothers(asked):
    two = asked(THREE.replace(', "nano-340k"', "") + FULL)
    assert not two.refusal
    assert two.remarks == (
        "full: two model sizes; a law in N needs at least 3 (or one, for a law in tokens alone); fit --with another "
        "sweep shares its exponents",
    )


def test_too_few_trials_for_any_law_are_refused_with_each_methods_reason(asked):
    bias = '[[methods]]\nname = "bias"\nlr = 1e-2\nmodels = ["nano-25k"]\n'
    one = asked('models = ["nano-25k"]\nbudgets = [4e11, 8e11]\n' + FULL + bias)
    reasons = [f"{name}: 2 runs; a law needs at least 6" for name in ("full", "bias")]
    assert one.refusal == f"the trials cannot give a law: {'; '.join(reasons)}"
    assert one.remarks == tuple(reasons)
    some = asked(THREE + FULL + bias)
    assert not some.refusal and some.remarks == ("bias: 2 runs; a law needs at least 6",)


def test_what_fit_leaves_out_for_its_epochs_is_counted_and_how_to_take_it_is_said(asked):
    few = replace(DATA, train_pairs=8_000)
    text = "max_epochs = 100.0\n" + THREE + FULL
    (remark,) = asked(text, few).remarks
    made = [cell for cell in cells(read_sweep_text(text), few) if not cell.reason]
    repeated = [cell for cell in made if cell.pairs / few.train_pairs > MAX_EPOCHS]
    assert 3 < len(repeated) < len(made) == 8
    assert f"fit leaves out {len(repeated)} of 8 trials for more than 4 epochs" in remark
    most = max(cell.pairs for cell in repeated) / few.train_pairs
    flag = float(remark.partition("--max-epochs ")[2].split()[0])
    assert most <= flag < most + 1
    assert not asked(text, replace(few, train_pairs=10**6)).remarks


def test_short_trials_that_fit_leaves_out_are_told(asked):
    text = "min_steps = 5\n" + THREE.replace("4e11, 8e11, 1.6e12", "1e10, 2e10, 4e10") + FULL
    (remark,) = asked(text).remarks
    assert f"for fewer than {MIN_STEPS} steps" in remark and "fit --min-steps " in remark


def test_a_sweep_of_which_nothing_is_left_is_refused_with_the_reasons(asked):
    few = replace(DATA, train_pairs=300)
    nothing = asked(THREE + FULL, few)
    assert nothing.refusal.startswith("no trial is possible: nano-25k, full at 4e+11 FLOPs: it takes ")
    assert "more than max_epochs = 1, a key at the top of the sweep file" in nothing.refusal
    assert nothing.refusal.endswith("and 6 more") and not nothing.remarks


def test_smaller_pools_are_the_condition_of_every_trial_and_told(asked):
    small = replace(DATA, held_out_pairs=15, pool_size=15, pools=1)
    (remark,) = asked(THREE + FULL, small).remarks
    assert remark == (
        "the held-out loss is measured in 1 x 15 pairs, not in 2 x 256: the data hold out 15; chance is ln 15"
    )
    assert {(cell.training.pool_size, cell.training.pools) for cell in cells(read_sweep_text(THREE + FULL), small)} == {
        (15, 1)
    }


def read_sweep_text(text: str):
    path = Path("sweep.toml")
    path.write_text(text)
    return read_sweep(path)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("flags", [["--dry-run"], []])
def test_the_command_refuses_it_before_anything_is_written(monkeypatch, capsys, flags):
    Path("one.toml").write_text('models = ["nano-25k"]\nbudgets = [4e11]\n' + FULL)
    monkeypatch.setattr(conduct, "prepare", lambda file: DATA)
    assert cli.main(["run", "one.toml", *flags]) == 2
    said = capsys.readouterr()
    assert (
        "one.toml: the trials cannot give a law: full: 1 runs; a law needs at least 6; --no-law runs it anyway"
        in said.err
    )
    assert bool(said.out) == bool(flags) and not Path("results").exists()
    assert cli.main(["run", "one.toml", "--dry-run", "--no-law"]) == 0


def test_the_sample_of_the_docs_ends_in_laws(asked):
    project = Path(__file__).parents[3]
    sample = (project / "docs/sweeps.md").read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    data = Data.from_json(json.loads((project / "results/reference/data.json").read_text()), "data.json")
    assert 'data        = "python-env"' in sample and asked(sample, data) == Prospect()


@pytest.mark.parametrize(
    ("runs", "own", "shared"),
    [
        ([(1, d) for d in range(6)], "", ""),
        ([(n, d) for n in (1, 2) for d in (1, 2, 3)], "two model sizes", ""),
        ([(n, d) for n in (1, 2, 3) for d in (1, 2)], "2 token counts", ""),
        ([(n, d) for n in (1, 2) for d in (1, 2)], "4 runs", ""),
        ([(n, 1) for n in range(6)], "1 token counts", "6 runs of 1 token counts"),
        ([], "0 runs", "0 runs of 0 token counts"),
    ],
)
def test_what_a_law_asks_of_its_runs(runs, own, shared):
    assert why_no_law(runs).startswith(own) and bool(why_no_law(runs)) == bool(own)
    assert why_no_shared_law(runs).startswith(shared) and bool(why_no_shared_law(runs)) == bool(shared)


LISTS = "[training]\nhard_negatives = [0, 1]\nquery_prompt = ['', 'query: ']\n"


def test_every_condition_is_judged_by_itself(asked):
    few = FULL.replace("lr = 1e-3", 'lr = 1e-3\nmodels = ["nano-25k"]')
    one = asked(THREE.replace("4e11, 8e11", "4e11") + few + LISTS)
    assert one.refusal.startswith("the trials cannot give a law: full, hard_negatives 0, query_prompt '': 2 runs")
    assert len(one.remarks) == 4 and asked(THREE + FULL + LISTS) == Prospect()


def test_the_dry_run_names_the_condition_of_every_trial(monkeypatch, capsys):
    Path("lists.toml").write_text(THREE + FULL + LISTS)
    monkeypatch.setattr(conduct, "prepare", lambda file: DATA)
    assert cli.main(["run", "lists.toml", "--dry-run", "--json"]) == 0
    conditions = [row["condition"] for row in json.loads(capsys.readouterr().out)["trials"]]
    assert len(set(conditions)) == 4 and {conditions.count(name) for name in conditions} == {8}
    assert cli.main(["run", "lists.toml", "--dry-run"]) == 0
    assert "state  condition\n" in capsys.readouterr().out.replace("   ", "  ")


@pytest.mark.parametrize("name", ["ablation", "demo", "dense", "merging", "reference", "scores"])
def test_every_example_ends_in_what_it_is_for(name):
    project = Path(__file__).parents[3]
    data = Data.from_json(json.loads((project / "results/reference/data.json").read_text()), "data.json")
    assert prospect(read_sweep(project / "examples" / f"{name}.toml"), data) == Prospect()


@pytest.mark.parametrize("name", ["batch", "batch-held-back", "bracket", "temperature"])
def test_every_example_can_be_run(name):
    project = Path(__file__).parents[3]
    data = Data.from_json(json.loads((project / "results/reference/data.json").read_text()), "data.json")
    assert not prospect(read_sweep(project / "examples" / f"{name}.toml"), data).refusal


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_what_no_data_could_make_a_law_of_is_refused_before_they_are_read(monkeypatch, capsys, flags):
    Path("one.toml").write_text('models = ["nano-25k"]\nbudgets = [4e11]\n' + FULL)
    read = []
    monkeypatch.setattr(conduct, "prepare", lambda file: read.append(file) or DATA)
    assert cli.main(["run", "one.toml", *flags]) == 2
    assert "full: 1 runs; a law needs at least 6; --no-law runs it anyway" in capsys.readouterr().err
    assert bool(read) == bool(flags)  # a dry run shows the trials


@pytest.mark.parametrize("name", ["ablation", "batch", "bracket", "demo", "dense", "merging", "reference", "scores"])
def test_no_example_is_refused_by_its_file_alone(name):
    assert not no_law_on_any_data(read_sweep(Path(__file__).parents[3] / "examples" / f"{name}.toml"))


def test_what_the_file_alone_refuses_is_refused_with_every_data(asked):
    """Two budgets of one size are four runs with two seeds, enough for shared exponents; with one seed they are not."""
    for seeds, hopeless in (("[0]", True), ("[0, 1]", False)):
        text = f'models = ["nano-25k"]\nbudgets = [4e11, 8e11]\nseeds = {seeds}\n' + FULL
        assert bool(no_law_on_any_data(read_sweep_text(text))) == hopeless == bool(asked(text).refusal)
        told = no_law_on_any_data(read_sweep_text(text))
        assert told == (asked(text).refusal if hopeless else "")
