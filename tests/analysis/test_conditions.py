"""Conditions side by side: each has its law, and a setting changes what runs show that differ in it alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import fit_laws
from analysis.cli import main
from planner.law_file import read_laws
from planner.laws import Chinchilla
from support.ladder import NANO
from support.made_sweep import observation, write_sweep
from sweeps.methods import Full
from sweeps.trial import Training

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
BUDGETS = tuple(np.geomspace(3e13, 1e15, 4))
TIMES = {0: 1.0, 1: 0.9}  # the loss with so many hard negatives
QUICK = ["--bootstraps", "30", "--family", "chinchilla"]


def swept(folder: Path, temperatures=(0.05,), few: bool = False, loss_temperature: float | None = None) -> Path:
    """A results folder of hard negatives off and on, and prompts that change nothing."""
    rows = []
    chance = np.random.default_rng(0)
    for hard, times in TIMES.items():
        for prompt in ("", "query: "):
            for temperature in temperatures:
                training = Training(hard_negatives=hard, query_prompt=prompt, temperature=temperature)
                training = replace(training, loss_temperature=loss_temperature)
                models = NANO[1:2] if few and hard else NANO[1:5]
                for model in models:
                    for budget in BUDGETS[:2] if few and hard else BUDGETS:
                        given = {"training": training, "noise": 0.005, "generator": chance, "data_pairs": 10**9}
                        made = observation(model, Full(), LAW, budget, **given)
                        loss = made.loss * times * temperature / 0.05
                        rows.append(replace(made, loss=loss, accuracy=0.5 + 0.1 * hard))
    return write_sweep(folder, rows)


def test_each_condition_has_its_law_and_the_best_is_laws_json(tmp_path, capsys):
    folder = swept(tmp_path / "mine")
    assert main([str(folder), *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine: 4 conditions of hard_negatives x query_prompt, each with laws of its own")
    files = sorted(path.name for path in folder.glob("laws*.json"))
    assert files[0] == "laws-1-hard_negatives-0-query_prompt.json" and files[-1] == "laws.json" and len(files) == 5
    books = [read_laws(folder / name) for name in files]
    for book in books[:4]:
        times = TIMES[book.training.hard_negatives]
        assert book.laws[0].law.loss(1e6, 1e9) == pytest.approx(times * LAW.loss(1e6, 1e9), rel=0.05)
    assert books[4].training.hard_negatives == 1
    assert "laws.json holds those of hard_negatives 1" in out


def test_an_effect_is_that_of_runs_that_differ_in_it_alone(tmp_path, capsys):
    assert main([str(swept(tmp_path / "mine")), *QUICK, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    effects = {row["setting"]: row for row in said["effects"]}
    assert effects["hard_negatives"]["pairs"] == effects["query_prompt"]["pairs"] == 2 * 4 * 4
    assert effects["hard_negatives"]["loss"] == pytest.approx(math.log(0.9), abs=4 * 0.007 / math.sqrt(32))
    assert effects["hard_negatives"]["accuracy"] == pytest.approx(0.1)
    assert abs(effects["query_prompt"]["loss"]) < 4 * effects["query_prompt"]["loss_error"]
    assert said["budget"] == pytest.approx(BUDGETS[-1]) and said["best"].startswith("hard_negatives 1")
    for condition in said["conditions"]:
        (best,) = condition["bests"]
        assert best["predicted"][1] < best["loss"] < best["predicted"][2] and best["runs"] == 16
        assert best["lr"] == 1e-3


@pytest.mark.slow
def test_losses_at_other_temperatures_are_not_compared(tmp_path, capsys):
    folder = swept(tmp_path / "mine", temperatures=(0.05, 0.1))
    assert main([str(folder), *QUICK, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    effects = {row["setting"]: row for row in said["effects"]}
    assert effects["temperature"]["loss"] is None and effects["temperature"]["accuracy"] == pytest.approx(0.0)
    assert "hard_negatives 1" in said["best"]
    assert main([str(folder), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "losses at different temperature are different quantities" in out


def test_losses_that_are_measured_at_one_temperature_are_compared(tmp_path, capsys):
    folder = swept(tmp_path / "mine", temperatures=(0.05, 0.1), loss_temperature=0.05)
    assert main([str(folder), *QUICK, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    effects = {row["setting"]: row for row in said["effects"]}
    assert effects["temperature"]["loss"] == pytest.approx(math.log(2), rel=0.05)
    assert "temperature 0.05" in said["best"]


def test_a_condition_without_a_law_is_said_and_the_others_are_fitted(tmp_path, capsys):
    folder = swept(tmp_path / "mine", few=True)
    assert main([str(folder), *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.count("no law: ") == 2 and "2 runs; a law needs at least 6" in out
    assert len(list(folder.glob("laws*.json"))) == 3


def test_one_condition_is_fitted_alone_by_its_name(tmp_path, capsys):
    folder = swept(tmp_path / "mine")
    name = "hard_negatives 1, query_prompt 'query: '"
    assert main([str(folder), *QUICK, "--condition", name, "--page", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"mine, {name}: 16 runs") and (tmp_path / "page.html").exists()
    book = read_laws(folder / "laws-hard_negatives-1-query_prompt-query.json")
    assert (book.training.hard_negatives, book.training.query_prompt) == (1, "query: ")
    assert fit_laws(folder, condition=name, bootstraps=30, family="chinchilla").laws[0].law == book.laws[0].law


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--page", "p.html"], "--page: "),
        (["--out", "o.json"], "holds 4 conditions; choose one: --condition \"hard_negatives 0, query_prompt ''\""),
        (["--condition", "none"], "--condition is 'none'; known: hard_negatives 0, query_prompt ''; hard_negatives 0"),
    ],
)
def test_what_is_of_one_condition_asks_for_it(tmp_path, capsys, flags, said):
    assert main([str(swept(tmp_path / "mine")), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "mine").glob("laws*.json"))


def test_folders_that_differ_in_their_data_are_refused_as_before(tmp_path):
    sources = (("a.jsonl", 1e14), ("b.jsonl", 2e14))
    rows = [observation(NANO[2], Full(), LAW, budget, training=Training(data=name)) for name, budget in sources]
    with pytest.raises(ValueError, match="give each its own folder"):
        fit_laws(write_sweep(tmp_path, rows))
    with pytest.raises(ValueError, match="name one of them with `condition`"):
        fit_laws(swept(tmp_path / "mine"))
