"""The estimate of a step's time against utilisation that others measured and published."""

import math
from dataclasses import replace

import pytest

from sweeps.flops import PAPER_PAIR, Work, attention_flops, exact_flops
from sweeps.machine.chips import CHIPS
from sweeps.machine.hardware import read_machine
from sweeps.machine.utilisation import LAUNCH, launch_seconds, step_seconds, step_work
from sweeps.methods import Full, LoRA
from sweeps.models import ModelSpec, find_model

# MosaicML's MPT, blocks like GPT-NeoX's: layers, width.
MPT = {"125m": (12, 768), "350m": (24, 1024), "760m": (24, 1536), "1b": (24, 2048), "3b": (32, 2560)}
MPT |= {"7b": (32, 4096), "13b": (40, 5120)}
# llm-foundry, scripts/train/benchmarking/README.md: chip, model, tokens of a text, texts in a micro-batch on each of 8
# chips, percent of the peak. All rows are sharded, none recomputes.
PUBLISHED = [
    ("h100", "760m", 512, 96, 40.42),
    ("h100", "760m", 2048, 24, 37.57),
    ("h100", "1b", 512, 56, 43.21),
    ("h100", "1b", 2048, 20, 41.52),
    ("h100", "1b", 32768, 1, 33.54),
    ("h100", "3b", 512, 40, 46.32),
    ("h100", "3b", 2048, 6, 41.7),
    ("h100", "3b", 8192, 3, 40.31),
    ("h100", "7b", 2048, 6, 46.44),
    ("h100", "13b", 2048, 2, 39.8),
    ("a100", "125m", 512, 128, 42.56),
    ("a100", "125m", 2048, 32, 44.45),
    ("a100", "350m", 512, 128, 50.61),
    ("a100", "760m", 2048, 24, 56.85),
    ("a100", "1b", 512, 56, 60.68),
    ("a100", "1b", 2048, 14, 59.86),
    ("a100", "1b", 16384, 2, 56.6),
    ("a100", "3b", 512, 40, 63.71),
    ("a100", "7b", 2048, 6, 64.23),
    ("a100", "13b", 2048, 2, 59.57),
]


@pytest.mark.parametrize(("chip", "name", "tokens", "texts", "published"), PUBLISHED)
def test_published_utilisation_is_found(chip, name, tokens, texts, published):
    layers, width = MPT[name]
    model = ModelSpec(name, "gpt_neox", layers, width, width // 128, width // 128, 128, 4 * width, 50368, tokens)
    pair = Work(pairs=1, tokens=2 * tokens, sum_sq_lengths=2 * tokens**2, batch_size=8 * texts // 2 or 4)
    work = step_work(model, Full(), pair)
    head = 6 * model.embedding_params * pair.tokens  # a language model's last product, which an encoder drops
    similarity = 6 * pair.batch_size * width
    work = replace(work, products=work.products + head - similarity)
    seconds = step_seconds(work, pair, CHIPS[chip], 8, tokens * texts, sharded=True)
    flops = work.products + attention_flops(model, layers, pair.sum_sq_lengths)
    reached = 100 * pair.batch_size * flops / (seconds * 8 * CHIPS[chip].peak)
    assert reached == pytest.approx(published, rel=0.12 if tokens <= 2048 else 0.2)


def utilisation(name: str, hardware: str = "8xh100", pair: Work = PAPER_PAIR, **given) -> float:
    """Share of the peak that full tuning reaches, 0 to 1."""
    model, machine = find_model(name), read_machine(hardware)
    seconds = machine.step_seconds(model, Full(), pair, micro_tokens=given.pop("micro_tokens", 8192), **given)
    return pair.batch_size * exact_flops(model, Full(), pair) / (seconds * machine.kind.peak * machine.count)


def test_wider_models_larger_batches_and_fewer_chips_reach_more():
    shares = [utilisation(f"pythia-{size}") for size in ("14m", "31m", "70m", "160m", "410m", "1.4b", "6.9b")]
    assert shares == sorted(shares) and shares[0] < 0.03 and 0.25 < shares[-1] < 0.5
    batches = [utilisation("pythia-410m", pair=replace(PAPER_PAIR, batch_size=size)) for size in (64, 256, 1024, 4096)]
    assert batches == sorted(batches) and batches[0] < batches[-1] / 1.5
    chips = [utilisation("pythia-160m", f"{count}xh100") for count in (1, 8, 64)]
    assert chips == sorted(chips, reverse=True)


def test_no_step_is_shorter_than_the_start_of_its_kernels():
    model, pair = find_model("pythia-14m"), replace(PAPER_PAIR, batch_size=8)
    kernels = step_work(model, Full(), pair).kernels
    assert kernels == pytest.approx(6 * 112 + 100)
    for mfu in (None, "0.9"):  # nor does anybody reach 90 % of the peak so
        seconds = read_machine("h100", mfu).step_seconds(model, Full(), pair, micro_tokens=4096)
        assert seconds == pytest.approx(kernels * LAUNCH, rel=0.05)


def test_a_given_share_of_the_peak_is_taken():
    model = find_model("pythia-2.8b")
    flops = PAPER_PAIR.batch_size * exact_flops(model, LoRA(32), PAPER_PAIR)
    seconds = read_machine("8xh100", "0.4").step_seconds(model, LoRA(32), PAPER_PAIR, micro_tokens=8192)
    assert seconds == pytest.approx(flops / (8 * 989.4e12 * 0.4))


def test_what_travels_between_chips_takes_time_where_links_are_slow():
    model = find_model("qwen3-4b")
    work = step_work(model, Full(), PAPER_PAIR)
    fast, slow = CHIPS["l40s"], replace(CHIPS["l40s"], link=math.inf)
    for sharded in (False, True):
        taken = [step_seconds(work, PAPER_PAIR, chip, 8, 4096, sharded) for chip in (fast, slow)]
        assert taken[0] > 1.2 * taken[1]
    lora = step_work(model, LoRA(32), PAPER_PAIR)
    assert lora.gradients < work.gradients / 20 and lora.gathered > work.gathered / 2  # frozen weights travel too
    assert launch_seconds(lora, PAPER_PAIR, 8, 4096) == 3 * lora.kernels * LAUNCH
