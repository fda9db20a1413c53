"""The best training temperature is found again, by loss and by scores, at small and at large batch."""

import json

import pytest

from analysis.cli import main
from analysis.fitting.temperature_rules import best_temperatures, temperature_rules
from analysis.tables.sweep_table import read_observations
from planner.law_file import read_laws
from support.temperature_sweeps import BATCHES, best_temperature, swept


def found(folder):
    observations, _ = read_observations(folder / "observations.jsonl")
    return best_temperatures("mine", observations, 50)


@pytest.mark.parametrize("power", [0.0, 0.3])
def test_the_best_temperature_is_found_by_batch_size(tmp_path, power):
    best = found(swept(tmp_path / "mine", power))
    assert {each.measure for each in best} == {"loss", "accuracy", "ndcg@10"} and len(best) == 6
    for each in best:
        for batch in BATCHES:
            wanted = best_temperature(batch, power) / (1 if each.measure == "loss" else 2)
            temperature, low, high = each.rule.best(batch)
            assert temperature == pytest.approx(wanted, rel=0.2) and low * 0.95 < wanted < high * 1.05
        assert each.rule.exponent == pytest.approx(power, abs=0.1)


def test_a_rule_knows_what_each_temperature_gives_away_and_what_scores_say(tmp_path):
    rules = temperature_rules(found(swept(tmp_path / "mine", 0.0)))
    rule = rules["full"]
    assert min(rule.given_away, key=rule.given_away.get) == "0.05"
    assert rule.given_away["0.2"] == pytest.approx(0.043, abs=0.01)
    assert rule.by_scores["ndcg@10"] == pytest.approx(0.03, rel=0.2)
    assert rule.curves == 18 and rule.tried == (0.02, 0.2) and rule.batches == (8, 64)


def test_losses_that_are_read_at_their_own_temperature_say_nothing(tmp_path):
    assert found(swept(tmp_path / "mine", loss_temperature=None)) == []


def test_one_command_on_the_sweep_gives_the_answer_and_the_law_file_has_it(tmp_path, capsys):
    folder = swept(tmp_path / "mine")
    assert main([str(folder), "--bootstraps", "20", "--family", "power"]) == 0
    out = capsys.readouterr().out
    assert "training temperature" in out and "at 8 pairs" in out and "at 64 pairs" in out
    rule = read_laws(folder / "laws.json").laws[0].temperature_rule
    assert rule.best(64)[0] == pytest.approx(best_temperature(64, 0.3), rel=0.2)
    content = json.loads((folder / "laws.json").read_text())
    del content["checksum"]
    content["laws"][0]["temperature_rule"]["tried"] = [0.2, 0.02]
    (folder / "laws.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"temperature_rule.tried is \[0.2, 0.02\]; it must be two numbers"):
        read_laws(folder / "laws.json")
