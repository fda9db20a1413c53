"""The command `fit`, as people and programs use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import figures
from analysis.cli import main
from planner.law_file import read_laws
from planner.laws import Chinchilla
from support.batch_sweeps import batch_observations
from support.ladder import NANO
from support.made_sweep import observations, write_sweep

LAW = Chinchilla(E=0.5, A=40.0, alpha=0.3, B=300.0, beta=0.35)


@pytest.fixture
def runs(tmp_path) -> Path:
    N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    noise = np.exp(np.random.default_rng(0).normal(0, 0.004, N.size))
    frame = pd.DataFrame({"N": N, "D": D, "C": 6 * N * D, "loss": LAW.loss(N, D) * noise})
    frame.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


@pytest.fixture
def sweep(tmp_path) -> Path:
    trials = observations(models=NANO[1:4], budgets=[1e13, 4e13, 1.6e14], noise=0.01)
    return write_sweep(tmp_path / "sweep", trials)


def test_a_sweep_becomes_a_law_file_that_plan_can_read(sweep, capsys):
    assert main([str(sweep), "--bootstraps", "50", "--family", "chinchilla"]) == 0
    out = capsys.readouterr().out
    book = read_laws(sweep / "laws.json")
    assert {law.label for law in book.laws} == {"full", "lora rank 8 alpha 8", "freeze share 0.5"}
    for law in book.laws:
        assert law.label in out
        assert len(law.draws) == 50
        assert law.learning_rates == {model.name: 1e-3 for model in NANO[1:4]}
    assert "90 % interval" in out
    assert f"wrote {sweep / 'laws.json'}" in out
    assert book.source["rows_hash"]
    assert book.training is not None


def test_the_table_names_the_backtest_and_what_was_left_out(sweep, capsys):
    path = sweep / "observations.jsonl"
    record = json.loads(path.read_text().splitlines()[0])
    record.update(status="diverged", reason="loss is nan", loss=None)
    record["trial"]["lr"] = 7.0
    del record["key"]
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    assert main([str(sweep), "--bootstraps", "50"]) == 0
    out = capsys.readouterr().out
    assert "the weighted mean   <- used" in out
    assert "left out  1 x diverged: loss is nan" in out
    assert len(read_laws(sweep / "laws.json").excluded) == 1


def test_coefficients_have_profiles_where_they_were_asked_for(runs, capsys):
    columns = ["--n", "N", "--c", "C", "--loss", "loss", "--family", "chinchilla", "--bootstraps", "50"]
    assert main([str(runs), *columns, "--profile", "E", "--json"]) == 0
    [law] = json.loads(capsys.readouterr().out)["laws"]
    assert law["profiles"]["E"]["low"] < LAW.E < law["profiles"]["E"]["high"]


@pytest.mark.parametrize("asked", [("--backtest",), ("--profile", "E")])
def test_what_is_of_one_batch_size_names_those_that_there_are(tmp_path, capsys, asked):
    folder = write_sweep(tmp_path, batch_observations(sizes=(8, 64)))
    assert main([str(folder), *asked]) == 2
    error = capsys.readouterr().err
    assert f"{asked[0]} needs one batch size; choose it with --condition: batch_size 8; batch_size 64" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_of_several_batch_sizes_has_one_page(tmp_path, capsys):
    folder, file = write_sweep(tmp_path, batch_observations(sizes=(8, 24, 64, 192))), tmp_path / "page.html"
    assert main([str(folder), "--bootstraps", "20", "--family", "chinchilla", "--page", str(file)]) == 0
    assert f"wrote {file}" in capsys.readouterr().out
    page = file.read_text()
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    content = json.loads(data)
    assert set(content["trials"]["batch"]) == {8, 24, 64, 192}
    assert all(law["law"]["batch"] for law in content["planning"]["books"][0]["laws"])


def test_json_names_objective_and_every_coefficient_with_its_interval(runs, capsys):
    argv = [
        str(runs),
        "--n",
        "N",
        "--c",
        "C",
        "--loss",
        "loss",
        "--family",
        "chinchilla",
        "--json",
        "--bootstraps",
        "100",
    ]
    assert main(argv) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["objective"] > 0
    for name, value in LAW.coefficients.items():
        low, high = content["intervals"][name]
        assert low <= content["coefficients"][name] <= high
        assert content["coefficients"][name] == pytest.approx(value, rel=0.3)
    assert content["laws"][0]["objective"] == content["objective"]
    assert not (runs.parent / "laws.json").exists()


def test_flags_reach_the_fit(runs, capsys):
    base = [str(runs), "--n", "N", "--d", "D", "--loss", "loss", "--family", "tied", "--json", "--bootstraps", "30"]
    answers = []
    for more in ([], ["--delta", "1"], ["--drop-highest", "5"]):
        assert main([*base, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    plain, squares, fewer = answers
    assert plain["source"]["delta"] == 1e-3
    assert plain["coefficients"] != squares["coefficients"]
    assert len(fewer["excluded"]) == 5


def test_figures_and_laws_go_where_asked(runs, capsys, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {"frontier": figures.FIGURES["frontier"]})
    folder = runs.parent / "pictures"
    argv = [str(runs), "--n", "N", "--d", "D", "--loss", "loss", "--family", "tied", "--bootstraps", "30"]
    assert main([*argv, "--figures", str(folder), "--out", str(folder / "laws.json")]) == 0
    assert (folder / "frontier.png").exists()
    assert read_laws(folder / "laws.json").training is None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], "nowhere: no such results folder or table"),
        (["{runs}"], "--loss must name the column"),
        (["{runs}", "--loss", "los", "--n", "N", "--d", "D"], "no column 'los' (--loss); it has: N, D, C, loss"),
        (["{runs}", "--loss", "loss", "--n", "N"], "neither tokens (--d) nor training FLOPs (--c) are named"),
        (["{runs}", "--loss", "loss"], "neither tokens (--d) nor training FLOPs (--c) nor parameters (--n) are named"),
        (["{runs}", "--loss", "loss", "--n", "N", "--d", "D", "--family", "cubic"], "--family is 'cubic'; known: auto"),
        (["{runs}", "--loss", "loss", "--n", "N", "--d", "D", "--delta", "-1"], "--delta is -1.0"),
        (["{runs}", "--loss", "loss", "--n", "N", "--d", "D", "--drop-highest", "99"], "--drop-highest is 99"),
        (["{folder}"], "observations.jsonl"),
        (["{folder}", "--loss", "loss"], "only for tables of runs"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(runs, tmp_path, capsys, argv, words):
    names = {"runs": str(runs), "folder": str(tmp_path)}
    assert main([arg.format(**names) for arg in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fit: error: ")
    assert words in error
    assert error.count("\n") == 1


def test_help_has_examples_and_loads_nothing_heavy():
    code = "import sys\ntry:\n from analysis.cli import main; main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('numpy', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--page", "notes.txt"], "--page: notes.txt must be a file that ends in .html"),
        (["--out", "."], "--out: . must be a file that ends in .json"),
        (["--page", "folder.html"], "--page: folder.html is a folder; give a file"),
        (["--figures", "notes.txt"], "--figures: notes.txt is a file; give a folder"),
        *(
            (["--out", name], f"--out: {name} is a file that `fit` did not write; name another file")
            for name in ("keep.json", "list.json", "broken.json")
        ),
        (["--page", "keep.html"], "--page: keep.html is a file that `fit` did not write; name another file"),
    ],
)
def test_what_would_be_written_is_checked_before_anything_is_fitted(tmp_path, monkeypatch, capsys, given, words):
    write_sweep(tmp_path / "sweep", [])
    monkeypatch.chdir(tmp_path)
    mine = {"notes.txt": "mine", "keep.json": '{"laws": 1}', "list.json": '["format", "laws"]', "broken.json": "{"}
    mine["keep.html"] = "<title>mine</title>"
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.html").mkdir()
    assert main(["sweep", *given]) == 2
    assert capsys.readouterr().err == f"fit: error: {words}\n"
    assert {name: (tmp_path / name).read_text() for name in mine} == mine


def test_laws_and_pages_of_before_and_empty_files_are_replaced(tmp_path, capsys):
    folder, laws, page = write_sweep(tmp_path, observations()), tmp_path / "laws.json", tmp_path / "page.html"
    laws.touch()
    page.touch()
    for _ in range(2):
        argv = [str(folder), "--family", "tied", "--bootstraps", "20", "--out", str(laws), "--page", str(page)]
        assert main(argv) == 0, capsys.readouterr().err
        assert read_laws(laws).laws and page.stat().st_size > 10_000
        assert f"wrote {laws}" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named_whatever_else_is_asked(capsys):
    assert main(["nowhere", "--backtest"]) == 2
    assert capsys.readouterr().err == "fit: error: nowhere: no such results folder or table\n"
