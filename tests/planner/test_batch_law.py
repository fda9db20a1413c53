"""What a batch size is worth: one best size for every number of tokens, and laws that hold at any."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from planner.batch_law import TERMS, AtBatch, Balanced, BatchLaw, TwoSided, same_worth
from planner.law_book import LawBook
from planner.law_file import read_laws
from planner.laws import Chinchilla
from support.known_laws import FULL as PLAIN
from support.known_laws import method_law

TERM = Balanced(k=0.08, q=0.4, s=0.12)
FULL = method_law(PLAIN, {"name": "full"})
EXAMPLES = {"balanced": TERM, "two-sided": TwoSided(k=0.05, q=0.45, s=15.0)}
LAW = Chinchilla(E=0.7, A=30.0, alpha=0.35, B=300.0, beta=0.38)


@pytest.mark.parametrize("name", TERMS)
def test_no_batch_size_is_worth_more_than_the_best_one(name):
    term, tokens = EXAMPLES[name], np.geomspace(1e5, 1e12, 8)
    sizes = np.geomspace(1, 1e6, 5000)[:, None]
    shares = term.share(tokens, sizes)
    assert shares.max() <= 1 + 1e-12
    assert sizes[shares.argmax(axis=0), 0] == pytest.approx(term.best(tokens), rel=0.01)
    assert (np.diff(term.best(tokens)) > 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_far_above_the_best_size_steps_count_and_not_tokens(name):
    term = EXAMPLES[name]
    assert term.share(1e6, 1e7) / term.share(1e6, 2e7) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("name", TERMS)
def test_tokens_of_the_same_worth_are_found_again_at_another_size(name):
    term = EXAMPLES[name]
    for tokens, size in ((1e6, 8), (1e9, 24), (1e12, 4096)):
        found = same_worth(term, tokens, size)
        assert found * term.share(found, size) == pytest.approx(tokens, rel=1e-9)


class Counted(Balanced):
    """A term that counts how often it is asked."""

    asked = 0

    def share(self, D, B):
        type(self).asked += 1
        return super().share(D, B)


@pytest.mark.parametrize("size", [8, 24, 512, 65536])
def test_few_questions_find_tokens_of_the_same_worth_for_every_draw_asks_them(size):
    Counted.asked, term = 0, Counted(k=0.108, q=0.48, s=0.07)
    found = same_worth(term, 1e7, size)
    assert Counted.asked <= 8
    assert found * term.share(found, size) == pytest.approx(1e7, rel=1e-11)


def test_a_law_of_one_batch_size_is_itself_at_that_size_and_better_at_the_best():
    at_own = AtBatch(LAW, TERM, 24, 24)
    assert at_own.loss(1e6, 1e8) == pytest.approx(LAW.loss(1e6, 1e8), rel=1e-9)
    best = AtBatch(LAW, TERM, TERM.best(1e8), 24)
    assert best.loss(1e6, 1e8) < LAW.loss(1e6, 1e8)


def test_a_law_book_with_batch_sizes_is_format_3_and_is_read_as_written(tmp_path):
    draws = tuple(Balanced(k=0.08 + i / 1000, q=0.4, s=0.12) for i in range(len(FULL.draws)))
    batch = BatchLaw(TERM, draws, (8, 64, 512), (1e5, 1e8), "mine", backtest={"chosen": "balanced", "tried": {}})
    law = replace(FULL, batch=batch)
    book = LawBook(laws=(law,), measured=law.measured)
    (tmp_path / "laws.json").write_text(json.dumps(book.to_json()))
    assert book.to_json()["format"] == 3
    assert LawBook(laws=(FULL,), measured=FULL.measured).to_json()["format"] == 2
    assert read_laws(tmp_path / "laws.json").laws[0].batch == batch
    assert batch.interval(1e6)[0] < batch.best(1e6) * 1.2 < batch.interval(1e6)[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "cubic"}, "form is 'cubic'"),
        ({"coefficients": {"k": 1.0, "q": 0.4}}, "coefficients"),
        ({"sizes": [64, 8]}, "sizes"),
        ({"draws": {"k": [1.0], "q": [0.4, 0.5], "s": [0.1]}}, "draws"),
        ({"tokens": [1e8, 1e5]}, "tokens"),
    ],
)
def test_what_a_batch_law_cannot_be_is_refused_by_its_place(tmp_path, change, said):
    law = replace(FULL, batch=BatchLaw(TERM, (), (8, 64), (1e5, 1e8), "mine"))
    content = LawBook(laws=(law,), measured=law.measured).to_json()
    content["laws"][0]["batch"].update(change)
    (tmp_path / "laws.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"laws\[0\]\.batch") as error:
        read_laws(tmp_path / "laws.json")
    assert said in str(error.value)
