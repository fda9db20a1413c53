"""`fit --figures`: what is drawn, what is not and why, and what becomes of sweeps that have no law."""

from __future__ import annotations

import json

import pytest

from analysis import figures
from analysis.cli import main
from analysis.figures import FIGURES
from analysis.tables.projection import PROJECTION, read_projection
from support.made_sweep import LAWS_OF_THE_TESTS, observations, write_sweep
from support.pictures import BROKEN, METHODS, grid, projection
from sweeps.methods import Full

MADE = projection()
CONTENT = {
    "format": 1,
    "model": MADE.model,
    "method": MADE.method,
    "data": MADE.data,
    "dims": MADE.dims,
    **{
        name: {"query": side.query.tolist(), "document": side.document.tolist(), "variance": 0.3, "accuracy": 0.5}
        for name, side in (("before", MADE.before), ("after", MADE.after))
    },
}


def fit(folder, *more) -> int:
    arguments = ["--figures", str(folder / "figures"), "--bootstraps", "20", "--family", "chinchilla", *more]
    return main([str(folder), *arguments])


def only(monkeypatch, *names: str) -> None:
    """Draw no other figures."""
    monkeypatch.setattr(figures, "FIGURES", {name: FIGURES[name] for name in names})


def test_a_line_says_which_figures_are_not_drawn_and_why(tmp_path, capsys, monkeypatch):
    only(monkeypatch, "frontier", "settings", "projection")
    folder = write_sweep(tmp_path / "sweep", observations({Full(): LAWS_OF_THE_TESTS[Full()]}))
    assert fit(folder) == 0
    printed = capsys.readouterr().out
    assert "not drawn: settings: no method with a rank or a share was tried" in printed
    assert "not drawn: projection: the folder has no projection.json (embed project)" in printed
    assert not (folder / "figures" / "settings.png").exists()
    assert (folder / "figures" / "frontier.svg").exists()


@pytest.mark.parametrize("which", ["no rows", "one row", "all diverged"])
def test_a_sweep_without_a_law_is_drawn_before_it_is_refused(which, tmp_path, capsys):
    folder = write_sweep(tmp_path / "sweep", BROKEN[which]())
    assert fit(folder) == 2
    said = capsys.readouterr().err
    assert "without laws" in said and not (folder / "laws.json").exists()
    assert (folder / "figures" / "frontier.png").exists() != ("not drawn: frontier: " in said) == (which != "one row")


def test_a_projection_in_the_folder_is_drawn(tmp_path, monkeypatch):
    only(monkeypatch, "projection")
    folder = write_sweep(tmp_path / "sweep", grid(METHODS[:1]))
    (folder / PROJECTION).write_text(json.dumps(CONTENT))
    assert fit(folder) == 0
    assert {path.name for path in (folder / "figures").iterdir()} == {"projection.png", "projection.svg"}


@pytest.mark.parametrize(
    ("change", "printed"),
    [
        ({"format": 7}, "no projection of format 1"),
        ({"before": {}}, "has no 'query'"),
        ({"after": {**CONTENT["after"], "query": [[0, 0]]}}, "after has 1 queries and 60 documents"),
        ({"after": {**CONTENT["after"], "query": [[0, float("nan")]]}}, "after.query must be a list of points"),
        ({"after": {**CONTENT["after"], "variance": 3}}, "after.variance is 3.0; it must be between 0 and 1"),
        ({"dims": "many"}, "invalid literal"),
    ],
)
def test_a_broken_projection_is_refused_by_file_and_place(change, printed, tmp_path):
    path = tmp_path / PROJECTION
    path.write_text(json.dumps({**CONTENT, **change}))
    with pytest.raises(ValueError, match=r"projection\.json") as refused:
        read_projection(path)
    assert printed in str(refused.value)
