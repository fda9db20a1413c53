"""Ranks of a trial that are one small program in place of torchrun and a trainer."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from sweeps.methods import Full
from sweeps.trial import Training, Trial
from sweeps.workers.torchrun import TorchrunTrainer

TRIAL = Trial("nano-25k", Full(), Training(), lr=2e-3, steps=100)


@dataclass(frozen=True)
class PretendingRanks(TorchrunTrainer):
    """Starts one program; {meeting} in it is the folder of the ranks, {folder} that of the trial."""

    program: str = ""

    def command(self, folder: Path) -> list[str]:
        program = self.program.replace("{meeting}", str(folder)).replace("{folder}", str(folder.parent))
        return [sys.executable, "-c", program]
