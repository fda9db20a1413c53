"""Which rule finds isoFLOP minima best: the valleys of analysis/fitting/valleys.py, or a spline through the losses.

A rule gets the runs of several budgets and says ln N* at each. The splines (scipy's Akima and modified Akima) pass
through the mean ln loss of every size; a spline's minimum is its lowest point between the smallest and the largest size
tried. `lowest` is the size of the lowest mean loss, which is also the minimum of a monotone spline (PCHIP). A bottom
outside the tried sizes counts as the size at that end.

    python tests/benchmarks/bench_isoflop.py                     simulated sweeps whose N* is known: the error
    python tests/benchmarks/bench_isoflop.py --simulations 1000
    python tests/benchmarks/bench_isoflop.py --data              measured sweeps, public ones too where they lie beside
                                                                 this project: how far N* moves without one of the sizes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from analysis.fitting.valleys import FEWEST_SIZES, Levels, valleys  # noqa: E402
from analysis.frontier import Level, at_level, budget_levels  # noqa: E402
from analysis.tables.rows import Array  # noqa: E402
from analysis.tables.sweep_table import read_sweep  # noqa: E402
from planner.laws import Chinchilla  # noqa: E402
from support.isoflop_sweeps import BUDGETS, best_sizes, isoflop_runs  # noqa: E402
from support.known_runs import UNEVEN  # noqa: E402
from support.published_runs import DATA  # noqa: E402

POINTS = 2000  # at which a spline is looked at
TRUTHS = {
    "tokens count more": UNEVEN,
    "size counts more": Chinchilla(E=0.4, A=2000.0, alpha=0.5, B=60.0, beta=0.28),
    "alike": Chinchilla(E=1.8172, A=477.8, alpha=0.34731, B=2143.0, beta=0.36717),
}
NOISES = (0.0, 0.003, 0.012, 0.036)  # of ln loss: none, language models, seeds of our sweeps, these about their law
GRIDS = ((5, 4.0), (7, 6.0), (9, 10.0))  # sizes a budget, and the factor from the best one to either end
SWEEPS = ("reference", "bracket", "language/dense")


def by_valleys(runs: pd.DataFrame, levels: Sequence[Level]) -> Array:
    """ln N* [levels] of the skewed parabolas; nan where one opens downward."""
    at = Levels.of(runs, levels)
    return np.clip(valleys(at, at.loss[None]).bottoms[0], *at.ends)


def by_spline(spline: Callable[[Array, Array], Callable[[Array], Array]]) -> Callable[..., Array]:
    """ln N* [levels] where a spline through the mean losses is lowest."""

    def rule(runs: pd.DataFrame, levels: Sequence[Level]) -> Array:
        found = []
        for level in levels:
            means = at_level(runs, level).groupby("params")["loss"].mean()
            x, y = np.log(means.index.to_numpy(float)), np.log(means.to_numpy(float))
            grid = np.append(np.linspace(x[0], x[-1], POINTS), x)
            found.append(grid[np.argmin(spline(x, y)(grid))])
        return np.array(found)

    return rule


RULES = {
    "valleys": by_valleys,
    "akima": by_spline(lambda x, y: Akima1DInterpolator(x, y, method="akima")),
    "makima": by_spline(lambda x, y: Akima1DInterpolator(x, y, method="makima")),
    "lowest": by_spline(lambda x, y: lambda grid: np.interp(grid, x, y)),
}


def simulated(simulations: int) -> Iterator[tuple[str, dict[str, Array]]]:
    """What was simulated, and the errors of each rule in ln N*."""
    for noise in NOISES:
        for sizes, factor in GRIDS:
            for name, law in TRUTHS.items():
                errors: dict[str, list[Array]] = {rule: [] for rule in RULES}
                for seed in range(simulations):
                    # The middle of the tried sizes is not the best one, as in a sweep that was planned by a guess.
                    runs = isoflop_runs(law, sizes=sizes, factor=factor, drift=0.4, noise=noise, seed=seed)
                    levels = budget_levels(runs["flops"].to_numpy(float))
                    for rule, find in RULES.items():
                        errors[rule].append(find(runs, levels) - np.log(best_sizes(law, BUDGETS)))
                told = f"{100 * noise:.1f} %  {sizes} sizes  {name}"
                yield told, {rule: np.concatenate(found) for rule, found in errors.items()}


def sweeps() -> Iterator[tuple[str, pd.DataFrame]]:
    """Runs of one method each, columns as in Table.rows."""
    for name in SWEEPS:
        rows = read_sweep(ROOT / "results" / name).rows
        for method in rows["method"].unique():
            yield f"{name}, {method}", rows[rows["method"] == method]
    if not DATA.exists():
        return
    chinchilla = pd.read_csv(DATA / "chinchilla_svg.csv").nsmallest(240, "loss")
    yield "chinchilla", _as_rows(chinchilla.rename(columns={"Model Size": "params", "Training FLOP": "flops"}))
    for name in ("llama3", "ml_scalefit"):
        yield name, _as_rows(pd.read_csv(DATA / f"isoflop_{name}.csv").rename(columns={"budget": "flops"}))


def _as_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(run=np.arange(len(frame)).astype(str))


def left_out() -> Iterator[tuple[str, dict[str, Array]]]:
    """Jackknife errors [budgets] of each rule: from ln N* with each of the sizes left out in turn."""
    for name, runs in sweeps():
        levels = [
            level
            for level in budget_levels(runs["flops"].to_numpy(float))
            if at_level(runs, level)["params"].nunique() > FEWEST_SIZES
        ]
        if levels:
            yield name, {rule: _jackknife(find, runs, levels) for rule, find in RULES.items()}


def _jackknife(find: Callable[..., Array], runs: pd.DataFrame, levels: Sequence[Level]) -> Array:
    errors = []
    for level in levels:
        others = [other for other in levels if other != level]
        own = at_level(runs, level)
        found = []
        for size in own["params"].unique():
            rest = pd.concat([at_level(runs, other) for other in others] + [own[own["params"] != size]])
            found.append(find(rest, levels)[levels.index(level)])
        errors.append(np.sqrt((len(found) - 1) * np.var(found)))
    return np.array(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--data", action="store_true")
    arguments = parser.parse_args()
    found = list(left_out() if arguments.data else simulated(arguments.simulations))
    print(f"{'root mean square error of ln N*':40}" + "".join(f"{rule:>10}" for rule in RULES) + "   no minimum")
    together: dict[str, list[Array]] = {rule: [] for rule in RULES}
    for name, errors in found:
        open_downward = np.isnan(errors["valleys"])
        print(f"{name:40}{_line(errors, ~open_downward)}   {open_downward.sum()} of {len(open_downward)}")
        for rule, values in errors.items():
            together[rule].append(values)
    every = {rule: np.concatenate(values) for rule, values in together.items()}
    print(f"{'all of them':40}{_line(every, ~np.isnan(every['valleys']))}")


def _line(errors: dict[str, Array], there: Array) -> str:
    return "".join(f"{np.sqrt(np.mean(values[there] ** 2)):10.3f}" for values in errors.values())


if __name__ == "__main__":
    main()
