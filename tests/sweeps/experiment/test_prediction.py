"""What a recipe predicts is read back from it, and held against what was measured of the same thing only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeps.experiment.prediction import Prediction, read_prediction
from sweeps.experiment.recipe_file import write_recipe
from sweeps.methods import Full
from sweeps.trial import Observation, Training, Trial

TRIAL = Trial("nano-25k", Full(), Training(tasks=("retrieval:mine",)), lr=1e-2, steps=60)
SCORES = {"mine-test ndcg@10": [0.3, 0.2, 0.4]}
SEEN = Observation(TRIAL, "done", loss=1.65, scores={"mine-test ndcg@10": 0.45})


@pytest.fixture
def read(tmp_path):
    def read(predicted) -> Prediction | None:
        write_recipe(tmp_path / "recipe.toml", TRIAL, predicted)
        return read_prediction(tmp_path / "recipe.toml")

    return read


def test_loss_and_scores_are_held_against_what_was_measured(read):
    loss, score = read({"loss": 1.6, "interval": [1.5, 1.7], "scores": SCORES}).beside(SEEN)
    assert str(loss) == "held-out loss: predicted 1.600 (90 %: 1.500 to 1.700), got 1.650: inside"
    assert str(score) == "mine-test ndcg@10: predicted 0.300 (90 %: 0.200 to 0.400), got 0.450: outside"
    assert (loss.inside, score.inside) == (True, False)
    assert score.to_json()["got"] == 0.45


def test_what_cannot_be_compared_is_not_and_the_reason_is_said(read):
    smaller = replace(SEEN, trial=replace(TRIAL, training=replace(TRIAL.training, pool_size=64)), scores={})
    loss, score = read({"loss": 1.6, "interval": [1.5, 1.7], "scores": SCORES}).beside(smaller)
    assert loss.inside is None and "pools of 256 pairs; the held-out data are enough for 64" in str(loss)
    assert score.inside is None and "not scored" in str(score)
    (of_score,) = read({"loss": 0.6, "interval": [0.5, 0.7], "measure": "1 - mine-test ndcg@10"}).beside(SEEN)
    assert of_score.got == pytest.approx(0.55) and of_score.inside


def test_a_recipe_without_a_prediction_has_none_and_an_absurd_one_is_named(read):
    assert read({}) is None and read({"loss": 1.6, "interval": None}) is None
    with pytest.raises(ValueError, match=r"interval is .*three numbers"):
        read({"loss": 1.6, "interval": [1.5]})
    with pytest.raises(ValueError, match=r"predicted\.scores\.x"):
        read({"loss": 1.6, "interval": [1.5, 1.7], "scores": {"x": 3}})
