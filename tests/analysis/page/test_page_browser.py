"""The page in a real browser: its numbers are the planner's, it can be used by hand, key and ear, and nothing runs."""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import planner.answer
import planner.recipe
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.page import page as page_of
from analysis.tables.sweep_table import read_observations, read_sweep
from planner import cli as plan_cli
from planner import report
from planner.law_file import read_laws
from support.browser import tab
from support.hostile_pages import diverged, hostile_page
from support.known_laws import FULL, LORA, crossing_laws, law_book, method_law, write_laws
from support.known_machine import measured_machine
from support.ladder import NANO
from support.made_sweep import observations, write_sweep
from sweeps.experiment.recipe_file import read_recipe
from sweeps.support.console import named_as_flags
from sweeps.trial import failure

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
BOTH = [REFERENCE / "laws.json", "ziarko2024"]  # the law books of its page


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """A fitted sweep of three methods, with trials that failed and one that was evaluated on the way."""
    folder = tmp_path_factory.mktemp("page") / "made sweep"
    found = observations(models=NANO[:4], budgets=[1e13, 4e13, 1.6e14, 6.4e14], noise=0.01)
    curve = tuple((step, 1000 * step, 6 / step**0.2) for step in range(1, 400))
    evaluations = tuple({"step": step, "ndcg@10": 0.3 + step / 1000} for step in (100, 200, 300))
    found[-1] = replace(found[-1], curve=curve, evaluations=evaluations)
    lost = failure(replace(found[0].trial, lr=9.0), "loss is nan after 12 steps", "diverged")
    full = [failure(replace(found[0].trial, lr=rate), "out of memory") for rate in (7.0, 8.0)]
    write_sweep(folder, [*found, lost, *full])  # more trials than the table shows at once
    book = fit_table(read_sweep(folder), Settings(bootstraps=60, family="chinchilla"))
    write_laws(folder / "laws.json", book)
    return folder


@pytest.fixture(scope="module")
def made(sweep) -> Path:
    return write_page(sweep, sweep / "laws.json")


def write_page(folder: Path, laws: Path, file: Path | None = None) -> Path:
    file = file or laws.with_suffix(".html")
    file.write_text(page_of(folder, read_laws(laws), laws=laws), encoding="utf-8")
    return file


# ---- numbers

CHANGES = """(answer) =>
  answer.crossovers.map(plainly)"""
PLAINLY = "const plainly = (record) => JSON.parse(JSON.stringify(record));"
ANSWERS = """([fields, budgets]) => {
  PLAINLY
  const changes = CHANGES;
  const asJson = (recipe) => ({
    ...plainly(recipe), pairs: recipe.pairs, steps: recipe.trial.steps, label: recipe.trial.method.label,
  });
  byId('ask').reset();
  const {methods} = fields;
  for (const box of document.querySelectorAll('#methods input')) box.checked = !methods || methods.includes(box.value);
  for (const [id, value] of Object.entries(fields)) if (id !== 'methods') byId(id).value = value;
  let told = false; // crossovers take long, and are the same at every budget: once
  return budgets.map((budget) => {
    byId('budget').value = budget;
    show();
    if (!current) return {budget, error: byId('budget-error').textContent};
    const {ranked, recipeOf, budget: spent, warnings, provenance, refused, facts} = current.answer;
    const first = !told;
    told = true;
    return {
      ...plainly({spent, provenance, refused, facts}),
      warnings: warnings.map(({code, text}) => ({code, text})),
      recipes: ranked.map((_, i) => asJson(recipeOf(i))),
      command: command(current.question),
      ...(first ? {changes: changes(current.answer)} : {}),
    };
  });
}""".replace("CHANGES", CHANGES).replace("PLAINLY", PLAINLY)
# Field of a recipe in the page -> the same of `plan --json`, where the name is another one.
RENAMED = {"best": "best_probability", "regret": "expected_regret", "share": "expected_regret_share"}
RENAMED |= {"memory": "memory_bytes"}
NUMBERS = ("tokens", "epochs", "flops", "exact_flops", "serving_flops", "loss", "best", "regret", "share", "memory")
NUMBERS += ("second_forward", "step_seconds", "utilisation", "hours", "cost")
WHOLE = ("steps", "pairs", "params", "dim", "lr_source", "micro_batch_tokens", "sharded")

FLOPS = [f"{10 ** (9 + place * 1.4):.4g}" for place in range(13)]  # 1e9 to 6e25: far beyond any evidence
HOURS = [f"{10 ** (place - 8):.4g}h" for place in range(13)]
DOLLARS = [f"${10 ** (place - 8):.4g}" for place in range(13)]
SETTINGS = {
    "nothing": ({}, FLOPS),
    "methods and models": ({"methods": ["full", "lora"], "max_params": "400k", "max_dim": "96"}, FLOPS),
    "memory": ({"memory": "9MB", "min_steps": "7"}, FLOPS),
    "data and serving": ({"max_pairs": "200k", "max_epochs": "6", "serve_tokens": "30M"}, FLOPS),
    "the paper's count": ({"suite": "pythia", "count": "paper", "max_params": "1.4B"}, FLOPS),
    "hours of eight chips": ({"machine": "h100", "chips": "8", "mfu": "0.4", "suite": "smollm2"}, HOURS),
    "money": ({"machine": "l4", "chips": "3", "price": "0.7", "memory": "22GB", "suite": "qwen3"}, DOLLARS),
    "hours of this machine": ({"machine": "this"}, HOURS),
    "training": ({"batch_size": "100", "temperature": "0.02", "context": "40", "lr": "2e-3", "pooling": "last"}, FLOPS),
    "long pairs": ({"context": "300", "tokens_per_pair": "411", "schedule": "cosine", "max_pairs": "1M"}, FLOPS),
    "a batch on a chip": ({"batch_size": "2000", "context": "50", "machine": "l4", "suite": "qwen3"}, HOURS),
    "money of cores": ({"machine": "cpu", "price": "0.02", "max_pairs": "3M"}, DOLLARS),
}


def assert_same(mine: dict, theirs: dict) -> None:
    trial = mine["trial"]
    assert trial["model"] == theirs["model"]
    assert trial["lr"] == pytest.approx(theirs["lr"], rel=1e-6)
    for name in WHOLE:
        large = isinstance(theirs[name], int) and theirs[name] > 1e12  # where the last bit of a float decides
        assert mine[name] == (pytest.approx(theirs[name], rel=1e-12) if large else theirs[name]), name
    for name in NUMBERS:
        other = theirs[RENAMED.get(name, name)]
        assert mine[name] == (other if other is None else pytest.approx(other, rel=1e-9)), name
    interval = None if mine["low"] is None else [mine["low"], mine["high"]]
    assert interval == (theirs["interval"] and pytest.approx(theirs["interval"], rel=1e-9))
    factors = {name: mine["extrapolation"][name] for name in theirs["extrapolation"]}
    assert factors == pytest.approx(theirs["extrapolation"], rel=1e-9)
    settings = {key: value for key, value in theirs["method"].items() if key != "name"}
    assert mine["label"] == " ".join([theirs["method"]["name"], *(f"{k} {v:g}" for k, v in settings.items())])


@pytest.fixture
def planned(monkeypatch):
    """What `plan --json` says to a command of the page: its document, or its error."""
    said: list[dict] = []
    real = planner.answer.crossovers

    def run(command: str, main: Callable[[], None], flags: Mapping[str, str]) -> None:
        with named_as_flags(flags):
            main()

    monkeypatch.setattr(plan_cli.console, "run", run)  # which would print the error
    to_json = planner.answer.Plan.to_json
    monkeypatch.setattr(planner.answer.Plan, "to_json", lambda *given: said.append(to_json(*given)) or {})

    def planned(command: str, crossovers: bool = False) -> dict:
        # They take most of the time and hardly depend on the budget.
        monkeypatch.setattr(planner.answer, "crossovers", real if crossovers else lambda *_: [])
        plan_cli.main([*shlex.split(command)[1:], "--json", "--top", "1000"])
        return said.pop()

    return planned


@pytest.fixture(scope="module")
def tabs(chromium, sweep, tmp_path_factory):
    """Data -> a tab with its page, made on a machine that `embed bench` measured."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("RECIPE_PLANNER_CACHE", str(folder))
        measured_machine()
        files = {
            one.name: write_page(one, one / "laws.json", folder / f"{one.name}.html") for one in (REFERENCE, sweep)
        }
        yield {name: stack.enter_context(tab(chromium, file)) for name, file in files.items()}


@pytest.mark.parametrize(
    ("data", "setting"),
    [
        *(("reference", name) for name in SETTINGS),
        *(("made sweep", name) for name in ("nothing", "memory", "training")),
    ],
)
def test_numbers_and_sentences_are_those_of_plan(tabs, planned, data, setting):
    asked, budgets = SETTINGS[setting]
    if (data, setting) != ("reference", "nothing"):  # every second one, in turn the odd and the even
        budgets = budgets[list(SETTINGS).index(setting) % 2 :: 2]
    # As text: thousands of recipes value by value would fill gigabytes.
    answers = json.loads(tabs[data].evaluate(f"(given) => JSON.stringify(({ANSWERS})(given))", [asked, budgets]))
    template = shlex.split(next(filter(None, (answer.get("command") for answer in answers))))
    answered = 0
    for budget, answer in zip(budgets, answers, strict=True):
        template[template.index("--budget") + 1] = budget
        if "error" in answer:
            with pytest.raises(ValueError, match=r".") as refused:
                planned(shlex.join(template))
            assert answer["error"] == str(refused.value)
            continue
        answered += 1
        theirs = planned(answer["command"], crossovers="changes" in answer)
        if "changes" in answer:
            changes = answer["changes"], theirs["crossovers"]
        assert answer["spent"]["flops"] == pytest.approx(theirs["budget"]["flops"], rel=1e-9)
        assert len(answer["recipes"]) == len(theirs["candidates"])
        for mine, other in zip(answer["recipes"], theirs["candidates"], strict=True):
            assert_same(mine, other)
        assert answer["warnings"] == theirs["warnings"]
        assert answer["provenance"] == theirs["provenance"]
        assert answer["refused"] == theirs["refused"]
        assert answer["facts"] == theirs["published"]
    assert answered > len(budgets) / 4
    for mine, other in zip(*changes, strict=True):
        other.pop("extrapolation")
        assert mine == {
            name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value for name, value in other.items()
        }


def test_a_crossover_is_a_band_and_a_sentence(chromium, tmp_path, planned):
    """Laws that cross where algebra says; see support/known_laws.py."""
    book, _, crossing = crossing_laws(0.01)
    laws = write_laws(tmp_path / "laws.json", book)
    with tab(chromium, write_page(write_sweep(tmp_path / "sweep", []), laws)) as page:
        page.select_option("#laws", page.evaluate("book.name"))  # beside others it would borrow batch sizes
        page.fill("#budget", f"{crossing:.4g}")
        page.locator("#explain > summary").click()
        page.wait_for_selector("#crossovers li")
        [turn] = page.evaluate(f"() => {{ {PLAINLY} return ({CHANGES})(current.answer); }}")
        assert turn["flops"] == pytest.approx(crossing, rel=0.01) and turn["low"] < crossing < turn["high"]
        [other] = planned(page.evaluate("command(current.question)"), crossovers=True)["crossovers"]
        assert [turn["low"], turn["high"]] == pytest.approx([other["low"], other["high"]], rel=1e-9)
        assert "full up to" in shown_text(page, "#crossovers") and "then lora" in shown_text(page, "#crossovers")


LORA_8 = {"name": "lora", "rank": 8, "alpha": 8.0}

# ---- use

LOOKS = [(1600, "light"), (1600, "dark"), (360, "light"), (360, "dark")]


def answer(page) -> dict:
    return page.evaluate("""() => {
      const {recipe} = current.answer;
      const {model, method, steps} = recipe.trial;
      return {...recipe, trial: null, model, method: method.label, steps, spent: current.answer.asked.flops};
    }""")


def shown_text(page, place: str) -> str:
    return page.locator(place).inner_text()


def column(page, title: str) -> list[str]:
    place = page.locator("#trial-table thead button").all_inner_texts()
    place = next(i for i, text in enumerate(place) if text.rstrip(" ↑↓") == title)
    return page.locator(f"#trial-table tbody td:nth-child({place + 1})").all_inner_texts()


def open_all(page) -> None:
    """The table with more than its first trials."""
    page.locator("#more-trials").click()


FIRST_SCREEN = """() => [...document.querySelectorAll('#recipe-rows > div, #outlook-rows > div')]
  .map((line) => [line.querySelector('dt').textContent, line.querySelector('dd').textContent])"""


@pytest.mark.parametrize("budget", ["2e13", "3e14", "1e19", "4e21"])
def test_the_first_screen_is_that_of_plan_and_the_commands_are_copied(chromium, tabs, budget):
    page = tabs["reference"]
    page.evaluate("byId('ask').reset()")
    page.wait_for_function("() => current && current.question.machine === null")
    page.fill("#budget", budget)
    told = planner.recipe.plan(budget, laws=BOTH)
    rows = {**report.recipe_rows(told), **report.outlook_rows(told)}
    shown = dict(page.evaluate(FIRST_SCREEN))
    far = shown_text(page, "#far") if page.locator("#far").is_visible() else ""
    assert far.split("\n") == (["Far from the evidence", *lines] if (lines := report.banner_lines(told)) else [""])
    for name, text in rows.items():
        lines = [line for line in text.split("\n") if line not in far]
        assert shown.pop(name, "") == "\n".join(lines), name  # what the banner says is not said again
    assert not shown
    assert "--calibrate 2%" in shown_text(page, "#surer") and f"--budget {budget} " in shown_text(page, "#surer")
    assert shown_text(page, "#train").endswith("--out recipe.toml && embed train recipe.toml")
    page.locator("[data-copies=train]").click()
    page.wait_for_function("() => document.querySelector('[data-copies=train]').textContent !== 'Copy'")
    assert page.locator("#candidates").is_visible() == (told.recipe.loss is not None)
    cells = page.locator("#candidates tbody tr:first-child td").all_text_contents()
    assert [cell.strip() for cell in cells] == list(report.candidate_row(told.recipe))


def test_conditions_of_training_are_asked_and_each_part_says_its_source(tabs):
    page = tabs["reference"]
    page.evaluate("byId('ask').reset()")
    page.fill("#budget", "1e19")
    page.evaluate("byId('explain').open = true")
    page.wait_for_function("() => byId('provenance').textContent.includes('our own runs (sweep batch) give')")
    page.evaluate("byId('training').open = true")
    page.fill("#batch_size", "1")
    assert "--batch-size is '1'; it must be a whole number, 2 or more" in shown_text(page, "#batch_size-error")
    page.fill("#batch_size", "4096")
    page.fill("#temperature", "0.03")
    page.fill("#context", "64")
    assert " of 4,096 pairs" in shown_text(page, "#recipe-rows .steps")
    assert "temperature 0.03" in shown_text(page, "#recipe-rows .steps")
    assert "--batch-size 4096 --temperature 0.03 --context 64" in shown_text(page, "#same")
    assert "the laws were not measured at batch_size 4096" in shown_text(page, "#outlook-rows .note")
    assert shown_text(page, "#training-set") == "3 set"
    page.evaluate("byId('explain').open = false; byId('ask').reset()")
    page.wait_for_function("() => current && byId('batch_size').value === ''")


def test_the_recipe_is_saved_as_plan_writes_it(tabs, tmp_path):
    page = tabs["reference"]
    page.evaluate("byId('ask').reset()")
    page.fill("#budget", "2e13")
    with page.expect_download() as saved:
        page.locator("#download").click()
    assert saved.value.suggested_filename == "recipe.toml" and "recipe.toml" in shown_text(page, "#download-means")
    mine, other = tmp_path / "mine.toml", tmp_path / "recipe.toml"
    saved.value.save_as(mine)
    report.write(planner.recipe.plan("2e13", laws=BOTH), other)
    one, two = read_recipe(mine), read_recipe(other)
    assert one.lr == pytest.approx(two.lr, rel=1e-9) and replace(one, lr=two.lr) == two
    assert mine.read_text().split("\n")[:2] == other.read_text().split("\n")[:2]
    loss = tomllib.loads(other.read_text())["predicted"]["loss"]
    assert tomllib.loads(mine.read_text())["predicted"]["loss"] == pytest.approx(loss, rel=1e-9)
    page.fill("#budget", "1e19")
    assert page.locator("#download").is_disabled() and "names your pairs" in shown_text(page, "#download-means")


def test_the_address_asks_the_same_again(chromium, made):
    with tab(chromium, made) as page:
        page.fill("#budget", "1e14")
        page.evaluate("for (const id of ['machine-details', 'limits', 'training']) byId(id).open = true")
        page.select_option("#machine", "l4")
        page.fill("#max_params", "2M")
        page.fill("#batch_size", "256")
        page.locator("#methods input[value=freeze]").uncheck()
        page.wait_for_function("() => location.hash.includes('methods=')")
        link, before = page.evaluate("location.href"), answer(page)
        assert "budget=1e14" in link and "machine=l4" in link and "max_params=2M" in link
        page.locator("#copy-link").click()
        page.wait_for_function("() => byId('copy-link').textContent !== 'Copy link'")
        assert page.evaluate("byId('link').textContent") == link
        page.reload()
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        assert answer(page) == before and page.locator("#max_params").is_visible()
        assert not page.locator("#methods input[value=freeze]").is_checked()
        page.evaluate("location.hash = '#budget=2e14&laws=made+sweep&suite=nowhere&colour=red'")
        page.wait_for_function("() => byId('budget').value === '2e14'")
        assert page.locator("#machine").input_value() == "" and answer(page)["spent"] == 2e14
        assert shown_text(page, "#address-error").endswith("suite=nowhere, colour=red")


def test_a_word_tells_its_meaning_when_pointed_at_and_when_reached(chromium, made):
    with tab(chromium, made) as page:
        words = "[...document.querySelectorAll('dfn[data-word]')].map((one) => one.dataset.word)"
        assert page.evaluate(f"{words}.filter((word) => !GLOSSARY[word])") == []
        assert len(page.evaluate(words)) > 10
        page.locator("#trials-title dfn").hover()
        page.wait_for_selector("#meaning:has-text('one training')")
        page.mouse.move(0, 0)
        page.wait_for_selector("#meaning", state="hidden")
        page.locator("#candidates dfn").last.focus()
        page.wait_for_selector("#meaning:has-text('loss of the chosen recipe')")
        assert page.locator("#candidates dfn").last.get_attribute("aria-describedby") == "meaning"
        page.keyboard.press("Escape")
        page.wait_for_selector("#meaning", state="hidden")


def test_how_well_the_laws_fit_is_in_view(chromium, sweep, made):
    book = read_laws(sweep / "laws.json")
    entered = [one for one in read_observations(sweep / "observations.jsonl")[0] if one.key not in dict(book.excluded)]
    laws = {law.label: law for law in book.laws}
    with tab(chromium, made) as page:
        said = shown_text(page, "#fit-means")
        assert f"{book.laws[0].backtest['predicted']} larger ones" in said
        assert f"{book.laws[0].backtest['error']:.1%} off on average" in said
        rows = page.locator("#fit-table tbody tr").all_inner_texts()
        ordered = sorted(book.laws, key=lambda law: [int(x) if x.isdigit() else x for x in law.label.split()])
        assert [row.split("\t")[0].strip() for row in rows] == [law.label for law in ordered]
        assert all(f"{law.noise:.1%}" in row for law, row in zip(ordered, rows, strict=True))
        drawn = page.evaluate("drawing.getOption().series.flatMap((one) => one.data)")
        assert len(drawn) == len(entered) > 20
        misses = []
        for one in entered:
            share = min(1.0, one.trainable / one.params)
            law = laws[one.trial.method.label].law.at(one.params, one.tokens, share, math.inf)
            misses.append(100 * (one.loss / law - 1))
        assert sorted(row[1] for row in drawn) == pytest.approx(sorted(misses), rel=1e-4, abs=1e-4)
        page.locator("#residuals").scroll_into_view_if_needed()
        x, y, _ = drawn[0]
        spot = page.evaluate("(at) => drawing.convertToPixel('grid', at)", [x, y])
        box = page.locator("#residuals").bounding_box()
        page.mouse.click(box["x"] + spot[0], box["y"] + spot[1])
        page.wait_for_selector("dialog[open]")


def test_a_sweep_of_several_batch_sizes_shows_the_size_of_each_trial(chromium, tmp_path):
    batch = REFERENCE.parent / "batch"
    with tab(chromium, write_page(batch, batch / "laws.json", tmp_path / "batch.html")) as page:
        assert set(column(page, "batch size")) <= {"8", "24", "64", "192", "512"}
        assert "batch size: " in shown_text(page, "#outlook-rows .evidence")
        page.evaluate("byId('training').open = true")
        page.fill("#batch_size", "24")
        assert " of 24 pairs" in shown_text(page, "#recipe-rows .steps")


def test_a_loss_that_is_not_known_is_said_in_words_and_drawn_nowhere(chromium, tabs):
    page = tabs["reference"]
    page.select_option("#laws", "reference")
    page.fill("#budget", "4e16")
    assert answer(page)["loss"] is None
    assert shown_text(page, "#outlook-rows .loss dd") == "not predicted this far from the evidence"
    page.wait_for_function("() => byId('chart').getAttribute('aria-label').includes('its loss is not predicted')")
    assert page.evaluate("shapes.filter((one) => one.type === 'line').length") == 1  # the budget, without an interval
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.fill("#max_steps", "1000000000")
    page.wait_for_function("() => byId('frontier-table').textContent.includes('not predicted')")
    text = page.locator("body").inner_text()
    assert not re.findall(r".{,80}(?:NaN|null|undefined|Infinity| 0\.000(?!\d)).{,40}", text)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = false")
    page.evaluate("byId('ask').reset()")


def test_the_nearest_law_book_answers_and_one_can_be_chosen(tabs):
    page = tabs["reference"]
    page.fill("#budget", "1e19")
    page.wait_for_function("() => charted.startsWith('[\"ziarko2024')")
    assert answer(page)["model"].startswith("pythia")
    assert "next nearest law book, reference" in shown_text(page, "#outlook-rows .evidence")
    assert "--laws ziarko2024" in shown_text(page, "#surer")
    assert "rank 128" in shown_text(page, "#methods")
    page.evaluate("byId('explain').open = true")
    page.wait_for_selector("#book-list li")
    assert re.match(r"ziarko2024 .*answers\nreference, .*nano", shown_text(page, "#book-list"))
    page.evaluate("byId('explain').open = false")
    page.select_option("#laws", "reference")
    assert answer(page)["model"].startswith("nano")
    assert shown_text(page, "#surer").count("--laws") == 1
    page.evaluate("byId('ask').reset()")
    page.wait_for_function("() => current?.question.books.length === 2")


@pytest.mark.parametrize("suite", ["", "pythia", "all"])
def test_the_slider_ends_where_answers_end(chromium, tabs, suite):
    page = tabs["reference"]
    page.evaluate("(suite) => { byId('suite').value = suite; show(); }", suite)
    for key in ("End", "Home"):
        page.locator("#slider").press(key)
        assert page.locator("#recipe").is_visible(), shown_text(page, "#budget-error")
    page.fill("#budget", "1e29")
    assert "--budget" in shown_text(page, "#budget-error") and not page.locator("#recipe").is_visible()
    page.evaluate("byId('suite').value = ''; byId('budget').value = '2e13'; show()")


def test_lines_of_a_suite_that_was_not_measured_are_drawn(chromium, tabs):
    page = tabs["reference"]
    page.evaluate("byId('suite').value = 'smollm2'; byId('budget').value = '1e15'; show()")
    page.wait_for_function("() => charted.includes('smollm2')")
    trainable = "new Set(current.answer.considered.map((one) => one.law.place)).size"  # smollm2 has no bias vectors
    assert page.evaluate("lined.length") == page.evaluate(trainable) > 3
    assert "smollm2 was not measured" in shown_text(page, "#far")
    page.evaluate("byId('suite').value = ''; byId('budget').value = '2e13'; show()")


def test_a_book_of_published_facts_is_a_page_without_trials(chromium, tmp_path):
    facts = REFERENCE.parent / "ziarko2024"
    with tab(chromium, write_page(facts, facts / "laws.json", tmp_path / "facts.html"), 390) as page:
        assert "findings of Ziarko et al. 2024" in shown_text(page, "#title")
        assert "no runs of our own" in shown_text(page, "#summary") and not page.locator("#trials").is_visible()
        page.fill("#budget", "1e19")
        assert answer(page)["method"].startswith("lora")
        assert "not measured by us" in shown_text(page, "#outlook-rows .evidence")
        assert "--data PAIRS.jsonl" in shown_text(page, "#train")
        page.wait_for_selector("#chart canvas")
        assert "undefined" not in page.locator("body").inner_text()
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_the_slider_moves_the_recipe_and_the_box(chromium, made):
    with tab(chromium, made) as page:
        page.select_option("#laws", "made sweep")
        before = answer(page)
        page.locator("#slider").focus()
        for _ in range(10):
            page.keyboard.press("PageUp")
        after = answer(page)
        assert after["spent"] > 10 * before["spent"] and after["loss"] < before["loss"]
        assert float(page.locator("#budget").input_value()) == after["spent"]
        assert after["model"] in shown_text(page, "#recipe-rows .model")
        assert f"{after['loss']:.3f}" in shown_text(page, "#outlook-rows .loss")
        assert page.locator("#slider").get_attribute("aria-valuetext").endswith("FLOP")
        row = shown_text(page, "#candidates tbody tr:first-child")
        assert after["model"] in row and f"{after['loss']:.3f}" in row and f"{after['steps']:,}" in row
        assert "beyond the largest compute measured" in shown_text(page, "#outlook-rows .evidence")
        page.locator("#explain > summary").click()
        page.wait_for_selector("#warning-list li")
        assert "interval, probability and regret include" in shown_text(page, "#warning-list")


def test_the_box_takes_what_plan_takes_and_says_what_is_wrong(chromium, made):
    with tab(chromium, made) as page:
        page.fill("#budget", "24h")
        assert "time needs --hardware" in shown_text(page, "#budget-error")
        assert page.locator("#budget").get_attribute("aria-invalid") == "true"
        assert not page.locator("#recipe").is_visible()
        page.fill("#budget", "1e14")
        assert answer(page)["spent"] == 1e14 and page.locator("#budget-error").inner_text() == ""
        page.locator("#kinds").get_by_text("money").click()
        assert page.locator("#budget").input_value().startswith("$") and page.locator("#machine-details").is_visible()
        assert answer(page)["spent"] == pytest.approx(1e14, rel=0.01)  # three digits of it
        page.select_option("#machine", "h100")
        page.fill("#chips", "8")
        page.fill("#price", "-1")
        assert "--price is '-1'" in shown_text(page, "#price-error") and not page.locator("#recipe").is_visible()
        page.fill("#price", "2.5")
        page.locator("#limits summary").click()
        page.select_option("#suite", "qwen3")  # the models that were measured would take too many steps
        page.fill("#budget", "$500")
        assert answer(page)["cost"] == pytest.approx(500, rel=0.01)
        assert f"cost {answer(page)['cost']:.2f}" in shown_text(page, "#recipe-rows .time")
        assert "--hardware 8xh100 --price 2.5" in shown_text(page, "#train")
        page.fill("#min_steps", "1.5")
        assert "--min-steps is '1.5'" in shown_text(page, "#min_steps-error")
        page.fill("#min_steps", "")
        page.fill("#max_epochs", "4")
        assert "which needs --pairs" in shown_text(page, "#max_epochs-error")
        page.fill("#max_pairs", "2M")
        assert shown_text(page, "#max_epochs-error") == "" and page.locator("#recipe").is_visible()
        page.get_by_role("button", name="Start over").click()
        page.wait_for_function("() => current && current.question.machine === null")
        assert page.locator("#recipe").is_visible() and shown_text(page, "#machine-set") == "none"


def test_a_method_that_is_left_out_is_in_no_answer_and_no_line(chromium, made):
    with tab(chromium, made) as page:
        best = answer(page)["method"].split()[0]
        box = page.locator(f"#methods input[value={best}]")
        box.uncheck()
        assert not answer(page)["method"].startswith(best)
        drawn = "chart.getOption().series.filter((one) => one.data.length && one.name?.startsWith(name))"
        page.wait_for_function(f"(name) => !{drawn}.length", arg=best)
        for other in page.locator("#methods input").all():
            other.uncheck()
        assert shown_text(page, "#methods-error") == "Choose at least one method."
        box.check()
        assert answer(page)["method"].startswith(best)


def test_the_table_sorts_and_filters_all_trials(chromium, made):
    with tab(chromium, made) as page:
        count = page.evaluate("trialData.trials.length")
        assert page.locator("#trial-table tbody tr").count() == 10
        assert shown_text(page, "#more-trials") == f"Show all {count}, 50 at a time"
        open_all(page)
        assert page.locator("#trial-table tbody tr").count() == 50 and shown_text(page, "#more-trials") == "Show 10"
        page.get_by_role("button", name="loss", exact=True).click()
        losses = [float(text) for text in column(page, "loss") if text]
        assert losses == sorted(losses) and len(losses) > 20
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("loss")
        page.locator("[data-sort=loss]").press("Enter")
        highest = [float(text) for text in column(page, "loss") if text]  # the first fifty rows are shown
        assert highest == sorted(highest, reverse=True) and highest[0] >= losses[-1] > losses[0]
        page.select_option("#find-status", "diverged")
        assert column(page, "excluded because") == ["loss is nan after 12 steps"] and column(page, "loss") == [""]
        assert shown_text(page, "#match-count") == f"1 of {count} trials"
        page.select_option("#find-status", "")
        page.fill("#find", "nano-25K")
        assert set(column(page, "model")) == {"nano-25k"}
        page.fill("#find", "no such thing")
        assert shown_text(page, "#match-count") == f"0 of {count} trials"


def test_a_trial_opens_with_its_curve_and_its_evaluations(chromium, made):
    with tab(chromium, made) as page:
        key = page.evaluate("trialData.trials.find((one) => one.place in content.trials.evaluations.trials).key")
        page.fill("#find", key)
        page.get_by_role("button", name=f"open trial {key}").click()
        dialog = page.get_by_role("dialog")
        assert key in dialog.inner_text() and "399 points" not in dialog.inner_text()
        assert dialog.locator("#trial-chart canvas").is_visible()
        drawn = page.evaluate("dialog.chart.getOption().series[0].data")
        assert drawn[-1][0] == 399 and 10 ** drawn[-1][1] == pytest.approx(6 / 398**0.2, rel=0.01)
        assert dialog.locator("#trial-evaluations tbody tr").count() == 3
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        page.fill("#find", "loss is nan")
        page.locator("#trial-table tbody button").click()
        assert "diverged: loss is nan after 12 steps" in dialog.inner_text()
        assert "No training curve" in dialog.inner_text()


def test_the_chart_is_pointed_at_and_clicked(chromium, made):
    with tab(chromium, made) as page:
        page.fill("#budget", "1e13")  # its own laws answer there, so the chart shows its trials
        assert answer(page)["spent"] == 1e13
        page.wait_for_selector("#chart canvas")
        trial = page.evaluate("chartTrials[0]")
        spot = page.evaluate(
            "(one) => chart.convertToPixel('grid', [Math.log10(one.flops), Math.log10(one.loss)])", trial
        )
        page.locator("#chart").scroll_into_view_if_needed()
        box = page.locator("#chart").bounding_box()
        page.mouse.move(box["x"] + spot[0], box["y"] + spot[1])
        page.wait_for_selector(".tip:has-text('learning rate')")
        page.mouse.click(box["x"] + spot[0], box["y"] + spot[1])
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Escape")
        wanted = 10 ** page.evaluate("chart.convertFromPixel('grid', [400, 30])[0]")
        page.mouse.click(box["x"] + 400, box["y"] + 30)
        assert answer(page)["spent"] == pytest.approx(wanted, rel=0.01)


def test_all_of_it_is_done_with_the_keyboard_and_where_one_is_can_be_seen(chromium, made):
    focus = """() => {
      const one = document.activeElement, ring = one.closest('.choice') ?? one, style = getComputedStyle(ring);
      const name = one.id || one.name || one.value || one.textContent.trim();
      return [name, style.outlineStyle, parseFloat(style.outlineWidth)];
    }"""
    with tab(chromium, made) as page:
        page.keyboard.press("Tab")
        assert shown_text(page, ":focus") == "Skip to the budget"
        page.keyboard.press("Enter")
        passed = []
        while "find-status" not in passed and len(passed) < 160:
            page.keyboard.press("Tab")
            name, style, width = page.evaluate(focus)
            assert style != "none" and width >= 2, name
            passed.append(name)
            if name == "budget":
                page.keyboard.press("Control+A")
                page.keyboard.type("3e14")
            if name == "slider":
                assert answer(page)["spent"] == 3e14
                page.keyboard.press("ArrowRight")
                assert answer(page)["spent"] > 3e14
            if name in ("full", "The frontier as a table"):
                page.keyboard.press("Space")
        assert {"budget", "kind", "slider", "full", "lora", "surer", "train", "find"} <= set(passed)
        assert page.evaluate("current.question.methods.includes('full')") is False
        assert page.locator("#frontier-table").is_visible()
        while not page.evaluate("document.activeElement.matches('#trial-table tbody button')"):
            page.keyboard.press("Tab")
        opener = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "close-trial"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.textContent") == opener


CONTROLS = """() => {
  const summaries = [...document.querySelectorAll('summary')];
  const path = (one) => {
    if (one.id) return `#${one.id}`;
    if (one.dataset.sort) return `[data-sort=${one.dataset.sort}]`;
    if (one.name === 'kind') return `[name=kind][value=${one.value}]`;
    if (one.matches('#methods input')) return `#methods [value="${one.value}"]`;
    return one.matches('summary') ? `:nth-match(summary, ${1 + summaries.indexOf(one)})` : '#trial-table tbody button';
  };
  return [...new Set([...document.querySelectorAll('button, select, input, summary')].map(path))];
}"""
REACHED = """(one) => one.checkVisibility() && !one.disabled
  && (!document.querySelector('dialog[open]') || Boolean(one.closest('dialog')))"""
# All that a reader sees and can set.
STATE = """() => JSON.stringify([document.body.innerHTML, charted, window.scrollY, document.activeElement.id,
  ...[...document.querySelectorAll('input, select')].map((one) => [one.value, one.checked])])"""


def press(page, place: str) -> None:
    """Use a control as a hand would, in every way that it has; afterwards there is a recipe and a full table again."""
    control = page.locator(place).first
    kind = control.evaluate("(one) => one.tagName === 'INPUT' ? one.type : one.tagName.toLowerCase()")
    value = control.evaluate("(one) => one.value")
    if kind == "select":
        options = [option.get_attribute("value") for option in control.locator("option").all()]
        for option in options if place == "#machine" else [*options, value]:  # a machine brings its fields with it
            control.select_option(option)
    elif kind in ("text", "search"):
        for text in ("no number", (control.get_attribute("placeholder") or "1").removeprefix("such as "), value):
            control.fill(text)
    elif kind == "range":
        for key in ("End", "Home", "PageUp"):
            control.press(key)
    elif kind == "radio":
        control.locator("xpath=..").click()
    else:
        assert kind in ("button", "submit", "reset", "summary", "checkbox"), kind
        times = 2 if kind == "checkbox" or place == ":nth-match(summary, 1)" else 1
        for _ in range(times):
            before = page.evaluate(STATE)
            control.click()
            page.wait_for_function(f"(before) => ({STATE})() !== before", arg=before, timeout=3000)  # it did something


@pytest.mark.parametrize(
    "fault",
    ["console.error('fault')", "setTimeout(() => { throw Error('fault'); })", "void Promise.reject(Error('fault'))"],
)
def test_no_error_of_a_page_passes_unseen(chromium, made, fault):
    with pytest.raises(AssertionError, match="fault"), tab(chromium, made) as page:
        page.evaluate(fault)
        page.wait_for_timeout(50)


def test_every_control_is_pressed_and_none_fails(chromium, made):
    """In rounds: pressing one control brings others into sight."""
    with tab(chromium, made) as page:
        page.wait_for_selector("#chart canvas")
        page.locator("#all-candidates").click()
        assert page.locator("#candidates tbody tr").count() == page.evaluate("current.answer.ranked.length") > 5
        pressed: set[str] = set()
        for _ in range(3):
            for place in page.evaluate(CONTROLS):
                if place == "#refused-title":
                    page.evaluate("byId('max_params').value = '400k'; show()")  # some candidates are not possible
                if place not in pressed and page.locator(place).first.evaluate(REACHED):
                    press(page, place)
                    pressed.add(place)
        assert set(page.evaluate(CONTROLS)) - pressed == set()
        assert {"#later", "#earlier", "#close-trial", "#all-candidates", "#chips", "[data-sort=loss]"} <= pressed


# ---- looks

CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return luminance(found);
    }
    return 1;
  };
  const said = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const speaks = (one) => one.matches('input') || said(one);
  const texts = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && speaks(one));
  const found = texts.map((one) => [one.id || one.className || one.tagName, one.textContent.slice(0, 40),
    ratio(luminance(numbers(getComputedStyle(one).color)), ground(one))]);
  return {texts: found};
}"""


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_nothing_is_wider_than_the_window_and_all_text_can_be_read(chromium, made, width, scheme):
    with tab(chromium, made, width, 800, scheme) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.fill("#memory", "2 elephants")
        page.fill("#memory", "24GB")
        page.select_option("#suite", "pythia")
        page.fill("#budget", "1e15")
        page.evaluate("byId('max_dim').value = 'x'; askedLimits()")  # an error beside its field
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        measured = page.evaluate(CONTRAST)
        assert len(measured["texts"]) > 150
        assert [row for row in measured["texts"] if row[2] < 4.5] == []
        page.locator("#trial-table tbody button").first.click()
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        box = page.get_by_role("dialog").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_light_and_dark_follow_the_system_while_the_page_is_open(chromium, made):
    with tab(chromium, made) as page:
        colours = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("() => charted.includes(theme().ink)")
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            colours.append([ground, page.evaluate("chart.getOption().xAxis[0].axisLabel.color")])
        assert colours[0][0] != colours[1][0] and colours[0][1] != colours[1][1]


NAMELESS = """() => {
  const used = [...document.querySelectorAll('input, select, button, [tabindex], [role=img], dialog')];
  const name = (one) => one.getAttribute('aria-label') || byId(one.getAttribute('aria-labelledby'))?.textContent
    || one.labels?.[0]?.textContent || one.textContent;
  return used.filter((one) => !name(one).trim()).map((one) => one.outerHTML.slice(0, 80));
}"""


def test_everything_that_can_be_used_has_a_name(chromium, made):
    with tab(chromium, made) as page:
        page.wait_for_selector("#chart[aria-label]")
        key = page.evaluate("trialData.trials.find((one) => one.place in content.trials.evaluations.trials).key")
        page.fill("#find", key)
        page.locator("#trial-table tbody button").click()
        assert page.evaluate(NAMELESS) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        named = page.evaluate(
            "[...document.querySelectorAll('[aria-describedby]')].map((one) => one.getAttribute('aria-describedby'))"
        )
        assert set(" ".join(named).split()) <= set(ids)


# ---- what comes in


def test_a_hostile_results_folder_runs_no_script(chromium, tmp_path):
    file = tmp_path / "hostile.html"
    file.write_text(hostile_page(tmp_path / "sweep"), encoding="utf-8")
    with tab(chromium, file) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.wait_for_selector("#chart canvas")
        for button in page.locator("#trial-table tbody button").all():
            button.click()
            assert page.get_by_role("dialog").is_visible()
            page.keyboard.press("Escape")
        for place in page.evaluate("chartTrials.map((one) => one.place)"):
            page.evaluate("(place) => document.body.append(trialTip(place))", place)
        for value in page.locator("#find-model option").all():
            page.select_option("#find-model", value.get_attribute("value"))
        page.fill("#budget", "1e13<img src=x onerror='window.owned = 1'>")
        page.fill("#budget", "1e13")
        page.wait_for_timeout(50)
        assert page.evaluate("window.owned") is None
        assert page.locator("img").count() == 0
        assert "<img src=x" in page.locator("#warning-list").inner_text()
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: write_sweep(folder, []), "The folder holds no trial yet."),
        (diverged, "Every trial is below, with its status."),
    ],
    ids=["empty", "all diverged"],
)
def test_a_sweep_without_a_law_is_told_in_words(chromium, tmp_path, make, said):
    folder, file = make(tmp_path / "sweep"), tmp_path / "page.html"
    file.write_text(page_of(folder, None, "no observation can enter a fit: diverged"), encoding="utf-8")
    with tab(chromium, file, 360) as page:
        assert "No law, and so no recipe" in page.locator("main").inner_text()
        assert "no observation can enter a fit" in shown_text(page, "#why")
        assert shown_text(page, "#without-trials") == said
        assert not page.locator("#plan").is_visible()
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.locator("body").inner_text().count("NaN") == 0


def test_laws_of_a_score_are_drawn_through_scores(chromium, tmp_path):
    found = observations(models=NANO[:2], budgets=[1e13])
    folder = write_sweep(tmp_path / "sweep", [*found[:3], replace(found[3], scores={})])
    book = replace(law_book(), source={"name": "scores", "measure": "1 - ndcg@10"})
    file = tmp_path / "page.html"
    file.write_text(page_of(folder, book), encoding="utf-8")
    with tab(chromium, file) as page:
        drawn = page.evaluate("chartTrials.map((one) => one.loss)")
        shown = [one for one in found[:3] if one.trial.method.label in ("full", "lora rank 8 alpha 8")]
        assert drawn == pytest.approx([1 - one.scores["ndcg@10"] for one in shown], rel=1e-6) and drawn
        assert "as 1 - ndcg@10" in shown_text(page, "#outlook-rows .loss")
        page.wait_for_selector("#chart canvas")
        assert page.evaluate("chart.getOption().yAxis[0].name") == "1 - ndcg@10"


def test_a_menu_that_is_nowhere_to_be_found_is_told_in_words(chromium, tmp_path):
    folder = write_sweep(tmp_path / "sweep", [])
    book = replace(law_book(method_law(FULL, {"name": "full"}), method_law(LORA, LORA_8)), models=("gone/away",))
    file = tmp_path / "page.html"
    file.write_text(page_of(folder, book), encoding="utf-8")
    with tab(chromium, file) as page:
        assert "no shape found for gone/away" in shown_text(page, "#summary")
        page.select_option("#laws", page.evaluate("book.name"))
        assert "None of the measured models was found" in shown_text(page, "#budget-error")
        page.evaluate("byId('limits').open = true")
        page.select_option("#suite", "nano")
        assert answer(page)["model"].startswith("nano-")
