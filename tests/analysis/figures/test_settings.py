"""Which settings have a panel, and what is said of those that have none."""

from __future__ import annotations

from analysis.figures.settings import draw_settings
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.tables.sweep_table import read_sweep
from planner.laws import Chinchilla
from support.ladder import NANO
from support.made_sweep import observations, write_sweep
from sweeps.methods import FreezeBlocks, LoRA

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)


def test_a_setting_of_one_value_has_no_panel_and_is_named(tmp_path):
    methods = (LoRA(rank=8), LoRA(rank=32), LoRA(rank=8, token_table="train"), FreezeBlocks(share=0.5))
    found = observations(dict.fromkeys(methods, LAW), models=NANO[:4], budgets=[1e13, 4e13, 1.6e14])
    table = read_sweep(write_sweep(tmp_path / "sweep", found))
    figure = draw_settings(table, fit_table(table, Settings(bootstraps=20, family="chinchilla")))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["lora"]
    words = " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))).replace(
        "\n", " "
    )
    assert "one value alone was tried: lora token_table train with rank 8, freeze with share 0.5" in words
