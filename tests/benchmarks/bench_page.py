"""How large the page of 10,000 trials is, how long it takes to write, to open and to follow the slider.

    python tests/benchmarks/bench_page.py        about a minute; needs Chromium

The trials are made: 8 methods with curves of 100 points each, scores, and one in fifty that failed; the law of each is
the mean of three families. Opening ends when the recipe, the chart and the table stand on the screen, the second frame
after the scripts have run; the middle of five fresh tabs. Limits: 6 MB and 2 s.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from analysis.page import page  # noqa: E402
from support.browser import browser, program, tab  # noqa: E402
from support.known_laws import FULL, law_book, mean_of_three, method_law  # noqa: E402
from support.made_sweep import LAWS_OF_THE_TESTS, observation, write_sweep  # noqa: E402
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA  # noqa: E402
from sweeps.models import NANO  # noqa: E402
from sweeps.trial import failure  # noqa: E402

TRIALS = 10_000
DRAWS = 200  # as many as `fit` keeps
METHODS = [Full(), BiasOnly(), FreezeBlocks(0.5), FreezeBlocks(0.25), *map(LoRA, (4, 8, 16, 32))]
SCORES = ("ndcg@10", "mrr@10", "recall@10", "alignment", "uniformity", "effective_rank")


def trials() -> list:
    law = LAWS_OF_THE_TESTS[Full()]
    cells = [(model, method, 10 ** (13 + i / 2)) for model in NANO for method in METHODS for i in range(5)]
    made = []
    for place in range(TRIALS):
        model, method, budget = cells[place % len(cells)]
        one = observation(model, method, law, budget, seed=place, noise=0.02)
        if place % 50 == 49:
            made.append(failure(one.trial, f"loss is nan after {place} steps", "diverged"))
            continue
        curve = tuple((step, 5000 * step, one.loss * (1 + 3 / step)) for step in range(1, 101))
        made.append(replace(one, curve=curve, scores=dict.fromkeys(SCORES, one.loss / 7), seconds=place / 7))
    return made


def opening(running, file: Path) -> float:
    """Seconds until the second frame after everything stands."""
    with tab(running, file, 1600, 1000) as page:
        done = "new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(() => end(performance.now()))))"
        return page.evaluate(done) / 1000


def moving(running, file: Path) -> float:
    """Milliseconds of one move of the slider, frame included; the mean of 40."""
    with tab(running, file, 1600, 1000) as page:
        return page.evaluate("""async () => {
          const begun = performance.now();
          for (let place = 0; place < 40; place++) {
            byId('slider').value = 300 + 5 * place;
            sliderMoved();
            await new Promise(requestAnimationFrame);
          }
          return (performance.now() - begun) / 40;
        }""")


def main() -> None:
    if not (chromium := program()):
        raise SystemExit("there is no Chromium")
    settings = [{"name": method.name, **method.options} for method in METHODS]
    book = law_book(
        *(method_law(mean_of_three(FULL), one, draws=DRAWS, seed=seed) for seed, one in enumerate(settings))
    )
    with tempfile.TemporaryDirectory() as folder, browser(chromium) as running:
        sweep, file = write_sweep(Path(folder) / "sweep", trials()), Path(folder) / "page.html"
        begun = time.perf_counter()
        file.write_text(page(sweep, book), encoding="utf-8")
        wrote, size = time.perf_counter() - begun, file.stat().st_size / 1e6
        opened = statistics.median(opening(running, file) for _ in range(5))
        moved = moving(running, file)
    print(f"{TRIALS:,} trials, {len(METHODS)} methods: {size:.2f} MB, written in {wrote:.1f} s")
    print(f"open in {opened:.2f} s (middle of 5 tabs); one move of the slider {moved:.0f} ms")
    if size > 6 or opened > 2:
        raise SystemExit("over the limit of 6 MB or 2 s")


if __name__ == "__main__":
    main()
