"""A tuned encoder as a folder that `SentenceTransformer(path)` loads with the same embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from runner.data.pairs import load_tokenizer
from runner.model.encoder import Encoder, load_backbone
from runner.model.quantized import merge_unpacked
from sweeps.methods import with_adapter
from sweeps.models import find_model
from sweeps.support.atomic import replacing
from sweeps.trial import Observation, Training, Trial

MODULES = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
POOLING_FIELDS = {"mean": "mean_tokens", "weighted": "weightedmean_tokens", "last": "lasttoken"}
# Every flag is written out: servers that read this layout do not know the shorter form.
POOLING_FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


HOLDS = ("config.json", "adapter_config.json")  # of a folder that has a model in it


def export(encoder: Encoder, observation: Observation, folder: Path, adapter: bool = False) -> None:
    """Write weights, tokenizer, pooling and a model card. `folder` must not hold a model yet.

    adapter: write the method's adapter alone, which keeps the place of its base model, instead of merging it. Raises
    ValueError when the method has none.
    """
    if adapter and not hasattr(encoder.backbone, "merge_and_unload"):
        raise ValueError(f"{observation.trial.method.name} has no adapter; only {', '.join(with_adapter())} do")
    must_be_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    training = observation.trial.training
    backbone = encoder.backbone if adapter else whole_backbone(encoder, observation.trial)
    backbone.save_pretrained(folder)
    if adapter:
        _name_magnitudes(folder / "adapter_model.safetensors")
    tokenizer = load_tokenizer(find_model(observation.trial.model).source)
    tokenizer.model_max_length = training.context
    if training.pooling == "last":
        _append_end(tokenizer)
    tokenizer.save_pretrained(folder)
    modules = [
        {"idx": index, "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (name, path, kind) in enumerate(MODULES)
    ]
    chosen = POOLING_FIELDS[training.pooling]
    pooling = {"word_embedding_dimension": backbone.config.hidden_size}
    pooling |= {f"pooling_mode_{flag}": flag == chosen for flag in POOLING_FLAGS}
    _write(folder / "modules.json", modules)
    loading = {}
    if training.bidirectional:  # the other attention function is causal wherever nothing is padded, whatever is asked
        loading["attn_implementation"] = "eager"
    if adapter:  # it was trained over weights in fp32, in which the base may not lie on disk
        loading["dtype"] = "float32"
    content = {"max_seq_length": training.context, "do_lower_case": False}
    _write(folder / "sentence_bert_config.json", content | ({"model_args": loading} if loading else {}))
    prompts = {"query": training.query_prompt, "document": training.document_prompt}
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    for _, path, _ in MODULES[1:]:
        (folder / path).mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", pooling)
    (folder / "README.md").write_text(_card(observation), encoding="utf-8")


def _name_magnitudes(file: Path) -> None:
    """Name DoRA's magnitudes as they are called in the model: peft knows either name, transformers this one alone."""
    weights = load_file(file)
    named = {f"{name}.weight" if name.endswith(".lora_magnitude_vector") else name: weights[name] for name in weights}
    if named.keys() != weights.keys():
        with replacing(file) as temporary:
            save_file(named, temporary, metadata={"format": "pt"})


def must_be_free(folder: Path) -> None:
    """Raises ValueError when there is a model in `folder`."""
    if any((folder / name).exists() for name in HOLDS):
        raise ValueError(f"{folder}: already holds a model; give another folder")


def whole_backbone(encoder: Encoder, trial: Trial) -> Any:
    """Returns the backbone with whatever the method added worked into its weights."""
    if trial.method.bits:
        return merge_unpacked(encoder.backbone, load_backbone(find_model(trial.model)))
    merge = getattr(encoder.backbone, "merge_and_unload", None)  # a merged trial's backbone has none
    return merge() if merge else encoder.backbone


def _append_end(tokenizer) -> None:
    """Let the tokenizer itself add the end token that last-token pooling reads, so that every server does."""
    from tokenizers.processors import TemplateProcessing

    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _card(observation: Observation) -> str:
    trial = observation.trial
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "---",
        "",
        f"# {trial.model}, tuned with {trial.label}",
        "",
        f"- data: {trial.training.data} (hash {trial.training.data_hash}), {observation.pairs:,} pairs in "
        f"{observation.epochs:.2f} epochs, {observation.tokens:,} tokens",
        f"- {trial.steps:,} steps of {trial.training.batch_size} pairs, rate {trial.lr:g}, temperature "
        f"{trial.training.temperature:g}, {trial.training.pooling} pooling, {trial.training.context} tokens of context",
        f"- {observation.flops:.3g} training FLOPs",
        f"- held-out loss {observation.loss:.4f} nats per pair and accuracy@1 {observation.accuracy:.3f} in pools of "
        f"{trial.training.pool_size} (before training: loss {observation.start_loss:.4f})",
        *_prompt_lines(trial.training),
        *(["- scores on held-out pairs: " + _scores(observation)] if observation.scores else []),
        "",
        "The whole record is in observation.json.",
    ]
    return "\n".join(lines) + "\n"


def _prompt_lines(training: Training) -> list[str]:
    prompts = {"encode_query": training.query_prompt, "encode_document": training.document_prompt}
    return [f"- `{call}` puts {json.dumps(text)} before a text" for call, text in prompts.items() if text]


def _scores(observation: Observation) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in observation.scores.items())
