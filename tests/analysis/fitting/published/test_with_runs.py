"""`fit MINE --with ziarko2024`: the book of both names both, holds the user's methods, and says what it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis import fit_laws
from analysis.cli import main
from analysis.fitting.published.facts_file import read_paper
from analysis.fitting.published.sample import sample
from analysis.fitting.published.with_runs import fit_with_facts
from analysis.tables.sweep_table import read_sweep
from planner import plan
from planner.law_file import read_laws
from planner.report import text
from support.made_sweep import write_sweep
from support.runs_of_facts import write_runs
from sweeps.methods import DoRA, Full, LoRA
from sweeps.models import PYTHIA
from sweeps.trial import Training

pytestmark = pytest.mark.slow

ZIARKO = Path(__file__).resolve().parents[4] / "results" / "ziarko2024"
MINE = Training(batch_size=1024, context=75, temperature=0.025, data="mine.jsonl")
DRAWS = 24


@pytest.fixture(scope="module")
def paper():
    return read_paper(ZIARKO)


@pytest.fixture(scope="module")
def truth(paper):
    return sample(paper, paper.facts, 1, seed=99)[0]


def sweep(folder, truth, methods, training=MINE, **more):
    return write_runs(folder, truth, methods, PYTHIA[1:3], (4e15, 1.6e16), training, **more)


@pytest.fixture(scope="module")
def mine(truth, tmp_path_factory):
    """Full tuning as the paper had it; LoRA of a rank that it had, with another scale, and of one that it had not."""
    methods = {("full", "full"): Full(), ("lora", "r32"): LoRA(rank=32, alpha=8.0), ("lora", "r128"): LoRA(rank=100)}
    return sweep(tmp_path_factory.mktemp("sweeps") / "mine", truth, methods)


@pytest.fixture(scope="module")
def book(mine):
    return fit_laws(mine, reference="ziarko2024", bootstraps=DRAWS)


def test_it_names_the_paper_and_the_runs(book, paper):
    assert book.published == f"{paper.citation}, and 12 runs of mine" and book.source["name"] == "mine"
    weighed = book.source["weighed"]
    assert (weighed["facts"], weighed["runs"], weighed["observations"]) == ("ziarko2024", "mine", 12)
    assert weighed["free"] == {"level": 1.0, "common": 0.3, "own": 0.1} and 1 <= weighed["effective"] <= DRAWS
    texts = {caveat.code: caveat.text for caveat in book.warnings}
    assert (
        "predict the 12 runs of mine" in texts["published"]
        and "only those runs were measured by us" in texts["published"]
    )
    assert all(len(law.draws) == DRAWS for law in book.laws)


def test_methods_that_were_run_stand_in_the_place_of_the_papers_nearest(book):
    labels = [law.label for law in book.laws]
    assert book.source["weighed"]["rows"] == {"full": 4, "lora rank 32 alpha 8": 4, "lora rank 100 alpha 8": 4}
    assert set(book.source["weighed"]["rows"]) <= set(labels) and all(law.rows == 0 for law in book.laws)
    assert "lora rank 32 alpha 1.41" not in labels and "lora rank 128 alpha 0.707" not in labels
    assert "lora rank 512 alpha 0.354" in labels and "bias" in labels
    told = [caveat.text for caveat in book.warnings if caveat.code == "other_setting"]
    assert len(told) == 2 and "lora rank 100 alpha 8" in told[1] and "lora rank 128 alpha 0.707 is used" in told[1]


def test_rates_are_the_users_and_the_papers_only_where_its_scale_is_the_same(book):
    rates = {law.label: law for law in book.laws}
    assert rates["full"].learning_rates["pythia-31m"] == 2e-3 and rates["full"].learning_rates["pythia-12b"] == 1.2e-5
    assert "measured in mine" in rates["full"].rates_from and "a tenth of the peak" in rates["full"].rates_from
    assert set(rates["lora rank 32 alpha 8"].learning_rates) == {"pythia-31m", "pythia-70m"}
    assert "others" not in rates["lora rank 32 alpha 8"].rates_from


def test_conditions_and_range_are_those_of_both(book):
    assert book.training.data == "mine.jsonl" and book.pair.tokens == pytest.approx(44.0)
    full = next(law for law in book.laws if law.label == "full")
    assert full.measured.flops[0] < 4e15 and full.measured.flops[1] > 1e18
    assert book.models[0] == "pythia-14m" and book.models[-1] == "pythia-2.8b"


@pytest.mark.slow
def test_the_command_writes_it_and_plan_answers_from_both(mine, tmp_path, capsys, monkeypatch):
    out = tmp_path / "laws.json"
    monkeypatch.setattr("analysis.fitting.published.with_runs.FEWEST", 1.0)
    command = [str(mine), "--with", "ziarko2024", "--bootstraps", "20", "--out", str(out)]
    assert main([*command, "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert (
        "mine: 12 runs" in printed
        and "; they miss the runs by" in printed
        and "facts printed in Ziarko et al. 2024" in printed
    )
    first = out.read_text()
    assert main([*command, "--seed", "3"]) == 0 and out.read_text() == first
    assert "the 20 draws have an effective sample size" in printed and "more draws (--bootstraps)" in printed
    assert any(caveat.code == "few_draws" for caveat in read_laws(out).warnings)
    answer = plan(1e18, laws=out, suite="pythia")
    assert "Ziarko et al. 2024" in answer.provenance["loss"] and "12 runs of mine" in answer.provenance["loss"]
    assert answer.provenance["batch_size"].startswith("that of the laws, measured at one batch size, in mine")
    assert "published (Ziarko et al. 2024) and the runs of mine: " in " ".join(text(answer).split())
    assert answer.recipe.trial.training.data == "mine.jsonl"


def test_under_the_papers_own_conditions_nothing_is_free(truth, paper, tmp_path):
    same = sweep(tmp_path / "same", truth, {("full", "full"): Full()}, replace(paper.training), factors={})
    book = fit_with_facts(read_sweep(same), paper, 8, seed=0)
    assert set(book.source["weighed"]["free"].values()) == {0.0}


def test_runs_that_no_law_of_the_paper_describes_are_said_to_be(truth, paper, tmp_path):
    odd = write_runs(tmp_path / "odd", truth, {("full", "full"): Full()}, PYTHIA[:4], (1e16, 4e16), MINE, noise=0.4)
    book = fit_with_facts(read_sweep(odd), paper, 8, seed=0)
    assert any(caveat.code == "other_laws" and "fit them alone" in caveat.text for caveat in book.warnings)


def test_a_method_that_the_paper_has_no_law_of_is_named(truth, paper, tmp_path):
    folder = sweep(tmp_path / "both", truth, {("full", "full"): Full(), ("lora", "r8"): DoRA(rank=8)})
    without = replace(paper, groups={name: group for name, group in paper.groups.items() if name == "full"})
    facts = tuple(fact for fact in paper.facts if set(fact.named) <= {"full"})
    table = read_sweep(folder)
    book = fit_with_facts(table, replace(without, facts=facts), 8, seed=0)
    assert [caveat.method for caveat in book.warnings if caveat.code == "no_prior"] == ["dora rank 8 alpha 8"]
    assert book.source["weighed"]["observations"] == 4
    only = replace(table, settings={"dora rank 8 alpha 8": table.settings["dora rank 8 alpha 8"]})
    with pytest.raises(ValueError, match=r"dora rank 8 alpha 8: .* has no law for it"):
        fit_with_facts(only, replace(without, facts=facts), 8, seed=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--family", "tied"], "--family: "),
        (["--exponents", "own"], "--exponents: "),
        (["--delta", "0.1"], "--delta: "),
        (["--score", "ndcg@10"], "the facts of ziarko2024 are about losses, not about 1 - ndcg@10"),
    ],
)
def test_what_facts_cannot_answer_is_refused(mine, options, words, capsys):
    assert main([str(mine), "--with", "ziarko2024", *options]) == 2
    error = capsys.readouterr().err
    assert words in error.splitlines()[-1] and "Traceback" not in error


def test_a_name_that_is_nowhere_is_refused_with_the_bundled_ones(mine, capsys):
    assert main([str(mine), "--with", "ziarko2025"]) == 2
    error = capsys.readouterr().err
    assert "ziarko2025" in error and "bundled: " in error and "reference" in error and "ziarko2024" in error


def test_a_folder_of_the_users_own_stands_before_a_bundled_one(mine, tmp_path, monkeypatch):
    (tmp_path / "ziarko2024").mkdir()
    write_sweep(tmp_path / "ziarko2024", [])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no observation can enter a fit"):
        fit_laws(mine, reference="ziarko2024")
