"""How scores follow the loss: a known relation is found, its intervals hold what they promise, none is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from analysis.cli import main
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.fitting.scores import score_laws
from analysis.tables.sweep_table import read_sweep
from planner.law_file import read_laws
from planner.scores import expected_scores
from support.ladder import NANO
from support.made_sweep import observations, write_sweep
from sweeps.trial import Training

TASKS = ("sts:stsb.jsonl#test", "retrieval:mine")
STS, MINE = "stsb-test spearman", "mine-test ndcg@10"


def truth(name: str, loss, params=1.0):
    """Retrieval is better of a larger model even at the same loss, similarity is not."""
    return 2 * expit(1.5 - 0.6 * loss) - 1 if name == STS else expit(1.0 - 1.2 * loss + 0.2 * np.log(params / 1e5))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    trials = observations(noise=0.01, models=NANO[1:5], budgets=(1e13, 4e13, 1.6e14, 6.4e14))
    generator = np.random.default_rng(1)
    scored = [
        replace(
            each,
            trial=replace(each.trial, training=Training(tasks=TASKS)),
            scores={
                name: float(truth(name, each.loss, each.params) + generator.normal(0, 0.01)) for name in (STS, MINE)
            },
        )
        for each in trials
    ]
    return read_sweep(write_sweep(tmp_path_factory.mktemp("scored"), scored))


def test_a_known_relation_is_found_again(table):
    laws, caveats = score_laws(table)
    assert [law.score for law in laws] == [STS, MINE] and not caveats
    assert abs(laws[0].c) < 0.05 and laws[1].c == pytest.approx(0.2, abs=0.05)
    for law in laws:
        for N in law.params:
            losses = np.linspace(*law.losses, 7)
            assert [law.at(loss, N) for loss in losses] == pytest.approx(truth(law.score, losses, N), abs=0.015)
        assert law.noise == pytest.approx(0.01, rel=0.35) and law.correlation < -0.9


def test_ninety_per_cent_of_new_trials_lie_in_their_interval(table):
    generator, inside, total = np.random.default_rng(3), 0, 0
    for _ in range(150):
        loss = generator.uniform(0.5, 3.0, 12)
        sizes = generator.choice([1e5, 1e6, 1e7], 12)
        scores = truth(MINE, loss, sizes) + generator.normal(0, 0.02, 12)
        known = pd.DataFrame({"method": "full", "loss": loss, "params": sizes, STS: np.nan, MINE: scores})
        drawn = replace(table, scored=known)
        (law,) = score_laws(drawn)[0]
        new = generator.uniform(0.5, 3.0, 20)
        for at, score in zip(new, truth(MINE, new, 1e6) + generator.normal(0, 0.02, 20), strict=True):
            (expected,) = expected_scores([law], at, at, at, 1e6)
            inside, total = inside + (expected.low <= score <= expected.high), total + 1
    assert 0.87 < inside / total < 0.95


def test_a_score_that_does_not_fall_with_the_loss_has_no_relation_and_that_is_said(table):
    generator = np.random.default_rng(0)
    noise = table.scored.assign(**{MINE: generator.uniform(0.0, 0.1, len(table.scored))})
    laws, caveats = score_laws(replace(table, scored=noise))
    assert [law.score for law in laws] == [STS]
    assert "does not fall with the loss" in caveats[0].text and caveats[0].code == "no_score_law"
    laws, caveats = score_laws(replace(table, scored=table.scored.head(5)))
    assert not laws and "5 trials were scored, 6 are needed" in caveats[0].text
    assert score_laws(replace(table, measure="1 - x")) == ((), ())


def test_the_law_file_carries_the_relations_and_fit_prints_them(table, tmp_path, capsys):
    folder = write_sweep(tmp_path / "sweep", table.observations)
    assert main([str(folder), "--family", "rectified", "--bootstraps", "20"]) == 0
    assert f"{STS}  " in capsys.readouterr().out
    book = read_laws(folder / "laws.json")
    assert book.scores == fit_table(table, Settings("rectified", bootstraps=20)).scores
    assert main([str(folder), "--family", "rectified", "--bootstraps", "20", "--score", STS]) == 0
    assert read_laws(folder / "laws-stsb-test-spearman.json").measure == f"1 - {STS}"
