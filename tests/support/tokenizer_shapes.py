"""Model folders whose tokenizer files have the shapes of published ones. The models are small, their weights random."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModel

from support.backbones import UNGROUPED
from sweeps.models import ARCHITECTURES, find_model

BYTES = Path(find_model("nano-25k").source) / "tokenizer.json"
FIRST, END, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
}
TEXT = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]


@dataclass(frozen=True)
class Shape:
    """One tokenizer as people have it."""

    model_type: str
    """Architecture that it comes with: transformers chooses the tokenizer's class by it too."""
    content: Callable[[], dict[str, Any]]
    """Returns the content of tokenizer.json."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Content of tokenizer_config.json."""
    beyond: bool = False
    """Whether its last added token has no row in the token table."""


def byte_level(post: Any = None, **changes: Any) -> Callable[[], dict[str, Any]]:
    """nano's own vocabulary, byte-level BPE as of GPT-2, with the special tokens and this post-processor."""

    def content() -> dict[str, Any]:
        tokenizer = Tokenizer.from_file(str(BYTES))
        tokenizer.add_special_tokens([AddedToken(token) for token in (FIRST, END, UNKNOWN, PAD)])
        made = json.loads(tokenizer.to_str())
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        return made | {"post_processor": level if post is None else post(made, level)} | changes

    return content


def template(*single: str) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """A post-processor that puts special tokens around "A"."""

    def post(made: dict[str, Any], level: Any) -> dict[str, Any]:
        ids = {token["content"]: token["id"] for token in made["added_tokens"]}
        kinds = [("Sequence" if part == "A" else "SpecialToken", part) for part in single]
        parts = [{kind: {"id": part, "type_id": 0}} for kind, part in kinds]
        known = {part: {"id": part, "ids": [ids[part]], "tokens": [part]} for part in single if part != "A"}
        pair = [*parts, {"Sequence": {"id": "B", "type_id": 1}}]
        return {"type": "TemplateProcessing", "single": parts, "pair": pair, "special_tokens": known}

    return post


def in_turn(*single: str) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Byte offsets, then a template: Llama 3."""
    return lambda made, level: {"type": "Sequence", "processors": [level, template(*single)(made, level)]}


@cache
def pieces(model: str) -> str:
    """A SentencePiece vocabulary learnt from this folder: "bpe" (Llama 2), "gemma" or "unigram"."""
    special = [UNKNOWN, FIRST, END, PAD]
    if model == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=900, special_tokens=special, unk_token=UNKNOWN, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True))
        bytes_of = [f"<0x{value:02X}>" for value in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=1200, special_tokens=[*special, *bytes_of], show_progress=False)
    if model == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=model == "unigram")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    lines = [line for text in TEXT for line in text.splitlines()]
    tokenizer.train_from_iterator(lines, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    return json.dumps(content)


def sentence_pieces(model: str, post: Any) -> Callable[[], dict[str, Any]]:
    def content() -> dict[str, Any]:
        made = json.loads(pieces(model))
        return made | {"post_processor": post(made, None)}

    return content


@cache
def word_pieces() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=[PAD, UNKNOWN, FIRST, END], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer.to_str()


def words() -> dict[str, Any]:
    made = json.loads(word_pieces())
    return made | {"post_processor": template(FIRST, "A", END)(made, None)}


def fast(**named: Any) -> dict[str, Any]:
    return {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD, **named}


CUT = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
PADDED = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0}
PADDED |= {"pad_token": "<|padding|>"}

SHAPES = {
    "gpt2": Shape("gpt2", byte_level(), {"tokenizer_class": "GPT2Tokenizer", "eos_token": END, "bos_token": END}),
    "pythia": Shape(
        "gpt_neox",
        byte_level(),
        {"tokenizer_class": "GPTNeoXTokenizer", "bos_token": END, "eos_token": END, "unk_token": END},
    ),
    "llama3": Shape("llama", byte_level(in_turn(FIRST, "A")), fast(bos_token=FIRST)),
    "llama2": Shape(
        "llama",
        sentence_pieces("bpe", template(FIRST, "A")),
        {"tokenizer_class": "LlamaTokenizer", "bos_token": FIRST, "eos_token": END, "unk_token": UNKNOWN}
        | {"add_bos_token": True, "add_eos_token": False, "legacy": False},
    ),
    "mistral": Shape(
        "mistral",
        sentence_pieces("bpe", template(FIRST, "A")),
        {"tokenizer_class": "LlamaTokenizerFast", "bos_token": FIRST, "eos_token": END, "unk_token": UNKNOWN}
        | {"padding_side": "left", "add_bos_token": True},
    ),
    "gemma": Shape(
        "gemma2",
        sentence_pieces("gemma", template(FIRST, "A")),
        {"tokenizer_class": "GemmaTokenizer", "bos_token": FIRST, "eos_token": END, "unk_token": UNKNOWN}
        | {"pad_token": PAD},
    ),
    "qwen3-embedding": Shape(
        "qwen3",
        byte_level(template("A", END)),
        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": END, "pad_token": PAD, "padding_side": "left"},
    ),
    "first-and-end": Shape("llama", byte_level(template(FIRST, "A", END)), fast(bos_token=FIRST)),
    "word-pieces": Shape("llama", words, fast(cls_token=FIRST, sep_token=END, unk_token=UNKNOWN)),
    "unigram": Shape("llama", sentence_pieces("unigram", template("A", END)), fast(unk_token=UNKNOWN)),
    "no-padding-token": Shape("llama", byte_level(), fast(pad_token=None)),
    "padding-beyond-the-table": Shape("llama", byte_level(), fast(), beyond=True),
    "cut-and-padded-in-the-file": Shape("llama", byte_level(truncation=CUT, padding=PADDED), fast()),
    "cut-at-the-left": Shape("qwen2", byte_level(), fast(truncation_side="left", padding_side="left")),
    "special-tokens-split": Shape("llama", byte_level(in_turn(FIRST, "A")), fast(split_special_tokens=True)),
    "flags-that-add": Shape("llama", byte_level(), fast(bos_token=FIRST, add_bos_token=True, add_eos_token=True)),
}


def write_shape(name: str, folder: Path, **changes: Any) -> Path:
    """Write a model folder of this tokenizer shape. changes: to the settings of the tokenizer."""
    shape = SHAPES[name]
    content = shape.content()
    vocabulary = Tokenizer.from_str(json.dumps(content)).get_vocab(with_added_tokens=True)
    rows = max(vocabulary.values()) + 1 - shape.beyond
    settings = {key: value for key, value in (shape.settings | changes).items() if value is not None}
    torch.manual_seed(0)
    plain = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    keys = ARCHITECTURES[shape.model_type].keys
    size = {keys.get(key, key): value for key, value in SIZE.items()}
    if shape.model_type in UNGROUPED:
        del size["num_key_value_heads"], size["head_dim"]
    config = AutoConfig.for_model(shape.model_type, vocab_size=rows, **size, **plain)
    AutoModel.from_config(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
