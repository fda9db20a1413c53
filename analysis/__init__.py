"""What the losses of a sweep say: which runs count, the laws they follow, and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from recipe_planner.packages import claim

claim(__name__)

from sweeps.admission import MAX_EPOCHS, MIN_STEPS  # noqa: E402 (our sweeps, by the line above)

if TYPE_CHECKING:
    import pandas

    from analysis.tables.table import Table
    from planner.law_book import LawBook

__all__ = ["fit_laws"]

EXPONENTS = {"auto": None, "own": False, "shared": True}


def reference_folder(named: Path | str) -> Path:
    """The results folder that `--with` names: a path, or the name of a bundled one ("reference", "ziarko2024").

    Raises ValueError naming these where there is no such folder.
    """
    from planner.evidence import shipped

    if Path(named).is_dir():
        return Path(named)
    bundled = shipped()
    if str(named) not in bundled:
        raise ValueError(f"`reference` is {str(named)!r}: no such folder; bundled: {', '.join(bundled)}")
    return bundled[str(named)].parent


def fit_laws(
    runs: pandas.DataFrame | Path | str,
    *,
    family: str = "auto",
    exponents: str = "auto",
    delta: float | None = None,
    bootstraps: int = 1000,
    seed: int = 0,
    drop_highest: int = 0,
    best: bool = False,
    where: str | Sequence[str] = (),
    holdout: str = "",
    fix: Mapping[str, float] | None = None,
    profile: str = "",
    min_steps: int = MIN_STEPS,
    max_epochs: float = MAX_EPOCHS,
    reference: Path | str | None = None,
    condition: str = "",
    **columns: str,
) -> LawBook:
    """Laws of the runs in a results folder, a table file or a data frame: what the command `fit` does.

    columns, for tables and frames: loss, n, d, c, method, run, share, unique, weights, as the flags of `fit` of these
    names; where: conditions on rows that enter, such as "D/N > 5"; holdout: one on rows that stay out, which
    analysis.fitting.holdout scores; best: of rows with one N and D only the lowest loss enters; drop_highest: so many
    highest losses stay out. fix: coefficients that are held, with their values. profile: names of
    coefficients to profile, separated by commas, or weak: those that are not identifiable.
    delta: of the Huber loss; by default 1e-3 for tables of several model sizes, as published fits use, and 1.345 noise
    sd for results folders and for curves in tokens alone. reference: another results folder, or "reference" for the
    bundled one; its exponents are shared, E, A and B are the runs' own. A folder of a paper's facts, or "ziarko2024":
    laws that agree with the facts and predict the runs, at most 400 draws of them. condition: name of one, of a results
    folder whose sweep spans several. Raises ValueError.

    >>> import pandas
    >>> grid = [(n, d) for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9, 1e10)]
    >>> runs = pandas.DataFrame(grid, columns=["N", "D"])
    >>> runs["loss"] = 0.5 + 40 / runs.N**0.3 + 300 / runs.D**0.3
    >>> book = fit_laws(runs, n="N", d="D", loss="loss", family="chinchilla", bootstraps=50)
    >>> round(book.laws[0].law.alpha, 3), book.laws[0].law.loss(1e9, 1e12) < 0.7
    (0.3, True)
    """
    from analysis.fitting.estimate import Settings  # numpy and pandas: `import analysis` need not wait for them
    from analysis.fitting.fit import fit_table
    from analysis.tables.columns import Columns
    from analysis.tables.filters import Filters
    from analysis.tables.foreign_table import read_runs, runs_table
    from analysis.tables.sweep_table import read_sweep

    if exponents not in EXPONENTS:
        raise ValueError(f"`exponents` is {exponents!r}; known: {', '.join(EXPONENTS)}")
    folder = isinstance(runs, (str, Path)) and Path(runs).is_dir()
    settings = Settings(family, delta, bootstraps, seed, EXPONENTS[exponents], fix or {}, profile=profile)
    filters = Filters((where,) if isinstance(where, str) else tuple(where), holdout, best, drop_highest)
    if folder:
        if given := [*columns, *(name for name, value in asdict(filters).items() if value)]:
            raise ValueError(f"{', '.join(given)}: only for tables of runs; {runs} is a folder")
        table = read_sweep(Path(runs), min_steps, max_epochs, condition=condition)
        if reference is None:
            return fit_table(table, settings)
        from analysis.fitting.joint import fit_beside

        def read(folder: Path) -> Table:
            return read_sweep(folder, min_steps, max_epochs)

        return fit_beside(table, reference_folder(reference), settings, read)
    if reference is not None:
        raise ValueError("a reference shares its exponents with results folders only")
    unknown = sorted(set(columns) - set(Columns.__dataclass_fields__))
    if unknown or "loss" not in columns:
        wrong = f"unknown column {unknown[0]!r}" if unknown else "loss must name the column of final losses"
        raise ValueError(f"{wrong}; columns are named by {', '.join(Columns.__dataclass_fields__)}")
    if isinstance(runs, (str, Path)):
        return fit_table(read_runs(Path(runs), Columns(**columns), filters), settings)
    return fit_table(runs_table(runs, Columns(**columns), filters), settings)
