"""facts.toml comes from anybody: what is wrong is named with its place, its value and the choices."""

from __future__ import annotations

import copy
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.fitting.published.facts import FACTS
from analysis.fitting.published.facts_file import paper_of, read_paper

ZIARKO = Path(__file__).resolve().parents[4] / "results" / "ziarko2024"
TABLE = tomllib.loads((ZIARKO / "facts.toml").read_text(encoding="utf-8"))


def test_every_fact_has_a_citation_and_every_kind_is_used():
    paper = read_paper(ZIARKO)
    assert {fact.kind for fact in paper.facts} == set(FACTS)
    assert all(fact.citation and fact.text for fact in paper.facts)
    assert paper.training.batch_size == paper.grid.pair.batch_size == 1024


def put(table, path, value):
    *inside, last = path
    for key in inside:
        table = table[key]
    if value is None:
        del table[last]
    else:
        table[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("grid", "models", 0), "pythia-14", "grid.models[0]: model is 'pythia-14': neither a folder nor one of"),
        (("grid", "budgets"), [1e15, 1e14, 1e16], "must be at least three, smallest first"),
        (("grid", "budgets", 0), 1e12, "1e+12 FLOP train no model of the grid for 50 steps or more"),
        (("grid", "flops"), "papers", "grid.flops is 'papers' (meant 'paper'?); known: exact, paper"),
        (("grid", "min_steps"), 0, "grid.min_steps is 0; it must be a whole number of at least 1"),
        (("grid", "pair_tokens"), None, "grid has no pair_tokens"),
        (("training", "batch"), 3, "training has no key 'batch'"),
        (("priors", "noise"), [0.1], "priors.noise is [0.1]; it must be a list of two numbers, the lower first"),
        (("groups", 0, "E"), [0.4, 0.0], "groups[0].E is [0.4, 0.0]; it must be a list of two numbers"),
        (("groups", 1, "like"), "ful", "groups[1].like is 'ful' (meant 'full'?); known: full"),
        (("groups", 1, "members", "r8", "rank"), 0, "groups[1].members.r8: lora: rank is 0"),
        (("groups", 1, "name"), "full", "groups[1].name is 'full', like that of a group above"),
        (("facts", 1, "kind"), "lines", "facts[1].kind is 'lines' (meant 'line'?); known: line, crossover, best-size"),
        (("facts", 1, "slope"), "steep", "facts[1].slope is 'steep'; it must be of type float"),
        (("facts", 1, "citation"), None, "facts[1] has no citation"),
        (("facts", 1, "group"), "lor", "facts[1] is 'lor' (meant 'lora'?); known: full, lora, freeze, bias"),
        (("facts", 3, "tolerance"), 0.0, "facts[3].tolerance is 0.0; it must be above 0 and below flops"),
        (("facts", 4, "last_at_most"), "pythia-12b", "facts[4].last_at_most is 'pythia-12b'"),
        (("facts", 5, "best"), ["r8", "r64"], "facts[5].best is 'r64'; known: r8, r32, r128, r512"),
        (("facts", 6, "side"), "low", "facts[6].side is 'low'"),
    ],
)
def test_what_is_wrong_is_named(path, value, message):
    table = copy.deepcopy(TABLE)
    put(table, path, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        paper_of(table, "wrong")


def test_the_command_names_the_file_and_writes_nothing(tmp_path, capsys):
    folder = tmp_path / "paper"
    shutil.copytree(ZIARKO, folder, ignore=shutil.ignore_patterns("laws.json"))
    facts = folder / "facts.toml"
    facts.write_text(facts.read_text().replace('kind      = "crossover"', 'kind      = "crossing"'))
    assert main([str(folder)]) == 2
    message = capsys.readouterr().err
    assert f"{facts}: facts[3].kind is 'crossing'" in message and message.count("\n") == 1
    assert not (folder / "laws.json").exists()


@pytest.mark.parametrize("option", [["--figures", "a"], ["--with", "reference"], ["--family", "tied"], ["--backtest"]])
def test_options_of_runs_are_refused(option, capsys):
    assert main([str(ZIARKO), *option]) == 2
    assert f"{option[0]}: {ZIARKO} holds facts from a paper (facts.toml), not runs" in capsys.readouterr().err
