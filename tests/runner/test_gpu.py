"""On a GPU, what the other tests show on a CPU: losses, restart. See also test_varlen, and test_fake_gpu for none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runner.data.pairs import batch_indices, prepare
from runner.model.encoder import make_encoder
from runner.trainer import train
from runner.training.engine import Engine, Options
from runner.training.grad_cache import make_batch
from support.backbones import examples_for
from sweeps.models import find_model
from sweeps.trial import Trial

GPU = "cuda"
NANO = find_model("nano-25k")
METHODS = examples_for(NANO)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def prepared(training):
    return prepare(training, NANO.source)


@pytest.fixture
def conditions(training, prepared):
    return replace(training, data_hash=prepared.data_hash)


def losses(method, conditions, pairs, on, **options):
    device = torch.device(on)
    encoder = make_encoder(NANO, method, "mean", device, 0, conditions.precision)
    engine = Engine(NANO, Trial(NANO.name, method, conditions, lr=1e-2, steps=10), encoder, Options(**options))
    chosen = [batch_indices(pairs.train, conditions.batch_size, step, 0) for step in range(4)]
    return [engine.step(make_batch(pairs, each, 0, device), 1e-2).loss for each in chosen]


@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"compile": True}, {"micro_tokens": 200}], ids=str)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_steps_give_the_losses_of_a_cpu(method, options, conditions, prepared):
    fp32, bf16 = replace(conditions, precision="fp32"), replace(conditions, precision="bf16")
    expected = losses(method, fp32, prepared.pairs, "cpu")
    assert losses(method, fp32, prepared.pairs, GPU, **options) == pytest.approx(expected, rel=2e-3)
    assert losses(method, bf16, prepared.pairs, GPU, **options) == pytest.approx(expected, rel=3e-2)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_resumed_training_ends_within_the_noise_of_repeated_ones(method, conditions, tmp_path):
    trial = Trial(NANO.name, method, conditions, lr=1e-2, steps=12)
    whole = [train(trial, on=GPU) for _ in range(3)]
    asked = iter([False] * 6 + [True])
    with pytest.raises(SystemExit):
        train(trial, tmp_path, GPU, options=Options(stop_requested=lambda: next(asked)))
    resumed = train(trial, tmp_path, GPU)
    middle, noise = whole[0].loss, max(abs(other.loss - whole[0].loss) for other in whole)
    assert resumed.loss == pytest.approx(middle, abs=max(3 * noise, 1e-3 * middle))
    assert resumed.tokens == whole[0].tokens and len(resumed.curve) == len(whole[0].curve)
