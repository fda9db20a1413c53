"""Weights that are not the decoder's, broken files and other kinds of folders are refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runner.cli import main
from runner.model.encoder import make_encoder
from runner.model.pretrained import load_backbone
from runner.trainer import train
from support.backbones import write_base
from sweeps.experiment.model_hash import model_hash
from sweeps.experiment.recipe_file import write_recipe
from sweeps.methods import Full
from sweeps.models import ARCHITECTURES, NANO_FOLDER, read_model
from sweeps.trial import Trial


@pytest.fixture
def base(tmp_path):
    return Path(shutil.copytree(NANO_FOLDER / "nano-7k", tmp_path / "base"))


def renamed(folder: Path, rename) -> None:
    """Store every weight under the name that `rename` gives; without one it is left out."""
    file = folder / "model.safetensors"
    named = {rename(name): value for name, value in load_file(file).items()}
    save_file({name: value for name, value in named.items() if name}, file, metadata={"format": "pt"})


@pytest.mark.parametrize("prefix", ["base_model.model.", "_orig_mod.", "module.", "encoder."])
def test_weights_of_other_names_are_refused_with_both(base, prefix):
    renamed(base, lambda name: prefix + name)
    with pytest.raises(ValueError, match=rf"base: \d+ of \d+ weights .* \(the first: \w.*\); they hold {prefix}"):
        load_backbone(read_model(base))


@pytest.mark.parametrize("part", ["layers.1.", "embed_in", "final_layer_norm"])
def test_weights_that_are_not_there_are_refused(base, part):
    renamed(base, lambda name: "" if part in name else name)
    with pytest.raises(ValueError, match=f"weights of the decoder are not in its files .*{part}"):
        load_backbone(read_model(base))


def test_blocks_that_the_config_does_not_have_are_refused(base):
    change(base, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"base: its files hold block 2, by config\.json it has 1 blocks"):
        load_backbone(read_model(base))


def change(folder: Path, **values) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100_000])


def point(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def index(folder):
    names = dict.fromkeys(load_file(folder / "model.safetensors"), "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def adapter(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "nano-7k"}))


def dense(folder):
    kinds = ["models.Transformer", "models.Pooling", "models.Dense"]
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.{kind}"} for kind in kinds]))


BROKEN = {
    "cut off": (cut, r"model\.safetensors: is damaged or cut off"),
    "a pointer": (point, r"model\.safetensors: is a Git LFS pointer"),
    "a file missing": (
        index,
        r"index\.json: names .model-00002-of-00002\.safetensors.*no file in this folder",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "base: its weights cannot be loaded"),
    "other shapes": (lambda folder: change(folder, intermediate_size=72), r"base: layers\.\S+ has shape .* by config"),
    "quantised": (
        lambda folder: change(folder, quantization_config={"quant_method": "awq", "bits": 4}),
        r"config\.json: its weights are quantised \(awq\)",
    ),
    "no tokenizer": (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], "base: .*tokenizer"),
    "an adapter": (adapter, r"adapter_config\.json: is an adapter \(peft_type LORA\).*; give nano-7k, or merge"),
    "a dense layer": (dense, r"modules\.json: the model has a module Dense .*; known: Transformer, Pooling, Normalize"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_ends_embed_train_in_one_line(base, training, tmp_path, kind, capsys):
    spoil, words = BROKEN[kind]
    spoil(base)
    write_recipe(tmp_path / "recipe.toml", Trial(str(base), Full(), training, lr=1e-3, steps=2), {})
    capsys.readouterr()
    assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "out"), "--on", "cpu"]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("embed: error: ") and str(base) in told
    with pytest.raises(ValueError, match=words):
        raise ValueError(told)
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_model_that_was_replaced_is_not_trained_for_the_old_one(base, training):
    trial = Trial(str(base), Full(), training, lr=1e-3, steps=2, model_hash=model_hash(str(base)))
    renamed(base, lambda name: name)  # the same weights, written again
    assert train(trial).status == "done"
    change(base, layer_norm_eps=1e-3)
    with pytest.raises(ValueError, match=rf"base: its model has hash \w+, the trial needs {trial.model_hash}"):
        train(trial)


def test_no_dropout_is_left(tmp_path):
    folder = write_base("gpt2", tmp_path, resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3)
    encoder = make_encoder(read_model(folder), Full(), "mean", torch.device("cpu"), seed=0).train()
    texts = [torch.arange(2, 30).numpy()]
    assert torch.equal(encoder.embed(texts), encoder.embed(texts))


def test_the_row_of_a_padding_token_is_trained_where_it_ends_texts(tmp_path):
    folder = write_base("llama", tmp_path, pad_token_id=7)
    backbone = load_backbone(read_model(folder))
    backbone.requires_grad_(True)
    backbone(input_ids=torch.tensor([[3, 7]])).last_hidden_state.sum().backward()
    assert backbone.get_input_embeddings().weight.grad[7].abs().max() > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_are_embedded_alike_alone_and_beside_longer_ones(tmp_path, architecture):
    """Whether attention looks back, both ways because it is asked to, or both ways because the model says so."""
    folder = write_base(architecture, tmp_path)
    model, cpu = read_model(folder), torch.device("cpu")
    texts = [torch.arange(2, 2 + length).numpy() for length in (3, 40, 17)]
    encoders = {way: make_encoder(model, Full(), "mean", cpu, 0, bidirectional=way).eval() for way in (False, True)}
    if architecture == "gemma3_text":
        change(folder, use_bidirectional_attention=True)
        encoders["said"] = make_encoder(read_model(folder), Full(), "mean", cpu, 0).eval()
    found = {}
    for way, encoder in encoders.items():
        with torch.no_grad():
            found[way] = encoder.embed(texts)
            alone = torch.cat([encoder.embed([text]) for text in texts])
        torch.testing.assert_close(found[way], alone, rtol=0, atol=1e-6)
        assert encoder.bidirectional == bool(way)
    assert (found[False] - found[True]).abs().max() > 1e-3
    if "said" in found:
        torch.testing.assert_close(found["said"], found[True], rtol=0, atol=1e-6)


def test_both_ways_of_an_architecture_where_that_means_nothing_known_is_refused(tmp_path):
    folder = write_base("gemma2", tmp_path)
    change(folder, use_bidirectional_attention=True)
    with pytest.raises(ValueError, match="use_bidirectional_attention is True; its meaning for gemma2"):
        read_model(folder)
