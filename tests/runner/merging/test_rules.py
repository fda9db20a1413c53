"""Merging by rules: what all models share stays to the bit, and rules are those of their papers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from runner.export.sentence_transformers import read_context, read_pooling
from runner.merging import rules as merge_module
from runner.merging.rules import RULES, Rule, coefficients, inner_products, merge, open_all, slerp
from support.tuned_models import BASE, NANO, same, tensors, tuned
from sweeps.methods import DoRA, LoRA
from sweeps.models import find_model
from sweeps.trial import MERGES, SEARCHED


def test_trials_and_the_command_may_name_what_there_is():
    assert set(MERGES) == {*RULES, "ties", SEARCHED}


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("method", ["average", "slerp", "task-arithmetic", "ties"])
def test_copies_of_one_model_give_it_back_to_the_bit(tasks, tmp_path, method, count):
    _, (model, _) = tasks
    merge(BASE, [model] * count, Rule(method, density=1.0), tmp_path / "out")
    assert same(tmp_path / "out", model)


@pytest.mark.parametrize("method", ["average", "slerp", "task-arithmetic"])
def test_a_weight_of_one_against_none_gives_the_first(tasks, tmp_path, method):
    _, models = tasks
    assert merge(BASE, models, Rule(method, (1.0, 0.0)), tmp_path / "out") == [1.0, 0.0]
    assert same(tmp_path / "out", models[0])


def test_a_merged_folder_loads_as_its_parts_do(tasks, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    _, models = tasks
    merge(BASE, models, Rule("average"), tmp_path / "out")
    vectors = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(["a text", "b"])
    assert vectors.shape == (2, NANO.width) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    first, second, merged = tensors(models[0]), tensors(models[1]), tensors(tmp_path / "out")
    for name in merged:
        torch.testing.assert_close(merged[name], (first[name] + second[name]) / 2, rtol=1e-6, atol=1e-7)


def test_slerp_of_orthogonal_vectors_is_the_arc_between_them():
    gram = torch.diag(torch.tensor([4.0, 4.0], dtype=torch.float64))
    for share in (0.25, 0.5, 0.9):
        found = slerp(torch.tensor([1 - share, share], dtype=torch.float64), gram)
        assert found.tolist() == pytest.approx([math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)])
        assert (found @ gram @ found).item() == pytest.approx(4)  # it stays on the sphere


def test_slerp_folds_real_vectors_as_written():
    """Against the formula on the vectors themselves, three of them, in the fold's own order."""
    torch.manual_seed(0)
    vectors, weights = torch.randn(3, 50, dtype=torch.float64), torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    folded = vectors[0]
    for place in (1, 2):
        share = weights[place] / (weights[:place].mean() + weights[place])
        cosine = folded @ vectors[place] / (folded.norm() * vectors[place].norm())
        angle = torch.arccos(cosine)
        parts = torch.sin((1 - share) * angle) * folded + torch.sin(share * angle) * vectors[place]
        folded = parts / torch.sin(angle)
    torch.testing.assert_close(slerp(weights, vectors @ vectors.T) @ vectors, folded)


@pytest.mark.parametrize("method", [LoRA(4), DoRA(4), LoRA(4, token_table="adapter")], ids=lambda method: method.label)
def test_an_adapter_is_merged_as_what_it_makes_of_the_base(training, tmp_path, method):
    kinds = {"adapter": True, "merged": False}
    folders = {
        (kind, seed): tuned(training, tmp_path / f"{kind}{seed}", method, seed=seed, adapter=adapter)
        for kind, adapter in kinds.items()
        for seed in (0, 1)
    }
    for kind in kinds:
        merge(BASE, [folders[kind, 0], folders[kind, 1]], Rule("slerp"), tmp_path / f"out-{kind}")
    one, other = tensors(tmp_path / "out-adapter"), tensors(tmp_path / "out-merged")
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_what_sentence_transformers_saved_again_is_merged(training, tmp_path, monkeypatch):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **_: None)
    one = tuned(training, tmp_path / "one", seed=1)
    for method in (None, LoRA(4), DoRA(4), LoRA(4, token_table="adapter")):
        name = method.label if method else "whole"
        folder = tuned(training, tmp_path / name, method, adapter=method is not None)
        loaded = sentence_transformers.SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
        loaded.save_pretrained(str(tmp_path / f"{name}-again"))
        assert read_pooling(tmp_path / f"{name}-again") == "mean"
        assert read_context(tmp_path / f"{name}-again") == training.context
        for kind in ("", "-again"):
            merge(BASE, [one, tmp_path / f"{name}{kind}"], Rule("average"), tmp_path / f"out-{name}{kind}")
        first, second = tensors(tmp_path / f"out-{name}"), tensors(tmp_path / f"out-{name}-again")
        for tensor in first:
            torch.testing.assert_close(first[tensor], second[tensor], rtol=1e-6, atol=1e-7)


def test_what_does_not_fit_is_refused_with_its_name(tasks, tmp_path):
    _, (first, second) = tasks
    odd = tmp_path / "odd"
    shutil.copytree(second, odd)
    content = tensors(odd)
    name = next(name for name in content if name.endswith("dense.weight"))
    save_file({**content, name: content[name][:-1].contiguous()}, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name} has shape"):
        merge(BASE, [first, odd], Rule("average"), tmp_path / "out")
    del content[name]
    save_file(content, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name} is missing"):
        merge(BASE, [first, odd], Rule("average"), tmp_path / "out")
    with pytest.raises(ValueError, match=r"embed_in\.weight has shape"):
        merge(Path(find_model("nano-100k").source), [first, second], Rule("average"), tmp_path / "out")
    (odd / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="is damaged"):
        merge(BASE, [first, odd], Rule("average"), tmp_path / "out")
    shutil.copyfile(second / "model.safetensors", odd / "model.safetensors")
    vocabulary = json.loads((odd / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"]["odd"] = 1
    (odd / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(ValueError, match=r"tokenizer\.json: differs"):
        merge(BASE, [first, odd], Rule("average"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("average", (1.0,)), "1 weights for 2 models"),
        (Rule("average", (0.0, 0.0)), "one above 0"),
        (Rule("slerp", (1.0, -1.0)), "must be 0 or more"),
        (Rule("average", (1.0, math.nan)), "must be 0 or more"),
        (Rule("ties", density=0.0), "density is 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(tasks, tmp_path, rule, words):
    with pytest.raises(ValueError, match=words):
        merge(BASE, tasks[1], rule, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_crash_midway_leaves_no_half_model(tasks, tmp_path, monkeypatch):
    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(merge_module, "save_file", crash)
    with pytest.raises(KeyboardInterrupt):
        merge(BASE, tasks[1], Rule("average"), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_coefficients_of_three_are_found_without_the_vectors(tasks):
    base, models = open_all(BASE, [*tasks[1], tasks[1][0]])
    gram = inner_products(base, models)
    assert torch.allclose(gram, gram.T) and (torch.linalg.eigvalsh(gram) > -1e-9).all()
    assert sum(coefficients(Rule("average", (1.0, 2.0, 1.0)), gram)).item() == pytest.approx(1)


def test_adapters_of_differing_rank_are_merged_as_what_they_make_of_the_base(training, tmp_path):
    folders = [tuned(training, tmp_path / f"rank{rank}", LoRA(rank), adapter=True) for rank in (2, 4)]
    merge(BASE, folders, Rule("average"), tmp_path / "out")
    base, (one, other) = open_all(BASE, folders)
    merged = tensors(tmp_path / "out")
    for name in merged:
        torch.testing.assert_close(merged[name].double(), (one.get(name) + other.get(name)) / 2, rtol=1e-6, atol=1e-7)
    assert any(not torch.equal(merged[name].double(), base.get(name)) for name in merged)
