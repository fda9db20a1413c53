"""Loss laws as formulas, and the law file: what is written is what is read, and bad files are named in a sentence."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.law_book import Caveat, LawBook, MeasuredRange, MethodLaw, quantile, read_laws
from planner.laws import Chinchilla, Joined, Rectified, worth
from support.damage import ABSURD, places, replaced
from support.known_laws import LAW_EXAMPLES
from sweeps.flops import Work
from sweeps.methods import LoRA
from sweeps.trial import Training


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=lambda law: type(law).__name__)
def test_more_parameters_and_more_tokens_lower_the_loss_towards_E(law):
    sizes, tokens = np.geomspace(1e5, 1e10, 30), np.geomspace(1e7, 1e12, 30)
    assert (np.diff(law.at(sizes, 1e9, 0.5)) < 0).all()
    assert (np.diff(law.at(1e8, tokens, 0.5)) < 0).all()
    assert law.at(1e40, 1e40) == pytest.approx(getattr(law, "E", 0.0), abs=1e-3)


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=lambda law: type(law).__name__)
def test_floats_and_arrays_agree(law):
    assert law.at(np.array([3e6]), np.array([2e8]), 0.4, 1e8)[0] == pytest.approx(law.at(3e6, 2e8, 0.4, 1e8), rel=1e-12)


def test_rectified_without_pretraining_is_the_plain_law():
    plain = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
    assert Rectified(**plain.coefficients, D_l=0.0).loss(1e7, 1e9) == plain.loss(1e7, 1e9)


def test_joined_with_an_even_join_is_the_plain_law_and_below_it_sizes_and_tokens_gain_together():
    plain = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
    even = Joined(E=0.3, A=50.0, alpha=0.35, beta=0.37, k=1.0, r=6.0)
    assert even.loss(1e7, 1e9) == pytest.approx(plain.loss(1e7, 1e9), rel=1e-12)
    for k, sign in ((0.6, 1), (1.0, 0), (2.0, -1)):
        law = replace(even, k=k)
        small, large = (law.loss(size, 1e9) - law.loss(size, 1e10) for size in (1e7, 1e8))
        assert np.sign(round(large - small, 9)) == sign


def test_repeated_tokens_are_worth_what_was_published():
    # Muennighoff et al. 2023: up to 4 epochs are nearly as good as fresh data, and no number of them beats 1 + R*.
    assert worth(1e9, 1e9, 15.4) == 1e9
    assert 3.6e9 < worth(4e9, 1e9, 15.4) < 4e9
    assert worth(1e15, 1e9, 15.4) == pytest.approx(16.4e9)
    assert worth(5e8, math.inf, 15.4) == 5e8


def book() -> LawBook:
    law = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
    measured = MeasuredRange(flops=(1e12, 1e15), params=(25e3, 4.7e6), tokens=(1e6, 1e9))
    draws = tuple(replace(law, E=0.3 + e) for e in np.linspace(-0.02, 0.02, 41).tolist())
    method_law = MethodLaw(
        settings={"name": "lora", "rank": 8, "alpha": 8.0},
        family="chinchilla",
        law=law,
        intervals={name: (value * 0.9, value * 1.1) for name, value in law.coefficients.items()},
        draws=draws,
        noise=0.01,
        rows=12,
        measured=measured,
        objective=1e-5,
        backtest={"error": 0.02},
        learning_rates={"nano-25k": 1e-3},
    )
    return LawBook(
        laws=(method_law,),
        measured=measured,
        models=("nano-25k",),
        training=Training(),
        pair=Work(1, 44.0, 1320.0, Training().batch_size),
        source={"name": "made"},
        excluded=(("abc", "diverged"),),
        warnings=(Caveat("one_rate", "every run used one rate"),),
        created_by="test",
    )


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_law_book_survives_the_file_unchanged(tmp_path):
    assert read_laws(write(tmp_path / "laws.json", book().to_json())) == book()


def test_a_law_knows_its_method():
    assert book().laws[0].method == LoRA(rank=8, alpha=8.0)
    assert book().laws[0].label == LoRA(rank=8, alpha=8.0).label


def test_the_interval_of_a_run_holds_that_of_the_law_and_grows_with_noise():
    law = book().laws[0]
    inner, outer = law.interval(1e6, 1e8, run=False), law.interval(1e6, 1e8)
    assert outer[0] < inner[0] < law.law.loss(1e6, 1e8) < inner[1] < outer[1]
    noisy = replace(law, noise=0.05).interval(1e6, 1e8)
    assert noisy[0] < outer[0]
    assert noisy[1] > outer[1]


def test_quantile_is_numpys():
    values = sorted([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    for share in (0.0, 0.05, 0.37, 0.95, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share))


def broken(**changes) -> dict:
    content = json.loads(json.dumps(book().to_json()))
    law = content["laws"][0]
    for name, value in changes.items():
        target = law if name in law else content
        target[name] = value
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("[1]", "no laws inside"),
        ({"results": 3}, "no laws inside"),
        (broken(format=7), "format is 7; known: 1"),
        (broken(laws=[]), "holds no law"),
        (broken(family="cubic"), "laws[0].family is 'cubic'; known: chinchilla"),
        (broken(coefficients={"E": 1.0}), "chinchilla has E, A, alpha, B, beta"),
        (broken(coefficients={"E": 1.0, "A": 1.0, "alpha": 0.3, "B": float("nan"), "beta": 0.3}), "B is nan"),
        (broken(draws={"E": [1.0]}), "draws are E"),
        (broken(noise=None) | {"laws": [{"family": "tied"}]}, "has no 'draws'"),
    ],
)
def test_a_bad_law_file_is_named_in_a_sentence(tmp_path, content, words):
    path = write(tmp_path / "laws.json", content)
    with pytest.raises(ValueError, match=r"laws\.json") as caught:
        read_laws(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_law_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_laws(tmp_path / "laws.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            broken(coefficients={"E": 1.0, "A": 1.0, "alpha": -0.3, "B": 1.0, "beta": 0.3}),
            "alpha is -0.3; it must be bet",
        ),
        (
            broken(coefficients={"E": 1.0, "A": "x", "alpha": 0.3, "B": 1.0, "beta": 0.3}),
            "A is 'x'; it must be a finite",
        ),
        (broken(coefficients={"E": 0.0, "A": 0, "alpha": 0.3, "B": 0, "beta": 0.3}), "factors that are not all 0"),
        (broken(noise=-1.0), "noise is -1.0; it must be between 0 and 10"),
        (broken(source={"unique_tokens": []}), "source.unique_tokens is []; it must be a number of tokens"),
        (broken(learning_rates={"nano-7k": float("nan")}), "learning_rates.nano-7k is nan"),
        (broken(learning_rates={"nano-7k": 0}), "learning_rates.nano-7k is 0; it must be between"),
        (broken(learning_rates={"nano-7k": -1}), "learning_rates.nano-7k is -1; it must be between"),
        (broken(learning_rates={"nano-7k": 1e5}), "learning_rates.nano-7k is 100000.0; it must be between"),
        (broken(intervals={"E": [2, 1]}), "intervals.E is [2, 1]; it must be two numbers, the lower first"),
        (broken(range={"flops": [1]}), "range.flops is [1]; it must be two numbers"),
    ],
)
def test_no_implausible_law_is_read(tmp_path, content, words):
    path = tmp_path / "laws.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(words)):
        read_laws(path)


def test_no_absurd_value_anywhere_makes_a_traceback(tmp_path):
    """Each value of a law book in turn: it is refused in one line, or read as something that can be printed."""
    content = broken()
    path, refused = tmp_path / "laws.json", 0
    for place in places(content):
        for value in ABSURD:
            path.write_text(replaced(content, place, value))
            try:
                laws = read_laws(path)
                assert all(law.label and law.interval(1e6, 1e8)[0] > 0 for law in laws.laws)
            except ValueError as error:
                refused += 1
                told = str(error)
                assert "\n" not in told, place
    assert refused > 800
