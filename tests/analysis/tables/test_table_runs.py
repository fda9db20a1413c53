"""Other people's tables: odd titles and units are understood or refused in a sentence, no row is dropped silently."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.describe import repeat_noise
from analysis.tables.columns import Columns
from analysis.tables.filters import Filters
from analysis.tables.foreign_table import read_runs, runs_table
from planner.laws import Chinchilla, Repeated

FRAME = pd.DataFrame({"n": [1e6, 1e7, 1e8], "d": [1e8, 1e9, 1e10], "loss": [3.0, 2.5, 2.0], "tag": ["a", "b", "c"]})
COLUMNS = Columns(loss="loss", n="n", d="d")


def test_tokens_follow_from_flops():
    frame = FRAME.assign(c=6 * FRAME.n * FRAME.d)
    table = runs_table(frame, Columns(loss="loss", n="n", c="c"))
    assert table.rows["tokens"].tolist() == pytest.approx(FRAME.d.tolist())


@pytest.mark.parametrize(
    ("frame", "columns", "words"),
    [
        (FRAME, Columns(loss="los", n="n", d="d"), "no column 'los' (`loss`); it has: n, d, loss, tag"),
        (FRAME, Columns(loss="loss"), "neither tokens (`d`) nor training FLOPs (`c`) nor parameters (`n`) are named"),
        (
            pd.concat([FRAME, FRAME.assign(d=1e11, loss=1.5)]),
            Columns(loss="loss", n="n"),
            "neither tokens (`d`) nor training FLOPs (`c`) are named, and losses at one n differ by",
        ),
        (FRAME, Columns(loss="loss", n="n", d="d", c="d"), "d is 1.67e-08 times 6 x n x d in the median"),
        (FRAME, Columns(loss="tag", n="n", d="d"), "row 1: tag is 'a', not a number"),
        (FRAME.assign(loss=[3.0, -0.5, 2.0]), COLUMNS, "row 2: loss is -0.5; it must be positive"),
        (FRAME.assign(loss=[3.0, 2.5, 0.0]), COLUMNS, "row 3: loss is 0; it must be positive"),
        (FRAME.assign(n=[1e6, 0, 1e8]), COLUMNS, "row 2: n is 0; it must be positive"),
        (FRAME.assign(n=[1e6, float("inf"), 1e8]), COLUMNS, "row 2: n is inf"),
        (FRAME.assign(n=[1e6, 1e7, 1e300]), COLUMNS, "row 3: n is 1e+300; it must be between 1e-09 and 1e+18"),
        (FRAME, Columns(loss="loss", n="n*1e300", d="d"), "row 1: n*1e300 is 1e+306; it must be between"),
        (FRAME.assign(n=1e300), Columns(loss="loss", n="n*1e300", d="d"), "row 1: n*1e300 is inf; it must be between"),
        (FRAME.assign(d=[1e8, 1e41, 1e10]), COLUMNS, "row 2: d is 1e+41; it must be between 1e-09 and 1e+40"),
        (FRAME.assign(d=[1e8, 1e38, 1e10]), COLUMNS, "row 2: 6 x n x d is 6e+45; it must be between 0 and 1e+40"),
        (FRAME.assign(c=[1e20, 1e50, 1e20]), Columns(loss="loss", n="n", c="c"), "row 2: c is 1e+50; it must be"),
        (
            FRAME.assign(c=1e40, n=1e-6),
            Columns(loss="loss", n="n", c="c"),
            "row 1: C / 6N, with c as C, is 1.66667e+45; it must be between 0 and 1e+40",
        ),
        (FRAME.assign(loss=[3.0, 2.5, 1e300]), COLUMNS, "row 3: loss is 1e+300; it must be between 1e-09 and 1e+40"),
        (
            FRAME.assign(w=[1.0, 1e300, 1.0]),
            Columns(loss="loss", n="n", d="d", weights="w"),
            "row 2: w is 1e+300; it must be between 0 and 1e+09",
        ),
        (
            FRAME.assign(n=[0.07, 0.4, 1.4]),
            COLUMNS,
            "n, as parameters, is 0.4 in the median, too little for any training",
        ),
        (FRAME.assign(c=[1.0, 2.0, 3.0]), Columns(loss="loss", n="n", c="c"), "give it: `c`='c*1e9'"),
        (FRAME[:0], COLUMNS, "has no rows"),
        (FRAME.assign(loss=float("nan")), COLUMNS, "no row can enter a fit"),
    ],
)
def test_a_bad_table_is_refused_in_a_sentence(frame, columns, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        runs_table(frame, columns, name="runs.csv")


def test_failed_repeated_and_untrained_rows_stay_out_with_a_reason():
    nan = float("nan")
    more = pd.DataFrame(
        {"n": [1e6, 1e6, 1e9, nan], "d": [1e8, 0.0, 1e9, 1e9], "loss": [3.0, 9.0, nan, 2.0], "tag": "d"}
    )
    table = runs_table(pd.concat([FRAME, more], ignore_index=True), COLUMNS)
    assert len(table.rows) == 3
    assert dict(table.excluded) == {
        "row 4": "it repeats an earlier row",
        "row 5": "it has no tokens; the laws are about training",
        "row 6": "its loss is missing or not finite",
        "row 7": "its n is missing",
    }
    assert [n.code for n in table.caveats] == ["duplicates"]


def test_rows_whose_method_or_run_is_empty_stay_out_with_a_reason():
    for column in ("method", "run"):
        for empty in (None, float("nan")):
            frame = pd.concat([FRAME.assign(tag=["a", empty, "b"]), FRAME.assign(n=FRAME.n * 2, tag=["c", "d", "e"])])
            table = runs_table(frame, Columns(loss="loss", n="n", d="d", **{column: "tag"}))
            assert dict(table.excluded) == {"row 2": "its tag is missing"} and len(table.rows) == 5
        with pytest.raises(ValueError, match="no row can enter a fit: its tag is missing"):
            runs_table(FRAME.assign(tag=float("nan")), Columns(loss="loss", n="n", d="d", **{column: "tag"}))


def test_equal_losses_of_different_runs_are_no_copies():
    twice = pd.concat([FRAME, FRAME], ignore_index=True).assign(run=range(6))
    assert len(runs_table(twice, Columns(loss="loss", n="n", d="d", run="run")).rows) == 6


def test_highest_losses_are_dropped_only_when_asked():
    table = runs_table(FRAME, COLUMNS, Filters(drop_highest=1))
    assert table.excluded == (("row 1", "one of the 1 highest losses"),)
    with pytest.raises(ValueError, match="`drop_highest` is 3; there are 3 rows"):
        runs_table(FRAME, COLUMNS, Filters(drop_highest=3))


def test_every_kind_of_file_gives_the_same_table(tmp_path):
    pytest.importorskip("pyarrow")
    FRAME.to_csv(tmp_path / "runs.csv", index=False)
    FRAME.to_csv(tmp_path / "RUNS2.CSV", index=False)
    FRAME.to_csv(tmp_path / "german.csv", index=False, sep=";", decimal=",")
    FRAME.to_csv(tmp_path / "runs.csv.gz", index=False)
    FRAME.to_csv(tmp_path / "runs.tsv", index=False, sep="\t")
    (tmp_path / "mark.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "runs.csv").read_bytes())
    FRAME.to_json(tmp_path / "runs.jsonl", orient="records", lines=True)
    FRAME.to_json(tmp_path / "RUNS.NDJSON", orient="records", lines=True)
    FRAME.to_json(tmp_path / "runs.json", orient="records")
    FRAME.to_json(tmp_path / "array.jsonl", orient="records", indent=1)
    FRAME.to_parquet(tmp_path / "runs.parquet")
    files = sorted(tmp_path.iterdir())
    assert len({read_runs(path, COLUMNS).hash for path in files}) == 1 and len(files) == 11


@pytest.mark.parametrize(("name", "words"), [("runs.txt", "known extensions"), ("runs.csv", "has no rows")])
def test_an_unreadable_table_is_refused(tmp_path, name, words):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=words):
        read_runs(tmp_path / name, COLUMNS)


def test_a_row_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "runs.csv").write_text("n,d,loss\n1e6,1e8,3.0\n1e7,1e9\n")
    with pytest.raises(ValueError, match=r"runs\.csv:3: 2 cells, the first line has 3"):
        read_runs(tmp_path / "runs.csv", COLUMNS)


def test_missing_cells_are_missing(tmp_path):
    (tmp_path / "runs.csv").write_text("n;d;loss\n1e6;1e8;3,5\n1e7;1e9;\n1e7;1e9;NaN\n1e8;1e9;2,5\n")
    table = read_runs(tmp_path / "runs.csv", COLUMNS)
    assert table.rows["loss"].tolist() == [3.5, 2.5]
    assert dict(table.excluded) == dict.fromkeys(["row 2", "row 3"], "its loss is missing or not finite")


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("params (M)", [1.0, 10.0, 100.0]),
        ("Parameters (in millions)", [1, 10, 100]),
        (" size [B] ", [0.001, 0.01, 0.1]),
        ("size", ["1M", "10M", "0.1B"]),
        ("size", ["1,000,000", "10,000,000", "100,000,000"]),
    ],
)
def test_sizes_in_any_unit_are_parameters(title, values):
    frame = FRAME.drop(columns="n").assign(**{title: values})
    table = runs_table(frame, Columns(loss="loss", n=title.strip(), d="d"))
    assert table.rows["params"].tolist() == pytest.approx([1e6, 1e7, 1e8])
    assert ("units" in [n.code for n in table.caveats]) == ("(" in title or "[" in title)


def test_a_factor_stands_behind_the_column():
    table = runs_table(FRAME.assign(n=FRAME.n / 1e9, d=FRAME.d / 1e12), Columns(loss="loss", n="n*1e9", d="d * 1e12"))
    assert table.rows["params"].tolist() == pytest.approx(FRAME.n.tolist())
    assert table.rows["tokens"].tolist() == pytest.approx(FRAME.d.tolist())
    with pytest.raises(ValueError, match=re.escape("no column 'n*wide'")):
        runs_table(FRAME, Columns(loss="loss", n="n*wide", d="d"))


LAW = Chinchilla(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)
OPTIONS = {"n": "N", "d": "D", "loss": "loss", "family": "chinchilla", "bootstraps": 20}


def sweep(sizes: int = 5, budgets: int = 5, seed: int = 0) -> pd.DataFrame:
    N = np.repeat(np.geomspace(5e7, 2e10, sizes), budgets)
    D = np.tile(np.geomspace(1e9, 1e12, budgets), sizes)
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.003, len(N)))
    return pd.DataFrame({"N": N, "D": D, "loss": LAW.loss(N, D) * noise})


def codes(frame: pd.DataFrame, **more: str) -> set[str]:
    return {notice.code for notice in fit_laws(frame, **OPTIONS, **more).warnings}


def test_the_unit_of_the_loss_moves_no_exponent():
    nats = fit_laws(sweep(), **OPTIONS).laws[0].law
    bits = fit_laws(sweep().assign(loss=lambda f: f.loss / np.log(2)), **OPTIONS).laws[0].law
    expected = {"E": nats.E / np.log(2), "A": nats.A / np.log(2), "B": nats.B / np.log(2)}
    assert bits.coefficients == pytest.approx({**nats.coefficients, **expected}, rel=1e-3)


def test_runs_at_one_ratio_of_tokens_to_parameters_are_warned_of():
    N = np.geomspace(1e7, 1e10, 12)
    assert "one_ratio" in codes(pd.DataFrame({"N": N, "D": 20 * N, "loss": LAW.loss(N, 20 * N)}))
    assert "one_ratio" not in codes(sweep())


def test_rows_that_may_be_checkpoints_are_warned_of():
    frame = sweep().assign(run_id=lambda f: f.N)
    assert "runs" in codes(frame)
    assert "runs" not in codes(frame, run="run_id")


def test_repeats_that_differ_widely_are_warned_of_and_best_keeps_the_lowest():
    tried = pd.concat([sweep().assign(loss=lambda f, k=k: f.loss * k) for k in (1.0, 1.05, 1.2)], ignore_index=True)
    assert "repeats" in codes(tried)
    best = fit_laws(tried, best=True, **OPTIONS)
    assert best.laws[0].law == fit_laws(sweep(), **OPTIONS).laws[0].law
    assert len(best.excluded) == 50 and "best of each N and D" in best.source["filters"]
    seeds = pd.concat([sweep(seed=seed) for seed in range(3)], ignore_index=True)
    assert "repeats" not in codes(seeds)


def test_repeated_cells_tell_the_noise_of_one_run():
    seeds = pd.concat([sweep(seed=seed) for seed in range(8)], ignore_index=True)
    assert fit_laws(seeds, **OPTIONS).laws[0].noise == pytest.approx(0.003, rel=0.15)


def test_runs_that_differ_in_unique_tokens_are_no_repeats_of_one_another():
    runs = pd.DataFrame(
        [(n, d, u) for n in (1e7, 1e8) for d in (1e9, 4e9) for u in (1e8, 1e9, 9e9)], columns=list("NDU")
    )
    runs["loss"] = Repeated(E=1.8, A=400, alpha=0.34, B=2000, beta=0.36, repeats=8).loss(runs.N, runs.D, runs.U)
    table = runs_table(runs, Columns(n="N", d="D", loss="loss", unique="U"), Filters(best=True))
    assert len(table.rows) == len(runs) and not table.caveats
    assert repeat_noise(table, ["all"]) == 0
