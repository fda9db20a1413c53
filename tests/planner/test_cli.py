"""The `plan` command: what it prints, what it writes, how it fails."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import planner.evidence
from planner.cli import main
from planner.law_book import Caveat
from support.known_laws import FULL, law_book, method_law, write_laws
from sweeps.experiment.recipe_file import read_recipe


@pytest.fixture
def laws(tmp_path):
    return str(write_laws(tmp_path / "laws.json"))


def test_json_is_one_document_without_nan(laws, capsys):
    assert main(["--budget", "8e15", "--suite", "pythia", "--laws", laws, "--json", "--curve", "1e13..1e15"]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    recipe = answer["recipe"]
    assert answer["format"] == 2 and answer["budget"]["flops"] == 8e15
    assert recipe["extrapolation"]["flops"] == pytest.approx(800, rel=0.01)
    low, high = recipe["interval"]
    assert low < recipe["loss"] < high
    assert answer["candidates"][0] == recipe and len(answer["candidates"]) == 5
    assert [row["budget"] for row in answer["curve"]] == pytest.approx([10 ** (13 + i / 4) for i in range(9)])
    assert answer["published"] and answer["provenance"]["loss"]


def test_text_names_every_part_of_the_recipe(laws, capsys):
    assert main(["--budget", "1e13", "--laws", laws]) == 0
    text = capsys.readouterr().out
    for word in (
        "model",
        "method",
        "tokens",
        "pairs",
        "steps",
        "temperature",
        "learning rate",
        "90 %",
        "best",
        "evidence",
    ):
        assert word in text


def test_out_is_a_trial(laws, tmp_path, capsys):
    path = tmp_path / "recipe.toml"
    assert main(["--budget", "1e13", "--laws", laws, "--out", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["recipe"]
    trial = read_recipe(path)
    assert (trial.model, trial.steps, trial.lr) == (answer["model"], answer["steps"], answer["lr"])


def test_a_recipe_in_another_folder_names_the_data_from_there(pairs, laws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    assert main(["--budget", "1e13", "--laws", laws, "--data", pairs.name, "--out", "deep/recipe.toml"]) == 0
    assert read_recipe(tmp_path / "deep" / "recipe.toml").training.data == f"../{pairs.name}"


def test_a_recipe_that_is_written_is_not_asked_for_again(laws, tmp_path, capsys):
    path = tmp_path / "my recipe.toml"
    assert main(["--budget", "1e13", "--laws", laws, "--out", str(path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"written {path} " in told and f"train `embed train '{path}'` more" in told and "add `--out" not in told
    assert path.read_text().splitlines()[0].endswith("`embed train 'my recipe.toml'` trains it.")


@pytest.mark.parametrize("budget", ["1e30", "1e300"])
def test_absurdly_large_budgets_are_refused(budget, laws, capsys):
    assert main(["--budget", budget, "--laws", laws, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "decades beyond the nearest law book" in printed.err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0 and "plan --budget 24h --hardware 8xh100" in capsys.readouterr().out


BAD = [
    (["--budget", "nan"], "--budget is 'nan'"),
    (["--budget", "1e13", "--batch-size", "1"], "--batch-size is '1'; it must be a whole number, 2 or more"),
    (["--budget", "inf"], "--budget is 'inf'"),
    (["--budget=-1e13"], "--budget is '-1e13'"),
    (["--budget", "0"], "--budget is '0'"),
    (["--budget", "lots"], "--budget is 'lots'; it must be a positive number of FLOP such as 1e19, a time"),
    (["--budget", "$5,000x"], "--budget is '$5,000x'"),
    (["--budget", "24h"], "time needs --hardware"),
    (["--budget", "$5", "--hardware", "h100"], "money needs"),
    (["--budget", "1h", "--hardware", "h100", "--flops", "paper"], "is counted in exact FLOPs"),
    (["--budget", "1e13", "--hardware", "h9000"], "known: a100"),
    (["--budget", "1e13", "--mfu", "0.4"], "--mfu needs --hardware"),
    (["--budget", "1e13", "--price", "2"], "--price needs --hardware"),
    (["--budget", "1e13", "--suite", "bert"], "--suite is 'bert'; known: nano, pythia"),
    (["--budget", "1e13", "--model", "nowhere"], "--model is 'nowhere'"),
    (["--budget", "1e13", "--methods", "prompt"], "--methods has 'prompt'; known: full, lora"),
    (["--budget", "1e13", "--methods", "bias"], "the laws of known know only full, lora"),
    (["--budget", "1e13", "--flops", "half"], "--flops is 'half'; known: exact, paper"),
    (["--budget", "1e13", "--top", "0"], "--top is '0'"),
    (["--budget", "1e13", "--top", "many"], "--top is 'many'"),
    (["--budget", "1e13", "--min-steps", "-3"], "--min-steps is '-3'"),
    (["--budget", "1e13", "--max-params", "big"], "--max-params is 'big'"),
    (["--budget", "1e13", "--max-dim", "8"], "no candidate is left"),
    (["--budget", "1e13", "--memory", "24XB"], "--memory is '24XB'"),
    (["--budget", "1e13", "--memory", "1kB"], "does not fit"),
    (["--budget", "1e13", "--max-epochs", "2"], "which needs --pairs"),
    (["--budget", "1e13", "--max-pairs", "100", "--max-epochs", "1"], "100 pairs give 1 steps of 64 pairs in 1 epochs"),
    (["--budget", "1e13", "--max-pairs", "nan"], "--pairs is 'nan'"),
    (["--budget", "1e13", "--serve-tokens", "1e30"], "of them for serving"),
    (["--budget", "1e7"], "comes nearest with"),
    (["--budget", "1e13", "--curve", "1e15"], "--curve is '1e15'"),
    (["--budget", "1e13", "--curve", "1e15..1e13"], "--curve is '1e15..1e13'"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, sentence, laws, capsys):
    assert main([*arguments, "--laws", laws]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert sentence in printed.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "no laws inside"),
        ('{"format": 9, "laws": []}', "format is 9"),
        ('{"format": 1, "laws": []}', "holds no law"),
        ('{"format": 1, "laws": [{}]}', "has no"),
    ],
)
def test_corrupt_laws_are_named(content, sentence, tmp_path, capsys):
    path = tmp_path / "laws.json"
    path.write_text(content)
    assert main(["--budget", "1e13", "--laws", str(path)]) == 2
    printed = capsys.readouterr().err
    assert str(path) in printed and sentence in printed and printed.count("\n") == 1


def test_coefficients_that_are_no_numbers_are_refused(tmp_path, capsys):
    path = tmp_path / "laws.json"
    book = law_book(method_law(replace(FULL, E=math.nan), {"name": "full"}))
    path.write_text(json.dumps(book.to_json()))
    assert main(["--budget", "1e13", "--laws", str(path)]) == 2
    assert "must be a finite number" in capsys.readouterr().err


def test_laws_that_are_not_there(tmp_path, capsys):
    assert main(["--budget", "1e13", "--laws", str(tmp_path / "none.json")]) == 2
    printed = capsys.readouterr().err
    assert "none.json'" in printed and "bundled: batch, bracket, reference, temperature, ziarko2024" in printed


def test_a_package_without_default_laws_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(planner.evidence, "SHIPPED", tmp_path)
    assert main(["--budget", "1e13"]) == 2
    assert "no law books are installed" in capsys.readouterr().err


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plan-json.md"


# Tables whose keys are data.
FREE = ("provenance", "training", "method", "method_probabilities", "model_probabilities", "weights", "drift")


def names(value):
    """Every key in a JSON value, lists and objects inside included, but for tables whose keys are data."""
    if isinstance(value, list):
        return {name for item in value for name in names(item)}
    if isinstance(value, dict):
        nested = [item for key, item in value.items() if key not in FREE]
        return set(value) | names(nested)
    return set()


def test_every_field_is_documented(laws, capsys):
    asked = ["--budget", "8e15", "--suite", "pythia", "--laws", laws, "--json", "--curve", "1e15..1e16"]
    assert main([*asked, "--calibrate", "20%", "--hardware", "h100", "--max-dim", "512"]) == 0
    words = set(re.findall(r"`(\w+)`", DOCUMENT.read_text(encoding="utf-8")))
    assert names(json.loads(capsys.readouterr().out)) <= words


def test_every_warning_code_is_documented():
    source = (Path(__file__).resolve().parents[2] / "planner" / "warnings.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'Caveat\(\s*"([a-z-]+)"', source))
    assert len(codes) > 8 and codes <= set(re.findall(r"`([a-z-]+)`", DOCUMENT.read_text(encoding="utf-8")))


SHIPPED = Path(__file__).resolve().parents[2] / "results" / "reference" / "laws.json"


@pytest.mark.skipif(not SHIPPED.exists(), reason="no default laws are committed yet")
def test_the_shipped_laws_answer_and_state_their_extrapolation(capsys):
    assert main(["--budget", "1e19", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["extrapolation"]["flops"] > 1


@pytest.mark.skipif(not SHIPPED.exists(), reason="no default laws are committed yet")
def test_the_documented_example_runs(capsys):
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL).group(1)
    exec(compile(code, str(DOCUMENT), "exec"), {})
    assert "[[methods]]" in capsys.readouterr().out


def test_an_answer_beyond_the_evidence_says_so_and_what_to_try_first(capsys):
    assert main(["--budget", "1e19"]) == 0
    printed = capsys.readouterr().out
    assert "published (Ziarko et al. 2024), not measured by us" in printed
    assert "6.1x beyond the largest compute published" in " ".join(printed.split())
    assert "--calibrate 1% --sweep-out" in printed and "calibrate.toml`: about " in printed


@pytest.mark.parametrize("chips", ["8xh100", "512xb200"])
def test_the_first_screen_is_one_screen(chips, capsys):
    main(["--budget", "6h", "--hardware", chips, "--suite", "qwen3", "--pairs", "1B", "--tokens-per-pair", "80"])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 25 and max(map(len, shown)) <= 100
    # what a sweep leaves of the regret is said by all draws, not by the few of the advice
    assert not any("after" in line for line in shown)


def test_a_sweep_with_many_models_is_no_wider_than_the_screen(capsys):
    assert main(["--budget", "1e19", "--calibrate", "1%"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_only_an_answer_that_is_not_sure_advises_a_sweep(tmp_path, capsys):
    laws = str(write_laws(tmp_path / "laws.json", law_book(method_law(FULL, {"name": "full"}))))
    asked = ["--budget", "1e12", "--laws", laws, "--model", "nano-7k", "--model", "nano-340k"]
    assert main([*asked, "--json"]) == 0
    sure = json.loads(capsys.readouterr().out)["recipe"]
    assert max(sure["extrapolation"].values()) == 1 and sure["best_probability"] >= 0.9
    assert main(asked) == 0
    assert "--calibrate" not in capsys.readouterr().out
    assert main(["--budget", "1e13", "--laws", str(write_laws(tmp_path / "two.json"))]) == 0
    assert "--calibrate" in capsys.readouterr().out  # full and LoRA are not told apart


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Twelve thousand pairs of 30 and 240 bytes, a tenth of them held out."""
    rows = [{"query": f"{i:030}", "positive": f"{i:0240}", "held_out": i % 10 == 0} for i in range(12_000)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "pairs.jsonl"


def test_the_pairs_of_data_are_counted_and_measured(laws, pairs, capsys):
    asked = ["--budget", "1e13", "--laws", laws, "--data", str(pairs), "--json"]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    recipe = answer["recipe"]
    assert recipe["epochs"] == pytest.approx(recipe["pairs"] / 10_800) and recipe["epochs"] <= 4
    assert "10,800 training pairs and 1,200 held out" in answer["provenance"]["data"]
    assert "12,000 records counted, all read" in answer["provenance"]["data"]
    assert main([*asked, "--max-epochs", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["epochs"] <= 2
    assert main([*asked, "--pairs", "5M"]) == 0  # what was said is not counted
    recipe = json.loads(capsys.readouterr().out)["recipe"]
    assert recipe["epochs"] == pytest.approx(recipe["pairs"] / 5e6)


def test_without_a_file_pairs_are_told(laws, capsys):
    asked = ["--budget", "1e13", "--laws", laws, "--pairs", "5M", "--json"]
    assert main(asked) == 0 and main([*asked, "--tokens-per-pair", "60"]) == 0
    texts = capsys.readouterr().out.split("\n}\n")
    usual, short = (json.loads(text + "\n}")["recipe"] for text in texts[:2])
    assert short["tokens"] / short["pairs"] == 60
    assert short["pairs"] > usual["pairs"] or short["model"] != usual["model"]


def test_data_that_are_not_there_are_one_line(laws, capsys):
    assert main(["--budget", "1e13", "--laws", laws, "--data", "nosuch.jsonl"]) == 2
    assert capsys.readouterr().err == "plan: error: --data is 'nosuch.jsonl'; there is no such file\n"


def test_the_first_screen_tells_what_the_fit_doubts_of_the_law_that_answers(tmp_path, capsys):
    told = [Caveat("lack_of_fit", f"{name}: the runs do not follow the law", name) for name in ("full", "lora rank 8")]
    told.append(Caveat("leverage", "full: without one run A is another", "full"))
    path = write_laws(
        tmp_path / "laws.json", replace(law_book(method_law(FULL, {"name": "full"})), warnings=tuple(told))
    )
    assert main(["--budget", "1e13", "--laws", str(path)]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "full: the runs do not follow the law" in screen
    assert "lora rank 8: the runs" not in screen and "A is another" not in screen


@pytest.mark.parametrize("flags", [["--out", "a.toml"], ["--calibrate", "2%", "--sweep-out", "a.toml"]])
def test_somebodys_file_is_not_overwritten_and_its_own_is(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text("mine = true\n")
    assert main(["--budget", "1e13", *flags]) == 2
    assert f"{flags[-2]} is a.toml, a file that `plan` did not write" in capsys.readouterr().err
    assert (tmp_path / "a.toml").read_text() == "mine = true\n"
    (tmp_path / "a.toml").unlink()
    assert main(["--budget", "1e13", *flags]) == main(["--budget", "1e13", *flags]) == 0


# Runs `plan` where a sweep says one line instead of being run.
WITHOUT_A_SWEEP = f"""
import os, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
def run(command, *, stdout=None, **_):
    os.write(1 if stdout is None else stdout, b"the sweep speaks\\n")
    return subprocess.CompletedProcess(command, 0)
subprocess.run = run
from planner.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_sweep_that_is_run_speaks_after_the_plan_and_not_into_its_json(tmp_path):
    asked = ["--budget", "1e13", "--laws", "reference", "--calibrate", "2%", "--run"]
    program = [sys.executable, "-c", WITHOUT_A_SWEEP, *asked]
    shown, document = (
        subprocess.run([*program, *more], capture_output=True, text=True, cwd=tmp_path) for more in ([], ["--json"])
    )
    assert shown.stdout.startswith("model ") and shown.stdout.endswith("the sweep speaks\n"), shown.stderr
    assert json.loads(document.stdout)["recipe"] and document.stderr == "the sweep speaks\n"


def test_the_recipe_and_the_sweep_are_two_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    both = ["--out", "same.toml", "--sweep-out", "./same.toml"]
    assert main(["--budget", "1e13", "--calibrate", "2%", *both]) == 2
    assert "are both same.toml" in capsys.readouterr().err and not Path("same.toml").exists()


@pytest.mark.parametrize("flag", ["--out", "--sweep-out"])
def test_a_folder_is_no_file_to_write(tmp_path, capsys, flag):
    assert main(["--budget", "1e13", "--calibrate", "1%", flag, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"plan: error: {flag} is {tmp_path}, a folder; name a file\n"
