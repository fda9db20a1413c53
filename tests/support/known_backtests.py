"""Backtests whose errors are given."""

import numpy as np

from analysis.fitting.backtest import Backtest


def backtest_of(places, **errors) -> Backtest:
    """One window that predicts every run, with these errors of log losses by label."""
    one = np.array(next(iter(errors.values())))
    predicted = {label: np.array(values)[None] for label, values in errors.items()}
    fitted = {label: values[0] for label, values in predicted.items()}
    everywhere = np.ones((1, len(one)))
    return Backtest(np.zeros(len(one)), predicted, fitted, everywhere > 0, everywhere, (places, places))
