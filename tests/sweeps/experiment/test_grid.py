"""The sweep file is the experiment: what it says is tried, what it cannot mean is refused in one clear sentence."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.toy_sweeps import DATA, SWEEP
from sweeps.experiment.grid import cells, trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.flops import FLOPS
from sweeps.methods import METHODS
from sweeps.models import SUITES
from sweeps.store.records import read_observations
from sweeps.support.toml_io import lines
from sweeps.trial import Training

FIRST = Path(__file__).parents[2] / "records" / "first-observations.jsonl"


@pytest.fixture
def write(tmp_path):
    def write_sweep(text: str):
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return path

    return write_sweep


HEAD = 'models = ["nano-25k"]\nbudgets = [1e11]\n'
FULL = '[[methods]]\nname = "full"\nlr = 1e-3\n'


def test_a_list_spans_the_grid(write):
    text = 'suite = "nano"\nbudgets = [1e12, 3e12]\nseeds = [0, 1]\n' + FULL
    text += '[[methods]]\nname = "lora"\nrank = [8, 32]\nalpha = [4, 8.0]\nlr_search = [1e-2, 1e-3]\n'
    sweep = read_sweep(write(text))
    assert sweep.models == SUITES["nano"]
    assert [entry.method.label for entry in sweep.entries] == [
        "full",
        "lora rank 8 alpha 4",
        "lora rank 8 alpha 8",
        "lora rank 32 alpha 4",
        "lora rank 32 alpha 8",
    ]
    assert sweep.entries[1].search == (1e-3, 1e-2)
    assert len(cells(sweep, DATA)) == len(SUITES["nano"]) * 2 * 5 * 2


def test_whole_and_broken_spellings_of_a_number_are_one_trial(write):
    def key(training: str, lora: str, lr: str) -> str:
        text = HEAD + f'[training]\n{training}\n[[methods]]\nname = "lora"\n{lora}\nlr = {lr}\n'
        return cells(sweep := read_sweep(write(text)), DATA)[0].trial(sweep.entries[0].rates["nano-25k"]).key

    assert key("clip = 1", "alpha = 8", "1") == key("clip = 1.0", "alpha = 8.0", "1.0") == key("", "", "1e0")
    assert key("clip = 2", "", "1") != key("", "", "1")


def test_keys_of_old_records_hold_and_settings_that_came_later_are_in_new_keys():
    seen = list(read_observations(FIRST))  # checks every key against its trial
    assert len(seen) == 5 and "warmup_steps" not in FIRST.read_text()
    old = seen[0].trial
    changes = [{"warmup_steps": 20}, {"precision": "fp32"}, {"precision": "bf16"}]
    keys = {replace(old, training=replace(old.training, **change)).key for change in changes}
    assert len(keys | {old.key}) == 4


def test_trials_share_a_trunk_when_they_differ_in_nothing_but_their_steps(write):
    text = 'models = ["nano-25k", "nano-100k"]\nbudgets = [1e11, 2e11]\nseeds = [0, 1]\n'
    text += FULL + '[[methods]]\nname = "lora"\nlr = 1e-3\n'
    trials = [
        cell.trial(lr)
        for cell in cells(read_sweep(write(text + "[training]\nwarmup_steps = 20\n")), DATA)
        for lr in (1e-3, 2e-3)
    ]
    for one in trials:
        for other in trials:
            same = replace(one, steps=1, budget=0) == replace(other, steps=1, budget=0)
            assert (one.trunk == other.trunk) == (one.run == other.run) == same
    assert not {trial.trunk for trial in trials} & {trial.key for trial in trials}
    alone = [cell.trial(1e-3) for cell in cells(read_sweep(write(text)), DATA)]
    assert {trial.trunk for trial in alone} == {""} and len({trial.run for trial in alone}) == len(alone)


def test_batch_sizes_and_token_tables_span_the_grid(write):
    text = 'models = ["nano-25k"]\nbudgets = [1e11, 2e11]\n[training]\nbatch_size = [8, 24, 64]\n'
    text += '[[methods]]\nname = "full"\ntoken_table = ["train", "freeze"]\nlr = 1e-3\n'
    text += "[[repeat]]\nseeds = [1]\nbatch_sizes = [8, 64]\nbudgets = [2e11]\n"
    grid = cells(read_sweep(write(text)), DATA)
    assert len(grid) == 2 * 3 * 2 + 2 * 2
    for batch_size in (8, 24, 64):
        seen = [cell for cell in grid if cell.training.batch_size == batch_size]
        assert {cell.condition for cell in seen} == {f"batch_size {batch_size}"}
        assert sum(cell.seed for cell in seen) == (0 if batch_size == 24 else 2)
        assert {cell.entry.method.label for cell in seen} == {"full", "full token_table freeze"}
    ways = [
        cell for cell in grid if cell.budget == 2e11 and cell.seed == 0 and cell.entry.method.token_table == "train"
    ]
    pairs = [cell.pairs for cell in ways]
    assert pairs == pytest.approx([pairs[0]] * 3, rel=0.02)  # a budget buys as many, in fewer steps


def test_a_warm_up_longer_than_the_smallest_trial_is_refused(write):
    text = 'models = ["nano-25k"]\nbudgets = [5e10, 1e11]\nmin_steps = 1\n' + FULL + "[training]\nwarmup_steps = {}\n"
    smallest = cells(read_sweep(write(text.format(0))), DATA)[0]
    with pytest.raises(ValueError, match=rf"^training.warmup_steps is {smallest.steps}; .* at 5e\+10 FLOPs\) has"):
        cells(read_sweep(write(text.format(smallest.steps))), DATA)
    assert cells(read_sweep(write(text.format(smallest.steps - 1))), DATA)


def test_every_training_setting_can_stand_in_a_sweep_file(write):
    given = {item.name: getattr(Training(), item.name) for item in fields(Training) if item.name != "data_hash"}
    text = "\n".join(["[training]", *lines(given)])  # None has no TOML
    assert read_sweep(write(HEAD + FULL + text)).training == Training()


def test_rates_may_differ_by_model(write):
    text = 'models = ["nano-25k", "nano-100k"]\nbudgets = [1e11]\n[[methods]]\nname = "full"\n'
    sweep = read_sweep(write(text + 'lr = { "nano-25k" = 5e-3, "nano-100k" = 2e-3 }\n'))
    assert sweep.entries[0].rates == {"nano-25k": 5e-3, "nano-100k": 2e-3}


def test_a_folder_is_a_model_and_the_trial_names_it_so_that_it_is_found_again(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = '{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, '
    config += '"intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 128}'
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(config)
    sweep = read_sweep(write('models = ["./mine"]\nbudgets = [1e10]\n' + FULL))
    assert cells(sweep, DATA)[0].trial(1e-3).model == "./mine"
    with pytest.raises(ValueError, match="models names 'mine' twice"):
        read_sweep(write('models = ["./mine", "mine"]\nbudgets = [1e10]\n' + FULL))


@settings(max_examples=50)
@given(
    budget=st.floats(1e10, 1e15),
    batch=st.integers(2, 512),
    count=st.sampled_from(sorted(FLOPS)),
    tokens=st.floats(10, 150),
)
def test_possible_cells_spend_their_budget_within_the_data(tmp_path_factory, budget, batch, count, tokens):
    path = tmp_path_factory.getbasetemp() / "sweep.toml"
    methods = "".join(f'[[methods]]\nname = "{name}"\nlr = 1e-3\n' for name in METHODS)
    path.write_text(
        f'suite = "nano"\nbudgets = [{budget}]\nflops = "{count}"\nmax_epochs = 2\n[training]\nbatch_size = {batch}\n'
        + methods
    )
    sweep, data = read_sweep(path), replace(DATA, tokens=tokens)
    for cell in cells(sweep, data):
        if cell.reason:
            continue
        spent = FLOPS[count](cell.model, cell.entry.method, data.pair(batch).times(cell.pairs))
        assert spent == pytest.approx(budget, rel=0.5 / sweep.min_steps + 1e-9)  # half a step at most
        assert cell.steps >= sweep.min_steps and cell.pairs <= 2 * data.train_pairs


def test_what_cannot_be_is_listed_with_its_reason(write):
    text = 'models = ["nano-25k"]\nbudgets = [1e10, 1e11, 1e13]\n' + FULL
    few, _, many = cells(read_sweep(write(text)), DATA)
    assert few.reason == f"the budget allows {few.steps} steps, fewer than min_steps = 50"
    assert "epochs of the 200,000 pairs, more than max_epochs = 1" in many.reason
    long = cells(read_sweep(write(HEAD + FULL + "[training]\ncontext = 300\n")), DATA)[0]
    assert long.reason == "training.context is 300 tokens, nano-25k reads at most 256"
    biasless = cells(
        read_sweep(write('models = ["qwen3-0.6b"]\nbudgets = [1e16]\n' + FULL.replace("full", "bias"))), DATA
    )
    assert "no bias vectors" in biasless[0].reason
    tiny = cells(read_sweep(write(HEAD + FULL)), replace(DATA, train_pairs=30))[0]
    assert tiny.reason == "a batch needs 64 pairs, there are 30"


def test_trials_know_their_data_and_their_cost(write):
    sweep = read_sweep(write(HEAD + FULL))
    trial = cells(sweep, DATA)[0].trial(1e-3)
    assert trial.training.data_hash == "d0"
    assert trial_flops(trial, sweep, DATA) == pytest.approx(1e11, rel=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budgets = [1e11\n", "not TOML"),
        (FULL, "names neither a suite nor models; suites: nano, pythia"),
        ('suite = "nanno"\nbudgets = [1e11]\n' + FULL, "suite is 'nanno' (meant 'nano'?); known: nano, pythia"),
        ('suite = ["nano"]\nbudgets = [1e11]\n' + FULL, "suite is ['nano']"),
        ('models = ["nano-1k"]\nbudgets = [1e11]\n' + FULL, "models[0]: model is 'nano-1k'"),
        ('models = [""]\nbudgets = [1e11]\n' + FULL, "models[0] is ''"),
        ('models = "nano-25k"\nbudgets = [1e11]\n' + FULL, "models is 'nano-25k'; it must be a list"),
        ("models = []\nbudgets = [1e11]\n" + FULL, "models is []"),
        ('models = ["nano-25k", "nano-25k"]\nbudgets = [1e11]\n' + FULL, "models names 'nano-25k' twice"),
        ('suite = "nano"\nmodels = ["pythia-14m"]\nbudgets = [1]\n' + FULL, "models[0] is 'pythia-14m'"),
        ('models = ["nano-25k"]\n' + FULL, "neither budgets nor [goal]"),
        ('models = ["nano-25k"]\nbudgets = []\n' + FULL, "budgets is []"),
        ('models = ["nano-25k"]\nbudgets = 1e11\n' + FULL, "budgets is 1e+11; it must be a list"),
        ('models = ["nano-25k"]\nbudgets = [1e11, -1]\n' + FULL, "budgets[1] is -1; it must be a positive number"),
        ('models = ["nano-25k"]\nbudgets = [nan]\n' + FULL, "budgets[0] is nan"),
        ('models = ["nano-25k"]\nbudgets = [inf]\n' + FULL, "budgets[0] is inf"),
        ('models = ["nano-25k"]\nbudgets = ["1e11"]\n' + FULL, "budgets[0] is '1e11'"),
        ('models = ["nano-25k"]\nbudgets = [true]\n' + FULL, "budgets[0] is True"),
        ('models = ["nano-25k"]\nbudgets = [1e11, 1e11]\n' + FULL, "budgets names 1e+11 twice"),
        (HEAD + "bugdets = [1]\n" + FULL, "the file has no key 'bugdets' (meant 'budgets'?); known: suite, models"),
        (HEAD + 'flops = "papers"\n' + FULL, "flops is 'papers' (meant 'paper'?); known: exact, paper"),
        (HEAD + "seeds = []\n" + FULL, "seeds is []"),
        (HEAD + "seeds = [1.5]\n" + FULL, "seeds[0] is 1.5"),
        (HEAD + "seeds = [-1]\n" + FULL, "seeds[0] is -1"),
        (HEAD + "seeds = [1, 1]\n" + FULL, "seeds names 1 twice"),
        (HEAD + "min_steps = 0\n" + FULL, "min_steps is 0"),
        (HEAD + "max_epochs = 0\n" + FULL, "max_epochs is 0"),
        (HEAD + "training = 3\n" + FULL, "training is 3; it must be a table"),
        (HEAD + FULL + "[training]\nbatchsize = 3\n", "training has no key 'batchsize' (meant 'batch_size'?)"),
        (HEAD + FULL + '[training]\nbatch_size = "64"\n', "training.batch_size is '64'; it must be of type int"),
        (HEAD + FULL + "[training]\nbatch_size = 1\n", "training.batch_size is 1"),
        (HEAD + FULL + "[training]\nwarmup_steps = -1\n", "training.warmup_steps is -1; it must be at least 0"),
        (HEAD + FULL + "[training]\nwarmup_steps = 9.5\n", "training.warmup_steps is 9.5; it must be of type int"),
        (
            HEAD + FULL + '[training]\nschedule = "cosine"\nwarmup_steps = 9\n',
            "training.warmup_steps is 9 with schedule 'cosine'; it is for schedule 'wsd'",
        ),
        (
            HEAD + FULL + '[training]\nprecision = "fp16"\n',
            "training.precision is 'fp16'; it must be one of auto, fp32",
        ),
        (HEAD + FULL + "[training]\ntemperature = nan\n", "training.temperature is nan"),
        (HEAD + FULL + '[training]\ndata_hash = "x"\n', "training.data_hash is filled in"),
        (HEAD, "has no [[methods]]"),
        (HEAD + "methods = 3\n", "has no [[methods]]"),
        (HEAD + "[[methods]]\nlr = 1e-3\n", f"methods[0] has no name; known: {', '.join(METHODS)}"),
        (HEAD + '[[methods]]\nname = "lorra"\nlr = 1e-3\n', "methods[0].name is 'lorra' (meant 'lora'?); known: full"),
        (HEAD + '[[methods]]\nname = "full"\n', "methods[0] has neither lr nor lr_search"),
        (HEAD + FULL + "lr_search = [1e-3, 1e-2]\n", "methods[0] has both lr and lr_search"),
        (HEAD + '[[methods]]\nname = "full"\nlr_search = [1e-3]\n', "methods[0].lr_search is [0.001]"),
        (HEAD + '[[methods]]\nname = "full"\nlr_search = [1e-3, 1e-3]\n', "methods[0].lr_search names 0.001 twice"),
        (HEAD + '[[methods]]\nname = "full"\nlr = 0\n', "methods[0].lr is 0; it must be a positive number"),
        (HEAD + '[[methods]]\nname = "full"\nlr = {}\n', "methods[0].lr has no rate for nano-25k"),
        (HEAD + '[[methods]]\nname = "full"\nlr = { nano-25 = 1.0 }\n', "methods[0].lr has no key 'nano-25'"),
        (HEAD + '[[methods]]\nname = "full"\nlr = { nano-25k = "x" }\n', "methods[0].lr.nano-25k is 'x'"),
        (HEAD + FULL + FULL, "methods names 'full' twice"),
        (HEAD + FULL + "rank = 8\n", "methods[0] has no key 'rank'; known: name, models, budgets, lr"),
        (HEAD + FULL + '[[methods]]\nname = "lora"\nrank = 0\nlr = 1\n', "methods[1].rank is 0"),
        (HEAD + FULL + '[[methods]]\nname = "lora"\nrank = [8, 1.5]\nlr = 1\n', "methods[1].rank is 1.5"),
        (HEAD + FULL + '[[methods]]\nname = "lora"\nrank = []\nlr = 1\n', "methods[1].rank is []"),
        (HEAD + FULL + "budgets = [2e11]\n", "methods[0].budgets[0] is 2e+11; known: 1e+11"),
        (HEAD + '[[methods]]\nname = "lora"\nalpha = nan\nlr = 1\n', "methods[0].alpha is nan"),
        (HEAD + '[[methods]]\nname = "freeze"\nshare = 1.5\nlr = 1\n', "methods[0]: freeze: share is 1.5"),
    ],
)
def test_a_mistake_is_named_with_file_key_value_and_choices(write, text, said):
    path = write(text)
    with pytest.raises(ValueError, match=r"^/") as caught:
        read_sweep(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_the_example_of_these_tests_is_a_sweep(write):
    assert len(read_sweep(write(SWEEP)).entries) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "holds list"),
        ({"tokens": 1}, "has no data_hash, held_out_pairs, squares, train_pairs"),
        (DATA.to_json() | {"tokens": 0}, "tokens is 0"),
        (DATA.to_json() | {"train_pairs": "many"}, "train_pairs is 'many'"),
    ],
)
def test_absurd_data_are_refused(content, said):
    with pytest.raises(ValueError, match="report: ") as caught:
        Data.from_json(content, "report")
    assert said in str(caught.value)
    assert Data.from_json(DATA.to_json(), "report") == DATA


REPEATED = (
    'models = ["nano-25k", "nano-100k"]\nbudgets = [1e11, 2e11]\n' + FULL + '[[methods]]\nname = "bias"\nlr = 0.03\n'
)


def test_a_repeat_adds_its_seeds_to_the_places_that_it_names_and_to_no_others(write):
    text = REPEATED + '[[repeat]]\nseeds = [1, 2]\nmodels = ["nano-25k"]\nmethods = ["full"]\n'
    text += "[[repeat]]\nseeds = [2, 5]\nbudgets = [2e11]\n"
    sweep = read_sweep(write(text))
    found = {(cell.model.name, cell.entry.method.name, cell.budget, cell.seed) for cell in cells(sweep, DATA)}
    for model in sweep.models:
        for method in ("full", "bias"):
            for budget in sweep.budgets:
                wanted = {0}
                if (model.name, method) == ("nano-25k", "full"):
                    wanted |= {1, 2}
                if budget == 2e11:
                    wanted |= {2, 5}
                assert {seed for *place, seed in found if place == [model.name, method, budget]} == wanted


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("seeds = []", "repeat[0].seeds is []"),
        ("seeds = [1, 0]", "repeat[0].seeds names 0, which the whole grid already has"),
        ('models = ["nano-25k"]', "repeat[0].seeds is None"),
        ('seeds = [1]\nmodels = ["nano-340k"]', "repeat[0].models[0] is 'nano-340k'; known: nano-25k, nano-100k"),
        ("seeds = [1]\nbudgets = [3e11]", "repeat[0].budgets[0] is 3e+11; known: 1e+11, 2e+11"),
        ('seeds = [1]\nmethods = ["lora"]', "repeat[0].methods[0] is 'lora'; known: full, bias"),
        ("seeds = [1]\nbatch_sizes = [32]", "repeat[0].batch_sizes[0] is 32; known: 64"),
        ("seeds = [1]\nmodel = 3", "repeat[0] has no key 'model'"),
    ],
)
def test_a_repeat_of_what_is_not_in_the_grid_is_refused(write, table, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_sweep(write(REPEATED + "[[repeat]]\n" + table + "\n"))


def test_a_method_is_tried_on_the_models_that_it_names(write):
    some = '[[methods]]\nname = "bias"\nmodels = ["nano-25k"]\nlr = {"nano-25k" = 0.03}\n'
    text = 'models = ["nano-25k", "nano-100k"]\nbudgets = [1e11]\n' + FULL + some
    found = [(cell.model.name, cell.entry.method.name) for cell in cells(read_sweep(write(text)), DATA)]
    assert found == [("nano-25k", "full"), ("nano-25k", "bias"), ("nano-100k", "full")]
    with pytest.raises(ValueError, match=re.escape("methods[1].models[0] is 'nano-340k'; known: nano-25k, nano-100k")):
        read_sweep(write(text.replace('models = ["nano-25k"]\nlr', 'models = ["nano-340k"]\nlr')))


def test_a_method_is_tried_at_the_budgets_that_it_names(write):
    text = 'models = ["nano-25k"]\nbudgets = [1e11, 2e11]\n' + FULL
    text += '[[methods]]\nname = "bias"\nlr = 1e-2\nbudgets = [2e11]\n'
    found = {(cell.entry.method.name, cell.budget) for cell in cells(read_sweep(write(text)), DATA)}
    assert found == {("full", 1e11), ("full", 2e11), ("bias", 2e11)}
