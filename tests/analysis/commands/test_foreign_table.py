"""`fit` of somebody's table, to the end: what is asked is answered, recorded, and written where `plan` reads it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import planner.cli
from analysis import figures
from analysis.cli import main
from planner.law_file import read_laws
from planner.laws import Chinchilla

LAW = Chinchilla(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "tables.md"


def made_runs() -> pd.DataFrame:
    """The table of docs/tables.md: sizes in millions, tokens in billions."""
    N, C = (grid.ravel() for grid in np.meshgrid(np.geomspace(5e7, 2e10, 8), np.geomspace(1e19, 1e22, 6)))
    noise = np.exp(np.random.default_rng(0).normal(0, 0.004, N.size))
    loss = LAW.loss(N, C / 6 / N) * noise
    size, tokens = np.round(N / 1e6, 2), np.round(C / 6 / N / 1e9, 4)
    optimizer = np.where(np.arange(N.size) % 7 == 3, "sgd", "adam")
    return pd.DataFrame({"size": size, "tokens": tokens, "optimizer": optimizer, "loss": np.round(loss, 4)})


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made_runs().to_csv("runs.csv", index=False)
    return tmp_path / "runs.csv"


COLUMNS = ["--n", "size*1e6", "--d", "tokens*1e9", "--loss", "loss", "--family", "chinchilla", "--bootstraps", "60"]


def fit_json(capsys, *argv: str) -> dict:
    assert main(["runs.csv", *COLUMNS, *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_question_is_answered_in_json(runs, capsys):
    asked = ["--predict", "N=7e9,D=2e12", "--predict", "N=1B,C=1e21", "--optimum", "1e22", "--optimum", "1e23"]
    content = fit_json(capsys, *asked, "--holdout", "C > 5e21", "--out", "table-laws.json")
    law = Chinchilla(**content["coefficients"])
    first, second = content["predictions"]
    assert (first["asked"], first["params"], first["tokens"]) == ("N=7e9,D=2e12", 7e9, 2e12)
    assert first["loss"] == pytest.approx(law.loss(7e9, 2e12))
    assert first["interval"][0] < first["law_interval"][0] < first["loss"] < first["interval"][1]
    assert second["tokens"] == pytest.approx(1e21 / 6e9, rel=1e-3)
    ratio = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    for each, budget in zip(content["optima"], (1e22, 1e23), strict=True):
        best = ratio * (budget / 6) ** (law.beta / (law.alpha + law.beta))
        assert each["budget"] == budget
        assert each["best"]["params"] == pytest.approx(best, rel=1e-3)
        assert each["params_interval"][0] < best < each["params_interval"][1]
    assert content["holdout"]["rows"] == 8 and content["holdout"]["error"] < 0.02
    book = read_laws(Path("table-laws.json"))
    assert book.source["filters"] == ["held out: C > 5e21"]
    assert book.source["columns"]["n"] == "size*1e6"
    assert sum(reason == "held out: C > 5e21" for _, reason in book.excluded) == 8


def test_text_says_the_same(runs, capsys):
    asked = [
        "--predict",
        "N=7e9,D=2e12",
        "--optimum",
        "1e22",
        "--holdout",
        "C > 5e21",
        "--where",
        "optimizer == 'adam'",
    ]
    assert main(["runs.csv", *COLUMNS, *asked]) == 0
    text = capsys.readouterr().out
    for words in ("left out  7 x where optimizer == 'adam': false", "predicted", "best size for a budget"):
        assert words in text
    assert re.search(r"7 B +2 T +8\.4e\+22 +\d\.\d+ +\d\.\d+ to \d\.\d+ +C [\d.]+x beyond", text)
    assert re.search(r"held out: C > 5e21: \d rows predicted, mean error [\d.]+ %", text)


def test_what_was_asked_of_the_fit_is_recorded(runs, capsys):
    made_runs().assign(w=1 + np.arange(48) % 2).to_csv("runs.csv", index=False)
    content = fit_json(capsys, "--fix", "alpha=0.35", "--weights", "w", "--where", "D/N > 5", "--where", "N < 1e9")
    assert content["source"]["fixed"] == {"alpha": 0.35}
    assert content["source"]["columns"]["weights"] == "w"
    assert content["source"]["filters"] == ["where D/N > 5", "where N < 1e9"]
    assert content["coefficients"]["alpha"] == 0.35
    assert {each["reason"] for each in content["excluded"]} == {
        "where D/N > 5: false",
        "where N < 1e9: false",
    }


def test_what_smaller_budgets_would_have_chosen_is_told_with_what_it_gives_away(runs, capsys):
    content = fit_json(capsys, "--backtest", "--where", "optimizer == 'adam'")
    assert [each["fitted_to"] for each in content["decisions"]] == sorted(
        each["fitted_to"] for each in content["decisions"]
    )
    last = content["decisions"][-1]
    assert last["reason"] == "" and last["runs"] == 34
    assert 0 <= last["regret"] < 0.02 and abs(last["error"]) < 0.05
    assert 0 <= last["inside"] <= last["told"] == 7
    assert content["size_rules"]
    assert main(["runs.csv", "--c", "tokens", "--loss", "loss", "--best", "--backtest"]) == 2
    assert "--backtest: needs laws in N and D, which choose a size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--predict", "N=7e9"], "--predict is 'N=7e9'; for these laws it must give two of N, D and C"),
        (["--predict", "7e9"], "--predict is '7e9'; it must be two of N, D and C"),
        (["--optimum", "lots"], "--optimum is 'lots'; it must be a positive number of FLOP"),
        (["--holdout", "C > 1e30"], "--holdout C > 1e30 holds of 0 of 48 rows"),
        (["--holdout", "params > 1"], "--holdout has 'params', which is no column; the table has: N, D, C, loss, size"),
        (["--where", "N.real > 1"], "--where has 'N.real'; it must be made of names, numbers"),
        (["--where", "open('x') == 1"], "--where has \"open('x')\""),
        (["--fix", "alpha"], "--fix is 'alpha'; it must be coefficients with values, such as alpha=0.35"),
        (["--fix", "alpha=x"], "--fix is 'alpha=x'"),
        (["--fix", "alpha=0.3", "--fix", "alpha=0.4"], "--fix gives alpha twice: 0.3 and 0.4"),
        (["--fix", "gamma=1"], "--fix has 'gamma'; coefficients of chinchilla: E, A, alpha, B, beta"),
        (["--weights", "w"], "has no column 'w' (--weights); it has: size, tokens, optimizer, loss"),
        (["--page", "x.html"], "--page: only a results folder has one"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(runs, capsys, argv, words):
    assert main(["runs.csv", *COLUMNS, *argv]) == 2
    error = capsys.readouterr().err.splitlines()[-1]  # a slow machine says before that it is at work
    assert error.startswith("fit: error: ") and words in error


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_absurd_size_is_one_line_and_no_file(runs, capsys):
    made_runs().assign(size=lambda frame: frame["size"].where(frame.index != 4, 1e300)).to_csv("runs.csv", index=False)
    assert main(["runs.csv", *COLUMNS, "--out", "laws.json"]) == 2
    words = "runs.csv: row 5: size*1e6 is 1e+306; it must be between 1e-09 and 1e+18"
    assert capsys.readouterr().err == f"fit: error: {words}\n"
    assert not Path("laws.json").exists()


@pytest.mark.parametrize(("flag", "letter"), [("--n", "N"), ("--d", "D"), ("--c", "C")])
def test_a_table_of_one_quantity_is_fitted_asked_and_planned_with_or_refused(runs, capsys, flag, letter):
    x = np.geomspace(1e8, 1e12, 12)
    pd.DataFrame({"x": x, "loss": 1.5 + 300 * x**-0.3}).to_csv("runs.csv", index=False)
    argv = ["runs.csv", flag, "x", "--loss", "loss", "--bootstraps", "30", "--predict", f"{letter}=1e13"]
    assert main([*argv, "--out", "one.json", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["predictions"][0]["loss"] == pytest.approx(1.5 + 300 * 1e13**-0.3, rel=1e-3)
    assert main([*argv, "--optimum", "1e22"]) == 2
    assert f"laws in {letter} alone have no best size" in capsys.readouterr().err
    assert planner.cli.main(["--budget", "1e22", "--laws", "one.json"]) == 2
    assert f"laws in {letter} alone cannot choose a size" in capsys.readouterr().err


def test_figures_that_compare_sizes_are_not_drawn_of_laws_in_one_quantity(runs, capsys, monkeypatch):
    x = np.geomspace(1e8, 1e12, 12)
    pd.DataFrame({"x": x, "loss": 1.5 + 300 * x**-0.3}).to_csv("runs.csv", index=False)
    monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in ("frontier", "isoflop")})
    options = ["--loss", "loss", "--bootstraps", "30", "--figures", "drawn"]
    assert main(["runs.csv", "--n", "x", *options]) == 0
    out = capsys.readouterr().out
    assert "not drawn: frontier: laws in N alone compare no sizes" in out and "not drawn: isoflop" in out
    assert main(["runs.csv", "--c", "x", *options]) == 0
    out = capsys.readouterr().out
    assert "wrote drawn/frontier.png" in out and "not drawn: isoflop: laws in C alone" in out


def test_the_example_of_the_page_is_what_the_commands_print(runs, capsys):
    """docs/tables.md shows commands and what they print of the table that `made_runs` makes."""
    blocks = re.findall(r"^```\n(\$ .*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    shown = [pair for block in blocks for pair in re.findall(r"^\$ ([^\n]*)\n(.*?)(?=^\$ |\Z)", block, re.M | re.S)]
    assert len(shown) == 2
    for command, expected in shown:
        program, *argv = shlex.split(command)
        assert {"fit": main, "plan": planner.cli.main}[program](argv) == 0
        printed = capsys.readouterr().out.splitlines()
        for line in expected.splitlines():
            if line.strip() and line.strip() != "...":
                assert any(alike(line, other) for other in printed), f"{command}: {line!r}, but:\n" + "\n".join(printed)


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def alike(line: str, other: str) -> bool:
    """Whether two lines are the same words with numbers that differ by a fifth at most: a better fit moves them."""
    words, others = (" ".join(NUMBER.sub("#", text).split()) for text in (line, other))
    numbers = [[float(number.replace(",", "")) for number in NUMBER.findall(text)] for text in (line, other)]
    return words == others and all(abs(a - b) <= 0.2 * max(abs(a), 0.5) for a, b in zip(*numbers, strict=True))
