"""What Ziarko et al. 2024 (arXiv 2406.04165) found on Pythia: cited beside a plan, never used as if measured here."""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "Ziarko et al. 2024, arXiv 2406.04165"
BUDGETS = (1.5e15, 1.5e18)  # FLOPs, paper's count; section 4.1
CROSSOVER = 9.06e16  # FLOPs, section 4.4 and Algorithm 1: full at or below, LoRA above
LORA_RANKS = (32, 128)  # section 4.2


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
            f"full fine-tuning is best up to {CROSSOVER:.3g} FLOP and LoRA above, hence {chosen} here"
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
            "full fine-tuning and freezing take a tenth of the peak rate of pretraining (Pythia: 1e-4 at 14M to 1.2e-5"
            " at 12B), LoRA and biases 1e-3 at any size, in batches of 1,024 pairs at temperature 0.025; weight decay"
            " (0.1) matters little, temperature a lot",
            f"{PAPER}, appendix E and the authors' code",
        ),
        Fact(
            "freezing the first blocks is never the predicted best but close to it, simpler and takes less memory",
            f"{PAPER}, section 4.4",
        ),
        Fact(
            "tuning biases only is worse than every other method at equal FLOPs",
            f"{PAPER}, section 4",
            False if method == "bias" else None,
        ),
    )
