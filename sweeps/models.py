"""Backbones: the shape of a pretrained decoder, read from a Hugging Face config.json, and the counts that follow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Bytes kept for the way back, the inputs of the products included."""
    kernels: int = 150
    """Operations started in a block, products included."""


@dataclass(frozen=True)
class Architecture:
    """What one model family adds to plain matrix shapes."""

    fused_qkv: bool = False
    """Whether one map makes query, key and value."""
    gated: bool = True
    """Whether the MLP has a gate beside its up map."""
    qkv_bias: bool = False
    """Whether the maps to query, key and value have bias vectors."""
    biases: bool = False
    """Whether the other linear maps have them."""
    norm_bias: bool = False
    """Whether the norms have one."""
    wide_norms: int = 2
    """Norms over the width in a block."""
    head_norms: str = ""
    """Norms of query and key: "each" over one head's dimension, "all" over all heads together, "" none."""
    parallel: bool = False
    """Whether attention and MLP both read the block's input."""
    pre_norm: bool = True
    """Whether a norm stands before the block's first maps."""
    elementwise: Elementwise = Elementwise()
    """What a block does besides its matrix products."""


MOST_CHARACTERS = 10_000_000  # of a config.json
NEOX = Elementwise((317, 0, 0, 12), (22, 0, 0, 4), 112)  # its heads are as wide as the block
QWEN = Elementwise((392, 304, 252, 28), (26, 14, 6, 8), 201)
GEMMA = Elementwise((680, 284, 232, 28), (42, 16, 8, 8), 259)
OLMO = Elementwise((440, 278, 226, 28), (26, 16, 8, 8), 211)
ARCHITECTURES = {
    "gpt_neox": Architecture(
        fused_qkv=True, gated=False, qkv_bias=True, biases=True, norm_bias=True, parallel=True, elementwise=NEOX
    ),
    "llama": Architecture(),
    "qwen2": Architecture(qkv_bias=True),
    "qwen3": Architecture(head_norms="each", elementwise=QWEN),
    "gemma3_text": Architecture(wide_norms=4, head_norms="each", elementwise=GEMMA),
    "olmo2": Architecture(head_norms="all", pre_norm=False, elementwise=OLMO),
}

# Settings that change a block's form or its biases, and the only value that is counted (true for gpt_neox alone).
FIXED = ("use_parallel_residual", "attention_bias", "mlp_bias")

# Keys that the published Gemma 3 files of 4b and above leave out, as transformers' Gemma3TextConfig fills them in.
GEMMA3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
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
    source: str = ""
    """Where the weights are: a Hugging Face name or a folder; "" for a shape alone."""

    @property
    def family(self) -> Architecture:
        return ARCHITECTURES[self.architecture]

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear maps of one block, in the order of the forward pass."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if self.family.fused_qkv:
            return (
                Linear("query_key_value", self.width, query + 2 * key),
                Linear("dense", query, self.width),
                Linear("dense_h_to_4h", self.width, self.mlp_width),
                Linear("dense_4h_to_h", self.mlp_width, self.width),
            )
        attention = (
            Linear("q_proj", self.width, query),
            Linear("k_proj", self.width, key),
            Linear("v_proj", self.width, key),
            Linear("o_proj", query, self.width),
        )
        gate = (Linear("gate_proj", self.width, self.mlp_width),) if self.family.gated else ()
        up = Linear("up_proj", self.width, self.mlp_width)
        return (*attention, *gate, up, Linear("down_proj", self.mlp_width, self.width))

    @property
    def first_linears(self) -> tuple[Linear, ...]:
        """The maps of a block that read its input directly or through a norm."""
        readers = {"query_key_value", "q_proj", "k_proj", "v_proj"}
        if self.family.parallel:
            readers |= {"dense_h_to_4h", "gate_proj", "up_proj"}
        return tuple(linear for linear in self.linears if linear.name in readers)

    @property
    def block_weights(self) -> int:
        """Entries of the matrices of one block."""
        return sum(linear.weights for linear in self.linears)

    @property
    def units(self) -> Units:
        """Width, dimensions of all query heads and of all key heads, and the MLP's width."""
        return self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.mlp_width

    @property
    def block_biases(self) -> int:
        """Entries of the bias vectors of one block, those of its norms included."""
        qkv = {"query_key_value", "q_proj", "k_proj", "v_proj"}
        biased = [x for x in self.linears if (self.family.qkv_bias if x.name in qkv else self.family.biases)]
        norms = self.family.wide_norms * self.width if self.family.norm_bias else 0
        return sum(linear.outputs for linear in biased) + norms

    @property
    def block_params(self) -> int:
        """Every parameter of one block."""
        heads = {"": 0, "each": 2 * self.head_dim, "all": (self.heads + self.kv_heads) * self.head_dim}
        norms = self.family.wide_norms * self.width + heads[self.family.head_norms]
        return self.block_weights + self.block_biases + norms

    @property
    def final_norm_params(self) -> int:
        return self.width * (2 if self.family.norm_bias else 1)

    @property
    def params(self) -> int:
        """N: parameters outside the embedding tables."""
        return self.layers * self.block_params + self.final_norm_params

    @property
    def embedding_params(self) -> int:
        """Entries of the token table that an embedding model reads (the output table is dropped)."""
        return self.vocab * self.width

    @property
    def biases(self) -> int:
        """All bias entries outside the embedding tables."""
        return self.layers * self.block_biases + (self.width if self.family.norm_bias else 0)


def from_config(config: dict[str, Any], name: str, source: str = "") -> ModelSpec:
    """The shape in a Hugging Face config.json. Raises ValueError naming the model, the key and the choices."""
    inner = config.get("text_config")
    if isinstance(inner, dict) and config.get("model_type") not in list(ARCHITECTURES):
        config = inner  # models that also see images keep their decoder there
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ValueError(f"{name}: model_type is {kind!r}; known: {', '.join(ARCHITECTURES)}")
    if kind == "gemma3_text":
        config = {**GEMMA3_DEFAULTS, **config}
    for key in FIXED:
        wanted = kind == "gpt_neox"
        if config.get(key, wanted) != wanted:
            raise ValueError(f"{name}: {key} is {config[key]!r}; only {wanted} is counted for {kind}")
    heads, width = _count(config, "num_attention_heads", name), _count(config, "hidden_size", name)
    settled = {key: value for key, value in config.items() if value is not None}
    config = {"num_key_value_heads": heads, "head_dim": width // heads, **settled}
    return ModelSpec(
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
        source=source,
    )


def _count(config: dict[str, Any], key: str, name: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise ValueError(f"{name}: {key} in its config.json is {value!r}; it must be a positive whole number")
    return value


def read_model(path: Path) -> ModelSpec:
    """The shape of a model folder, or of a config.json itself. Raises ValueError or FileNotFoundError."""
    file = path / "config.json" if path.is_dir() else path
    if file.exists() and not file.is_file():
        raise ValueError(f"{file}: neither a folder nor a file")
    try:
        with open(file, encoding="utf-8") as opened:
            config = json.loads(opened.read(MOST_CHARACTERS))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{file}: not JSON: lists or objects inside one another too deeply") from None
    if not isinstance(config, dict):
        raise ValueError(f"{file}: holds {type(config).__name__}, not an object")
    folder = file.parent
    return from_config(config, name=folder.resolve().name, source=str(folder))


def _neox(
    name: str, layers: int, width: int, heads: int, vocab: int, context: int, tied: bool, source: str
) -> ModelSpec:
    return ModelSpec(
        name, "gpt_neox", layers, width, heads, heads, width // heads, 4 * width, vocab, context, tied, source
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
    ModelSpec(f"qwen3-{size.lower()}", "qwen3", *shape, 151936, 32768, tied, f"Qwen/Qwen3-{size}-Base")
    for size, shape, tied in [
        ("0.6B", (28, 1024, 16, 8, 128, 3072), True),
        ("1.7B", (28, 2048, 16, 8, 128, 6144), True),
        ("4B", (36, 2560, 32, 8, 128, 9728), True),
        ("8B", (36, 4096, 32, 8, 128, 12288), False),
        ("14B", (40, 5120, 40, 8, 128, 17408), False),
    ]
)
SMOLLM2 = tuple(
    ModelSpec(f"smollm2-{size.lower()}", "llama", *shape, 49152, 8192, True, f"HuggingFaceTB/SmolLM2-{size}")
    for size, shape in [
        ("135M", (30, 576, 9, 3, 64, 1536)),
        ("360M", (32, 960, 15, 5, 64, 2560)),
        ("1.7B", (24, 2048, 32, 32, 64, 8192)),
    ]
)
# The checkpoints of 4b and above also hold a vision model; the shapes, N included, are those of their decoder alone.
GEMMA3 = tuple(
    ModelSpec(f"gemma3-{size}", "gemma3_text", *shape, vocab, context, True, f"google/gemma-3-{size}-pt")
    for size, shape, vocab, context in [
        ("270m", (18, 640, 4, 1, 256, 2048), 262144, 32768),
        ("1b", (26, 1152, 4, 1, 256, 6912), 262144, 32768),
        ("4b", (34, 2560, 8, 4, 256, 10240), 262208, 131072),
        ("12b", (48, 3840, 16, 8, 256, 15360), 262208, 131072),
        ("27b", (62, 5376, 32, 16, 128, 21504), 262208, 131072),
    ]
)
OLMO2 = tuple(
    ModelSpec(f"olmo2-{release[5:].lower()}", "olmo2", *shape, 100352, 4096, False, f"allenai/OLMo-2-{release}")
    for release, shape in [
        ("0425-1B", (16, 2048, 16, 16, 128, 8192)),
        ("1124-7B", (32, 4096, 32, 32, 128, 11008)),
        ("1124-13B", (40, 5120, 40, 40, 128, 13824)),
        ("0325-32B", (64, 5120, 40, 8, 128, 27648)),
    ]
)
NANO_FOLDER = Path(__file__).resolve().parents[1] / "runner" / "nano"
NANO = tuple(
    _neox(name, layers, width, max(1, width // 32), 4096, 256, tied=True, source=str(NANO_FOLDER / name))
    for name, layers, width in [
        ("nano-7k", 2, 16),
        ("nano-25k", 2, 32),
        ("nano-100k", 2, 64),
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
}


def find_model(name: str) -> ModelSpec:
    """The model of this name in any suite, or in a local folder. Raises ValueError naming the choices."""
    for suite in SUITES.values():
        for model in suite:
            if model.name == name:
                return model
    if (folder := located(name)).exists():
        return read_model(folder)
    known = ", ".join(model.name for suite in SUITES.values() for model in suite)
    raise ValueError(f"model is {name!r}: neither a folder nor one of {known}")
