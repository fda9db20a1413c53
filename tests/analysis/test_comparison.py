"""The comparison of joint training with merging: its table, its figures, and what they say when there is little."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.cli import main
from analysis.comparison import FIGURES, text
from analysis.figures.files import NotDrawn
from analysis.figures.merge_surface import draw_surface
from analysis.figures.merging import draw_merging, finding
from analysis.figures.style import STYLE
from analysis.tables.comparison import MEAN, read_comparison
from support.pictures import words
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.search.sweep_state import plan_next
from sweeps.trial import MERGES, Observation, failure

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "merging.toml"
DATA = Data("d0", 200_000, 5000, 90.0, 5500.0)
WORSE = dict(zip(("", *MERGES), (0.0, 0.5, 0.4, 0.45, 0.6, 0.3), strict=True))  # than joint training, in nats


def observed(trial) -> Observation:
    """A law in FLOPs with a best rate; every way is worse than joint training by its own number."""
    worse = WORSE[trial.training.merge] + 0.01 * trial.seed + abs(np.log(trial.lr / 3e-3)) / 10
    losses = {f"loss {name}": 2 + place + worse for place, (name, _) in enumerate(trial.training.sources)}
    loss = float(np.mean(list(losses.values()))) * (trial.budget / 1e11) ** -0.05
    return Observation(trial, "done", loss=loss, scores=losses, flops=trial.budget)


def write_comparison(folder: Path, observations) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copyfile(EXAMPLE, folder / "sweep.toml")
    (folder / "observations.jsonl").write_text(
        "".join(json.dumps(observation.to_json()) + "\n" for observation in observations)
    )
    return folder


@pytest.fixture(scope="module")
def whole() -> list[Observation]:
    sweep, observations = read_sweep(EXAMPLE), []
    while state := plan_next(sweep, DATA, observations).now:
        observations += [observed(trial) for trial in state]
    return observations


def made_surface(**changes) -> dict:
    x = y = np.linspace(-0.2, 1.2, 9)
    loss = 1 + (x[None] - 0.6) ** 2 + (y[:, None] - 0.4) ** 2
    surface = {"models": ["code", "<b>docs</b>"], "x": x.tolist(), "y": y.tolist(), "loss": loss.tolist()}
    surface |= {
        "path": [[0.9, 0.9], [0.7, 0.6], [0.6, 0.4]],
        "others": [],
        "pairs": 512,
        "batch": 32,
        "temperature": 0.05,
    }
    return surface | changes


def words_of(draw, compared) -> str:
    with plt.rc_context(STYLE):
        figure = draw(compared)
        printed = " ".join(text.get_text() for text in words(figure))
        plt.close(figure)
    return " ".join(printed.split())


def test_fit_tells_the_comparison_and_draws_it_in_place_of_laws(whole, tmp_path, capsys):
    folder = write_comparison(tmp_path / "merging", whole)
    (folder / "surface.json").write_text(json.dumps(made_surface()))
    assert main([str(folder), "--figures", str(tmp_path / "figures")]) == 0
    printed = capsys.readouterr().out
    assert "no laws are fitted" in printed and "ratio 4:1:1" in printed and not (folder / "laws.json").exists()
    names = {f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert main([str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 6 * 2 * 3 * 3 and {row["lr"] for row in rows} == {3e-3}  # one of every place and seed


def test_the_table_holds_the_mean_and_the_range_over_the_seeds(whole, tmp_path):
    compared = read_comparison(write_comparison(tmp_path, whole))
    losses = [
        observation.loss
        for observation in whole
        if observation.trial.lr == 3e-3 and observation.trial.training.way == "joint 1:1:1"
    ]
    losses = sorted(losses)[-3:]  # of the smallest budget
    assert f"{np.mean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f})" in text(compared)


def test_every_axis_has_its_unit_and_every_way_its_name(whole, tmp_path):
    compared = read_comparison(write_comparison(tmp_path, whole))
    printed = words_of(draw_merging, compared)
    for word in ("nats per pair", "FLOP", "python-env-docs", MEAN, "mean of 3 seeds", *compared.ways):
        assert word in printed
    assert "joint is best, at 6 of 6 places by more than the range of seeds" in printed


def test_no_more_is_said_than_the_seeds_allow(whole, tmp_path):
    alone = [observation for observation in whole if observation.trial.seed == 0]
    assert "at 0 of 6 places" in finding(read_comparison(write_comparison(tmp_path, alone)))
    near = [
        replace(observation, loss=observation.loss - WORSE[observation.trial.training.merge]) for observation in whole
    ]
    assert "best, at 6 of" not in finding(read_comparison(write_comparison(tmp_path, near)))


def test_little_is_said_in_words(whole, tmp_path):
    nothing = read_comparison(write_comparison(tmp_path, []))
    assert "no trial has ended" in draw_merging(nothing).reason and "no trial has ended" in text(nothing)
    lost = [failure(observation.trial, "too hot", "diverged") for observation in whole[:3]]
    way = whole[0].trial.training.merge or "joint"
    assert f"3 {way}" in draw_merging(read_comparison(write_comparison(tmp_path, lost))).reason
    single = read_comparison(write_comparison(tmp_path, [*lost, whole[-1]]))
    assert "There is one budget" in words_of(draw_merging, single) and f"3 {way}" in text(single)
    assert isinstance(draw_surface(single), NotDrawn)


def test_the_surface_names_its_models_and_where_the_search_ended(whole, tmp_path):
    folder = write_comparison(tmp_path, whole)
    (folder / "surface.json").write_text(json.dumps(made_surface()))
    printed = words_of(draw_surface, read_comparison(folder))
    for word in ("task vector of code", "<b>docs</b>", "nats per pair", "(0.60, 0.40)", "2 steps"):
        assert word in printed
    more = made_surface(models=["a", "b", "c"], others=[0.25])
    (folder / "surface.json").write_text(json.dumps(more))
    assert "c at 0.25" in words_of(draw_surface, read_comparison(folder))
    more["loss"][0][0] = float("nan")
    (folder / "surface.json").write_text(json.dumps(more))
    assert "1 of 81 places" in draw_surface(read_comparison(folder)).reason


@pytest.mark.parametrize("change", [{"loss": [[1.0]]}, {"path": [1.0]}, {"models": ["a"]}, {"x": None}])
def test_a_surface_that_is_none_is_refused(whole, tmp_path, change, capsys):
    folder = write_comparison(tmp_path, whole[:1])
    (folder / "surface.json").write_text(json.dumps(made_surface(**change)))
    assert main([str(folder)]) == 2
    assert "surface.json: is not what" in capsys.readouterr().err


def test_what_a_comparison_has_not_is_refused(whole, tmp_path, capsys):
    folder = write_comparison(tmp_path, whole[:1])
    assert main([str(folder), "--page", str(tmp_path / "page.html")]) == 2
    assert "--page" in capsys.readouterr().err
