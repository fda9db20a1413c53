"""Ways of tuning a backbone: what each trains, how far backward must go, how it is done. METHODS lists them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from sweeps.models import ARCHITECTURES, Linear, ModelSpec, from_config
from sweeps.support.checks import choice, from_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAIN, ADAPTER, FREEZE = TOKEN_TABLES = ("train", "adapter", "freeze")
RANKS = 12  # powers of two that a rank may be chosen from, up to 2,048
SHARE_DIGITS = 4  # of the share of so many frozen blocks
LATER = ("only", "token_table")  # settings that came after the first trials: at their defaults no key holds them


@dataclass(frozen=True)
class Method(ABC):
    """One way of tuning. Counts leave the embedding tables out, as N does, but for those that begin with `table`.

    `trainable` and `backprop` give the paper's count (Ziarko et al. 2024, section 3.5); the others say which matrix
    products a step really does, for the exact count. Class attributes are what others need to know of a method:
    nothing outside this file asks for its name.
    """

    name: ClassVar[str]
    """What sweep files and recipes call it."""
    examples: ClassVar[tuple[Mapping[str, Any], ...]]
    """Settings that the tests try; the first is the one where one is enough."""
    bits: ClassVar[int] = 0
    """Bits of a backbone weight in memory; 0: as the trainer keeps it."""
    has_adapter: ClassVar[bool] = False
    """Whether what it adds to the model can be written alone, and is merged into the weights otherwise."""
    foldable: ClassVar[bool] = False
    """Whether its adapters are to run folded into the weights (runner/model/folded_lora.py), as its counts say then."""
    adapts_token_table: ClassVar[bool] = False
    """Whether it may give the token table an adapter."""
    token_table: str = field(default=FREEZE, kw_only=True)
    """How the token table is treated, independently of the blocks: train (with the table of positions,
    if there is one), adapter (of the same rank; for lora and qlora) or freeze."""

    def __post_init__(self) -> None:
        choice(f"{self.name}: token_table", self.token_table, self.token_tables())

    @classmethod
    def token_tables(cls) -> tuple[str, ...]:
        """Returns what `token_table` may be."""
        return tuple(each for each in TOKEN_TABLES if each != ADAPTER or cls.adapts_token_table)

    @property
    def trains_token_table(self) -> bool:
        """Whether the table's own weights get a gradient."""
        return self.token_table == TRAIN

    @property
    def reaches_token_table(self) -> bool:
        """Whether the backward pass goes on below the blocks: to the table, or to its adapter."""
        return self.token_table != FREEZE

    @property
    def table_rank(self) -> int:
        """Rank of the token table's adapter; 0: it has none."""
        return 0

    def table_adapter(self, model: ModelSpec) -> int:
        """Returns the number of entries of the token table's adapter: one of its matrices has a row for each token."""
        return self.table_rank * (model.vocab + model.width)

    def table_trainable(self, model: ModelSpec) -> int:
        """Returns the number of entries of the tables, or of the adapter of the token table, that get a gradient."""
        return model.embedding_params if self.trains_token_table else self.table_adapter(model)

    def table_weights_per_token(self, model: ModelSpec) -> int:
        """Returns the number of matrix entries that a token passes in the token table's adapter."""
        return self.table_rank * model.width

    @abstractmethod
    def trainable(self, model: ModelSpec) -> int:
        """Returns T, the number of parameters that receive a gradient."""

    @abstractmethod
    def backprop(self, model: ModelSpec) -> int:
        """Returns the number of backbone parameters that the backward pass goes through."""

    def adapters(self, model: ModelSpec) -> int:
        """Returns the number of entries that the method adds to the model."""
        return 0

    def adapter_weights_per_token(self, model: ModelSpec) -> int:
        """Returns the number of matrix entries that every token passes besides the backbone's."""
        return 0

    def per_step(self, model: ModelSpec) -> int:
        """Returns the number of multiplications that are done once a step, whatever its tokens."""
        return 0

    def frozen_blocks(self, model: ModelSpec) -> int:
        """Returns the number of first blocks in which nothing is trained."""
        return 0

    def stops(self, model: ModelSpec) -> int:
        """Returns the number of matrix entries of the first trained block that have nothing trained below them, the
        tables aside."""
        return 0

    def backward_layers(self, model: ModelSpec) -> int:
        """Returns the number of blocks that the backward pass enters."""
        return model.layers - (0 if self.reaches_token_table else self.frozen_blocks(model))

    def activation_grad_weights(self, model: ModelSpec) -> int:
        """Returns the number of matrix entries whose products pass a gradient on to their input."""
        stops = 0 if self.reaches_token_table else self.stops(model)
        return self.backward_layers(model) * model.block_weights - stops

    @abstractmethod
    def weight_grad_weights(self, model: ModelSpec) -> int:
        """Returns the number of matrix entries of the products that give the trained parameters their gradient."""

    def refusal(self, model: ModelSpec) -> str:
        """Returns why this method cannot tune this model; empty when it can."""
        return ""

    def settings_on(self, model: ModelSpec) -> list[Method]:
        """Returns the method with each number of trained blocks, or rank, that a model can realise; none where it has
        neither."""
        return []

    def quantized(self) -> Method | None:
        """Returns the method that trains the same parameters over a backbone in 4 bits; None where there is none."""
        return None

    @abstractmethod
    def tune(self, backbone: PreTrainedModel) -> Any:
        """Returns the backbone with `requires_grad` as this method says for all but the tables, and what it adds."""

    def apply(self, backbone: PreTrainedModel) -> Any:
        """Returns the backbone, ready to train: same forward, `requires_grad` as this method says."""
        tables = _tables(backbone)
        tuned = self.tune(backbone)
        for table in tables:
            table.weight.requires_grad_(self.trains_token_table)
        return tuned

    @property
    def options(self) -> dict[str, Any]:
        """The method's settings by name, those that came later behind the others and only where they say something."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {item.name for item in fields(self) if item.name in LATER and given[item.name] == item.default}
        return {key: given[key] for key in sorted(given, key=LATER.__contains__) if key not in plain}

    @cached_property
    def label(self) -> str:
        """Name and settings, as tables and figures print them."""
        return label_of({"name": self.name, **self.options})


@dataclass(frozen=True)
class Full(Method):
    """Every parameter is trained, the token table included unless `token_table` says otherwise."""

    name: ClassVar[str] = "full"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    token_table: str = field(default=TRAIN, kw_only=True)

    def trainable(self, model: ModelSpec) -> int:
        return model.params

    def backprop(self, model: ModelSpec) -> int:
        return model.params

    def stops(self, model: ModelSpec) -> int:
        # A norm below the first maps is trained, and needs their input's gradient.
        return 0 if model.family.pre_norm else sum(x.weights for x in model.first_linears)

    def weight_grad_weights(self, model: ModelSpec) -> int:
        return model.layers * model.block_weights

    def tune(self, backbone: PreTrainedModel) -> Any:
        return backbone.requires_grad_(True)


@dataclass(frozen=True)
class LoRA(Method):
    """Rank-r adapters on every linear map of every block; the backbone stays frozen (Hu et al. 2021).

    The adapter's product is scaled by alpha / sqrt(rank) (Kalajdzievski 2023), so that a step changes the
    weights by the same amount at every rank; the paper's runs scaled by 8 / rank, which shrinks it at high ranks. The
    best rate still falls, about as rank**-0.24 (0.0096 at rank 2, 0.0034 at 128: nano-100k, 60 steps of 24 pairs), so
    it is searched for each.
    """

    name: ClassVar[str] = "lora"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"rank": 4}, {"rank": 512})
    has_adapter: ClassVar[bool] = True
    foldable: ClassVar[bool] = True
    adapts_token_table: ClassVar[bool] = True
    rank: int = 32
    """Rank r of the adapters, at least 1."""
    alpha: float = 8.0
    """The adapter's product is scaled by alpha / sqrt(rank); positive."""
    only: str = ""
    """Names of the linear maps that get an adapter, comma-separated, at least one of the query, key and value maps
    ("q_proj,v_proj"). "": every map."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"lora: rank is {self.rank} and alpha {self.alpha}; both must be positive")
        if self.only and not set(QKV) & set(self.only.split(",")):
            raise ValueError(f"lora: only is {self.only!r}; it must hold one of {', '.join(QKV)}")

    def refusal(self, model: ModelSpec) -> str:
        known = [linear.name for linear in model.linears]
        unknown = [name for name in self.only.split(",") if name not in known] if self.only else []
        return f"{model.name} has no map {unknown[0]!r}; it has {', '.join(known)}" if unknown else ""

    def settings_on(self, model: ModelSpec) -> list[Method]:
        return [replace(self, rank=2**power) for power in range(RANKS)]

    def adapted(self, model: ModelSpec) -> list[Linear]:
        """Returns the maps of a block that get an adapter."""
        return [linear for linear in model.linears if not self.only or linear.name in self.only.split(",")]

    @property
    def table_rank(self) -> int:
        return self.rank if self.token_table == ADAPTER else 0

    def trainable(self, model: ModelSpec) -> int:
        return _adapter_entries(model, self.rank, self.adapted(model))

    def backprop(self, model: ModelSpec) -> int:
        return model.params

    def adapters(self, model: ModelSpec) -> int:
        return self.trainable(model)

    def per_step(self, model: ModelSpec) -> int:
        folded = sum(linear.weights for linear in self.adapted(model))  # W + sBA
        return self.rank * model.layers * folded

    def stops(self, model: ModelSpec) -> int:
        return sum(x.weights for x in model.first_linears)  # the first block's norm is not trained

    def weight_grad_weights(self, model: ModelSpec) -> int:
        # To A and B; and first the token's own part of either, x A' and the gradient through B.
        return 2 * self.trainable(model)

    def quantized(self) -> Method | None:
        return None if self.only else QLoRA(self.rank, self.alpha, token_table=self.token_table)

    def tune(self, backbone: PreTrainedModel) -> Any:
        return _adapted(backbone, self, self.only)


@dataclass(frozen=True)
class DoRA(Method):
    """LoRA on every linear map with a trained magnitude for each row: m (W + sBA) / |W + sBA| (Liu et al. 2024).

    The scale s is that of `lora`, and so are the matrix products: magnitudes and rescaling are elementwise.
    """

    name: ClassVar[str] = "dora"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"rank": 4},)
    has_adapter: ClassVar[bool] = True
    foldable: ClassVar[bool] = True
    rank: int = 32
    """Rank r of the adapters, at least 1."""
    alpha: float = 8.0
    """The adapter's product is scaled by alpha / sqrt(rank); positive."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"dora: rank is {self.rank} and alpha {self.alpha}; both must be positive")

    @property
    def directions(self) -> LoRA:
        """The same without the magnitudes."""
        return LoRA(self.rank, self.alpha)

    def trainable(self, model: ModelSpec) -> int:
        return self.directions.trainable(model) + model.layers * sum(linear.outputs for linear in model.linears)

    def backprop(self, model: ModelSpec) -> int:
        return model.params

    def adapters(self, model: ModelSpec) -> int:
        return self.trainable(model)

    def per_step(self, model: ModelSpec) -> int:
        return self.directions.per_step(model)

    def stops(self, model: ModelSpec) -> int:
        return self.directions.stops(model)

    def weight_grad_weights(self, model: ModelSpec) -> int:
        return self.directions.weight_grad_weights(model)

    def tune(self, backbone: PreTrainedModel) -> Any:
        return _adapted(backbone, self, use_dora=True)


@dataclass(frozen=True)
class QLoRA(Method):
    """LoRA over a backbone in 4 bits, type nf4 (Dettmers et al. 2023): a fifth of its memory, more time a token.

    Needs the extra `quantized`. Every product unpacks its weights first, so adapters cannot be folded into them.
    """

    name: ClassVar[str] = "qlora"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"rank": 4},)
    bits: ClassVar[int] = 4
    has_adapter: ClassVar[bool] = True
    adapts_token_table: ClassVar[bool] = True
    rank: int = 32
    """Rank r of the adapters, at least 1."""
    alpha: float = 8.0
    """The adapter's product is scaled by alpha / sqrt(rank); positive."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"qlora: rank is {self.rank} and alpha {self.alpha}; both must be positive")

    @property
    def table_rank(self) -> int:
        return self.rank if self.token_table == ADAPTER else 0

    def trainable(self, model: ModelSpec) -> int:
        return _adapter_entries(model, self.rank, model.linears)

    def backprop(self, model: ModelSpec) -> int:
        return model.params

    def adapters(self, model: ModelSpec) -> int:
        return self.trainable(model)

    def adapter_weights_per_token(self, model: ModelSpec) -> int:
        return self.trainable(model)

    def stops(self, model: ModelSpec) -> int:
        return sum(x.weights + self.rank * x.inputs for x in model.first_linears)

    def activation_grad_weights(self, model: ModelSpec) -> int:
        return super().activation_grad_weights(model) + self.trainable(model)

    def weight_grad_weights(self, model: ModelSpec) -> int:
        return self.trainable(model)

    def refusal(self, model: ModelSpec) -> str:
        if model.family.transposed:
            return f"{model.name} ({model.architecture}) stores its maps transposed, which 4 bits do not support"
        odd = sorted({x.inputs for x in model.linears if x.inputs % QUANTIZED_TOGETHER})
        return f"{model.name} has maps of {odd[0]} inputs, not a multiple of {QUANTIZED_TOGETHER}" if odd else ""

    def tune(self, backbone: PreTrainedModel) -> Any:
        return _adapted(backbone, self)


# Maps that attention reads its input through, in any architecture.
QKV = sorted({name for family in ARCHITECTURES.values() for name in family.qkv_names})
QUANTIZED_TOGETHER = 64  # weights that share a scale in bitsandbytes' nf4


def _adapter_entries(model: ModelSpec, rank: int, adapted: Iterable[Linear]) -> int:
    return model.layers * rank * sum(x.inputs + x.outputs for x in adapted)


def _adapted(backbone: PreTrainedModel, method: LoRA | DoRA | QLoRA, only: str = "", use_dora: bool = False) -> Any:
    """Returns the backbone, frozen, with peft's adapters on every linear map of every block, or on some, and on the
    token table where the method says so."""
    import peft  # only here: the planner reads this module and must start without torch

    spec = from_config(backbone.config.to_dict(), "backbone")
    targets = only.split(",") if only else sorted({linear.name for linear in spec.linears})
    if method.token_table == ADAPTER:
        table = backbone.get_input_embeddings()
        targets += [name for name, module in backbone.named_modules() if module is table]
    config = peft.LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        use_rslora=True,
        target_modules=targets,
        use_dora=use_dora,
        fan_in_fan_out=spec.family.transposed,
    )
    return peft.get_peft_model(backbone, config)


def _tables(backbone: PreTrainedModel) -> list[Any]:
    """Returns the tables of tokens and positions."""
    from torch import nn

    return [module for module in backbone.modules() if isinstance(module, nn.Embedding)]


def blocks_of(backbone: Any) -> Any:
    """Returns the blocks of a decoder, first to last: the list that it runs, not a copy."""
    return getattr(backbone, ARCHITECTURES[backbone.config.model_type].blocks)


@dataclass(frozen=True)
class FreezeBlocks(Method):
    """The first `share` of the blocks and all before them stay frozen; the rest and the final norm are trained.

    With the token table trained the backward pass goes through the frozen blocks too, which are then not kept apart.
    """

    name: ClassVar[str] = "freeze"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.34}, {"share": 0.67})
    share: float = 0.5
    """Share of the blocks that stay frozen, between 0 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ValueError(f"freeze: share is {self.share}; it must lie between 0 and 1")

    def frozen(self, layers: int) -> int:
        """Returns how many of `layers` blocks stay frozen: at least one, never all."""
        return min(max(1, round(self.share * layers)), layers - 1)

    def settings_on(self, model: ModelSpec) -> list[Method]:
        layers = model.layers
        return [replace(self, share=round(frozen / layers, SHARE_DIGITS)) for frozen in range(1, layers)]

    def refusal(self, model: ModelSpec) -> str:
        return "" if model.layers > 1 else f"{model.name} has only one block, so none can be frozen"

    def frozen_blocks(self, model: ModelSpec) -> int:
        return self.frozen(model.layers)

    def stops(self, model: ModelSpec) -> int:
        # A trained norm below the first trained maps needs their input's gradient; without one nothing does.
        return 0 if model.family.pre_norm else sum(x.weights for x in model.first_linears)

    def trained_blocks(self, model: ModelSpec) -> int:
        """Returns the number of blocks that are trained."""
        return model.layers - self.frozen_blocks(model)

    def trainable(self, model: ModelSpec) -> int:
        return self.trained_blocks(model) * model.block_params + model.final_norm_params

    def backprop(self, model: ModelSpec) -> int:
        return model.params if self.reaches_token_table else self.trainable(model)

    def weight_grad_weights(self, model: ModelSpec) -> int:
        return self.trained_blocks(model) * model.block_weights

    def tune(self, backbone: PreTrainedModel) -> Any:
        backbone.requires_grad_(False)
        final_norm = getattr(backbone, ARCHITECTURES[backbone.config.model_type].final_norm)
        for part in (*blocks_of(backbone)[self.frozen(backbone.config.num_hidden_layers) :], final_norm):
            part.requires_grad_(True)
        return backbone


@dataclass(frozen=True)
class BiasOnly(Method):
    """Only bias vectors are trained, those of the norms included (Ben Zaken et al. 2021)."""

    name: ClassVar[str] = "bias"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def trainable(self, model: ModelSpec) -> int:
        return model.biases

    def backprop(self, model: ModelSpec) -> int:
        return model.params

    def stops(self, model: ModelSpec) -> int:
        # The first block's norm has the lowest trained bias; without one, its reading maps pass nothing on.
        return 0 if model.family.norm_bias else sum(x.weights for x in model.first_linears)

    def weight_grad_weights(self, model: ModelSpec) -> int:
        return 0

    def refusal(self, model: ModelSpec) -> str:
        return "" if model.biases else f"{model.name} ({model.architecture}) has no bias vectors"

    def tune(self, backbone: PreTrainedModel) -> Any:
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name.endswith(".bias"))
        return backbone


METHODS: dict[str, type[Method]] = {
    "full": Full,
    "lora": LoRA,
    "dora": DoRA,
    "qlora": QLoRA,
    "freeze": FreezeBlocks,
    "bias": BiasOnly,
}


def label_of(settings: Mapping[str, Any]) -> str:
    """Returns the name of a method, under "name", and its settings, as tables and figures print them."""
    options = {key: value for key, value in settings.items() if key != "name"}
    shown = (f"{key} {value if isinstance(value, str) else f'{value:g}'}" for key, value in options.items())
    return " ".join([str(settings["name"]), *shown])


def with_adapter() -> list[str]:
    """Returns the names of the methods whose adapter can be written alone: over a backbone in 4 bits it is trained for
    other weights than those that it would be loaded with."""
    return [name for name, kind in METHODS.items() if kind.has_adapter and not kind.bits]


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """Returns the method of this name and these settings. Raises ValueError naming the choices."""
    if name not in METHODS:
        raise ValueError(f"name is {name!r}; known: {', '.join(METHODS)}")
    return from_table(METHODS[name], options, name)
