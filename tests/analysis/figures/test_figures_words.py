"""Every figure over many made sweeps, broken ones among them: it shows data or says why not, and no words collide."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import pytest

from analysis.figures import FIGURES
from analysis.figures.files import NotDrawn
from analysis.figures.style import STYLE
from support.pictures import BROKEN, SWEEPS, check_words, fitted, words

UNITS = {
    "isoflop": ("parameters", "nats per pair", "FLOP"),
    "frontier": ("FLOP", "nats per pair"),
    "optimum": ("FLOP", "parameters", "tokens"),
    "residuals": ("parameters", "tokens", "FLOP", "%"),
    "backtest": ("nats per pair", "times beyond"),
    "profile": ("90 % allow 1", "units of"),
    "curves": ("tokens", "nats per pair"),
    "health": ("FLOP", "directions", "squared distance"),
    "projection": ("unit vectors", "%"),
    "scores": ("nats per pair", "nDCG@10"),
    "goal": ("nats per pair", "probability", "FLOP"),
}


QUICK = ("one row", "one size")  # the others take as long together as many tests


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "which",
    [which if which in QUICK else pytest.param(which, marks=pytest.mark.slow) for which in {**SWEEPS, **BROKEN}],
)
def test_words_never_collide_and_stay_inside(which, tmp_path):
    table, book = fitted(
        tmp_path, {**SWEEPS, **BROKEN}[which](), profile="alpha,beta" if which == "eight methods" else "weak"
    )
    drawn = []
    for name, draw in FIGURES.items():
        with plt.rc_context(STYLE):
            figure = draw(table, book)
            if isinstance(figure, NotDrawn):
                every = which == "eight methods" and name != "batch"  # whose runs have one batch size
                assert " " in figure.reason and not every, f"{name} is not drawn for {which}"
                assert figure.reason[-1] != ".", figure.reason  # the command puts it behind a colon
                continue
            assert figure.axes, f"{name} of {which} is a sentence"
            check_words(figure, name)
            texts = [text.get_text() for text in words(figure)]
            if which == "eight methods":  # every figure shows all that it can
                missing = [unit for unit in UNITS.get(name, ("FLOP",)) if unit not in " ".join(texts)]
                assert not missing, f"{name} does not say {missing}"
            if which == "long names":
                figure.set_layout_engine("none")  # it is done
                figure.savefig(svg := io.StringIO(), format="svg")
                assert "<script>" not in svg.getvalue(), f"a name became markup in {name}"
            plt.close(figure)
            drawn.append(name)
    assert which in BROKEN or len(drawn) > len(FIGURES) / 2
