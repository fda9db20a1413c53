"""Loss laws as formulas, and the law file: what is written is what is read, and bad files are named in a sentence."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from planner.law_book import Caveat, LawBook, MeasuredRange, MethodLaw
from planner.law_file import read_laws
from planner.laws import Chinchilla, Joined, Rectified, Weighted, family_of, mean_law, worth
from planner.quantiles import quantile
from support.damage import ABSURD, places, replaced
from support.known_laws import FULL, LAW_EXAMPLES, mean_of_some, mean_of_three, method_law, weighted_book
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


def test_a_mean_of_laws_is_the_mean_of_their_losses():
    mean = mean_of_three(FULL)
    sizes, tokens = np.geomspace(1e5, 1e10, 30), np.geomspace(1e7, 1e12, 30)
    wanted = sum(weight * part.loss(sizes, tokens) for part, weight in zip(mean.parts, mean.weights, strict=True))
    assert mean.at(sizes, tokens, 0.5, 1e8) == pytest.approx(wanted, rel=1e-14)
    assert mean.loss(sizes[3], tokens[3]) == pytest.approx(wanted[3], rel=1e-14)
    assert mean.coefficients["chinchilla.alpha"] == FULL.alpha
    assert not mean.knows_repetition


def test_a_family_with_all_the_weight_stands_alone_and_one_with_none_is_left_out():
    laws = {family_of(law): law for law in LAW_EXAMPLES}
    assert mean_law(laws, {**dict.fromkeys(laws, 0.0), "tied": 1.0}) is laws["tied"]
    mean = mean_law(laws, {**dict.fromkeys(laws, 0.0), "tied": 0.25, "power": 0.75})
    assert mean == Weighted((laws["power"], laws["tied"]), (0.75, 0.25))
    assert family_of(mean) == "power"


@pytest.mark.parametrize(
    ("families", "weights", "words"),
    [
        (["chinchilla", "tied"], (0.5,), "one weight a family"),
        (["tied", "tied"], (0.5, 0.5), "each family once"),
        (["chinchilla", "tied"], (1.5, -0.5), "above 0, and 1 together"),
        (["chinchilla", "tied"], (0.5, 0.4), "above 0, and 1 together"),
        (["chinchilla", "tied"], (0.4, 0.6), "the largest first"),
        (["chinchilla", "repeated"], (0.5, 0.5), "repeated takes N, D, U"),
        (["trainable", "chinchilla"], (0.5, 0.5), "trainable takes N, D, S"),
    ],
)
def test_what_is_no_mean_of_laws_is_refused(families, weights, words):
    laws = {family_of(law): law for law in LAW_EXAMPLES}
    with pytest.raises(ValueError, match=re.escape(words)):
        Weighted(tuple(laws[name] for name in families), weights)


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
        intervals={"chinchilla": {name: (value * 0.9, value * 1.1) for name, value in law.coefficients.items()}},
        draws=draws,
        noise=0.01,
        rows=12,
        measured=measured,
        objective=1e-5,
        backtest={"error": 0.02},
        learning_rates={"nano-25k": 1e-3},
        rates_batch=Training().batch_size,
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


@pytest.mark.parametrize("made", [book, weighted_book])
def test_a_law_book_survives_the_file_unchanged(tmp_path, made):
    assert read_laws(write(tmp_path / "laws.json", made().to_json())) == made()
    assert read_laws(str(tmp_path / "laws.json")) == made()


@pytest.mark.parametrize("seed", range(20))
def test_a_mean_of_any_families_survives_the_file_and_its_draws_are_shared_out(tmp_path, seed):
    law = method_law(mean_of_some(seed), {"name": "full"}, seed=seed, draws=150)
    (read,) = read_laws(write(tmp_path / "laws.json", replace(book(), laws=(law,)).to_json())).laws
    assert read == law
    assert math.fsum(read.weights.values()) == pytest.approx(1, abs=1e-12)
    assert list(read.weights.values()) == sorted(read.weights.values(), reverse=True)
    assert read.family == next(iter(read.weights)) == next(iter(read.parts))
    drawn = [family_of(draw) for draw in read.draws]
    assert len(drawn) == 150 and set(drawn) <= set(read.weights)
    assert all(abs(drawn.count(name) - 150 * weight) <= 1.5 for name, weight in read.weights.items())
    alone = [part.loss(3e6, 2e8) for part in read.parts.values()]
    assert min(alone) <= read.law.loss(3e6, 2e8) <= max(alone)


@pytest.mark.parametrize("law", LAW_EXAMPLES, ids=family_of)
def test_a_book_of_any_family_survives_the_file_unchanged(tmp_path, law):
    one = replace(book(), laws=(method_law(law, {"name": "full"}),))
    assert read_laws(write(tmp_path / "laws.json", one.to_json())) == one


def of_format_1() -> dict:
    """The file that held `book` before laws were weighed."""
    content = json.loads(json.dumps(book().to_json())) | {"format": 1}
    law = content["laws"][0]
    for name in ("coefficients", "intervals"):
        law[name] = law[name]["chinchilla"]
    law["draws"] = law["draws"]["coefficients"]["chinchilla"]
    for name in ("weights", "drift", "intervals_95"):
        del law[name]
    return content


def test_a_file_of_format_1_says_the_same(tmp_path):
    assert read_laws(write(tmp_path / "laws.json", of_format_1())) == book()


@pytest.mark.parametrize(
    ("place", "value"), [("draws", {"E": [1.0]}), ("draws", [1]), ("coefficients", 3), ("family", [])]
)
def test_a_broken_file_of_format_1_is_named_in_a_sentence(tmp_path, place, value):
    content = of_format_1()
    content["laws"][0][place] = value
    with pytest.raises(ValueError, match=r"^[^\n]*laws\.json: [^\n]*" + place):
        read_laws(write(tmp_path / "laws.json", content))


def test_a_weighted_law_tells_its_winner_and_its_weights():
    law = weighted_book().laws[0]
    assert law.family == "chinchilla"
    assert law.weights == {"chinchilla": 0.62, "tied": 0.25, "rectified": 0.13}
    assert law.parts["chinchilla"] == FULL
    drawn = [family_of(draw) for draw in law.draws]
    assert {name: drawn.count(name) for name in law.weights} == {"chinchilla": 62, "tied": 25, "rectified": 13}
    assert book().laws[0].weights == {"chinchilla": 1.0}


def test_the_interval_of_a_weighted_law_carries_the_doubt_about_the_form():
    law = weighted_book().laws[0]
    low, high = law.interval(1e6, 1e8, run=False)
    assert low < law.law.loss(1e6, 1e8) < high
    far = (1e12, 1e15)  # where the parts differ more than their draws
    alone = [part.loss(*far) for part in law.parts.values()]
    low, high = replace(law, draws=tuple(law.parts[family_of(draw)] for draw in law.draws)).interval(*far, run=False)
    assert low == pytest.approx(min(alone), rel=1e-6)
    assert high == pytest.approx(max(alone), rel=1e-6)


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


def plain_part(**changes) -> dict:
    """Coefficients of the plain law under its name."""
    return {"chinchilla": {"E": 1.0, "A": 1.0, "alpha": 0.3, "B": 1.0, "beta": 0.3, **changes}}


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
        (broken(format=7), "format is 7; known: 1 and 2"),
        (broken(laws=[]), "holds no law"),
        (broken(family="cubic"), "laws[0].family is 'cubic'; known: chinchilla"),
        (broken(coefficients={"chinchilla": {"E": 1.0}}), "chinchilla has E, A, alpha, B, beta"),
        (broken(coefficients=plain_part(B=float("nan"))), "laws[0].coefficients.chinchilla.B is nan"),
        (broken(draws={"families": ["chinchilla"], "coefficients": {"chinchilla": {"E": [1.0]}}}), "chinchilla are E"),
        (broken(noise=None) | {"laws": [{"family": "tied"}]}, "has no 'method'"),
    ],
)
def test_a_bad_law_file_is_named_in_a_sentence(tmp_path, content, words):
    path = write(tmp_path / "laws.json", content)
    with pytest.raises(ValueError, match=r"laws\.json") as caught:
        read_laws(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


WEIGHTED = [
    (
        "weights",
        {"chinchilla": 0.62, "tied": 0.25, "rectified": 0.1},
        "weights, the sum of which is 0.97; it must be 1",
    ),
    ("weights", {"chinchilla": 1.2, "tied": -0.2}, "laws[0].weights.tied is -0.2; it must be a number above 0"),
    ("weights", {"chinchilla": 1.0, "cubic": 0.0}, "a name in which is 'cubic'; known: chinchilla"),
    ("weights", {"chinchilla": 0.7, "repeated": 0.3}, "name repeated, a law in N, D, U, which stands alone"),
    ("weights", {"chinchilla": 0.3, "tied": 0.7}, "is 'tied'; it must be of the law's `family`, chinchilla"),
    ("weights", {"chinchilla": 1.0}, "laws[0].coefficients, a name in which is 'tied'; known: chinchilla"),
    ("weights", {}, "laws[0].weights is {}; it must be an object of numbers, not empty"),
    ("weights", [0.5, 0.5], "laws[0].weights is [0.5, 0.5]; it must be an object"),
    ("coefficients.tied", None, "laws[0].coefficients has no tied"),
    ("coefficients.tied.alpha", -1, "laws[0].coefficients.tied.alpha is -1; it must be between"),
    ("intervals.power", {}, "laws[0].intervals, a name in which is 'power'"),
    ("draws.families", 3, "laws[0].draws.families is 3; it must be a list of names"),
    ("draws.families", ["power"], "laws[0].draws.families[0] is 'power'; known: chinchilla, tied, rectified"),
    ("draws.families", ["tied"], "laws[0].draws.coefficients, a name in which is 'chinchilla'; known: tied"),
    ("draws.coefficients.tied", None, "laws[0].draws.coefficients has no tied"),
    ("draws.coefficients.tied.E", [1.0], "tied.E, the length of which is 1; it must be 25 numbers, one for every draw"),
    ("draws.coefficients.tied.E", 25 * [-1.0], "laws[0].draws.coefficients.tied.E[0] is -1.0; it must be between"),
]


@pytest.mark.parametrize(("place", "value", "words"), WEIGHTED, ids=[f"{x}-{i}" for i, (x, *_) in enumerate(WEIGHTED)])
def test_a_broken_weighted_law_is_named_in_a_sentence(tmp_path, place, value, words):
    content = json.loads(json.dumps(weighted_book().to_json()))
    *inside, last = place.split(".")
    target = content["laws"][0]
    for name in inside:
        target = target[name]
    target[last] = value
    if value is None:
        del target[last]
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_laws(write(tmp_path / "laws.json", content))
    assert "\n" not in str(caught.value)


def test_a_missing_law_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_laws(tmp_path / "laws.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (broken(coefficients=plain_part(alpha=-0.3)), "alpha is -0.3; it must be between"),
        (broken(coefficients=plain_part(A="x")), "A is 'x'; it must be a finite"),
        (broken(coefficients=plain_part(E=0.0, A=0, B=0)), "factors that are not all 0"),
        (broken(drift=-0.01), "drift is -0.01; it must be between 0 and 10"),
        (broken(noise=-1.0), "noise is -1.0; it must be between 0 and 10"),
        (broken(source={"unique_tokens": []}), "source.unique_tokens is []; it must be a number of tokens"),
        (broken(learning_rates={"nano-7k": float("nan")}), "learning_rates.nano-7k is nan"),
        (broken(learning_rates={"nano-7k": 0}), "learning_rates.nano-7k is 0; it must be between"),
        (broken(learning_rates={"nano-7k": -1}), "learning_rates.nano-7k is -1; it must be between"),
        (broken(learning_rates={"nano-7k": 1e5}), "learning_rates.nano-7k is 100000.0; it must be between"),
        (broken(intervals={"chinchilla": {"E": [2, 1]}}), "chinchilla.E is [2, 1]; it must be two numbers, the lower"),
        (broken(range={"flops": [1]}), "range.flops is [1]; it must be two numbers"),
    ],
)
def test_no_implausible_law_is_read(tmp_path, content, words):
    path = tmp_path / "laws.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(words)):
        read_laws(path)


@pytest.mark.parametrize("made", [book, partial(weighted_book, draws=8)], ids=["one family", "a mean of three"])
def test_no_absurd_value_anywhere_makes_a_traceback(tmp_path, made):
    """Each value of a law book in turn: it is refused in one line, or read as something that can be printed."""
    content = json.loads(json.dumps(made().to_json()))
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
