"""Papers that were never written: what one would have printed of known laws, as facts.toml holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from analysis.fitting.published.facts_file import paper_of
from planner.evidence import shipped
from planner.law_file import read_laws
from planner.laws import Chinchilla, Law, Tied

BUDGETS = [float(f"{budget:.3g}") for budget in np.geomspace(1e11, 2e13, 6)]
METHODS: Mapping[str, dict[str, Any]] = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 8}}
GROUP = {
    "exponents": [0.1, 1.0],
    "loss": [0.5, 5.0],
    "slope": [-0.4, -0.05],
    "learning_rates": {"nano-100k": 1e-3},
    "rates_from": "a guess",
}


def unwritten() -> dict[str, Any]:
    """A paper on nano models that printed no more than how noisy its runs are."""
    return {
        "paper": "Nobody 2026",
        "title": "Unwritten",
        "grid": {
            "models": ["nano-7k", "nano-25k", "nano-100k", "nano-340k", "nano-1.2m", "nano-4.7m"],
            "budgets": BUDGETS,
            "flops": "exact",
            "pair_tokens": 87.1,
            "pair_squares": 5248.5,
            "max_pairs": 1e12,
            "min_steps": 50,
            "citation": "nowhere",
        },
        "training": {"batch_size": 24},
        "priors": {"noise": [0.0, 0.1]},
        "groups": [
            {"name": name, "members": {name: method}, "E": [0.0, 1.4], **GROUP} for name, method in METHODS.items()
        ],
        "facts": [{"kind": "noise", "text": "noise", "citation": "nowhere", "low": 0.01, "high": 0.03}],
    }


PAPER = paper_of(unwritten(), "unwritten")


def truths(count: int) -> Iterator[dict[str, Law]]:
    """Laws about the bundled ones: other exponents, other best sizes, methods nearer to one another."""
    rng = np.random.default_rng(0)
    laws = {law.label: law for law in read_laws(shipped()["reference"]).laws}
    pairs = zip(laws["full"].draws, laws["lora rank 8 alpha 8"].draws, strict=True)
    additive = [pair for pair in pairs if isinstance(pair[0], (Chinchilla, Tied))]
    for full, lora in additive[:count]:
        yield {
            "full": _varied(full, rng.uniform(0, 0.6), rng),
            "lora": _varied(lora, rng.uniform(0, 0.9), rng),
        }


def _varied(law: Any, E: float, rng: np.random.Generator) -> Chinchilla:
    own = law.alpha, getattr(law, "beta", law.alpha)
    alpha, beta = (exponent * np.exp(0.15 * rng.normal()) for exponent in own)
    size, tokens = 1e5, 2e6  # about the middle of the bundled runs, where the terms change least
    return Chinchilla(
        E=E,
        A=law.A * size ** (alpha - own[0]) * np.exp(0.4 * rng.normal()),
        alpha=alpha,
        B=law.B * tokens ** (beta - own[1]) * np.exp(0.2 * rng.normal()),
        beta=beta,
    )


def choices(truth: Mapping[str, Law], budget: float) -> dict[tuple[str, str], float]:
    """(method, model) -> its true loss at the budget."""
    found = {}
    for name, law in truth.items():
        cells = PAPER.grid.beyond(PAPER.groups[name].members[name], [budget])
        losses = law.loss(np.exp(cells.log_sizes), np.exp(cells.log_tokens[0]))
        rows = zip(PAPER.grid.menu, losses, strict=True)
        found.update({(name, model.name): float(loss) for model, loss in rows if np.isfinite(loss)})
    return found


def best_losses(law: Law, group: str, noise: float, rng: np.random.Generator) -> np.ndarray:
    """ln of the lowest loss at every budget, one noisy run a cell."""
    cells = PAPER.grid.cells(PAPER.groups[group].members[group])
    losses = np.log(law.loss(np.exp(cells.log_sizes), np.exp(cells.log_tokens)))
    return np.nanmin(losses + noise * rng.normal(size=losses.shape), axis=1)


def facts_of(truth: Mapping[str, Law], noise: float, seed: int) -> dict[str, Any]:
    """The lines of the truth's best losses at two decimals, and where they cross, to three digits."""
    rng, paper = np.random.default_rng(seed), unwritten()
    lines = {name: np.polyfit(np.log(BUDGETS), best_losses(law, name, noise, rng), 1) for name, law in truth.items()}
    for name, (slope, intercept) in lines.items():
        printed = {"group": name, "slope": round(float(slope), 2), "intercept": round(float(intercept), 2)}
        shape = {"tolerance": 0.005, "straight": 0.12}
        paper["facts"].append({"kind": "line", "text": f"{name}'s line", "citation": "nowhere", **printed, **shape})
    below, above = sorted(lines, key=lambda name: -lines[name][0])  # the steeper line is lower at larger budgets
    gap = lines[above] - lines[below]
    flops = float(f"{np.exp(-gap[1] / gap[0]):.3g}")
    tolerance = 0.5 * 10 ** (np.floor(np.log10(flops)) - 2)
    crossing = {"below": below, "above": above, "flops": flops, "tolerance": float(tolerance)}
    paper["facts"].append({"kind": "crossover", "text": "the lines cross", "citation": "nowhere", **crossing})
    return paper
