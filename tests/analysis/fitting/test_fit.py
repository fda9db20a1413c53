"""The fit: known laws and published answers are found again, intervals hold what they promise, doubts are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.backtest import windows
from analysis.fitting.estimate import Settings, fit_problem
from analysis.fitting.forms import SHAPES
from analysis.fitting.problem import Problem
from analysis.fitting.solver import huber, polish, solve
from planner.laws import LAWS, Chinchilla, Law, Multiplicative, TrainableShare
from support.known_laws import LAW_EXAMPLES
from support.known_runs import TRUTH, UNEVEN, columns, grid, name_of, rows_of
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observation, observations, write_sweep
from sweeps.methods import FreezeBlocks, Full


def test_every_family_can_be_solved():
    assert set(SHAPES) == set(LAWS)


@pytest.mark.parametrize("truth", LAW_EXAMPLES, ids=name_of)
def test_a_family_recovers_its_own_law(truth):
    law = fit_laws(grid(truth), family=name_of(truth), bootstraps=20, **columns(truth)).laws[0].law
    assert law.coefficients == pytest.approx(truth.coefficients, rel=1e-3)


def test_no_start_finds_a_lower_objective_than_the_grid():
    frame = grid(TRUTH, noise=0.03, seed=5)
    problem = Problem(SHAPES["chinchilla"], rows_of(frame))
    best = solve(problem, np.ones((1, len(frame))), 1e-3)
    low, high = problem.limits()
    starts = np.random.default_rng(0).uniform(np.maximum(low, -6), np.minimum(high, 2), size=(100, problem.size))
    others = polish(problem, np.log(problem.rows.loss)[None], np.ones((100, len(frame))), starts, 1e-3)
    assert best.objective[0] <= others.objective.min() * (1 + 1e-6)


def test_the_slopes_are_those_of_the_prediction():
    frame = grid(TRUTH)
    for name, shape in SHAPES.items():
        problem = Problem(shape, rows_of(frame))
        theta = np.full((1, problem.size), 0.4)
        value, slopes = problem.slopes(theta)
        assert (problem.predict(theta) == value).all()
        for j in range(problem.size):
            nudged = problem.predict(theta + 1e-6 * np.eye(problem.size)[j])
            assert slopes[0, :, j] == pytest.approx((nudged - value)[0] / 1e-6, abs=1e-4), (name, j)


def test_huber_is_quadratic_near_and_linear_far():
    assert huber(np.array([0.001, -0.1]), 0.01) == pytest.approx([0.5e-6, 0.01 * (0.1 - 0.005)])


def simulated(truth: Law, sizes: int, budgets: int, sims: int, noise: float = 0.02) -> tuple[float, float]:
    """Share of simulated sweeps whose 90 % interval of the loss at 10 x the largest budget holds it; mean regret."""
    held, regret = [], []
    for sim in range(sims):
        frame = grid(truth, sizes, budgets, noise, seed=sim)
        solved = fit_problem(Problem(SHAPES["chinchilla"], rows_of(frame)), Settings(bootstraps=100, seed=sim))
        coefficients, draws = (solved.problem.coefficients(theta)[0] for theta in (solved.theta, solved.draws))
        menu = np.unique(frame["N"]) * 4
        tokens = 10 * frame["C"].max() / (6 * menu)
        true = truth.loss(menu, tokens)
        predicted = Chinchilla(**{name: float(values[0]) for name, values in coefficients.items()}).loss(menu, tokens)
        best = int(np.argmin(true))
        low, high = np.quantile(Chinchilla(**draws).loss(menu[best], tokens[best]), [0.05, 0.95])
        held.append(low <= true[best] <= high)
        regret.append(true[np.argmin(predicted)] / true[best] - 1)
    return float(np.mean(held)), float(np.mean(regret))


def test_intervals_hold_the_loss_at_ten_times_the_largest_budget():
    """A rough check; the slow tests below measure the share. At 90 % fewer than 21 of 30 hold once in 2,000 times."""
    held, regret = simulated(TRUTH, sizes=8, budgets=6, sims=30)
    assert held >= 21 / 30
    assert regret <= 0.005


# Of 300 simulations the share that holds has a binomial sd of 1.7 %: 90 % is three of them inside 85 to 97 %, and 80 %
# would pass once in 70 times. Seeds are fixed. tests/benchmarks/bench_fit.py does the whole fit.
@pytest.mark.slow
def test_nine_in_ten_intervals_hold_the_loss_at_ten_times_the_largest_budget():
    shares = [simulated(truth, sizes=8, budgets=6, sims=150) for truth in (TRUTH, UNEVEN)]
    assert 0.85 <= np.mean([held for held, _ in shares]) <= 0.97
    assert max(regret for _, regret in shares) <= 0.005


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "budgets"), [(4, 4), (3, 3)])
def test_intervals_of_few_runs_hold_nearly_as_often(sizes, budgets):
    held, regret = simulated(TRUTH, sizes, budgets, sims=100)
    assert 0.75 <= held <= 0.99  # three binomial sd of 100 (11 %) below 85 %, the least that is promised
    assert regret <= 0.05


def test_rows_of_one_run_are_resampled_together():
    generator = np.random.default_rng(3)
    frame = grid(TRUTH, sizes=8, budgets=8)
    frame["run"] = frame["N"].rank(method="dense").astype(int) + 100 * (np.arange(len(frame)) % 4 > 1)
    per_run = dict(zip(frame["run"].unique(), generator.normal(0, 0.02, frame["run"].nunique()), strict=True))
    frame["loss"] *= np.exp(frame["run"].map(per_run))
    rows, runs = (
        fit_laws(frame, n="N", d="D", loss="loss", family="chinchilla", bootstraps=300, **extra)
        .laws[0]
        .intervals["chinchilla"]["E"]
        for extra in ({}, {"run": "run"})
    )
    assert runs[1] - runs[0] > rows[1] - rows[0]


def test_tiny_sweeps_get_modest_families_and_sane_intervals(tmp_path):
    folder = write_sweep(tmp_path, observations(models=NANO[1:4], budgets=[1e13, 4e13, 1.6e14], noise=0.01))
    book = fit_laws(folder, bootstraps=300)
    assert len(book.laws) == 3
    for law in book.laws:
        assert law.rows == 9
        low, high = law.interval(NANO[3].params, 1e9)
        assert high / low < 1.3
        assert low < LAWS_OF_THE_TESTS[law.method].loss(NANO[3].params, 1e9) < high


def test_too_few_runs_are_refused_and_the_rest_is_fitted():
    frame = grid(TRUTH, 4, 4, noise=0.01).assign(kind="a")
    few = grid(TRUTH, 2, 2).assign(kind="b")
    two = grid(TRUTH, 2, 6).assign(kind="c")
    book = fit_laws(pd.concat([frame, few, two]), n="N", d="D", loss="loss", method="kind", bootstraps=50)
    assert [law.label for law in book.laws] == ["a"]
    refusals = {n.method: n.text for n in book.warnings if n.code == "too_few"}
    assert "4 runs; a law needs at least 6" in refusals["b"]
    assert "two model sizes" in refusals["c"]
    with pytest.raises(ValueError, match="4 runs; a law needs at least 6"):
        fit_laws(few, n="N", d="D", loss="loss")


def test_one_size_gives_a_law_in_tokens_and_says_so():
    frame = grid(TRUTH, sizes=1, budgets=9)
    book = fit_laws(frame, n="N", d="D", loss="loss", family="chinchilla", bootstraps=50)
    assert book.laws[0].law.A == 0
    assert book.laws[0].law.beta == pytest.approx(TRUTH.beta, rel=1e-3)
    assert "one_size" in [n.code for n in book.warnings]
    with pytest.raises(ValueError, match="family tied needs several model sizes; with one size: chinchilla, rectified"):
        fit_laws(frame, n="N", d="D", loss="loss", family="tied")


def test_an_irreducible_loss_that_is_not_there_is_not_claimed():
    frame = grid(Chinchilla(E=1e-6, A=30.0, alpha=0.2, B=200.0, beta=0.25), noise=0.01)
    book = fit_laws(frame, n="N", d="D", loss="loss", family="chinchilla", bootstraps=100)
    assert "E_unidentified" in [n.code for n in book.warnings]


def fit_family(truth: Law, **noise) -> str:
    return fit_laws(grid(truth, **noise), n="N", d="D", loss="loss", bootstraps=20).laws[0].family


def test_the_family_that_made_the_runs_has_the_largest_weight():
    truth = Chinchilla(E=0.5, A=30.0, alpha=0.25, B=9000.0, beta=0.55)
    assert fit_family(truth, noise=0.005) == "chinchilla"
    assert fit_family(Multiplicative(E=0.5, A=2000.0, alpha=0.2, beta=0.3), noise=0.005) == "multiplicative"


def test_a_form_that_the_runs_do_not_need_is_not_named():
    """Without noise every richer form fits too, by dropping what it has more."""
    assert fit_family(TRUTH) == "chinchilla"


def test_windows_fit_small_runs_and_predict_larger_ones():
    rows = rows_of(grid(TRUTH))
    train, test = windows(rows, needed=7)
    assert len(train) > 4
    for fitted, predicted in zip(train.astype(bool), test.astype(bool), strict=True):
        assert not (fitted & predicted).any()
        by_flops = rows.flops[fitted].max() < rows.flops[predicted].min()
        assert by_flops or rows.N[fitted].max() < rows.N[predicted].min()


def test_windows_hold_three_sizes_where_there_are_three():
    rows = rows_of(grid(TRUTH, sizes=4, budgets=6))
    train, _ = windows(rows, needed=5)
    assert all(len(np.unique(rows.N[fitted > 0])) >= 3 for fitted in train)


def test_methods_can_share_exponents():
    laws = {"a": TRUTH, "b": Chinchilla(E=0.4, A=40.0, alpha=0.35, B=150.0, beta=0.33)}
    frame = pd.concat([grid(law, 5, 4, noise=0.005, seed=i).assign(kind=k) for i, (k, law) in enumerate(laws.items())])
    options = {"n": "N", "d": "D", "loss": "loss", "method": "kind", "family": "chinchilla", "bootstraps": 50}
    own, shared = (fit_laws(frame, exponents=how, **options) for how in ("own", "shared"))
    a, b = shared.laws
    assert (a.law.alpha, a.law.beta) == (b.law.alpha, b.law.beta)
    assert a.shared == ("alpha", "beta")
    assert a.law.E != b.law.E
    assert own.laws[0].law.alpha != own.laws[1].law.alpha
    assert abs(a.law.alpha - 0.35) < 0.05


def test_settings_of_a_method_share_one_law_of_the_trained_share():
    truth = TrainableShare(E=0.3, a_d=1.0, b_d=20.0, alpha=0.3, a_s=400.0, b_s=1.5, c_s=300.0, beta=0.35)
    frame = grid(truth, noise=0.005).assign(kind="freeze")
    book = fit_laws(frame, n="N", d="D", loss="loss", share="S", method="kind", family="trainable", bootstraps=20)
    ratio = book.laws[0].law.at(1e6, 1e8, 0.2) / truth.at(1e6, 1e8, 0.2)
    assert ratio == pytest.approx(1, abs=0.02)
    with pytest.raises(ValueError, match="1 trained shares; family trainable needs at least 3"):
        fit_laws(frame, n="N", d="D", loss="loss", family="trainable")


def test_repeats_need_repeated_data():
    with pytest.raises(ValueError, match="fewer than 3 see more than"):
        fit_laws(grid(TRUTH), n="N", d="D", loss="loss", family="repeated")


def test_a_fit_is_reproducible_and_full_precision():
    frame = grid(TRUTH, noise=0.02)
    first, second = (fit_laws(frame, n="N", d="D", loss="loss", bootstraps=50).to_json() for _ in range(2))
    assert first == second
    A = first["laws"][0]["coefficients"]["chinchilla"]["A"]
    assert round(A, 6) != A


def test_one_wild_run_hardly_moves_the_law():
    frame = grid(TRUTH, noise=0.005)
    wild = frame.copy()
    wild.loc[10, "loss"] *= 3
    calm, robust = (
        fit_laws(f, n="N", d="D", loss="loss", family="tied", bootstraps=50).laws[0].law for f in (frame, wild)
    )
    assert robust.loss(1e7, 1e10) == pytest.approx(calm.loss(1e7, 1e10), rel=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "cubic"}, "`family` is 'cubic'; known: auto, chinchilla"),
        ({"delta": 0.0}, "`delta` is 0.0"),
        ({"delta": float("nan")}, "`delta` is nan"),
        ({"bootstraps": 3}, "`bootstraps` is 3"),
        ({"exponents": "some"}, "`exponents` is 'some'; known: auto, own, shared"),
        ({"colour": "red"}, "unknown column 'colour'"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(options, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fit_laws(grid(TRUTH), **{"n": "N", "d": "D", "loss": "loss", **options})
    assert words in str(caught.value)


def test_full_tuning_is_freezing_of_nothing(tmp_path):
    """It is fitted with freezing of the same token table as trained share 1; with another, there is a word of that."""
    truth = TrainableShare(E=0.3, a_d=1.0, b_d=20.0, alpha=0.3, a_s=400.0, b_s=1.5, c_s=300.0, beta=0.35)
    laws = [Full(), Full(token_table="freeze"), FreezeBlocks(share=0.3), FreezeBlocks(share=0.7)]
    book = fit_laws(made_of_shares(tmp_path / "own", truth, laws), family="trainable", bootstraps=20)
    one, other = ({law.label: law.law for law in book.laws}.get(label) for label in ("full token_table freeze", "full"))
    assert one == book.laws[-1].law and other is None  # one share alone, beside a full tuning of freezing's own kind
    assert one.at(1e6, 1e8, 1.0) == pytest.approx(truth.at(1e6, 1e8, 1.0), rel=0.02)
    other = made_of_shares(tmp_path / "other", truth, [laws[0], *laws[2:]])
    plain = fit_laws(other, family="trainable", bootstraps=20)
    assert len({law.law for law in plain.laws}) == 1 and len(plain.laws) == 3
    assert "pooled_tables" in {caveat.code for caveat in plain.warnings} - {caveat.code for caveat in book.warnings}


def made_of_shares(folder, truth, methods):
    """A sweep of runs of these methods whose losses are those of a law in the trained share."""
    made = []
    for method in methods:
        for model in NANO[1:]:
            for budget in np.geomspace(1e13, 1e16, 5):
                one = observation(model, method, TRUTH, budget)
                loss = truth.at(one.params, one.tokens, min(1.0, one.trainable / one.params))
                made.append(replace(one, loss=loss))
    return write_sweep(folder, made)
