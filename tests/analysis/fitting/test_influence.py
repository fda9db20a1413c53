"""What single runs do to the coefficients, told in words."""

from __future__ import annotations

import re

from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.tables.sweep_table import read_sweep
from support.ladder import NANO
from support.made_sweep import observations, write_sweep


def test_a_coefficient_that_methods_share_is_said_once(tmp_path):
    found = observations(models=NANO[:4], budgets=[1e13, 4e13, 1.6e14, 6.4e14], noise=0.01)
    book = fit_table(read_sweep(write_sweep(tmp_path / "sweep", found)), Settings(bootstraps=60, family="chinchilla"))
    told = [warning.text for warning in book.warnings if warning.code == "leverage"]
    moves = [re.findall(r"\w+(?: of [^,]+)? from \S+ to [^,]+", text) for text in told]
    assert any("beta from" in text for text in told)
    assert all(len(one) == len(set(one)) > 0 for one in moves)
