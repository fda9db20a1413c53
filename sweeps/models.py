"""Backbones: the shape of a pretrained decoder, read from a Hugging Face config.json, and the counts that follow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeps.support.checks import brief, require
from sweeps.support.json_io import read_json, refuse_special
from sweeps.support.paths import located

Units = tuple[float, float, float, float]
"""Numbers of a unit of width, of all query heads, of all key heads, and of the MLP's width."""


@dataclass(frozen=True)
class Elementwise:
    """What transformers' block does for one token besides its matrix products, on a GPU and in 16 bits over fp32.

    Counted from the operations that torch starts, forward and back, in full tuning (tests/sweeps/test_memory.py); about
    a third is of the forward pass. These are Llama's.
    """

    moved: Units = (392, 138, 86, 28)
    """Bytes read and written."""
    kept: Units = (26, 8, 0, 8)
    """Bytes kept for the backward pass, the inputs of the products included."""
    kernels: int = 150
    """Operations started in a block, products included."""


# Linear maps of a block in the order of the forward pass: name, what goes in, what comes out. `query` is the width of
# all query heads together, `key` that of all key heads, `qkv` of query, key and value; `up` that of a gate and an up
# map. Those before the map that takes `query` are attention's own.
Maps = tuple[tuple[str, str, str], ...]
SEPARATE: Maps = (
    ("q_proj", "width", "query"),
    ("k_proj", "width", "key"),
    ("v_proj", "width", "key"),
    ("o_proj", "query", "width"),
    ("gate_proj", "width", "mlp"),
    ("up_proj", "width", "mlp"),
    ("down_proj", "mlp", "width"),
)
FUSED: Maps = (
    ("query_key_value", "width", "qkv"),
    ("dense", "query", "width"),
    ("dense_h_to_4h", "width", "mlp"),
    ("dense_4h_to_h", "mlp", "width"),
)
FUSED_GATED: Maps = (
    ("qkv_proj", "width", "qkv"),
    ("o_proj", "query", "width"),
    ("gate_up_proj", "width", "up"),
    ("down_proj", "mlp", "width"),
)
GPT2_MAPS: Maps = (
    ("c_attn", "width", "qkv"),
    ("c_proj", "query", "width"),
    ("c_fc", "width", "mlp"),
    ("c_proj", "mlp", "width"),
)
MODERNBERT_MAPS: Maps = (*SEPARATE[:3], ("Wo", "query", "width"), ("Wi", "width", "up"), ("Wo", "mlp", "width"))


@dataclass(frozen=True)
class Architecture:
    """What one model family adds to plain matrix shapes."""

    maps: Maps = SEPARATE
    """The linear maps of a block."""
    transposed: bool = False
    """Whether these keep their weights as [inputs, outputs]."""
    qkv_bias: bool = False
    """Whether the maps to query, key and value have bias vectors."""
    biases: bool = False
    """Whether the other linear maps have them."""
    norm_bias: bool = False
    """Whether the norms have one."""
    wide_norms: int = 2
    """Norms over the width in a block; ModernBERT has the first block's first one behind its token table."""
    head_norms: str = ""
    """Norms of query and key: "each" over one head's dimension, "all" over all heads together, "" none."""
    parallel: bool = False
    """Whether attention and MLP both read the block's input."""
    pre_norm: bool = True
    """Whether a norm stands before the block's first maps."""
    positions: bool = False
    """Whether a table has a vector for each position, beside the token table."""
    blocks: str = "layers"
    """What transformers calls the list of blocks."""
    final_norm: str = "norm"
    """What it calls the norm behind the last one."""
    tuples: bool = False
    """Whether its blocks return a tuple, of which the first is the states."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of its config.json that have another name than llama's."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys that published files leave out, as transformers fills them in."""
    fixed: Mapping[str, Any] = field(default_factory=lambda: {"attention_bias": False, "mlp_bias": False})
    """Settings that change a block's form or its biases, and the only value that is counted."""
    elementwise: Elementwise = Elementwise()
    """What a block does besides its matrix products."""

    @property
    def qkv_names(self) -> tuple[str, ...]:
        """Names of the maps to query, key and value."""
        return tuple(name for name, _, _ in self.maps[: [inputs for _, inputs, _ in self.maps].index("query")])


MOST_BYTES = 10_000_000  # of a config.json
NEOX = Elementwise((317, 0, 0, 12), (22, 0, 0, 4), 112)  # its heads are as wide as the block
QWEN = Elementwise((392, 304, 252, 28), (26, 14, 6, 8), 201)
GEMMA = Elementwise((680, 284, 232, 28), (42, 16, 8, 8), 259)
OLMO = Elementwise((440, 278, 226, 28), (26, 16, 8, 8), 211)
GEMMA2 = Elementwise((680, 144, 96, 29), (42, 8, 0, 8), 204)
GRANITE = Elementwise((408, 144, 96, 29), (26, 8, 0, 8), 154)
PHI3 = Elementwise((320, 186, 150, 37), (20, 9, 5, 8), 140)
GPT2 = Elementwise((194, 0, 0, 94), (20, 0, 0, 10), 87)
MODERNBERT = Elementwise((481, 0, 0, 36), (25, 0, 0, 8), 116)
TIED = {"tie_word_embeddings": True}
# The published Gemma 3 files of 4b and above leave most of it out.
GEMMA3_DEFAULTS = {
    **TIED,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
}
GPT2_KEYS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}
ARCHITECTURES = {
    "gpt_neox": Architecture(
        FUSED,
        qkv_bias=True,
        biases=True,
        norm_bias=True,
        parallel=True,
        final_norm="final_layer_norm",
        elementwise=NEOX,
        fixed={"use_parallel_residual": True, "attention_bias": True},
    ),
    "llama": Architecture(),
    "mistral": Architecture(),
    "qwen2": Architecture(qkv_bias=True),
    "qwen3": Architecture(head_norms="each", elementwise=QWEN),
    "smollm3": Architecture(defaults=TIED),
    "granite": Architecture(elementwise=GRANITE),
    "phi3": Architecture(FUSED_GATED, elementwise=PHI3),
    "gemma2": Architecture(wide_norms=4, defaults={**TIED, "head_dim": 256}, elementwise=GEMMA2),
    "gemma3_text": Architecture(wide_norms=4, head_norms="each", defaults=GEMMA3_DEFAULTS, elementwise=GEMMA),
    "olmo2": Architecture(head_norms="all", pre_norm=False, elementwise=OLMO),
    "olmo3": Architecture(head_norms="all", pre_norm=False, elementwise=OLMO),
    "gpt2": Architecture(
        GPT2_MAPS,
        transposed=True,
        qkv_bias=True,
        biases=True,
        norm_bias=True,
        positions=True,
        blocks="h",
        final_norm="ln_f",
        elementwise=GPT2,
        keys=GPT2_KEYS,
        defaults=TIED,
        fixed={"add_cross_attention": False},
    ),
    "falcon": Architecture(
        FUSED,
        norm_bias=True,
        wide_norms=1,
        parallel=True,
        blocks="h",
        final_norm="ln_f",
        tuples=True,
        elementwise=NEOX,  # as of the block that is nearest to it: its attention is its own, which cannot run packed
        keys={"num_key_value_heads": "num_kv_heads", "intermediate_size": "ffn_hidden_size"},
        defaults={**TIED, "max_position_embeddings": 2048},
        fixed={"bias": False, "alibi": False, "parallel_attn": True, "num_ln_in_parallel_attn": 1},
    ),
    "modernbert-decoder": Architecture(
        MODERNBERT_MAPS,
        elementwise=MODERNBERT,
        final_norm="final_norm",
        defaults=TIED,
        fixed={"attention_bias": False, "mlp_bias": False, "norm_bias": False},
    ),
}


@dataclass(frozen=True)
class Linear:
    """One linear map of a block: its module's name and its two widths."""

    name: str
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True)
class ModelSpec:
    """Shape of one pretrained backbone. Every count follows from the shape."""

    name: str
    """What sweep files, recipes and tables call it."""
    architecture: str
    """Its model_type, one of ARCHITECTURES."""
    layers: int
    """Number of blocks."""
    width: int
    """Dimensions of a token's state, and of a text's vector."""
    heads: int
    """Query heads of attention."""
    kv_heads: int
    """Key and value heads, which groups of query heads share."""
    head_dim: int
    """Dimensions of one head."""
    mlp_width: int
    """Dimensions inside the MLP."""
    vocab: int
    """Rows of the token table."""
    context: int
    """Longest text, in tokens."""
    tied: bool = False
    """Whether the output table is the token table."""
    two_way: bool = False
    """Whether its attention looks both ways by itself, whatever a training asks."""
    source: str = ""
    """Where the weights are: a Hugging Face name or a folder; "" for a shape alone."""
    model_hash: str = ""
    """Of a folder in a sweep the identity of what lies in it; see sweeps/experiment/model_hash.py."""

    @property
    def family(self) -> Architecture:
        return ARCHITECTURES[self.architecture]

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """The linear maps of one block, in the order of the forward pass."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        widths = {"width": self.width, "query": query, "key": key, "qkv": query + 2 * key}
        widths |= {"mlp": self.mlp_width, "up": 2 * self.mlp_width}
        return tuple(Linear(name, widths[inputs], widths[outputs]) for name, inputs, outputs in self.family.maps)

    @property
    def qkv_linears(self) -> tuple[Linear, ...]:
        """The maps of a block to query, key and value."""
        return self.linears[: len(self.family.qkv_names)]

    @property
    def first_linears(self) -> tuple[Linear, ...]:
        """The maps of a block that read its input directly or through a norm."""
        if not self.family.parallel:
            return self.qkv_linears
        pairs = zip(self.linears, self.family.maps, strict=True)
        return tuple(linear for linear, (_, inputs, _) in pairs if inputs == "width")

    @cached_property
    def block_weights(self) -> int:
        """Entries of the matrices of one block."""
        return sum(linear.weights for linear in self.linears)

    @property
    def units(self) -> Units:
        """Width, dimensions of all query heads and of all key heads, and the MLP's width."""
        return self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.mlp_width

    @cached_property
    def block_biases(self) -> int:
        """Entries of the bias vectors of one block, those of its norms included."""
        qkv, others = self.qkv_linears, self.linears[len(self.qkv_linears) :]
        biased = (qkv if self.family.qkv_bias else ()) + (others if self.family.biases else ())
        norms = self.family.wide_norms * self.width if self.family.norm_bias else 0
        return sum(linear.outputs for linear in biased) + norms

    @cached_property
    def block_params(self) -> int:
        """Every parameter of one block."""
        heads = {"": 0, "each": 2 * self.head_dim, "all": (self.heads + self.kv_heads) * self.head_dim}
        norms = self.family.wide_norms * self.width + heads[self.family.head_norms]
        return self.block_weights + self.block_biases + norms

    @property
    def final_norm_params(self) -> int:
        return self.width * (2 if self.family.norm_bias else 1)

    @cached_property
    def params(self) -> int:
        """N: parameters outside the embedding tables."""
        return self.layers * self.block_params + self.final_norm_params

    @property
    def embedding_params(self) -> int:
        """Entries of the tables of tokens and positions that an embedding model reads (the output table is dropped)."""
        return (self.vocab + (self.context if self.family.positions else 0)) * self.width

    @property
    def biases(self) -> int:
        """All bias entries outside the embedding tables."""
        return self.layers * self.block_biases + (self.width if self.family.norm_bias else 0)


# What is plausible: keys of a config.json -> the most.
MOST = {"num_hidden_layers": 10_000, "hidden_size": 10**6, "num_attention_heads": 10**5, "head_dim": 10**5}
MOST_ANY = 2**31 - 1
MOST_PARAMS = 1e13
LEAST_BYTES = 0.4  # of a parameter in a file: 4 bits, and something less
ACTIVATIONS: tuple[str, ...] = (
    "gelu",
    "gelu_new",
    "gelu_fast",
    "gelu_pytorch_tanh",
    "gelu_python",
    "quick_gelu",
    "relu",
    "relu2",
)
ACTIVATIONS += ("relu6", "silu", "swish", "tanh", "sigmoid", "mish", "gelu_accurate", "gelu_10", "linear", "leaky_relu")


def from_config(config: dict[str, Any], name: str, source: str = "") -> ModelSpec:
    """The shape in a Hugging Face config.json. Raises ValueError naming the model, the key and the choices."""
    inner = config.get("text_config")
    if isinstance(inner, dict) and config.get("model_type") not in list(ARCHITECTURES):
        config = inner  # models that also see images keep their decoder there
    if "peft_type" in config and "model_type" not in config:
        raise ValueError(f"{name}: {_adapter(config)}")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ValueError(f"{name}: model_type is {kind!r}; known: {', '.join(ARCHITECTURES)}")
    config = _with_defaults(config, kind)
    for key, wanted in ARCHITECTURES[kind].fixed.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(f"{name}: {key} is {config[key]!r}; only {wanted} is counted for {kind}")
    if (both := config.get("use_bidirectional_attention")) and kind != "gemma3_text":
        raise ValueError(f"{name}: use_bidirectional_attention is {both!r}; its meaning for {kind} is not known")
    heads, width = _count(config, "num_attention_heads", name), _count(config, "hidden_size", name)
    given = config
    config = {"num_key_value_heads": heads, "head_dim": width // heads, **config}
    if ARCHITECTURES[kind].keys:  # those of GPT-2 and Falcon leave it out
        config.setdefault("intermediate_size", 4 * width)
    model = ModelSpec(
        name=name,
        architecture=kind,
        layers=_count(config, "num_hidden_layers", name),
        width=width,
        heads=heads,
        kv_heads=_count(config, "num_key_value_heads", name),
        head_dim=_count(config, "head_dim", name),
        mlp_width=_count(config, "intermediate_size", name),
        vocab=_count(config, "vocab_size", name),
        context=_count(config, "max_position_embeddings", name),
        tied=bool(config.get("tie_word_embeddings", False)),
        two_way=bool(both) or config.get("is_causal") is False,
        source=source,
    )
    _must_hold_together(given, model)
    return model


def _with_defaults(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """The config with llama's names for its keys, and with what its files leave out."""
    family = ARCHITECTURES[kind]
    settled = {**family.defaults, **{key: value for key, value in config.items() if value is not None}}
    if kind == "falcon":
        newer = bool(settled.get("new_decoder_architecture", False))
        settled.setdefault("num_ln_in_parallel_attn", 2 if newer else 1)
        if not newer:
            settled["num_kv_heads"] = 1 if settled.get("multi_query", True) else settled.get("num_attention_heads")
    return settled | {key: settled[own] for key, own in family.keys.items() if own in settled}


def _adapter(config: Mapping[str, Any]) -> str:
    base = config.get("base_model_name_or_path") or "its base model"
    return f"is an adapter (peft_type {config.get('peft_type')}), not a model; give {base}, or merge the two first"


def _count(config: dict[str, Any], key: str, name: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST.get(key, MOST_ANY):
        most = f"of at most {MOST.get(key, MOST_ANY):,}"
        raise ValueError(
            f"{name}: {key} in its config.json is {brief(value)}; it must be a positive whole number {most}"
        )
    return value


def _must_hold_together(config: Mapping[str, Any], model: ModelSpec) -> None:
    """Raises ValueError for a shape that no model has."""
    if model.heads % model.kv_heads:
        raise ValueError(
            f"{model.name}: {model.heads} attention heads are not a multiple of {model.kv_heads} key-value heads"
        )
    if "head_dim" not in config and model.width % model.heads:
        raise ValueError(f"{model.name}: a width of {model.width} cannot be split into {model.heads} attention heads")
    if model.params > MOST_PARAMS:
        raise ValueError(
            f"{model.name}: its config.json describes {model.params:.3g} parameters; at most {MOST_PARAMS:g}"
        )
    for key in ("hidden_act", "hidden_activation", "activation_function"):
        if (name := config.get(key)) is not None and name not in ACTIVATIONS:
            raise ValueError(f"{model.name}: {key} is {brief(name)}; known: {', '.join(ACTIVATIONS)}")


POINTER = b"version https://git-lfs"  # how a Git LFS pointer begins, which lies where the file should


def _begins_with(file: Path, start: bytes) -> bool:
    with open(file, "rb") as opened:
        return opened.read(len(start)) == start


def _must_hold_weights(folder: Path, model: ModelSpec) -> None:
    """Raises ValueError where the files of a folder cannot hold that model: told before any memory is taken."""
    if not any(folder.glob("*.safetensors")) and (pickled := next(folder.glob("pytorch_model*.bin"), None)):
        raise ValueError(f"{pickled}: is pickled, which can execute code when read; convert it to safetensors")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = read_json(index)
        files: Any = named.get("weight_map") if isinstance(named, dict) else None
        fits = isinstance(files, dict) and all(isinstance(name, str) for name in files.values())
        require(f"{index}: weight_map", files, fits, "an object of file names")
        for name in sorted(set(files.values())):
            if Path(name).name != name or not (folder / name).is_file():
                raise ValueError(f"{index}: names {brief(name)}, which is no file in this folder")
    for file in sorted(folder.glob("*.safetensors")):
        if file.is_file() and _begins_with(file, POINTER):
            raise ValueError(f"{file}: is a Git LFS pointer, not the weights; `git lfs pull` fetches them")
    held = sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.is_file())
    if held and held < LEAST_BYTES * model.params:
        raise ValueError(
            f"{folder / 'config.json'}: describes {model.params:.3g} parameters; its weights have only {held:,} bytes"
        )


def read_model(path: Path) -> ModelSpec:
    """The shape of a model folder, or of a config.json itself. Raises ValueError, naming the file, for what is no
    model that can be tuned; FileNotFoundError when there is nothing."""
    file = path / "config.json" if path.is_dir() else path
    adapter = path / "adapter_config.json"
    if adapter.is_file():  # transformers would load its base, from wherever that is
        raise ValueError(f"{adapter}: {_adapter(read_object(adapter))}")
    if path.is_dir():
        _must_be_pooled_only(path / "modules.json")
    config, folder = read_object(file), file.parent
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        kind = quantized.get("quant_method", "of an unknown kind")
        raise ValueError(f"{file}: its weights are quantised ({kind}); give the unquantised checkpoint")
    model = from_config(config, name=folder.resolve().name, source=str(folder))
    if path.is_dir():
        refuse_special(folder)
        _must_hold_weights(folder, model)
    return model


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a model. Raises ValueError naming the file, or FileNotFoundError."""
    config = read_json(file, MOST_BYTES)
    if not isinstance(config, dict):
        raise ValueError(f"{file}: holds {type(config).__name__}, not an object")
    return config


KEPT_MODULES = ("Transformer", "Pooling", "Normalize")


def _must_be_pooled_only(file: Path) -> None:
    """Raises ValueError when a Sentence Transformers model does more than pool: the rest would be dropped."""
    try:
        modules = read_json(file, MOST_BYTES)
    except FileNotFoundError:
        return
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (TypeError, KeyError):
        raise ValueError(f"{file}: not a list of modules, each with its type") from None
    if others := [kind for kind in kinds if kind not in KEPT_MODULES]:
        raise ValueError(
            f"{file}: the model has a module {others[0]} after its decoder, which would be dropped; known: "
            f"{', '.join(KEPT_MODULES)}"
        )


def _neox(
    name: str, layers: int, width: int, heads: int, vocab: int, context: int, tied: bool, source: str
) -> ModelSpec:
    head_dim = width // heads
    return ModelSpec(
        name, "gpt_neox", layers, width, heads, heads, head_dim, 4 * width, vocab, context, tied, source=source
    )


# Where the shapes come from: the config.json of each published checkpoint; Pythia also Biderman et al. 2023, table 1.
PYTHIA = tuple(
    _neox(f"pythia-{size}", layers, width, heads, vocab, 2048, tied=False, source=f"EleutherAI/pythia-{size}")
    for size, layers, width, heads, vocab in [
        ("14m", 6, 128, 4, 50304),
        ("31m", 6, 256, 8, 50304),
        ("70m", 6, 512, 8, 50304),
        ("160m", 12, 768, 12, 50304),
        ("410m", 24, 1024, 16, 50304),
        ("1b", 16, 2048, 8, 50304),
        ("1.4b", 24, 2048, 16, 50304),
        ("2.8b", 32, 2560, 32, 50304),
        ("6.9b", 32, 4096, 32, 50432),
        ("12b", 36, 5120, 40, 50688),
    ]
)
# In the tables below a shape is: layers, width, heads, kv_heads, head_dim, mlp_width.
QWEN3 = tuple(
    ModelSpec(f"qwen3-{size.lower()}", "qwen3", *shape, 151936, 32768, tied, source=f"Qwen/Qwen3-{size}-Base")
    for size, shape, tied in [
        ("0.6B", (28, 1024, 16, 8, 128, 3072), True),
        ("1.7B", (28, 2048, 16, 8, 128, 6144), True),
        ("4B", (36, 2560, 32, 8, 128, 9728), True),
        ("8B", (36, 4096, 32, 8, 128, 12288), False),
        ("14B", (40, 5120, 40, 8, 128, 17408), False),
    ]
)
SMOLLM2 = tuple(
    ModelSpec(f"smollm2-{size.lower()}", "llama", *shape, 49152, 8192, True, source=f"HuggingFaceTB/SmolLM2-{size}")
    for size, shape in [
        ("135M", (30, 576, 9, 3, 64, 1536)),
        ("360M", (32, 960, 15, 5, 64, 2560)),
        ("1.7B", (24, 2048, 32, 32, 64, 8192)),
    ]
)
# The checkpoints of 4b and above also hold a vision model; the shapes, N included, are those of their decoder alone.
GEMMA3 = tuple(
    ModelSpec(f"gemma3-{size}", "gemma3_text", *shape, vocab, context, True, source=f"google/gemma-3-{size}-pt")
    for size, shape, vocab, context in [
        ("270m", (18, 640, 4, 1, 256, 2048), 262144, 32768),
        ("1b", (26, 1152, 4, 1, 256, 6912), 262144, 32768),
        ("4b", (34, 2560, 8, 4, 256, 10240), 262208, 131072),
        ("12b", (48, 3840, 16, 8, 256, 15360), 262208, 131072),
        ("27b", (62, 5376, 32, 16, 128, 21504), 262208, 131072),
    ]
)
OLMO2 = tuple(
    ModelSpec(f"olmo2-{release[5:].lower()}", "olmo2", *shape, 100352, 4096, False, source=f"allenai/OLMo-2-{release}")
    for release, shape in [
        ("0425-1B", (16, 2048, 16, 16, 128, 8192)),
        ("1124-7B", (32, 4096, 32, 32, 128, 11008)),
        ("1124-13B", (40, 5120, 40, 40, 128, 13824)),
        ("0325-32B", (64, 5120, 40, 8, 128, 27648)),
    ]
)
QWEN25 = tuple(
    ModelSpec(f"qwen2.5-{size.lower()}", "qwen2", *shape, vocab, context, tied, source=f"Qwen/Qwen2.5-{size}")
    for size, shape, vocab, context, tied in [
        ("0.5B", (24, 896, 14, 2, 64, 4864), 151936, 32768, True),
        ("1.5B", (28, 1536, 12, 2, 128, 8960), 151936, 131072, True),
        ("3B", (36, 2048, 16, 2, 128, 11008), 151936, 32768, True),
        ("7B", (28, 3584, 28, 4, 128, 18944), 152064, 131072, False),
        ("14B", (48, 5120, 40, 8, 128, 13824), 152064, 131072, False),
        ("32B", (64, 5120, 40, 8, 128, 27648), 152064, 131072, False),
    ]
)
LLAMA32 = tuple(
    ModelSpec(f"llama3.2-{size.lower()}", "llama", *shape, 128256, 131072, True, source=f"meta-llama/Llama-3.2-{size}")
    for size, shape in [
        ("1B", (16, 2048, 32, 8, 64, 8192)),
        ("3B", (28, 3072, 24, 8, 128, 8192)),
    ]
)
# Weller et al. 2025: decoders and encoders of one recipe; these are the decoders. Layers, width, heads, mlp_width.
ETTIN = tuple(
    ModelSpec(
        f"ettin-{size}",
        "modernbert-decoder",
        *(layers, width, heads, heads, 64, mlp_width, 50368, 7999, True),
        source=f"jhu-clsp/ettin-decoder-{size}",
    )
    for size, layers, width, heads, mlp_width in [
        ("17m", 7, 256, 4, 384),
        ("32m", 10, 384, 6, 576),
        ("68m", 19, 512, 8, 768),
        ("150m", 22, 768, 12, 1152),
        ("400m", 28, 1024, 16, 2624),
        ("1b", 28, 1792, 28, 3840),
    ]
)
# Dey et al. 2023, table 1: GPT-2's blocks, each size trained on 20 tokens a parameter.
CEREBRAS_GPT = tuple(
    ModelSpec(
        f"cerebras-gpt-{size.lower()}",
        "gpt2",
        *(layers, width, heads, heads, width // heads, 4 * width, 50257, 2048, True),
        source=f"cerebras/Cerebras-GPT-{size}",
    )
    for size, layers, width, heads in [
        ("111M", 10, 768, 12),
        ("256M", 14, 1088, 17),
        ("590M", 18, 1536, 12),
        ("1.3B", 24, 2048, 16),
        ("2.7B", 32, 2560, 32),
        ("6.7B", 32, 4096, 32),
        ("13B", 40, 5120, 40),
    ]
)
NANO_FOLDER = Path(__file__).resolve().parents[1] / "runner" / "nano"
NANO = tuple(
    _neox(name, layers, width, max(1, width // 32), 4096, 256, tied=True, source=str(NANO_FOLDER / name))
    for name, layers, width in [
        ("nano-7k", 2, 16),
        ("nano-14k", 2, 24),
        ("nano-25k", 2, 32),
        ("nano-57k", 2, 48),
        ("nano-100k", 2, 64),
        ("nano-230k", 3, 80),
        ("nano-340k", 3, 96),
        ("nano-1.2m", 4, 160),
        ("nano-4.7m", 6, 256),
    ]
)

SUITES = {
    "nano": NANO,
    "pythia": PYTHIA,
    "qwen3": QWEN3,
    "smollm2": SMOLLM2,
    "gemma3": GEMMA3,
    "olmo2": OLMO2,
    "qwen2.5": QWEN25,
    "llama3.2": LLAMA32,
    "ettin": ETTIN,
    "cerebras-gpt": CEREBRAS_GPT,
}


def find_model(name: str, where: str = "model") -> ModelSpec:
    """The model of this name in any suite, or in a local folder. Raises ValueError naming `where` and the choices."""
    for suite in SUITES.values():
        for model in suite:
            if model.name == name:
                return model
    if os.path.exists(folder := located(name)):
        return read_model(folder)
    known = ", ".join(model.name for suite in SUITES.values() for model in suite)
    raise ValueError(f"{where} is {name!r}: neither a folder nor one of {known}")
