"""`sweep` as people meet it: say the cost first, run once, stop and continue, lose nothing, tell what happened."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.sweep_process import begin, spawn, started
from support.toy_sweeps import COMMAND, DATA, SWEEP, toy_main
from support.waiting import wait_for
from sweeps import cli
from sweeps.experiment.grid import cells, trial_flops
from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.cores import available_cores
from sweeps.running import estimate
from sweeps.running.conductor import prepare
from sweeps.store.folder import FolderStore
from sweeps.store.records import read_observations

# Two ladders of three budgets, and two where the rate is searched at the smallest.
TRUNKS = SWEEP.replace("[1e11, 3e11]", "[2e11, 3e11, 5e11]") + "[training]\nwarmup_steps = 20\n"


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A sweep file of thirteen trials, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(SWEEP)
    return tmp_path / "toy.toml"


def test_a_dry_run_says_what_it_costs_and_writes_nothing(file, capsys):
    assert toy_main(["run", "toy.toml", "--dry-run", "--workers", "2"]) == 0
    text = capsys.readouterr().out
    assert "fewer than min_steps = 50" in text
    assert "to train  9 trials, 1.7e+12 FLOPs; 0 already known" in text
    assert "search    4 of them search a learning rate" in text
    assert "(a guess of 2e+10 FLOP/s per core and 3 s per trial; nothing was measured here yet)" in text
    assert os.listdir(file.parent) == ["toy.toml"]
    assert toy_main(["run", "toy.toml", "--dry-run", "--workers", "2", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["flops"] == pytest.approx(sum(row["flops"] for row in plan["trials"]))
    cores = max(1, len(available_cores()) // 2)
    rest = estimate.GUESSED_REST * len(plan["trials"])
    assert plan["seconds"] == pytest.approx((rest + plan["flops"] / (estimate.GUESS * cores)) / 2)


def test_a_sweep_runs_once_and_its_trials_are_never_run_again(file, capsys):
    assert toy_main(["run", "toy.toml"]) == 0
    captured = capsys.readouterr()
    assert "13 trials: 13 done" in captured.out and captured.out.endswith("next: fit results/toy\n")
    assert "learning rate of nano-25k lora rank 8 alpha 8: 0.009, extended by 2" in captured.err
    first = (file.parent / "results/toy/observations.jsonl").read_bytes()
    assert len(started(Path("results/toy"))) == 13
    rates = json.loads(Path("results/toy/rates.json").read_text())
    assert [found["chosen"] for found in rates] == [9e-3, 9e-3]

    assert toy_main(["run", "results/toy/sweep.toml"]) == 0  # everything is there already
    assert len(started(Path("results/toy"))) == 13
    assert (file.parent / "results/toy/observations.jsonl").read_bytes() == first

    wider = SWEEP.replace("budgets = [1e11, 3e11]", "budgets = [1e11, 3e11, 5e11]")
    Path("wider.toml").write_text(wider)
    capsys.readouterr()
    assert toy_main(["run", "wider.toml", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["known"], len(plan["trials"])) == (13, 17)
    assert "measured here in 13 trials" in plan["speed_source"]
    assert toy_main(["run", "wider.toml", "--json"]) == 0  # a sweep beside it
    captured = capsys.readouterr()
    outcome = json.loads(captured.out)
    assert (outcome["done"], outcome["reused"]) == (17, 13)
    assert f"from {Path('results/toy').resolve()}" in captured.err
    assert "reused" in Path("results/wider/logs/sweep.log").read_text()
    assert len(started(Path("results/wider"))) == 4

    assert toy_main(["run", "toy.toml", "--out", "results/again", "--fresh"]) == 0
    assert len(started(Path("results/again"))) == 13


def test_what_trials_share_is_trained_once_and_both_totals_are_told(file, capsys):
    file.write_text(TRUNKS)
    assert toy_main(["run", "toy.toml", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    sweep = read_sweep(file)
    spent = 0.0
    for ladder in zip(*[iter(cells(sweep, DATA))] * 3, strict=True):  # of one model and method
        trials = [cell.trial(1.0) for cell in ladder if not cell.reason]
        starts = [trial.cooldown_start for trial in trials]
        flops = [trial_flops(trial, sweep, DATA) for trial in trials]
        way = [flop * start / trial.steps for flop, start, trial in zip(flops, starts, trials, strict=True)]
        spent += way[-1] + sum(flop - there for flop, there in zip(flops, way, strict=True))  # longest trunk, cooldowns
        spent += flops[0] if ladder[0].entry.search else 0.0  # the rate that is not chosen
    assert plan["flops"] == pytest.approx(spent, rel=1e-3)  # a trunk ends at a whole step
    assert plan["flops_alone"] == pytest.approx(sum(row["flops"] for row in plan["trials"]))
    assert plan["flops_alone"] > 1.2 * spent
    assert toy_main(["run", "toy.toml", "--dry-run"]) == 0
    assert (
        f"{plan['flops']:.3g} FLOPs ({plan['flops_alone']:.3g} if each were trained alone); 0 already"
        in capsys.readouterr().out
    )

    assert toy_main(["run", "toy.toml", "--workers", "2", "--json"]) == 0
    end = json.loads(capsys.readouterr().out)
    seen = list(read_observations(Path("results/toy/observations.jsonl")))
    assert end["done"] == len(seen) == len(started(Path("results/toy"))) == 4 * 3 + 2 * 3  # each search extends by two
    trunks = {row.trial.trunk: [] for row in seen}
    for row in sorted(seen, key=lambda row: row.trial.steps):
        before = trunks[row.trial.trunk]
        share = before[-1].trial.cooldown_start / row.trial.steps if before else 0.0
        assert row.reused_flops == pytest.approx(row.flops * share)
        before.append(row)
    assert sorted(map(len, trunks.values())) == [1] * 6 + [3] * 4
    assert end["flops_alone"] == pytest.approx(sum(row.flops for row in seen))
    assert end["flops_spent"] == pytest.approx(sum(row.flops - row.reused_flops for row in seen))
    assert not Path("results/toy/trunks").exists() and end["trunk_state_bytes"] == 0
    assert cli.main(["status", "results/toy"]) == 0
    told = capsys.readouterr().out
    assert f"{end['flops_spent']:.3g} FLOPs spent; {end['flops_alone']:.3g} if each trial were trained alone" in told


def test_states_of_trunks_outlive_an_interruption_and_are_told(file, capsys):
    file.write_text(TRUNKS)
    folder = begin("results/toy", seconds=2.0)
    process = spawn("run", "toy.toml", stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob("trunks/*/*.safetensors")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    occupied = sum(path.stat().st_size for path in folder.glob("trunks/*/*.safetensors"))
    assert cli.main(["status", "results/toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trunk_state_bytes"] == occupied > 0
    assert cli.main(["status", "results/toy"]) == 0
    assert "trunk states occupy 0.0 MB while a trial can still start from them" in capsys.readouterr().out
    (folder / "toy.json").write_text("{}")
    assert toy_main(["run", "toy.toml"]) == 0
    assert not (folder / "trunks").exists()


def test_an_impossible_warm_up_is_said_before_anything_is_written(file, capsys):
    file.write_text(TRUNKS.replace("= 20", "= 500"))
    assert toy_main(["run", "toy.toml"]) == 2
    assert "training.warmup_steps is 500; the smallest trial (nano-100k" in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_committed_folder_is_continued_from_its_observations_alone(file):
    toy_main(["run", "toy.toml"])
    committed = {name: Path("results/toy", name).read_bytes() for name in ("sweep.toml", "observations.jsonl")}
    subprocess.run(["rm", "-r", "results/toy"], check=True)
    Path("results/toy").mkdir()
    lines = committed["observations.jsonl"].splitlines(keepends=True)
    Path("results/toy/observations.jsonl").write_bytes(b"".join(lines[2:]))
    assert toy_main(["run", "toy.toml"]) == 0
    assert len(started(Path("results/toy"))) == 2
    assert Path("results/toy/observations.jsonl").read_bytes() == committed["observations.jsonl"]


def test_a_changed_file_changes_what_is_wanted_and_loses_nothing(file):
    folder = begin("results/toy", seconds=120.0)
    process = spawn("run", "toy.toml", "--workers", "1")
    wait_for(lambda: started(folder))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    begun = started(folder)
    (folder / "toy.json").unlink()
    file.write_text(SWEEP.replace("[1e11, 3e11]", "[2e11]"))
    assert toy_main(["run", "toy.toml"]) == 0
    assert not set(started(folder)[1:]) & set(begun)  # no longer wanted
    file.write_text(SWEEP)
    assert toy_main(["run", "toy.toml"]) == 0
    rows = list(read_observations(folder / "observations.jsonl"))
    assert {row.trial.budget for row in rows} == {1e11, 2e11, 3e11}
    assert len({row.key for row in rows}) == len(rows) == len(started(folder)) - 1


def test_ctrl_c_stops_everything_and_the_same_command_continues(file, capsys):
    folder = begin("results/toy", seconds=3.0, checkpoints=True)
    process = spawn("run", "toy.toml", stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob("trials/*/checkpoint.safetensors")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping; the same command continues" in said and "Traceback" not in said
    pids = {int(line.split()[1]) for line in (folder / "started.txt").read_text().splitlines()}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    (folder / "toy.json").write_text("{}")
    assert toy_main(["run", "toy.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 13
    assert len({row.key for row in read_observations(folder / "observations.jsonl")}) == 13


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_workers_and_launcher_are_killed(file, capsys):
    toy_main(["run", "toy.toml", "--out", "undisturbed/toy"])
    folder = begin("results/toy", seconds=0.4, checkpoints=True)
    store, killed = FolderStore(folder), set()

    def victim() -> int | None:
        """The process of a trial that has come further since it was begun: killing it must cost nothing."""
        for trial, attempt, _ in store.running():
            advanced = [path.stat().st_mtime_ns for path in store.folder(trial.key).glob("checkpoint.safetensors")]
            if attempt.pid not in killed and max(advanced, default=0) > attempt.state:
                return attempt.pid
        return None

    for _ in range(3):
        process = spawn("run", "toy.toml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(2):
            wait_for(lambda process=process: process.poll() is not None or victim())
            if pid := victim():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        process.kill()
        process.wait()
    assert len(killed) >= 3
    capsys.readouterr()
    assert toy_main(["run", "toy.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 13
    assert (folder / "observations.jsonl").read_bytes() == Path("undisturbed/toy/observations.jsonl").read_bytes()


def test_failures_are_told_with_their_reason_and_the_exit_code(file, capsys):
    folder = begin("results/toy", raises="nano-100k")
    assert toy_main(["run", "toy.toml"]) == 1
    text = capsys.readouterr().out
    assert "nano-100k full at 3e+11, lr 0.002 failed: RuntimeError: the model is broken" in text
    assert "no learning rate gave a loss (failed: RuntimeError: the model is broken; given up after 2 attempts)" in text
    assert cli.main(["status", "results/toy", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {seen["trial"]["model"] for seen in status["failures"]} == {"nano-100k"}
    assert status["failed"] == 3 and status["waiting"] == 0
    assert {row["model"] for row in status["best"]} == {"nano-25k"}
    assert folder.joinpath("observations.jsonl").read_text().count('"failed"') == 3

    (folder / "toy.json").unlink()
    assert toy_main(["run", "toy.toml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 10
    assert toy_main(["run", "toy.toml", "--dry-run", "--retry-failed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 7
    assert toy_main(["run", "toy.toml"]) == 1  # not by itself
    assert "the same command with --retry-failed" in capsys.readouterr().out
    assert toy_main(["run", "toy.toml", "--retry-failed"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("to be retried: nano-100k") == 3 and "13 trials: 13 done" in captured.out
    assert '"failed"' not in folder.joinpath("observations.jsonl").read_text()
    assert len(list(folder.glob("trials/*/failed-0002.json"))) == 3


def test_an_export_is_a_table_of_every_observation(file, capsys):
    begin("results/toy", raises="nano-100k")
    toy_main(["run", "toy.toml"])
    capsys.readouterr()
    assert cli.main(["export", "results/toy", "--csv", "toy.csv", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    with open("toy.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    seen = {row.key: row for row in read_observations(Path("results/toy/observations.jsonl"))}
    assert said["rows"] == len(rows) == len(seen) == 10 and said["columns"] == list(rows[0])
    for row in rows:
        one = seen[row["key"]]
        assert (row["model"], row["method"], row["status"]) == (one.trial.model, one.trial.method.label, one.status)
        assert float(row["lr"]) == one.trial.lr and int(row["training.batch_size"]) == one.trial.training.batch_size
        assert float(row["loss"]) == one.loss if one.status == "done" else row["loss"] == ""
        assert row["reason"] == one.reason and row["run"] == one.trial.run
    assert cli.main(["export", "nowhere", "--csv", "toy.csv"]) == 2
    assert cli.main(["export", "results/toy", "--csv", "no/such/folder.csv"]) == 2
    assert capsys.readouterr().err.count("sweep: error: ") == 2


def test_status_shows_what_runs_where_and_what_is_to_come(file, capsys):
    folder = begin("results/toy", seconds=20.0)
    process = spawn("run", "toy.toml", "--workers", "2", stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(started(folder)) == 2)
        wait_for(lambda: len(list(folder.glob("trials/*/progress.json"))) == 2)
        assert cli.main(["status", "results/toy", "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (len(status["running"]), status["waiting"], status["total"]) == (2, 7, 9)
        assert all(item["step"] > 0 and item["loss"] for item in status["running"])
        assert status["eta_seconds"] > 0
        cli.main(["status", "results/toy"])
        text = capsys.readouterr().out
        assert "9 trials: 0 done, 2 running, 7 to come" in text and f"({os.uname().nodename}:" in text
        # The dearest chain first: the search that the dearest LoRA trial waits for, or as dear a grid trial.
        queue = [FolderStore(folder).read_trial(key) for key in FolderStore(folder).queue()]
        assert queue[-1].budget == 1e11 and queue[-1].method.name == "full"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130


def test_workers_may_be_started_elsewhere(file):
    process = spawn("run", "toy.toml", "--launcher", "external", stderr=subprocess.PIPE, text=True)
    wait_for(Path("results/toy/sweep.toml").exists)
    workers = [subprocess.Popen([*COMMAND, "--sweep", "results/toy"]) for _ in range(2)]
    assert "waiting for workers: embed worker --sweep " in process.communicate(timeout=90)[1]
    assert process.returncode == 0 and [worker.wait(30) for worker in workers] == [0, 0]
    assert len(started(Path("results/toy"))) == 13


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--launcher", "slurm"], "--launcher slurm needs --profile, such as examples/slurm.toml"),
        (["--detach"], "--detach is for --launcher slurm; the launcher is local"),
        (["--profile", "x.toml"], "--profile is for --launcher ray, slurm or external"),
        (["--launcher", "external", "--slots", "2"], "--slots is for --launcher local"),
    ],
)
def test_flags_that_a_launcher_has_no_use_for_are_refused(file, capsys, flags, said):
    assert toy_main(["run", "toy.toml", *flags]) == 2
    assert said in capsys.readouterr().err and not Path("results").exists()


def test_on_a_terminal_it_is_redrawn_in_place(file):
    begin("results/toy", seconds=0.5)
    ours, theirs = pty.openpty()
    process = spawn("run", "toy.toml", stderr=theirs, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    drawn = b""
    while True:
        try:
            drawn += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    assert process.wait(30) == 0
    assert b"\x1b[" in drawn and b"running" in drawn and "━".encode() in drawn
    assert b"\x1b" not in process.stdout.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.toml"], "none.toml: No such file or directory"),
        (["run", "bad.toml"], "bad.toml: names neither a suite nor models"),
        (["status", "nowhere"], "nowhere: no sweep here"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(file, capsys, arguments, said):
    Path("bad.toml").write_text("")
    assert toy_main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("sweep: error: ") and captured.err.count("\n") == 1
    assert said in captured.err and not captured.out
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "arguments", [["run", "toy.toml", "--workers", "0"], ["run", "toy.toml", "--launcher", "x"], []]
)
def test_wrong_options_are_refused(file, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [("raise SystemExit(3)", "exit code 3"), ("print('no')", "printed 'no"), ("print('{}')", "has no data_hash")],
)
def test_data_that_cannot_be_prepared_stop_the_sweep(file, code, said):
    with pytest.raises(ValueError, match=r"toy\.toml") as caught:
        prepare(file, (sys.executable, "-c", code))
    assert said in str(caught.value)
    assert prepare(file, COMMAND) == DATA


def test_what_is_wrong_with_the_data_is_told(file, capsys, monkeypatch):
    note = "1 of 300 records could not be used: pairs.jsonl:300: not JSON"
    monkeypatch.setattr("support.toy_sweeps.DATA", replace(DATA, notes=(note,)))
    assert toy_main(["run", "toy.toml", "--dry-run"]) == 0
    assert f"sweep: {note}" in capsys.readouterr().err


def test_a_sweep_ended_while_it_prepares_leaves_no_process(file):
    stub = "import os, time; open('new', 'w').write(str(os.getpid())); os.rename('new', 'child'); time.sleep(60)"
    command = (sys.executable, "-c", stub)
    code = (
        f"from pathlib import Path; from sweeps.running.conductor import prepare; prepare(Path('toy.toml'), {command})"
    )
    sweep = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(Path("child").exists)
    sweep.terminate()
    assert sweep.wait(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("child").read_text()), 0)


def test_a_damaged_sweep_beside_it_is_said_and_passed_over(file, capsys):
    toy_main(["run", "toy.toml"])
    path = Path("results/toy/observations.jsonl")
    path.write_text("{torn\n[]\n" + path.read_text())
    for result in Path("results/toy/trials").glob("*/result.json"):
        result.write_text("{")
    capsys.readouterr()
    assert toy_main(["run", "toy.toml", "--out", "results/next"]) == 0
    said = capsys.readouterr().err
    assert "observations.jsonl:1: not an observation; skipped" in said
    assert len(started(Path("results/next"))) == 0  # the whole lines still count
    path.write_text("{torn\n")
    assert toy_main(["run", "toy.toml", "--out", "results/third", "--workers", "1"]) == 0
    assert len(started(Path("results/third"))) == 0  # found in results/next
