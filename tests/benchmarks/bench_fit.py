"""How fast and how right the fit is, as a table. Run: python tests/benchmarks/bench_fit.py [--simulations 300]

Wall time is what a user waits; CPU time is what the fit costs on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from analysis import fit_laws  # noqa: E402
from analysis.fitting.forms import SHAPES  # noqa: E402
from analysis.fitting.problem import Problem  # noqa: E402
from analysis.fitting.solver import RESAMPLED, polish, solve  # noqa: E402
from analysis.tables.columns import Columns  # noqa: E402
from analysis.tables.foreign_table import read_runs  # noqa: E402
from planner.laws import Law  # noqa: E402
from support.known_runs import TRUTH, UNEVEN, grid  # noqa: E402
from support.published_runs import COLUMNS, DATA, FINE_TUNING, PUBLISHED_95  # noqa: E402
from support.published_runs import fine_tuning as runs_of  # noqa: E402


def line(what: str, value: str, wanted: str = "") -> None:
    print(f"{what:58s} {value:34s} {wanted}", flush=True)


def timed(what: str, wanted: str, work: Callable[[], object], times: int = 5) -> None:
    """The fastest of several runs: what it takes when nothing else disturbs."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    line(what, f"{min(walls):.3f} s wall, {min(cpus):.3f} s CPU", wanted)


def speed() -> None:
    rows = read_runs(DATA / "chinchilla_svg.csv", Columns(**COLUMNS), 5).of(["all"])
    problem = Problem(SHAPES["chinchilla"], rows)
    once = np.ones((1, len(rows)))
    timed("one fit, 240 rows, from the grid", "<= 0.050 s", lambda: solve(problem, once, 1e-3), 20)
    found = solve(problem, once, 1e-3).theta.repeat(1000, axis=0)
    weights = np.random.default_rng(0).multinomial(240, np.full(240, 1 / 240), size=1000).astype(float)
    target = np.log(rows.loss)[None]
    timed("1,000 bootstraps of 240 rows", "<= 1 s", lambda: polish(problem, target, weights, found, 1e-3, RESAMPLED))
    four = pd.concat([grid(TRUTH, noise=0.02, seed=i).assign(kind=f"method {i}") for i in range(4)])
    options = {"n": "N", "d": "D", "loss": "loss", "method": "kind"}
    timed("four methods, 48 runs each, family chosen, 1,000 bootstraps", "<= 3 s", lambda: fit_laws(four, **options), 3)


def known_answers() -> None:
    law = fit_laws(DATA / "chinchilla_svg.csv", family="chinchilla", drop_highest=5, bootstraps=4000, **COLUMNS).laws[0]
    line("chinchilla, 5 dropped: objective", f"{law.objective:.12f}", "<= 0.00101828")
    for name, known in {"alpha": 0.34731, "beta": 0.36717, "E": 1.8172, "A": 477.8, "B": 2143}.items():
        line(f"  {name}", f"{law.law.coefficients[name]:.6g}", f"known {known}")
    rows = read_runs(DATA / "chinchilla_svg.csv", Columns(**COLUMNS), 5).of(["all"])
    problem = Problem(SHAPES["chinchilla"], rows)
    begin = solve(problem, np.ones((1, 240)), 1e-3).theta.repeat(4000, axis=0)
    weights = np.random.default_rng(0).multinomial(240, np.full(240, 1 / 240), size=4000).astype(float)
    draws = problem.coefficients(polish(problem, np.log(rows.loss)[None], weights, begin, 1e-3, RESAMPLED).theta)[0]
    for name, (low, high) in PUBLISHED_95.items():
        ends = np.quantile(draws[name], [0.025, 0.975])
        off = max(abs(ends[0] - low), abs(ends[1] - high)) / (high - low)
        line(
            f"  {name}: 95 % interval",
            f"{ends[0]:.4g} to {ends[1]:.4g}, ends off {100 * off:.0f} %",
            f"{low} to {high}, 15 %",
        )


def fine_tuning() -> None:
    for name, (published, forecast) in FINE_TUNING.items():
        runs = runs_of(name)
        options = {"d": "D", "loss": "loss", "method": "config name", "bootstraps": 20}
        chosen = fit_laws(runs, **options).laws[0]
        line(
            f"{name}: family chosen",
            chosen.family,
            ", ".join(f"{k} {v['error']:.4f}" for k, v in chosen.backtest["tried"].items()),
        )
        misses = {}
        for share, part in (("all", runs), ("an eighth", runs[runs["D"] <= runs["D"].max() / 8])):
            laws = fit_laws(part, family="rectified", **options).laws
            misses[share] = [
                np.log(g["loss"] / law.law.loss(1.0, g["D"].to_numpy()))
                for law in laws
                for g in [runs[runs["config name"] == law.label]]
            ]
        rmsd = np.mean([np.sqrt((miss**2).mean()) for miss in misses["all"]])
        line(f"{name}: rectified, mean log-RMSD", f"{rmsd:.5f}", f"published {published}")
        ahead = np.mean([abs(miss.iloc[-1]) for miss in misses["an eighth"]])
        line(f"{name}: fitted to 1/8, error at full size", f"{100 * ahead:.2f} %", f"{100 * forecast:.1f} %")


def recovery(truth: Law, simulations: int, **options) -> None:
    held, regret, families = [], [], []
    for sim in range(simulations):
        frame = grid(truth, 8, 6, noise=0.02, seed=1000 + sim)
        law = fit_laws(frame, n="N", d="D", loss="loss", bootstraps=200, seed=sim, **options).laws[0]
        menu = np.unique(frame["N"]) * 4
        tokens = 10 * frame["C"].max() / (6 * menu)
        true = truth.loss(menu, tokens)
        best, chosen = int(np.argmin(true)), int(np.argmin(law.law.loss(menu, tokens)))
        low, high = law.interval(menu[best], tokens[best], run=False)
        held.append(low <= true[best] <= high)
        regret.append(true[chosen] / true[best] - 1)
        families.append(law.family)
    how = "family given" if options else "family chosen"
    what = f"recovery, alpha {truth.alpha}, beta {truth.beta}, {how}"
    names = ", ".join(f"{name} {families.count(name)}" for name in sorted(set(families)))
    line(what, f"{100 * np.mean(held):.1f} % held", f"85 to 97 %; {names}")
    line("  mean regret of the chosen checkpoint", f"{100 * np.mean(regret):.3f} %", "<= 0.5 %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=300)
    simulations = parser.parse_args().simulations
    line("what", "measured", "wanted or published")
    if DATA.exists():
        speed()
        known_answers()
        fine_tuning()
    print(f"\n{simulations} simulated sweeps each, 8 sizes x 6 budgets, 2 % noise; the loss at 10 x the largest budget")
    for truth in (TRUTH, UNEVEN):
        recovery(truth, simulations, family="chinchilla", delta=0.0269)
        recovery(truth, simulations)


if __name__ == "__main__":
    main()
