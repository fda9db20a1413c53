"""Machines, prices and memory."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from planner import plan
from planner.budget import fastest, fit_batch, read_budget
from planner.cli import main
from support.known_laws import law_book
from support.known_machine import ENDS, ROWS, measured_machine, reached
from sweeps.flops import PAPER_PAIR, exact_flops
from sweeps.machine.chips import CHIPS
from sweeps.machine.hardware import read_machine
from sweeps.machine.measured import MachineProfile, cache_folder, profile_path, this_host, write_machine_profile
from sweeps.machine.utilisation import NOMINAL
from sweeps.methods import BiasOnly, Full, LoRA, Method, QLoRA
from sweeps.models import NANO, PYTHIA, find_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_has_a_source_and_sane_numbers(name):
    chip = CHIPS[name]
    assert chip.source and 1e9 < chip.peak < 1e16 and chip.memory >= 1e9
    assert chip.reached is None or 0 < chip.reached <= 1
    assert chip.bandwidth >= 1e11 and 10 <= chip.peak / chip.bandwidth < 500 if chip.mixed else chip.reached
    assert read_machine(f"2x{name}").rate == pytest.approx(2 * chip.peak * (chip.reached or NOMINAL))


def test_published_peaks():
    """Makers' datasheets, dense 16-bit products with fp32 accumulation, FLOP/s."""
    known = {"a100": 312e12, "h100": 989.4e12, "h200": 989.4e12, "b200": 2.25e15, "l4": 121e12, "l40s": 362e12}
    known |= {"rtx4090": 165.2e12, "mi300x": 1307.4e12}
    assert {name: CHIPS[name].peak for name in known} == known


def test_a_day_of_eight_chips():
    machine = read_machine("8xh100", mfu="0.4")
    assert read_budget("24h", machine).flops == pytest.approx(86400 * 8 * 989.4e12 * 0.4)
    assert (
        read_budget("1d", machine).flops == read_budget("24h", machine).flops == read_budget("1440min", machine).flops
    )


def test_settings_that_are_words_are_named_too(profile):
    worded = reached(NANO[0], Full(token_table="freeze"), 1e9)
    write_machine_profile(replace(profile, rows=(worded,)), profile_path())
    assert "with full token_table freeze on nano-7k" in read_machine("this").origin(NANO[0], Full())


def test_money_buys_hours_at_the_price_of_every_chip():
    machine = read_machine("8xh100", price="2.5")
    budget = read_budget("$500", machine)
    assert budget.flops == pytest.approx(500 / 2.5 * 3600 * 989.4e12 * NOMINAL)  # 200 chip-hours, however many at once
    assert machine.cost(25) == pytest.approx(500)


def test_names_with_an_x_are_not_split():
    assert read_machine("mi300x").count == 1 and read_machine("4xmi300x").chip == "mi300x"
    assert read_machine("2xrtx4090").count == 2 and read_machine("2XRTX4090").chip == "rtx4090"


def test_cpu_means_all_its_cores_and_the_memory_there_is():
    import os

    assert read_machine("cpu").count == os.cpu_count()
    assert 1e8 < read_machine("cpu").memory < math.inf


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("8xh1000",), "`hardware` is '8xh1000'.*known: a100"),
        (("0xh100",), "`hardware` is '0xh100'"),
        (("h100", "1.5"), "`mfu` is '1.5'"),
        (("h100", "0"), "`mfu` is '0'"),
        (("h100", None, "-1"), "`price` is '-1'"),
    ],
)
def test_bad_machines(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_machine(*arguments)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1", "0", "much", "", "1e19x", "-3h", "nanh", "$", "$-5", "$nan", "1e999"]
)
def test_bad_budgets(text):
    with pytest.raises(ValueError, match="`budget` is"):
        read_budget(text, read_machine("h100", price="2"))


def test_time_and_money_need_a_machine():
    with pytest.raises(ValueError, match="time needs `hardware`"):
        read_budget("24h")
    with pytest.raises(ValueError, match="money needs `hardware`"):
        read_budget("$500", read_machine("h100"))


def test_a_batch_that_fits_is_embedded_once_and_one_that_does_not_twice_in_part():
    model = PYTHIA[4]
    roomy, recomputed = fit_batch(model, Full(), 80_000, 75)
    assert recomputed.recompute and recomputed.peak_bytes < roomy.peak_bytes and recomputed.repeated == 1
    assert roomy.micro_batch_tokens == 80_000 and roomy.second_forward == 0
    tight = fit_batch(model, Full(), 80_000, 75, limit=roomy.peak_bytes / 2)[0]
    assert tight.peak_bytes <= roomy.peak_bytes / 2 and 0 < tight.second_forward < 1
    assert tight.micro_batch_tokens == pytest.approx(80_000 * (1 - tight.second_forward), abs=1)
    assert not fit_batch(model, Full(), 80_000, 75, limit=4 * model.params)  # weights alone are that large


def test_adapters_need_less_memory_than_full_tuning_and_half_precision_less_than_full():
    full, lora = (fit_batch(PYTHIA[6], method, 4096, 75)[0].peak_bytes for method in (Full(), LoRA(8)))
    assert lora < 0.75 * full  # no gradients and moments of the weights, but their sum with the adapters beside them
    assert fit_batch(PYTHIA[6], Full(), 4096, 75, mixed=True)[0].peak_bytes < full


def test_chips_share_a_model_out_that_fits_in_none_of_them():
    model, limit = find_model("qwen3-8b"), 80e9
    assert not fit_batch(model, Full(), 10_000, 75, limit, mixed=True)
    whole = fit_batch(model, Full(), 10_000, 75, math.inf, mixed=True)[0]
    shared, recomputed = fit_batch(model, Full(), 10_000, 75, limit, mixed=True, chips=8)
    assert shared.sharded and recomputed.sharded and recomputed.peak_bytes < shared.peak_bytes
    assert shared.sharded and shared.peak_bytes <= limit < whole.peak_bytes
    assert len(fit_batch(find_model("qwen3-0.6b"), Full(), 10_000, 75, limit, mixed=True, chips=8)) == 4
    assert not any(way.sharded for way in fit_batch(model, QLoRA(32), 10_000, 75, limit, mixed=True, chips=8))


def test_a_plan_on_a_machine_says_time_and_cost():
    recipe = plan("$1", laws=law_book(), hardware="4xl4", price=0.5, models=["pythia-70m"]).recipe
    assert recipe.hours == pytest.approx(0.5, rel=1e-3)  # two dollars an hour for the four
    assert recipe.cost == pytest.approx(2 * recipe.hours) and recipe.cost <= 1
    assert recipe.memory <= CHIPS["l4"].memory


def test_chips_share_the_batch():
    one, four = (plan(1e15, laws=law_book(), hardware=f"{n}xh100", models=[NANO[-1]]).recipe for n in (1, 4))
    assert four.micro_batch_tokens == pytest.approx(one.micro_batch_tokens / 4, abs=1) and four.memory < one.memory


def table_of_the_docs() -> list[tuple[str, str, Method, str]]:
    """Model, hardware, method and the share that docs/machines.md says it reaches."""
    lines = (ROOT / "docs" / "machines.md").read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| model | 1xh100"))
    heads = [head.split() for head in lines[start].strip("| ").split(" | ")[1:]]
    methods = {"full": Full(), "LoRA": LoRA(32)}
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 :] if line.startswith("| ")]
    rows = [row for row in rows if row[0].startswith(("pythia", "qwen3"))]
    return [
        (name, hardware, methods[method], said)
        for name, *cells in rows
        for (hardware, method), said in zip(heads, cells, strict=True)
    ]


def test_the_documented_utilisation_is_what_a_plan_takes():
    for name, hardware, method, said in table_of_the_docs():
        machine, pair = read_machine(hardware), replace(PAPER_PAIR, batch_size=1024)
        model, tokens = find_model(name), 1024 * PAPER_PAIR.tokens / machine.count
        ways = fit_batch(model, method, tokens, 75, machine.memory, mixed=True, chips=machine.count)
        if said == "-":
            assert not ways
            continue
        seconds = [
            machine.step_seconds(model, method, pair, way.repeated, way.pass_tokens, way.sharded) for way in ways
        ]
        best = fastest(seconds)
        flops = 1024 * exact_flops(model, method, pair, ways[best].repeated)
        assert machine.utilisation(flops, seconds[best] / 3600) == pytest.approx(float(said[:-2]) / 100, abs=0.006)


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.setenv("RECIPE_PLANNER_CACHE", str(tmp_path))
    return measured_machine()


def test_a_measured_rate_is_that_of_the_model_and_the_method(profile):
    machine = read_machine("this")
    assert machine.memory == this_host().memory and not machine.kind.mixed
    for row in profile.rows:
        model = next(model for model in NANO if model.name == row.model)
        method = Full() if row.method["name"] == "full" else LoRA(32)
        assert machine.rate_of(model, method) == pytest.approx(row.flops)
    middle = replace(NANO[0], layers=round(NANO[0].layers * math.sqrt(NANO[-1].params / NANO[0].params)))
    share = math.log(middle.params / NANO[0].params) / math.log(NANO[-1].params / NANO[0].params)
    assert 0.45 < share < 0.55
    assert machine.rate_of(middle, Full()) == pytest.approx(10 ** (9 + share))
    assert machine.rate_of(PYTHIA[-1], Full()) == pytest.approx(1e10)  # nobody measured that large
    assert machine.rate_of(NANO[0], LoRA(8)) == machine.rate_of(NANO[0], LoRA(32))  # adapters, if not as many
    both = math.sqrt(1e9 * 0.5e9)
    assert machine.rate_of(NANO[0], BiasOnly()) == pytest.approx(both)  # not measured: between the methods that were


def test_an_hour_on_the_measured_machine_is_an_hour_for_every_candidate(profile):
    made = plan("1h", laws=law_book(), hardware="this", top=20)
    assert len(made.candidates) == 2 * len(NANO)
    for recipe in made.candidates:
        step = recipe.hours / recipe.trial.steps
        assert 1 - step < recipe.hours <= 1  # in whole steps
    flops = {(recipe.trial.model, recipe.trial.method.name): recipe.exact_flops for recipe in made.candidates}
    assert flops[NANO[-1].name, "full"] == pytest.approx(3600 * 1e10, rel=0.01)
    assert flops[NANO[0].name, "lora"] == pytest.approx(3600 * 0.5e9, rel=0.01)
    assert made.budget.flops == pytest.approx(made.recipe.exact_flops, rel=0.02)
    assert made.recipe.trial.budget == made.budget.flops


def test_a_faster_method_wins_more_time_budgets(profile):
    """Two methods of one law differ only in what the machine makes of them."""
    slow = replace(profile, rows=tuple(reached(m, LoRA(32), r / 50) for m, r in ENDS) + tuple(ROWS[:2]))
    seen = {}
    for name, made in {"half": profile, "a fiftieth": slow}.items():
        write_machine_profile(made, profile_path())
        recipes = plan("1h", laws=law_book(), hardware="this", top=20).candidates
        seen[name] = min(recipe.loss for recipe in recipes if recipe.trial.method.name == "lora")
    assert seen["half"] < seen["a fiftieth"]


def test_flops_stay_flops_on_the_measured_machine(profile):
    here, nowhere = (plan(1e13, laws=law_book(), hardware=name, methods=["full"]) for name in ("this", None))
    assert [r.trial for r in here.candidates] == [r.trial for r in nowhere.candidates]
    assert here.crossovers == nowhere.crossovers
    rate = read_machine("this").rate_of(next(m for m in NANO if m.name == here.recipe.trial.model), Full())
    assert here.recipe.hours == pytest.approx(here.recipe.exact_flops / rate / 3600)


def test_a_plan_says_what_its_hours_rest_on(profile):
    said = plan("1h", laws=law_book(), hardware="this").provenance["hours"]
    assert "measured by `embed bench` on 2026-01-31" in said and NANO[0].name in said


def test_money_buys_hours_of_the_measured_machine(profile):
    recipe = plan("$3", laws=law_book(), hardware="this", price=1.5).recipe
    assert recipe.hours == pytest.approx(2, rel=0.01) and recipe.cost == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: None, "has not been measured; run `embed bench` first"),
        (lambda text: text[:-9], "cannot be used .*; run `embed bench` again"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "format 2, not 1.*; run `embed bench` again"),
        (lambda text: text.replace('"flops"', '"flips"'), "rows.0. has no key 'flips'"),
        (lambda text: text.replace("1000000000.0", "-1.0"), "not a positive number"),
        (lambda text: text.replace('"cores": ', '"cores": 9'), "was measured on another machine .here cores"),
        (lambda text: text.replace(f'"memory": {this_host().memory}', '"memory": 12345678'), "another machine"),
    ],
    ids=["none", "cut short", "format", "field", "rate", "cores", "memory"],
)
def test_a_profile_that_is_not_of_this_machine_is_no_guess(profile, change, sentence, capsys):
    text = change(profile_path().read_text())
    profile_path().write_text(text) if text else profile_path().unlink()
    with pytest.raises(ValueError, match=sentence):
        read_machine("this")
    assert main(["--budget", "1h", "--hardware", "this"]) == 2
    assert str(profile_path()) in capsys.readouterr().err


def test_this_machine_is_one_and_its_share_of_the_peak_is_known(profile):
    with pytest.raises(ValueError, match="`hardware` is '2xthis'"):
        read_machine("2xthis")
    with pytest.raises(ValueError, match=r"`mfu` is '0\.4'"):
        read_machine("this", mfu="0.4")


def test_a_profile_survives_its_file(profile):
    assert MachineProfile.from_json(json.loads(profile_path().read_text())) == profile
    assert cache_folder() == profile_path().parent
