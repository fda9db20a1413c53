"""Scores as well as losses: laws of a score, what they are called, and the picture of the two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.cli import main
from analysis.figures import without_laws
from analysis.figures.files import NotDrawn
from analysis.figures.scores import draw_scores
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.tables.sweep_table import read_sweep
from planner.law_file import read_laws
from support.ladder import NANO
from support.made_sweep import observations, write_sweep

SETTINGS = Settings(family="rectified", bootstraps=20)


@pytest.fixture(scope="module")
def trials():
    return observations(noise=0.0, models=NANO[1:5], budgets=(1e13, 4e13, 1.6e14, 6.4e14))


@pytest.fixture
def sweep(tmp_path, trials):
    return write_sweep(tmp_path / "sweep", trials)


def test_a_law_of_a_score_is_the_law_of_its_error(sweep):
    losses, scores = (fit_table(read_sweep(sweep, score=score), SETTINGS) for score in ("", "ndcg@10"))
    for of_loss, of_score in zip(losses.laws, scores.laws, strict=True):
        assert of_score.law.alpha == pytest.approx(of_loss.law.alpha, rel=1e-3)
        assert pytest.approx(of_loss.law.E / 10, rel=1e-3) == of_score.law.E
    assert (losses.measure, scores.measure) == ("loss", "1 - ndcg@10")


def test_laws_of_a_score_lie_beside_those_of_the_loss_and_say_so(sweep, capsys):
    assert main([str(sweep), "--score", "ndcg@10", "--bootstraps", "20", "--family", "rectified"]) == 0
    assert read_laws(sweep / "laws-ndcg@10.json").measure == "1 - ndcg@10" and not (sweep / "laws.json").exists()
    from planner import plan, report

    answer = plan(1e15, laws=sweep / "laws-ndcg@10.json")
    assert "as 1 - ndcg@10, held out" in report.text(answer)


def test_an_unknown_score_is_refused_and_never_becomes_a_path(sweep, tmp_path, capsys):
    assert main([str(sweep), "--score", "../../x"]) == 2
    assert "no observation has a score '../../x'; known: effective_rank, ndcg@10" in capsys.readouterr().err
    assert main([str(sweep), "--score", "effective_rank"]) == 2
    assert "not a positive number" in capsys.readouterr().err


def test_trials_without_the_score_stay_out_with_a_reason(tmp_path, trials):
    some = list(trials)
    some[0] = replace(some[0], scores={})
    table = read_sweep(write_sweep(tmp_path, some), score="ndcg@10")
    assert dict(table.excluded)[some[0].key] == "its 1 - ndcg@10 is nan, not a positive number"
    assert len(table.scored) == len(some) - 1


def test_the_picture_tells_the_rank_correlation(sweep):
    table = read_sweep(sweep)
    figure = draw_scores(table, without_laws(table))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"Spearman -1.00 over {len(table.scored)} trials"] * 2
    unscored = replace(table, scored=table.scored[["method", "loss"]])
    assert isinstance(draw_scores(unscored, None), NotDrawn)
