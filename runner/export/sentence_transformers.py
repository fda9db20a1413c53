"""A tuned encoder as a folder that `SentenceTransformer(path)` loads with the same embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from runner.data.tokenizer import save_tokenizer, training_tokenizer
from runner.export.loaded import must_embed_alike, own_vectors
from runner.export.model_card import model_card
from runner.libraries import disk_errors
from runner.model.encoder import Encoder
from runner.model.pretrained import load_backbone
from runner.model.quantized import merge_unpacked
from sweeps.experiment.prediction import Predicted
from sweeps.methods import with_adapter
from sweeps.models import find_model, read_object
from sweeps.support.atomic import replacing, write_text
from sweeps.trial import Observation, Training, Trial

MODULES = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
POOLING_FIELDS = {"mean": "mean_tokens", "weighted": "weightedmean_tokens", "last": "lasttoken"}
# Every flag is written out: servers that read this layout do not know the shorter form.
POOLING_FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


HOLDS = ("config.json", "adapter_config.json")  # of a folder that has a model in it


def export(
    encoder: Encoder,
    observation: Observation,
    folder: Path,
    adapter: bool = False,
    predicted: Sequence[Predicted] = (),
) -> None:
    """Write weights, tokenizer, pooling and a model card, load the model again and compare it with the `encoder`.

    adapter: write the method's adapter alone, which keeps the place of its base model, instead of merging it.
    predicted: what the recipe had predicted, for the card. Raises
    ValueError when there can be none, `folder` holds a model, or what is loaded is not what was trained, OSError when
    the files cannot be written; what was written then is no model to keep.
    """
    if adapter:
        must_have_adapter(observation.trial)
    must_be_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    training = observation.trial.training
    tokenizer = training_tokenizer(find_model(observation.trial.model).source, training.pooling)
    expected = own_vectors(encoder, tokenizer, training)
    backbone = encoder.backbone if adapter else whole_backbone(encoder, observation.trial)
    with disk_errors(folder):
        _save_weights(backbone, tokenizer.pad_token_id, folder, adapter)
    save_tokenizer(tokenizer, folder, training.context)
    _write_settings(training, backbone.config, adapter, folder)
    write_text(folder / "README.md", model_card(observation, predicted))
    must_embed_alike(folder, tokenizer, training, expected)


def must_have_adapter(trial: Trial) -> None:
    """Raises ValueError where no adapter alone can be what was trained."""
    training = trial.training
    if trial.method.name not in with_adapter():
        raise ValueError(f"method {trial.method.name} has no adapter to write; only {', '.join(with_adapter())} do")
    if trial.method.trains_token_table:
        raise ValueError(
            f"method {trial.method.label} trains the whole token table, so an adapter is not enough: export the "
            "merged model"
        )
    if training.merge:
        raise ValueError(f"training.merge is {training.merge!r}, which gives a whole model, not an adapter")
    if training.bidirectional and not find_model(trial.model).two_way:
        raise ValueError(
            "training.bidirectional is True; an adapter is loaded with its base's config.json, which is causal: export "
            "the merged model"
        )


def _save_weights(backbone: Any, padding: int, folder: Path, adapter: bool) -> None:
    """Write the weights and what they are. padding: id of the padding token."""
    if adapter:
        for config in backbone.peft_config.values():
            base = config.base_model_name_or_path
            if base and Path(base).is_dir():  # as seen from the folder of this training: not where it is loaded
                config.base_model_name_or_path = str(Path(base).resolve())
        backbone.save_pretrained(folder, save_embedding_layers=False)  # the base has them
        _name_magnitudes(folder / "adapter_model.safetensors")
    else:
        backbone.config.pad_token_id = padding
        backbone.save_pretrained(folder)


def _write_settings(training: Training, config: Any, adapter: bool, folder: Path) -> None:
    """Write the files that Sentence Transformers loads a model by. config: of the backbone."""
    modules = [
        {"idx": index, "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (name, path, kind) in enumerate(MODULES)
    ]
    chosen = POOLING_FIELDS[training.pooling]
    pooling: dict[str, Any] = {"word_embedding_dimension": config.hidden_size}
    pooling |= {f"pooling_mode_{flag}": flag == chosen for flag in POOLING_FLAGS}
    _write(folder / "modules.json", modules)
    loading = {}
    if (
        getattr(config, "is_causal", True) is False
    ):  # the other attention function is causal wherever nothing is padded, whatever is asked
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


def read_pooling(folder: Path) -> str:
    """Returns how a model folder pools, in our form or Sentence Transformers' own. Raises ValueError for other ways."""
    file = folder / "1_Pooling" / "config.json"
    content = read_object(file)
    said = content.get("pooling_mode")
    for name, flag in POOLING_FIELDS.items():
        if content.get(f"pooling_mode_{flag}") is True or said == flag.removesuffix("_tokens"):
            return name
    raise ValueError(f"{file}: pools neither by {', '.join(POOLING_FIELDS)}")


def read_context(folder: Path) -> int:
    """Returns the tokens at which a model folder cuts a text. Raises ValueError when it does not say."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        length = read_object(folder / name).get(key)
        if isinstance(length, int) and 0 < length < 2**31:
            return length
    raise ValueError(
        f"{folder}: no max_seq_length in sentence_bert_config.json, nor a model_max_length of its tokenizer"
    )


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
