"""An encoder embeds and learns as the backbone that its method made does by itself, whatever the method is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from runner.model import encoder as encoder_module
from runner.model.encoder import Encoder, make_encoder
from runner.model.folded_lora import FoldedDora, FoldedLora
from support.backbones import METHOD_EXAMPLES, build, tiny_shape
from sweeps.methods import METHODS, QLoRA
from sweeps.models import ARCHITECTURES, ModelSpec

CPU = torch.device("cpu")
TEXTS = [np.random.default_rng(n).integers(2, 90, size=n) for n in (5, 21, 1, 13, 21)]


def small(architecture: str) -> ModelSpec:
    """Three blocks, wide enough for 4 bits."""
    return tiny_shape(architecture, width=64, head_dim=16, mlp_width=128)


def pretrained(model: ModelSpec):
    torch.manual_seed(0)
    return build(model, "cpu").float()


def perturbed(model: ModelSpec, method, monkeypatch) -> Encoder:
    """As `make_encoder` makes it, in double precision; what is trained is no longer as it was made."""
    monkeypatch.setattr(encoder_module, "load_backbone", lambda *_: pretrained(model))
    encoder = make_encoder(model, method, "mean", CPU, seed=0).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.05 * torch.randn_like(parameter) * parameter.requires_grad
    return encoder


def alone(model: ModelSpec, method, encoder: Encoder) -> tuple[torch.Tensor, nn.Module]:
    """The vectors of the applied backbone's own forward, one text at a time, with the encoder's trained parameters."""
    backbone = method.apply(pretrained(model)).double()
    tuned = dict(backbone.named_parameters())
    with torch.no_grad():
        for name, parameter in encoder.backbone.named_parameters():
            if parameter.requires_grad:
                tuned[name].copy_(parameter)
    states = [backbone(input_ids=torch.from_numpy(text)[None]).last_hidden_state for text in TEXTS]
    return normalize(torch.cat([each.mean(1) for each in states]), dim=-1), backbone


def compare(model: ModelSpec, method, encoder: Encoder) -> None:
    """Vectors and every gradient; each trained parameter has one, and not of zeros."""
    expected, backbone = alone(model, method, encoder)
    vectors = encoder.embed(TEXTS)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-6)  # angles and softmax are fp32
    for each in (vectors, expected):
        (each @ torch.linspace(-1, 1, model.width, dtype=torch.float64)).sum().backward()
    gradients = {name: p.grad for name, p in encoder.backbone.named_parameters() if p.requires_grad}
    theirs = {name: p.grad for name, p in backbone.named_parameters() if p.requires_grad}
    assert gradients.keys() == theirs.keys() and gradients
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=[] if i % 3 == 0 else pytest.mark.slow) for i, name in enumerate(ARCHITECTURES)],
)
def test_every_method_embeds_and_learns_as_its_backbone_alone(architecture, monkeypatch):
    model = small(architecture)
    tried = [method for method in METHOD_EXAMPLES if not method.refusal(model)]
    adapters = {kind for kind in METHODS.values() if kind.has_adapter} - ({QLoRA} if model.family.transposed else set())
    assert {type(method) for method in tried} >= adapters
    for method in tried:
        compare(model, method, perturbed(model, method, monkeypatch))


@pytest.mark.parametrize("method", [each for each in METHOD_EXAMPLES if each.foldable], ids=lambda each: each.label)
def test_folded_products_in_bf16_are_near_exact_ones(method, monkeypatch):
    """Under autocast, as on a GPU: the products are rounded, what is summed and what is trained is not."""
    model, learnt = small("llama"), []
    monkeypatch.setattr(encoder_module, "load_backbone", lambda *_: pretrained(model))
    for precision in ("fp32", "bf16"):
        encoder = make_encoder(model, method, "mean", CPU, 0, precision)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter += 0.05 * torch.randn_like(parameter) * parameter.requires_grad
        vectors = encoder.embed(TEXTS)
        (vectors @ torch.linspace(-1, 1, model.width)).sum().backward()
        gradients = [each.grad for each in encoder.parameters() if each.requires_grad]
        assert {each.dtype for each in [vectors, *gradients]} == {torch.float32}
        learnt.append((vectors.detach(), torch.cat([each.flatten() for each in gradients])))
    for exact, rounded in zip(*learnt, strict=True):
        assert 1e-4 < (rounded - exact).norm() / exact.norm() < 0.05


def variant(**settings):
    """A method that says it is foldable, with peft's adapters of these settings."""
    config = peft.LoraConfig(**{"r": 4, "target_modules": ["query_key_value", "dense_4h_to_h"], **settings})
    made = SimpleNamespace(name="variant", bits=0, foldable=True, refusal=lambda model: "")
    made.apply = lambda backbone: peft.get_peft_model(backbone, config)
    return made


@pytest.mark.parametrize(
    ("settings", "kind", "count"),
    [
        ({}, FoldedLora, 6),
        ({"use_rslora": True, "target_modules": r".*layers\.1\.attention\..*"}, FoldedLora, 2),
        ({"use_dora": True}, FoldedDora, 6),
        ({"lora_bias": True}, None, 0),
        ({"bias": "lora_only"}, None, 0),
        ({"lora_dropout": 0.1}, None, 0),
        ({"modules_to_save": ["dense"]}, FoldedLora, 6),
    ],
    ids=str,
)
def test_what_is_not_known_to_be_foldable_runs_as_peft_does(settings, kind, count, monkeypatch):
    model, method = small("gpt_neox"), variant(**settings)
    encoder = perturbed(model, method, monkeypatch)
    assert sum(type(module) is kind for module in encoder.modules()) == count
    assert not any(
        isinstance(module, FoldedLora | FoldedDora) and type(module) is not kind for module in encoder.modules()
    )
    if "lora_dropout" in settings:  # not the same from one forward to the next
        assert not torch.equal(encoder.embed(TEXTS), encoder.embed(TEXTS))
    else:
        compare(model, method, encoder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (peft.LoraConfig(r=2, target_modules=["embed_in", "dense"], use_dora=True), "table is wrapped in Embedding"),
        (peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3), "is outside the decoder"),
    ],
    ids=["an adapted token table", "prompt tuning"],
)
def test_what_the_encoder_cannot_run_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        Encoder(peft.get_peft_model(pretrained(small("gpt_neox")), config), "mean", bf16=False)


def test_a_hook_in_a_block_is_run(monkeypatch):
    model = small("gpt_neox")
    monkeypatch.setattr(encoder_module, "load_backbone", lambda *_: pretrained(model))
    method = variant()
    plain = make_encoder(model, method, "mean", CPU, seed=0)
    apply = method.apply

    def hooked(backbone):
        backbone.layers[1].mlp.register_forward_hook(lambda module, given, out: 2 * out)
        return apply(backbone)

    method.apply = hooked
    other = make_encoder(model, method, "mean", CPU, seed=0)
    assert plain.fused and not other.fused
    assert not torch.allclose(plain.embed(TEXTS), other.embed(TEXTS))
