"""How long a step takes on a chip, and so which share of its peak rate is reached: an estimate, from shapes alone.

A roofline whose parts add up (Williams et al. 2009): products at a share of the peak, everything else at the memory's
bandwidth, and no faster than the kernels are started. The shares come from MosaicML's published training benchmarks
(llm-foundry, scripts/train/benchmarking/README.md: MPT of 125M to 30B on A100 and H100): utilisation there falls with
1 / width, as bytes moved for each unit of width say. tests/sweeps/machine/test_utilisation.py holds it to those rows.
What our own blocks move was counted (`sweeps.models.Elementwise`). No GPU of ours was measured; `embed bench` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeps.flops import Work, attention_flops, exact_flops
from sweeps.machine.chips import Chip
from sweeps.memory import QUANTIZED_BYTES
from sweeps.methods import Method
from sweeps.models import ModelSpec

ATTENTION = 0.5  # rate of attention as a share of that of products; the same benchmarks at 65,536 tokens
TILE = 128  # tokens by tokens that attention computes at once; a short text fills one in part
FORWARD = 1 / 3  # share of the forward pass in what a block moves and starts
ADAPTER_KERNELS = 8  # of each adapted map, counted
STEP_KERNELS = 100  # pooling, loss, optimiser
SHARD_KERNELS = 30  # of each block of a sharded model: gathering it twice, cutting up its gradient
LAUNCH = 7e-6  # seconds in which Python starts one kernel: 5 to 10 microseconds
LINK_REACHED = 0.8  # of what links could carry
NODE = 8  # chips of one machine; more exchange over a network
NETWORK = 50e9  # bytes a second of one chip to other machines: 400 Gbit/s in a DGX H100

ESTIMATED = "utilisation estimated from the shapes and MosaicML's published MPT benchmarks"
NOMINAL = 0.3  # of the peak: the rate that budgets of time are told in before a candidate's own is known


@dataclass(frozen=True)
class StepWork:
    """What training asks of a chip, by the shapes of model and texts."""

    products: float
    """FLOPs of a pair in matrix products."""
    attention: float
    """FLOPs of a pair in attention, in whole tiles."""
    moved: float
    """Bytes of a pair that are read and written."""
    pass_moved: float
    """Bytes that each pass of a micro-batch reads and writes whatever its tokens: weights and their gradients."""
    step_moved: float
    """Bytes that the optimiser reads and writes in a step."""
    gradients: float
    """Bytes of gradients, which chips with a whole model each add up once a step."""
    gathered: float
    """Bytes that sharded chips exchange in each pass: weights there and back, gradients back."""
    kernels: float
    """Kernels that each pass starts."""
    shard_kernels: float
    """Kernels that each pass starts besides where chips share the model out."""


def step_work(model: ModelSpec, method: Method, pair: Work, second_forward: float = 0.0) -> StepWork:
    """Returns what a step does for its mean `pair`. second_forward: share of the batch that is embedded twice."""
    trained = method.backward_layers(model)
    forward, entries = model.layers + trained * second_forward, sum(x.inputs + x.outputs for x in model.linears)
    passes = FORWARD * forward + (1 - FORWARD) * trained
    elementwise = sum(size * units for size, units in zip(model.family.elementwise.moved, model.units, strict=True))
    tiles = pair.sum_sq_lengths + TILE * pair.tokens + 2 * pair.pairs * (TILE / 2) ** 2  # half a tile more either way
    attention = attention_flops(model, trained, pair.sum_sq_lengths, second_forward)
    weights, trainable = model.block_weights, method.trainable(model)
    read = QUANTIZED_BYTES + 12 if method.bits else 8.0  # unpacked or not, cast to 16 bits and read
    adapted = len(model.linears) * trained * ADAPTER_KERNELS if method.has_adapter else 0
    tables = method.table_trainable(model)
    return StepWork(
        products=exact_flops(model, method, pair, second_forward) - attention,
        attention=attention_flops(model, trained, tiles, second_forward),
        moved=pair.tokens * (passes * elementwise + 2 * entries * (forward + 2 * trained)),
        pass_moved=weights * (read * forward + (read if method.bits else 2) * trained) + 20 * trainable,
        step_moved=40 * (trainable + tables) + (8 * model.layers * weights if method.foldable else 0),
        gradients=4 * (trainable + tables),
        gathered=4 * ((2 + second_forward) * (model.params + method.adapters(model)) + trainable)
        + 4 * (1 + second_forward) * (model.embedding_params + method.table_adapter(model)),
        kernels=model.family.elementwise.kernels * passes + adapted + STEP_KERNELS,
        shard_kernels=SHARD_KERNELS * model.layers,
    )


def step_seconds(work: StepWork, pair: Work, chip: Chip, count: int, micro_tokens: float, sharded: bool) -> float:
    """Returns the seconds of one step of `pair.batch_size` pairs on `count` chips.

    micro_tokens: tokens that go through the model together, on each chip.
    """
    pairs = pair.batch_size / count
    passes = math.ceil(pairs * pair.tokens / micro_tokens)
    rate = chip.peak * chip.products
    busy = pairs * (work.products / rate + work.attention / (rate * ATTENTION))
    moved = pairs * work.moved + passes * work.pass_moved + work.step_moved / (count if sharded else 1)
    busy = max(busy + moved / chip.bandwidth, launch_seconds(work, pair, count, micro_tokens, sharded))
    link = LINK_REACHED * (chip.link if count <= NODE else min(chip.link, NETWORK))
    others = (count - 1) / count  # what each chip has to get from the others
    if sharded:
        return max(busy, others * passes * work.gathered / link)  # the next block's come while one runs
    return busy + 2 * others * work.gradients / link


def launch_seconds(work: StepWork, pair: Work, count: int, micro_tokens: float, sharded: bool = False) -> float:
    """Returns the seconds in which the kernels of a step are started: no step is shorter."""
    kernels = work.kernels + (work.shard_kernels if sharded else 0)
    return math.ceil(pair.batch_size / count * pair.tokens / micro_tokens) * kernels * LAUNCH
