"""What of a method's runs and law is to be doubted, by tests of its residuals and of its coefficients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.batch_forms import APART, why_apart
from analysis.fitting.estimate import Estimate
from analysis.fitting.experiments import experiments
from analysis.fitting.lack_of_fit import lack_of_fit
from analysis.fitting.limits import at_limits
from analysis.fitting.outliers import far_off
from analysis.fitting.run_noise import noise_in_tokens
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import Caveat, MethodLaw


def doubts(table: Table, law: MethodLaw, solved: Estimate, mine: NDArray[np.bool_]) -> list[Caveat]:
    """The caveats of a method's law. solved: its family with the largest weight; mine [rows]: which rows are its runs.

    Lack of fit is that of the law itself, which may be a mean of families; the rest goes by that family.
    """
    method, rows, residuals = law.label, solved.problem.rows.take(mine), solved.residuals.copy()
    tokens = rows.D * (law.batch.term.share(rows.D, rows.B) if law.batch else 1.0)
    residuals[mine] = np.log(rows.loss) - np.log(law.law.at(rows.N, tokens, rows.S, rows.U))
    number = int(rows.group[0])
    return [
        *far_off(method, solved, mine),
        *lack_of_fit(method, solved, mine, residuals),
        *_apart(method, solved, mine, residuals),
        *noise_in_tokens(method, solved, mine),
        *at_limits(method, number, solved),
        *experiments(method, solved, mine, table.others_of(method)),
    ]


def _apart(label: str, solved: Estimate, mine: NDArray[np.bool_], residuals: Array) -> list[Caveat]:
    why = why_apart(label, solved, mine, residuals) if solved.problem.rows.several_batches else ""
    return [Caveat(APART, why, label)] if why else []
