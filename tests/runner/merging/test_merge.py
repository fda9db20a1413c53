"""Merging: what all models share stays to the bit, rules are those of their papers, the search finds the best."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from runner.cli import main
from runner.data.pairs import load_tokenizer, prepare
from runner.export.sentence_transformers import export
from runner.merging import rules as merge_module
from runner.merging import surface as surface_module
from runner.merging.command import METHODS as NAMED
from runner.merging.rules import METHODS, Rule, coefficients, inner_products, merge, open_all, slerp
from runner.merging.self_positioning import MergedEncoder, PositionSearch, find_position, probe_loss
from runner.model.encoder import make_encoder
from runner.trainer import train_encoder
from sweeps.methods import Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Trial

NANO = find_model("nano-25k")
BASE = Path(NANO.source)


def tuned(training, folder: Path, method=None, steps: int = 12, seed: int = 0, adapter: bool = False) -> Path:
    trial = Trial(NANO.name, method or Full(), training, lr=1e-2, steps=steps, seed=seed)
    observation, encoder = train_encoder(trial)
    encoder.eval()
    export(encoder, observation, folder, adapter)
    return folder


@pytest.fixture(scope="module")
def tasks(training, pairs_file, tmp_path_factory):
    """Two tasks that pull apart: documents as they are, and queries and documents written backwards."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    turned = [{**row, "query": row["query"][::-1], "positive": row["positive"][::-1]} for row in rows]
    for name, content in (("plain", rows), ("turned", turned), ("both", rows[::2] + turned[1::2])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    models = [
        tuned(replace(training, data=str(folder / f"{name}.jsonl")), folder / name, steps=40)
        for name in ("plain", "turned")
    ]
    return folder, models


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_offers_what_there_is():
    assert NAMED == METHODS


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


def test_an_adapter_is_merged_as_the_product_of_its_factors(training, tmp_path):
    kinds = {"adapter": True, "merged": False}
    folders = {
        (kind, seed): tuned(training, tmp_path / f"{kind}{seed}", LoRA(4), seed=seed, adapter=adapter)
        for kind, adapter in kinds.items()
        for seed in (0, 1)
    }
    for kind in kinds:
        merge(BASE, [folders[kind, 0], folders[kind, 1]], Rule("slerp"), tmp_path / f"out-{kind}")
    one, other = tensors(tmp_path / "out-adapter"), tensors(tmp_path / "out-merged")
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


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


@pytest.fixture(scope="module")
def merged_encoder(tasks):
    base, models = open_all(BASE, tasks[1])
    return MergedEncoder(base, models, make_encoder(NANO, Full(), "mean", torch.device("cpu"), 0))


@pytest.fixture(scope="module")
def probe(tasks, training):
    asked = replace(training, data=str(tasks[0] / "both.jsonl"))
    pairs = prepare(asked, NANO.source, judged=False).pairs
    return replace(pairs, train=pairs.train[:256])


def test_the_gradient_to_the_factors_is_that_of_the_loss(merged_encoder, probe):
    from runner.merging.self_positioning import loss_of

    merged_encoder.encoder.double()
    search, chosen = PositionSearch(negatives=0), probe.train[:32]
    at = torch.tensor([0.6, 0.5], dtype=torch.float64)
    merged_encoder.set_factors(at)
    loss_of(merged_encoder.encoder, probe, chosen, search)[0].backward()
    factor_gradient = merged_encoder.factor_gradient()
    for place in range(2):
        sides = []
        for nudge in (1e-4, -1e-4):
            merged_encoder.set_factors(at + nudge * torch.nn.functional.one_hot(torch.tensor(place), 2))
            sides.append(loss_of(merged_encoder.encoder, probe, chosen, search)[0].item())
        assert factor_gradient[place].item() == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=1e-4)
    merged_encoder.encoder.float()


def test_the_search_finds_what_a_grid_finds_with_far_fewer_passes(merged_encoder, probe):
    search = PositionSearch(steps=60, rate=2e-2, mu=0.0, negatives=0)
    found = find_position(merged_encoder, probe, search)

    def loss_at(factors: torch.Tensor) -> float:
        merged_encoder.set_factors(factors)
        return probe_loss(merged_encoder.encoder, probe, search)

    grid = [
        loss_at(scale * slerp(torch.tensor([1 - share, share], dtype=torch.float64), merged_encoder.gram))
        for share in np.linspace(0.05, 0.95, 10)
        for scale in np.linspace(0.2, 1.6, 8)
    ]
    ours = loss_at(torch.tensor(found.factors, dtype=torch.float64))
    assert ours <= min(grid) * 1.005
    grid_passes = len(grid) * len(probe.train)
    assert grid_passes >= 5 * search.steps * search.batch  # 80 x 256 pairs against 60 x 32
    assert min(loss_at(torch.eye(2, dtype=torch.float64)[i]) for i in range(2)) > ours


def test_the_command_searches_and_writes(tasks, tmp_path, capsys):
    folder, models = tasks
    command = ["merge", "nano-25k", *map(str, models), "--method", "self-positioning", "--negatives", "0"]
    command += ["--probe", str(folder / "both.jsonl"), "--steps", "3", "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["weights"]) == 2 and said["scale"] != 1 and said["tokens"] > 0
    assert load_tokenizer(str(tmp_path / "out")) and not same(tmp_path / "out", models[0])
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "self-positioning"], "needs one"),
        (["--method", "average", "--probe", "x.jsonl"], "only for self-positioning"),
        (["--method", "average", "--steps", "3"], "--steps: only for"),
        (["--method", "self-positioning", "--probe", "x.jsonl", "--weights", "1,2"], "leave them out"),
        (["--method", "self-positioning", "--probe", "none.jsonl"], "no such file"),
        (["--method", "self-positioning", "--probe", "x.jsonl", "--batch", "1"], "batch is 1"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tasks, tmp_path, options, words, capsys):
    command = ["merge", "nano-25k", *map(str, tasks[1]), *options, "--out", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


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


def test_the_surface_holds_the_path_and_the_losses_that_the_search_saw(tasks, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(surface_module, "POINTS", 7)
    folder, models = tasks
    out = tmp_path / "surface.json"
    command = ["merge", "nano-25k", *map(str, models), "--method", "self-positioning", "--negatives", "0"]
    command += ["--probe", str(folder / "both.jsonl"), "--steps", "4", "--rate", "0.1", "--out", str(tmp_path / "out")]
    assert main([*command, "--surface", str(out)]) == 0
    seen = json.loads(out.read_text())
    assert seen["models"] == ["plain", "turned"] and seen["others"] == [] and len(seen["path"]) == 5
    for along, place in (("x", 0), ("y", 1)):
        assert all(seen[along][0] < point[place] < seen[along][-1] for point in [*seen["path"], (0, 0), (1, 1)])
    loss = np.array(seen["loss"])
    assert loss.shape == (len(seen["y"]), len(seen["x"])) and np.isfinite(loss).all()
    row, column = np.unravel_index(loss.argmin(), loss.shape)
    assert seen["x"][column] > 0 and seen["y"][row] > 0  # the base is not the best place
    capsys.readouterr()
    assert main([*command, "--surface", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
