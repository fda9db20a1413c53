"""Every figure over many made sweeps, broken ones among them: it is drawn or says why not, and no words collide."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from analysis.figures import FIGURES
from analysis.figures.files import NotRecorded
from analysis.figures.style import STYLE
from support.pictures import BROKEN, SWEEPS, check_words, fitted, words


@pytest.fixture(scope="module", params=[*SWEEPS, *BROKEN])
def swept(request, tmp_path_factory):
    return request.param, *fitted(tmp_path_factory.mktemp("sweep"), {**SWEEPS, **BROKEN}[request.param]())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_words_never_collide_and_stay_inside(name, swept):
    which, table, book = swept
    with plt.rc_context(STYLE):
        figure = FIGURES[name](table, book)
        if isinstance(figure, NotRecorded):
            assert " " in figure.reason and which != "eight methods", f"{name} is not drawn for {which}"
            return
        try:
            check_words(figure)
            if which in ("no rows", "one row") and not figure.axes:
                assert any(" " in text.get_text() and text.get_text().endswith(".") for text in words(figure))
        finally:
            plt.close(figure)
