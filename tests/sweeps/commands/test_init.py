"""`sweep init` reads the data, writes a file that runs, and replaces none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps import cli
from sweeps.experiment.examples import examples
from sweeps.experiment.sweep_file import read_sweep
from sweeps.support.paths import located, relative_to


@pytest.fixture(autouse=True)
def pairs(tmp_path, monkeypatch):
    """A file of 400 pairs in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [{"query": f"question {i} of many", "positive": f"answer {i} " * 10} for i in range(400)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_file_fits_the_data_and_names_them_from_where_it_lies(capsys):
    assert cli.main(["init", "sub/mine.toml", "--data", "pairs.jsonl", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    sweep = read_sweep(Path("sub/mine.toml"))
    assert [model.name for model in sweep.models] == said["models"]
    assert (sweep.training.batch_size, sweep.max_epochs) == (said["batch_size"], said["max_epochs"]) == (4, 4.0)
    assert sweep.training.data == "../pairs.jsonl"
    with relative_to(Path("sub/mine.toml")):
        assert located(sweep.training.data).samefile("pairs.jsonl")


def test_it_says_what_it_chose_and_what_is_next(capsys):
    assert cli.main(["init", "mine.toml", "--data", "pairs.jsonl", "--methods", "full,bias", "--budget", "1e12"]) == 0
    out = capsys.readouterr().out
    assert "400 records counted, all read" in out and "methods   full, bias" in out
    assert out.endswith("wrote     mine.toml; next: sweep run mine.toml --dry-run\n")


def test_the_folder_of_an_example_is_made():
    assert cli.main(["init", "new/sub/mine.toml", "--example", "demo"]) == 0
    assert read_sweep(Path("new/sub/mine.toml")) == read_sweep(examples()["demo"])


def test_data_that_are_not_at_hand_are_described():
    flags = ["--suite", "pythia", "--models", "pythia-14m,pythia-31m,pythia-70m", "--data", "hf:owner/name"]
    assert cli.main(["init", "far.toml", *flags, "--pairs", "5e6", "--tokens-per-pair", "120"]) == 0
    assert read_sweep(Path("far.toml")).training.data == "hf:owner/name"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["old.toml"], "old.toml: exists already; name another file"),
        (["new.txt"], "new.txt: a sweep file ends in .toml"),
        (["new.toml", "--data", "none.jsonl"], "--data is 'none.jsonl'; there is no such file"),
        (["new.toml", "--methods", "lorra"], "--methods is 'lorra' (meant 'lora'?)"),
        (["new.toml", "--suite", "pythia", "--models", "nano-25k"], "--models is 'nano-25k'"),
        (["new.toml", "--models", "nano-7k,nano-7k"], "--models names 'nano-7k' twice"),
        (["new.toml", "--methods", "full,full"], "--methods names 'full' twice"),
        (["new.toml", "--pairs", "5e6"], "--pairs and --tokens-per-pair must be given together"),
        (["new.toml", "--data", "pairs.jsonl", "--budget", "1e3"], "--budget is 1e+03 FLOPs; the cheapest sweep"),
        (["new.toml", "--data", "pairs.jsonl", "--budget", "much"], "--budget is 'much'"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(capsys, flags, said):
    Path("old.toml").write_text("mine")
    assert cli.main(["init", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert Path("old.toml").read_text() == "mine" and not Path("new.toml").exists() and not Path("new.txt").exists()


def test_an_example_is_written_as_it_is_and_never_over_a_file(capsys):
    assert cli.main(["init", "--example", "demo"]) == 0
    assert capsys.readouterr().out == "wrote     demo.toml; next: sweep run demo.toml --dry-run\n"
    assert read_sweep(Path("demo.toml")) == read_sweep(examples()["demo"])
    assert cli.main(["init", "--example", "demo"]) == 2
    assert cli.main(["init", "cluster.toml", "--example", "slurm"]) == 0
    assert cli.main(["init", "--example", "demmo"]) == 2
    assert cli.main(["init", "x.toml", "--example", "demo", "--budget", "1e12"]) == 2
    assert cli.main(["init"]) == 2
    lines = capsys.readouterr().err.splitlines()
    for line, part in zip(
        lines, ("exists already", "--example is 'demmo'; known: ablation", "--budget is an option", "FILE"), strict=True
    ):
        assert line.startswith("sweep: error: ") and part in line
