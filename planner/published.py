"""What Ziarko et al. 2024 (arXiv 2406.04165) found on Pythia: cited beside a plan, never used as if measured here."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.models import ModelSpec

PAPER = "Ziarko et al. 2024, arXiv 2406.04165"
BUDGETS = (1.5e15, 1.5e18)  # FLOPs, paper's count; section 4.1
CROSSOVER = 9.06e16  # FLOPs, section 4.4 and Algorithm 1: full at or below, LoRA above
LORA_RANKS = (32, 128)  # section 4.2

# Peak rates of Pythia's pretraining (Biderman et al. 2023); the paper's full and freezing runs used a tenth (App. E.1).
PYTHIA_PEAK = {
    "pythia-14m": 1e-3,
    "pythia-31m": 1e-3,
    "pythia-70m": 1e-3,
    "pythia-160m": 6e-4,
    "pythia-410m": 3e-4,
    "pythia-1b": 3e-4,
    "pythia-1.4b": 2e-4,
    "pythia-2.8b": 1.6e-4,
    "pythia-6.9b": 1.2e-4,
    "pythia-12b": 1.2e-4,
}


@dataclass(frozen=True)
class Fact:
    """A published finding beside a plan."""

    text: str
    """What was found, in a sentence."""
    citation: str
    """The paper and the place in it."""
    agrees: bool | None = None
    """Whether the plan's answer is in line with it; None where it does not apply."""


def facts(budget: float, method: str, rank: float | None) -> tuple[Fact, ...]:
    """The findings that bear on a choice of method at `budget` FLOPs, the paper's count."""
    inside = BUDGETS[0] <= budget <= BUDGETS[1]
    where = "" if inside else f"; {budget:.3g} FLOP lies outside the budgets it tried"
    chosen = "full" if budget <= CROSSOVER else "lora"
    low, high = LORA_RANKS
    return (
        Fact(
            f"full tuning is best up to {CROSSOVER:.3g} FLOP and LoRA above, hence {chosen} here"
            f" (Pythia 14M to 2.8B, one seed, no interval given{where})",
            f"{PAPER}, section 4.4",
            method == chosen,
        ),
        Fact(
            f"LoRA is best at rank {low} or {high} at nearly every size and budget; both 8 and 2048 are worse"
            " (scale 8 / rank there, which shrinks the step at high ranks)",
            f"{PAPER}, section 4.2",
            None if rank is None else low <= rank <= high,
        ),
        Fact(
            "freezing the first blocks is never the predicted best but close to it, easier and lighter on memory",
            f"{PAPER}, section 4.4",
        ),
        Fact(
            "tuning biases only is worse than every other method at equal FLOPs",
            f"{PAPER}, section 4",
            False if method == "bias" else None,
        ),
    )


def learning_rate(model: ModelSpec, method: str) -> float | None:
    """The peak rate that the paper used, batches of 1024 pairs; None where it printed none."""
    peak = PYTHIA_PEAK.get(model.name)
    return peak / 10 if peak and method in ("full", "freeze") else None
