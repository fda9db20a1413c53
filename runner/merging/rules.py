"""One model out of several that were tuned from one base: task vectors added up, one tensor at a time.

A task vector is what tuning changed, V_i = theta_i - theta_0. Every rule but TIES gives theta_0 + sum c_i V_i with
coefficients that follow from the vectors' inner products alone, so that two passes over the files are enough.
mergekit, which merges by such rules too, neither differentiates nor takes adapters of a base as dense differences.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from runner.libraries import disk_errors
from runner.merging.record import RECORD, merge_files, merge_record
from runner.merging.weights import Weights, must_agree, open_weights
from sweeps.support.atomic import new_folder

PARALLEL = 1e-6  # sine of the angle below which two vectors have one direction
WHOLE = 1e-9  # by which the coefficients may miss a sum of 1 and still leave nothing of the base


@dataclass(frozen=True)
class Rule:
    """How task vectors are merged."""

    method: str
    """Name of one of RULES, or "ties"."""
    weights: tuple[float, ...] | None = None
    """How much each model counts, 0 or more, one above 0; None: all alike."""
    scale: float = 1.0
    """By which the merged task vectors are multiplied before they are added to the base."""
    density: float = 0.2
    """Share of a task vector's entries that TIES keeps, above 0 and at most 1."""


def average(weights: Tensor, gram: Tensor) -> Tensor:
    """Returns the coefficients [models] of the mean. weights: [models]; gram: [models, models], inner products."""
    return weights / weights.sum()


def task_arithmetic(weights: Tensor, gram: Tensor) -> Tensor:
    """Returns the coefficients of the plain sum, to be multiplied by the scale (Ilharco et al. 2023, section 3)."""
    return weights


def slerp(weights: Tensor, gram: Tensor) -> Tensor:
    """Returns the coefficients of a fold by spherical interpolation, vector by vector (Li et al. 2024, section 5.1).

    The folded part weighs the mean of its weights, the new vector its own; vectors are not made unit length. Along the
    way everything stays in the span of the vectors, so angles follow from `gram`, and gradients reach the weights.
    """
    folded = torch.nn.functional.one_hot(torch.tensor(0), len(weights)).to(gram)
    for place in range(1, len(weights)):
        new = torch.nn.functional.one_hot(torch.tensor(place), len(weights)).to(gram)
        share = weights[place] / (weights[:place].mean() + weights[place])
        sizes = torch.sqrt((folded @ gram @ folded) * (new @ gram @ new)).clamp(min=torch.finfo(gram.dtype).tiny)
        cosine = ((folded @ gram @ new) / sizes).clamp(-1, 1)
        if 1 - cosine**2 < PARALLEL**2:
            folded = (1 - share) * folded + share * new
        else:
            angle = torch.arccos(cosine)
            folded = (torch.sin((1 - share) * angle) * folded + torch.sin(share * angle) * new) / torch.sin(angle)
    return folded


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "average": average,
    "slerp": slerp,
    "task-arithmetic": task_arithmetic,
}


def open_all(base: Path, models: Sequence[Path]) -> tuple[Weights, list[Weights]]:
    """Returns the base and its tuned models, checked against one another; else raises ValueError, naming the misfit."""
    if len(models) < 2:
        raise ValueError(f"{len(models)} model to merge; at least 2 are needed")
    start = open_weights(base)
    tuned = [open_weights(folder, start) for folder in models]
    must_agree(start, tuned)
    return start, tuned


def inner_products(base: Weights, models: Sequence[Weights]) -> Tensor:
    """Returns the inner products of the task vectors over all tensors: [models, models], fp64."""
    gram = torch.zeros(len(models), len(models), dtype=torch.float64)
    for name in base.shapes:
        vectors = torch.stack([difference.flatten() for difference in differences(base, models, name)])
        gram += vectors @ vectors.T
    return gram


def differences(base: Weights, models: Sequence[Weights], name: str) -> list[Tensor]:
    """Returns the task vectors' part in one tensor, fp64."""
    start = base.get(name)
    return [model.get(name) - start for model in models]


def coefficients(rule: Rule, gram: Tensor) -> Tensor:
    """Returns c_i of theta_0 + sum c_i V_i. Raises ValueError when the weights cannot be."""
    count = len(gram)
    given = torch.tensor(rule.weights or (1.0,) * count, dtype=torch.float64)
    if len(given) != count:
        raise ValueError(f"{len(given)} weights for {count} models")
    if not torch.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise ValueError(f"weights are {', '.join(f'{w:g}' for w in given)}; they must be 0 or more, one above 0")
    if rule.weights is None and rule.method == "task-arithmetic":
        given = given / count
    chosen = torch.nonzero(given).squeeze(1)  # one of weight 0 has no part in a fold either
    factors = torch.zeros(count, dtype=torch.float64)
    factors[chosen] = RULES[rule.method](given[chosen], gram[chosen][:, chosen])
    return rule.scale * factors


def combine(base: Weights, models: Sequence[Weights], factors: Tensor, name: str) -> Tensor:
    """Returns one tensor of theta_0 + sum c_i V_i, fp64.

    It is computed as a sum of the models themselves: whatever all of them have in common comes out as it went in.
    """
    rest = 1 - factors.sum()
    summed = sum(factor * model.get(name) for factor, model in zip(factors.tolist(), models, strict=True) if factor)
    return summed if abs(rest) < WHOLE else summed + rest * base.get(name)


def ties(base: Weights, models: Sequence[Weights], rule: Rule, name: str) -> Tensor:
    """Returns one tensor merged by TIES (Yadav et al. 2023), by peft's function: trimmed tensor by tensor."""
    from peft.utils.merge_utils import ties as of_peft

    weights = torch.tensor(rule.weights or (1.0,) * len(models), dtype=torch.float64)
    return base.get(name) + rule.scale * of_peft(differences(base, models, name), weights, rule.density)


def must_be_new(out: Path) -> None:
    """Raises ValueError when there is something already where a model is to be written."""
    if out.exists():
        raise ValueError(f"{out}: exists already; give another folder")


def write_merged(
    base: Weights,
    models: Sequence[Weights],
    tensor: Callable[[str], Tensor],
    out: Path,
    files: Mapping[str, str],
) -> None:
    """Write a model folder with `tensor(name)` for each name, these text files, and all else as in the first model.

    It is written whole or not at all. Raises ValueError when `out` exists.
    """
    must_be_new(out)
    kind = torch.promote_types(base.read(next(iter(base.shapes))).dtype, torch.float32)
    with new_folder(out) as temporary:
        _copy_rest(models[0].folder, temporary)
        merged = {name: tensor(name).to(kind).contiguous() for name in base.shapes}
        with disk_errors(out):
            save_file(merged, temporary / "model.safetensors", metadata={"format": "pt"})
        config = {**models[0].config, "dtype": str(kind).removeprefix("torch."), "architectures": None}
        for name, text in {"config.json": json.dumps(config, indent=2) + "\n", **files}.items():
            (temporary / name).write_text(text, encoding="utf-8")


REST = ("*.json", "*.txt", "*.model", "*_Pooling", "*_Normalize")
NOT = ("config.json", "adapter_config.json", "observation.json", "model.safetensors.index.json", RECORD)


def _copy_rest(folder: Path, out: Path) -> None:
    """Copy tokenizer, pooling and prompts, which make the backbone an embedding model."""
    for path in (path for pattern in REST for path in folder.glob(pattern)):
        if path.name not in NOT:
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, out / path.name)


def merged_tensors(
    base: Weights, models: Sequence[Weights], rule: Rule
) -> tuple[Callable[[str], Tensor], list[float] | None]:
    """Returns a merged tensor by its name, and the coefficients of the task vectors: None for TIES, which has none."""
    if rule.method == "ties":
        if not 0 < rule.density <= 1:
            raise ValueError(f"density is {rule.density:g}; it must lie above 0 and be at most 1")
        coefficients(Rule("average", rule.weights), torch.eye(len(models)))  # its weights are checked alike
        return lambda name: ties(base, models, rule, name), None
    factors = coefficients(rule, inner_products(base, models))
    return lambda name: combine(base, models, factors, name), factors.tolist()


def merge(base: Path, models: Sequence[Path], rule: Rule, out: Path) -> list[float] | None:
    """Merge and write; returns the coefficients of the task vectors, None for TIES, which has none."""
    start, tuned = open_all(base, models)
    tensor, factors = merged_tensors(start, tuned, rule)
    density = rule.density if rule.method == "ties" else None
    weights = list(rule.weights) if rule.weights else None
    record = merge_record(rule.method, base, models, factors, weights=weights, scale=rule.scale, density=density)
    write_merged(start, tuned, tensor, out, merge_files(record, str(base)))
    return factors
