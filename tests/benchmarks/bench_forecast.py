"""How well laws of simulated sweeps keep their word 10 and 100 times beyond the compute, beside other rules.

Each sweep is an isoFLOP grid of 5 to 9 sizes at 4 to 7 budgets over 1.5 to 2.5 decades, its noise 0.3 to 3 %. The truth
is the plain law, the rectified one, or such as no family has: slopes that bend, an exponent that depends on size, noise
and bias at small D, five gross outliers. At 10 and 100 times the largest budget the loss of five sizes around the best
is predicted, with the 90 % interval of one run, and a size is chosen on a ladder: the share of the loss given away.

    python tests/benchmarks/bench_forecast.py                  30 of each truth
    python tests/benchmarks/bench_forecast.py --simulations 300 --json forecast.json
    python tests/benchmarks/bench_forecast.py --data           public sweeps instead, where they lie beside this project
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from analysis.fitting.backtest import Backtest, FamilyChoice  # noqa: E402
from analysis.fitting.decisions import RULES, TOKENS_PER_PARAMETER  # noqa: E402
from analysis.fitting.describe import MethodGroup  # noqa: E402
from analysis.fitting.estimate import Settings  # noqa: E402
from analysis.fitting.family import choose_family  # noqa: E402
from analysis.fitting.fit import fit_group  # noqa: E402
from analysis.fitting.isoflop import line_of  # noqa: E402
from analysis.fitting.problem import Problem  # noqa: E402
from analysis.fitting.solver import solve  # noqa: E402
from analysis.frontier import budget_levels  # noqa: E402
from analysis.tables.columns import Columns  # noqa: E402
from analysis.tables.foreign_table import runs_table  # noqa: E402
from analysis.tables.rows import Array, Rows  # noqa: E402
from analysis.tables.table import Table  # noqa: E402
from planner.discrepancy import drift  # noqa: E402
from planner.law_book import MethodLaw  # noqa: E402
from planner.laws import LAWS, Law  # noqa: E402
from support.published_runs import DATA  # noqa: E402
from support.simulated_sweeps import TRUTHS, sweep, usual  # noqa: E402

FACTORS = (10.0, 100.0)
AROUND = 2  # sizes on either side of the best that are predicted
BOOTSTRAPS = 100
DELTA = Settings().first_delta


# Rules. A rule is a law, or a size at a budget.


def table_of(frame: pd.DataFrame) -> Table:
    return runs_table(frame, Columns(n="N", d="D", loss="loss"))


def single_laws(rows: Rows, backtest: Backtest, tested: Sequence[FamilyChoice]) -> tuple[dict[str, Law], str, str]:
    """The law of each family; which of them predicted best; and the choice that `fit` made before it weighed them."""
    laws = {}
    for choice in tested:
        problem = Problem(choice.shape, rows)
        columns = problem.coefficients(solve(problem, np.ones((1, len(rows))), DELTA).theta)[0]
        laws[choice.family] = LAWS[choice.family](**{name: float(values[0]) for name, values in columns.items()})
    lowest = min(laws, key=backtest.error)
    general = [c for c in tested if c.family not in ("tied", "joined")]
    first = min(general, key=lambda c: backtest.error(c.label))
    gaps = {c: backtest.summary(backtest.errors[c.label] - backtest.errors[first.label]) for c in general}
    near = [c for c in general if gaps[c][0] <= gaps[c][1]]
    return laws, lowest, min(near, key=lambda c: (-c.shape.size, backtest.error(c.label))).family


def chosen_sizes(
    laws: Mapping[str, Law], frame: pd.DataFrame, budget: float, sizes: Array, tokens: Array
) -> dict[str, int]:
    """Place of the size that each rule chooses; without isoFLOP minima where these form no line."""
    places = {rule: int(np.argmin(law.loss(sizes, tokens))) for rule, law in laws.items()}
    if line := line_of(table_of(frame).rows):
        places["isoFLOP minima"] = int(np.argmin(np.abs(np.log(sizes / line.params(budget)))))
    places[RULES["ratio"]] = int(np.argmin(np.abs(np.log(tokens / sizes / TOKENS_PER_PARAMETER))))
    return places


def rules(frame: pd.DataFrame) -> tuple[MethodLaw, dict[str, Law]]:
    """What `fit` makes of the runs, and the law by each rule."""
    table, settings = table_of(frame), Settings(bootstraps=BOOTSTRAPS)
    chosen = choose_family(table.of(["all"]), ["all"], settings)
    fitted = replace(fit_group(table, MethodGroup(("all",), (0,)), chosen, settings)[0][0], drift=chosen.drift)
    assert chosen.backtest
    single, lowest, before = single_laws(table.of(["all"]), chosen.backtest, chosen.tested)
    laws = {"weighed": fitted.law, "chosen before": single[before], "lowest backtest": single[lowest]}
    return fitted, {**laws, "always plain": single["chinchilla"], "always tied": single["tied"]}


def inside(fitted: MethodLaw, N: Array, D: Array, C: Array, losses: Array) -> list[bool]:
    """Whether each loss lies in the 90 % interval of a run."""
    ends = [fitted.interval(n, d, drift=drift(fitted, c, n, d)) for n, d, c in zip(N, D, C, strict=True)]
    return [low <= loss <= high for (low, high), loss in zip(ends, losses, strict=True)]


Row = Mapping[str, float | str]


def simulate(name: str, seed: int) -> list[Row]:
    """One line a rule and factor."""
    truth, frame, sizes, noise = sweep(name, seed)
    fitted, laws = rules(frame)
    chance, said = np.random.default_rng([seed, 7]), []
    for factor in FACTORS:
        budget = factor * frame["C"].max()
        ladder = sizes[usual(sizes, budget)]
        tokens = budget / (6 * ladder)
        true = truth(ladder, tokens)
        best = int(np.argmin(true))
        some = np.clip(np.arange(best - AROUND, best + AROUND + 1), 0, len(ladder) - 1)
        run = true[some] * np.exp(chance.normal(0, noise, len(some)))
        for rule, place in chosen_sizes(laws, frame, budget, ladder, tokens).items():
            line: dict[str, float | str] = {"truth": name, "rule": rule, "factor": factor}
            line["regret"] = true[place] / true[best] - 1
            if rule in laws:
                line["error"] = float(np.abs(np.log(laws[rule].loss(ladder, tokens) / true))[some].mean())
            if rule == "weighed":
                line["held"] = float(
                    np.mean(inside(fitted, ladder[some], tokens[some], np.full(len(some), budget), run))
                )
            said.append(line)
    return said


# Public sweeps: the small runs are fitted, those of 10 times the compute and more predicted.


def public_sets() -> Iterator[tuple[str, pd.DataFrame]]:
    runs = pd.read_csv(DATA / "chinchilla_svg.csv").nsmallest(240, "loss")
    yield "chinchilla", runs.rename(columns={"Model Size": "N", "Training FLOP": "C"}).assign(D=lambda x: x.C / 6 / x.N)
    for name in ("llama3", "ml_scalefit"):
        runs = pd.read_csv(DATA / f"isoflop_{name}.csv").rename(columns={"params": "N", "tokens": "D", "budget": "C"})
        yield name, runs
        yield f"{name}, without outliers", runs[~runs["outlier"].astype(bool)]


def splits(name: str, frame: pd.DataFrame) -> list[Row]:
    """One line a rule and split, and one a rule and decision at a budget that was measured."""
    said: list[Row] = []
    levels = budget_levels(frame["C"].to_numpy(float))
    for level in levels:
        small, large = frame[frame["C"] <= level.high], frame[frame["C"] >= 9.9 * level.middle]
        if len(large) < 3 or small["N"].nunique() < 3:
            continue
        try:
            fitted, laws = rules(small)
        except (ValueError, AssertionError):
            continue  # too few runs to test any family
        N, D, C, losses = (large[key].to_numpy(float) for key in ("N", "D", "C", "loss"))
        for rule, law in laws.items():
            line = {"truth": name, "rule": rule, "factor": level.middle}
            line["error"] = float(np.abs(np.log(law.loss(N, D) / losses)).mean())
            if rule == "weighed":
                line["held"] = float(np.mean(inside(fitted, N, D, C, losses)))
            said.append(line)
        for above in (other for other in levels if other.middle >= 9.9 * level.middle):
            said += decide(
                name, small, frame[(frame["C"] >= above.low) & (frame["C"] <= above.high)], laws, level.middle
            )
    return said


def decide(name: str, small: pd.DataFrame, cells: pd.DataFrame, laws: Mapping[str, Law], factor: float) -> list[Row]:
    """What each rule gives away among the sizes measured at one budget."""
    if cells["N"].nunique() < 4:
        return []
    N, D, losses = (cells[key].to_numpy(float) for key in ("N", "D", "loss"))
    places = chosen_sizes(laws, small, float(cells["C"].median()), N, D)
    return [
        {"truth": name, "rule": rule, "factor": factor, "regret": losses[place] / losses.min() - 1}
        for rule, place in places.items()
    ]


def summary(rows: list[Row], by: str) -> str:
    """Means in percent, one line a rule."""
    table = pd.DataFrame(rows)
    names = [name for name in ("error", "regret", "held") if name in table]
    numbers = (
        100 * table.pivot_table(index="rule", columns=by, values=names, sort=False)
        if by
        else (100 * table.groupby("rule", sort=False)[names].mean())
    )
    return numbers.round(2).to_string(na_rep="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=30, help="of each truth")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--data", action="store_true", help="public sweeps instead of simulated ones")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.data and not DATA.exists():
        sys.exit(f"{DATA} is not there; nothing to try")
    rows: list[Row] = []
    if args.data:
        for name, frame in public_sets():
            rows += splits(name, frame)
            print(f"\n{name}\n{summary([row for row in rows if row['truth'] == name], '')}", flush=True)
    else:
        for name in TRUTHS:
            for seed in range(args.first, args.first + args.simulations):
                rows += simulate(name, seed)
            print(f"\n{name}\n{summary([row for row in rows if row['truth'] == name], 'factor')}", flush=True)
    print(f"\nall\n{summary(rows, '' if args.data else 'factor')}")
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
