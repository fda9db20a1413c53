"""Runs that others published, beside this repository where there are any, and what was found in them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

DATA = Path(__file__).parents[3] / "shared" / "data" / "laws"
COLUMNS = {"n": "Model Size", "c": "Training FLOP", "loss": "loss"}
# Besiroglu et al. 2024, table 1: 95 % intervals.
PUBLISHED_95 = {
    "E": (1.769, 1.871),
    "A": (285, 744),
    "alpha": (0.317, 0.373),
    "B": (1042, 5810),
    "beta": (0.331, 0.415),
}
# Lin et al. 2024: mean root mean square log residual of the rectified law; and error of its forecast from an eighth.
FINE_TUNING = {"flan": (0.00648, 0.040), "gigaword": (0.00515, 0.028), "wmt19": (0.01228, 0.082)}


def fine_tuning(name: str) -> pd.DataFrame:
    """One row for each model and number of examples, D = 0 left out: the laws are about training."""
    wide = pd.read_csv(DATA / f"finetune_{name}.csv")
    sizes = [column for column in wide if column.isdigit() and column != "0"]
    return wide.melt(id_vars="config name", value_vars=sizes, var_name="D", value_name="loss").astype({"D": float})
