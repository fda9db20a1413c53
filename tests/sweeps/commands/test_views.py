"""People look at a sweep and steer it while it runs: nothing they say is lost, and nothing that was done."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from support.sweep_process import begin, spawn, started
from support.toy_sweeps import SWEEP, observe, toy_main
from support.waiting import wait_for
from sweeps import cli
from sweeps.machine.chips import CHIPS
from sweeps.search.learning_rates import CANCELLED
from sweeps.store.folder import FolderStore
from sweeps.store.records import read_observations
from sweeps.support.atomic import write_text


@pytest.fixture
def sweep_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(SWEEP)
    return tmp_path / "toy.toml"


def said(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def repair(folder: Path) -> None:
    """Let the toy work from now on; a worker reads the old orders or the new, whole."""
    write_text(folder / "toy.json", "{}")


def test_a_sweep_file_that_was_edited_since_it_was_run_is_told_until_it_is_run_again(sweep_file, capsys):
    assert toy_main(["run", "toy.toml"]) == 0
    assert said(capsys, "status", "results/toy")["edited"] is False
    kept = Path("results/toy/sweep.toml")
    kept.write_text(kept.read_text() + "# one more remark\n")
    assert said(capsys, "status", "results/toy")["edited"] is True
    assert cli.main(["status", "results/toy"]) == 0
    assert f"{kept} was edited since the last run" in capsys.readouterr().out
    assert toy_main(["run", str(kept)]) == 0
    assert said(capsys, "status", "results/toy")["edited"] is False


def test_what_is_cancelled_stops_with_its_checkpoint_until_it_is_wanted_again(sweep_file, capsys):
    toy_main(["run", "toy.toml", "--out", "undisturbed/toy"])
    folder = begin("results/toy", seconds=10.0, checkpoints=True)
    process = spawn("run", "toy.toml", "--workers", "1", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    store = FolderStore(folder)
    wait_for(lambda: list(folder.glob("trials/*/checkpoint.safetensors")))
    (running, attempt, _), *_ = store.running()
    assert cli.main(["cancel", "results/toy", running.key[:6]]) == 0
    assert f"cancelled: {running.key} nano-" in capsys.readouterr().out
    wait_for(lambda: len(started(folder)) == 2)  # the same worker takes another
    capsys.readouterr()
    assert cli.main(["logs", "results/toy", running.key]) == 0
    assert capsys.readouterr().out.endswith(f"{CANCELLED}\n")
    (other, *_), *_ = store.running()
    wait_for((store.folder(other.key) / "progress.json").exists)
    assert cli.main(["logs", "results/toy", other.key]) == 0
    assert f" of {other.steps}, training loss " in capsys.readouterr().out
    lines = (folder / "started.txt").read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == [attempt.pid] * 2 and lines[1].split()[0] != running.key
    assert store.attempts(running.key)[-1].cause == "stopped"
    reached = int((store.folder(running.key) / "checkpoint.safetensors").read_text())
    status = said(capsys, "status", "results/toy")
    assert [cell["budget"] for cell in status["left_out"] if cell["reason"].endswith(CANCELLED)] == [running.budget]

    assert cli.main(["cancel", "results/toy"]) == 0
    out, _ = process.communicate(timeout=60)  # it ends by itself: nothing is wanted any more
    assert process.returncode == 0 and CANCELLED in out.decode()
    assert CANCELLED in (folder / "left-out.json").read_text()
    repair(folder)
    assert toy_main(["run", "toy.toml"]) == 0
    assert len(started(folder)) == 2  # nor does the next run want it
    capsys.readouterr()
    assert "everything" in said(capsys, "retry", "results/toy", "--cancelled")["wanted_again"]
    assert toy_main(["run", "toy.toml"]) == 0
    assert (folder / "observations.jsonl").read_bytes() == Path("undisturbed/toy/observations.jsonl").read_bytes()
    assert reached >= 1 and store.attempts(running.key)[-1].state > 0  # it went on from its checkpoint
    assert json.loads((folder / "left-out.json").read_text()) == json.loads(
        Path("undisturbed/toy/left-out.json").read_text()
    )


def test_failures_are_tried_again_while_the_sweep_runs(sweep_file, capsys):
    folder = begin("results/toy", seconds=1.0, raises="nano-100k")
    process = spawn("run", "toy.toml", "--json", "--workers", "2", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(seen.status == "failed" for seen in FolderStore(folder).results()))
    repair(folder)
    content = said(capsys, "retry", "results/toy", "--failed")
    out, _ = process.communicate(timeout=60)
    assert content["retried"]
    results = [FolderStore(folder).result(key) for key in content["retried"]]
    if content["ended"] and None in results:  # the machine was too busy to retry it in time: the next run does
        assert toy_main(["run", "toy.toml"]) in (0, 1)
        results = [FolderStore(folder).result(key) for key in content["retried"]]
    else:
        assert json.loads(out)["failed"] == sum(row.status == "failed" for row in FolderStore(folder).results())
    assert {seen.status for seen in results} == {"done"}


def test_a_retry_in_the_moment_a_sweep_ends_is_heeded_and_one_after_it_waits_for_the_next_run(
    sweep_file, capsys, monkeypatch
):
    folder = begin("results/toy", raises="nano-100k")
    close, retried = FolderStore.close, []

    def retried_before(store):
        if not retried:  # the last failure is taken in, and nothing is left to run
            repair(folder)
            content = said(capsys, "retry", "results/toy", "--failed")
            assert not content["ended"]
            retried.extend(content["retried"])
            store.finish(observe(store.read_trial(retried[0])))  # a worker was faster than the next look
        close(store)

    monkeypatch.setattr(FolderStore, "close", retried_before)
    assert toy_main(["run", "toy.toml", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    results = list(FolderStore(folder).results())
    assert retried and (outcome["failed"], outcome["done"]) == (0, len(results))
    assert {seen.status for seen in results} == {"done"}
    assert {seen.key: seen for seen in read_observations(folder / "observations.jsonl")} == {
        seen.key: seen for seen in results
    }

    (folder / "toy.json").write_text(json.dumps({"raises": "nano-100k"}))
    Path("toy.toml").write_text(SWEEP.replace("3e11]", "3e11, 5e11]"))
    assert toy_main(["run", "toy.toml"]) == 1
    repair(folder)
    content = said(capsys, "retry", "results/toy", "--failed")
    assert content["ended"] and not any(map(FolderStore(folder).finished, content["retried"]))
    assert toy_main(["run", "toy.toml"]) == 0


def test_a_trial_is_named_by_the_start_of_its_key(sweep_file, capsys):
    begin("results/toy", raises="nano-100k")
    assert toy_main(["run", "toy.toml"]) == 1
    failed = next(seen for seen in FolderStore(Path("results/toy")).results() if seen.status == "failed")
    FolderStore(Path("results/toy")).files.log_trial(failed.key, "colours \x1b[31m and bells \x07")
    capsys.readouterr()
    assert cli.main(["logs", "results/toy", failed.key[:7]]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{failed.key}  nano-100k") and "the\n  model is broken" in text
    assert "attempt 1 on " in text and "\x1b" not in text and "colours ?[31m" in text
    content = said(capsys, "logs", "results/toy", failed.key)
    assert content["status"] == "failed" and content["attempts"][0]["ended"]
    assert cli.main(["logs", "results/toy", "--lines", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    for name in ("zz", "../../etc"):
        assert cli.main(["logs", "results/toy", name]) == 2
        assert "no trial key starts" in capsys.readouterr().err
    with pytest.raises(ValueError, match="trial keys start with ''"):
        FolderStore(Path("results/toy")).find("")
    done = next(seen for seen in FolderStore(Path("results/toy")).results() if seen.status == "done")
    for command in ("cancel", "retry"):
        assert cli.main([command, "results/toy", done.key]) == 2
        assert "nothing was c" in capsys.readouterr().err
    assert cli.main(["retry", "results/toy"]) == 2


def test_a_watch_and_a_followed_log_end_with_the_sweep_and_quietly_with_ctrl_c(sweep_file):
    folder = begin("results/toy", seconds=2.0)
    sweep = spawn("run", "toy.toml", "--workers", "2", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: started(folder))
    key = started(folder)[0]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ours, theirs = pty.openpty()
    screen = {"stderr": theirs, "stdout": subprocess.PIPE, "env": os.environ | {"TERM": "xterm"}}
    watches = [spawn("status", "results/toy", "--watch", **how) for how in (screen, pipes)]
    os.close(theirs)
    drawn = b""
    while b"running" not in drawn:  # in place, on the terminal
        drawn += os.read(ours, 65536)
    assert b"\x1b[" in drawn and "╌".encode() in drawn
    follow = spawn("logs", "results/toy", key, "--follow", **pipes)
    out, _ = follow.communicate(timeout=60)
    assert follow.returncode == 0 and "attempt 1 on " in out and ": loss " in out.splitlines()[-1]
    assert all(process.poll() is None for process in watches)
    watches[0].send_signal(signal.SIGINT)
    assert watches[0].wait(30) == 0
    drawn += os.read(ours, 65536)
    assert b"Traceback" not in drawn and b"stopped" not in drawn
    repair(folder)
    out, _ = watches[1].communicate(timeout=60)
    assert watches[1].returncode == 0 and "13 trials: 13 done" in out and "best so far" in out
    assert sweep.wait(60) == 0


def test_a_table_is_the_same_as_parquet_and_replaces_nothing_unasked(sweep_file, capsys):
    begin("results/toy", raises="nano-100k")
    toy_main(["run", "toy.toml"])
    assert cli.main(["export", "results/toy", "--csv", "toy.csv"]) == 0
    assert cli.main(["export", "results/toy", "--parquet", "toy.parquet"]) == 0
    text, binary = pd.read_csv("toy.csv"), pd.read_parquet("toy.parquet")
    assert list(text) == list(binary) and len(text) == 10
    for column in ("key", "loss", "lr", "training.batch_size", "status"):
        assert binary[column].isna().equals(text[column].isna())
        assert (binary[column] == text[column]).equals(text[column].notna())
    before = os.stat("toy.csv").st_mtime_ns
    capsys.readouterr()
    assert cli.main(["export", "results/toy", "--csv", "toy.csv"]) == 2
    assert "toy.csv: exists already; --force replaces it" in capsys.readouterr().err
    assert os.stat("toy.csv").st_mtime_ns == before
    assert cli.main(["export", "results/toy", "--csv", "toy.csv", "--force"]) == 0


def test_a_dry_run_for_another_machine_names_hours_and_price(sweep_file, capsys):
    assert toy_main(["run", "toy.toml", "--dry-run", "--hardware", "2xh100", "--price", "2.5", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["workers"] == 2 and plan["hours_of"] == "h100"
    assert plan["flops"] / plan["hours"] / 3600 < 0.1 * CHIPS["h100"].peak  # toy models: their kernels take the time
    assert plan["price"] == pytest.approx(2.5 * plan["hours"])
    assert plan["hours"] / 2 <= plan["seconds"] / 3600 <= plan["hours"]
    assert not Path("results").exists()
    for workers in ("2", "8"):  # the same work takes as many core-hours however it is shared out
        assert toy_main(["run", "toy.toml", "--dry-run", "--hardware", "4xcpu", "--workers", workers, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["hours"] == pytest.approx(plan["flops"] / (90e9 * 0.33) / 3600)
    assert toy_main(["run", "toy.toml", "--dry-run", "--price", "0.1"]) == 0
    assert "core-hours, price " in capsys.readouterr().out
    for wrong in (["--hardware", "2xh100"], ["--dry-run", "--mfu", "0.3"], ["--dry-run", "--hardware", "9xz"]):
        assert toy_main(["run", "toy.toml", *wrong]) == 2
        assert capsys.readouterr().err.startswith("sweep: error: --")


def test_observations_of_a_sweep_without_its_trials_can_be_looked_at(sweep_file, capsys):
    toy_main(["run", "toy.toml"])
    count = len(list(read_observations(Path("results/toy/observations.jsonl"))))
    for path in Path("results/toy").iterdir():
        if path.name not in ("sweep.toml", "observations.jsonl"):
            subprocess.run(["rm", "-r", str(path)], check=True)
    assert said(capsys, "status", "results/toy")["done"] == count
    assert cli.main(["status", "results/toy", "--watch"]) == 0


def test_a_dry_run_for_a_cluster_shares_the_trials_out_among_its_classes(sweep_file, capsys):
    classes = (
        '[[classes]]\nname = "short"\nmemory = 4\nworkers = 3\nlongest = {}\n[[classes]]\nname = "long"\nmemory = 4\n'
    )
    Path("cluster.toml").write_text(classes.format(1.0))
    dry = ["run", "toy.toml", "--dry-run", "--hardware", "2xcpu", "--launcher", "slurm", "--profile", "cluster.toml"]
    assert toy_main([*dry, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {row["class"] for row in plan["trials"]} == {"short"} and plan["workers"] == 3
    cut = sorted(row["flops"] for row in plan["trials"])[4] / (90e9 * 0.33) / 3600  # hours: the fifth still fits
    Path("cluster.toml").write_text(classes.format(cut * 1.0001))
    assert toy_main([*dry, "--workers", "2", "--json"]) == 0
    by_class = {one["name"]: one for one in json.loads(capsys.readouterr().out)["classes"]}
    counts = {name: one["trials"] for name, one in by_class.items()}
    assert counts["short"] >= 5 and counts["long"] > 0 and sum(counts.values()) == len(plan["trials"])
    assert toy_main(dry) == 0
    text = capsys.readouterr().out
    assert f"class     long: {counts['long']} trials, 1 at once" in text and "state   class" in text
    Path("cluster.toml").write_text(classes.format(1.0).replace("memory = 4", "memory = 0.1"))
    assert toy_main(dry) == 2 and "no class has so much" in capsys.readouterr().err
