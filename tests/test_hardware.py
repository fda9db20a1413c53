"""Machines, prices and memory."""

import math

import pytest

from known_laws import law_book
from planner import plan
from planner.hardware import CHIPS, fit_batch, read_budget, read_machine
from sweeps.methods import Full, LoRA
from sweeps.models import NANO, PYTHIA


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_has_a_source_and_sane_numbers(name):
    chip = CHIPS[name]
    assert chip.source and 1e9 < chip.peak < 1e16 and chip.memory >= 1e9 and 0 < chip.reached <= 1
    assert read_machine(f"2x{name}").rate == pytest.approx(2 * chip.peak * chip.reached)


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
    assert machine.hours(read_budget("24h", machine).flops) == pytest.approx(24)


def test_money_buys_hours_at_the_price_of_every_chip():
    machine = read_machine("8xh100", price="2.5")
    budget = read_budget("$500", machine)
    assert budget.flops == pytest.approx(500 / 2.5 * 3600 * 989.4e12 * 0.3)  # 200 chip-hours, however many at once
    assert machine.cost(budget.flops) == pytest.approx(500)
    assert machine.hours(budget.flops) == pytest.approx(25)


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
        (("8xh1000",), "--hardware is '8xh1000'.*known: a100"),
        (("0xh100",), "--hardware is '0xh100'"),
        (("h100", "1.5"), "--mfu is '1.5'"),
        (("h100", "0"), "--mfu is '0'"),
        (("h100", None, "-1"), "--price is '-1'"),
    ],
)
def test_bad_machines(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_machine(*arguments)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1", "0", "much", "", "1e19x", "-3h", "nanh", "$", "$-5", "$nan", "1e999"]
)
def test_bad_budgets(text):
    with pytest.raises(ValueError, match="--budget is"):
        read_budget(text, read_machine("h100", price="2"))


def test_time_and_money_need_a_machine():
    with pytest.raises(ValueError, match="time needs --hardware"):
        read_budget("24h")
    with pytest.raises(ValueError, match="money needs --hardware"):
        read_budget("$500", read_machine("h100"))


def test_a_batch_that_fits_is_embedded_once_and_one_that_does_not_twice_in_part():
    model = PYTHIA[4]
    roomy = fit_batch(model, Full(), 80_000, 75)
    assert roomy.tokens == 80_000 and roomy.second_forward == 0
    tight = fit_batch(model, Full(), 80_000, 75, limit=roomy.bytes / 2)
    assert tight.bytes <= roomy.bytes / 2 and 0 < tight.second_forward < 1
    assert tight.tokens == pytest.approx(80_000 * (1 - tight.second_forward), abs=1)
    assert fit_batch(model, Full(), 80_000, 75, limit=4 * model.params) is None  # weights alone are that large


def test_adapters_need_less_memory_than_full_tuning_and_half_precision_less_than_full():
    full, lora = (fit_batch(PYTHIA[6], method, 75, 75).bytes for method in (Full(), LoRA(8)))
    assert lora < full / 2  # no gradients and moments of the weights
    assert fit_batch(PYTHIA[6], Full(), 75, 75, mixed=True).bytes < full


def test_a_plan_on_a_machine_says_time_and_cost():
    recipe = plan("$1", laws=law_book(), hardware="4xl4", price=0.5, models=["pythia-70m"]).recipe
    assert recipe.cost == pytest.approx(1, rel=1e-3)
    assert recipe.hours == pytest.approx(0.5, rel=1e-3)  # two dollars an hour for the four
    assert recipe.memory <= CHIPS["l4"].memory


def test_chips_share_the_batch():
    one, four = (plan(1e15, laws=law_book(), hardware=f"{n}xh100", models=[NANO[-1]]).recipe for n in (1, 4))
    assert four.micro_tokens == pytest.approx(one.micro_tokens / 4, abs=1) and four.memory < one.memory
