"""Several processes that train one trial find what one process finds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runner.cli import main
from runner.data.pairs import prepare
from runner.trainer import train
from runner.training import distributed
from runner.training.distributed import ALONE, DistributedRanks, Ranks, buckets, joined
from runner.training.grad_cache import micro_batches
from support.backbones import examples_for
from support.waiting import wait_for
from sweeps.experiment.recipe_file import write_recipe
from sweeps.memory import training_memory
from sweeps.methods import Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Trial

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NANO = find_model("nano-25k")
METHODS = [*(method.name for method in examples_for(NANO)), "lora+table"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(*program: str) -> list[subprocess.Popen]:
    """The same program twice, as torchrun starts it."""
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
    }
    return [
        subprocess.Popen(
            [sys.executable, *program],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def finish(started: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each; none outlives this."""
    try:
        spoken = [each.communicate(timeout=300) for each in started]
        return [(each.returncode, *words) for each, words in zip(started, spoken, strict=True)]
    finally:
        for each in started:
            each.terminate()  # which torchrun hands on


@pytest.fixture(scope="module")
def trial(training) -> Trial:
    prepared = prepare(training, NANO.source)
    return Trial("nano-25k", Full(), replace(training, data_hash=prepared.data_hash), lr=1e-2, steps=6)


CASES = """
import sys
from pathlib import Path
from runner.training.distributed import joined
from support import two_ranks

with joined("cpu") as ranks:
    two_ranks.main(ranks, Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def found(trial, tmp_path_factory) -> dict:
    """What one pair of processes found in all cases of two_ranks.py."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "trial.json").write_text(json.dumps(trial.to_json()))
    first, second = finish(start("-c", CASES, str(folder)))
    assert (first[0], second[0]) == (0, 0), first[2][-3000:] + second[2][-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("kind", ["data", "sharded"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_of_two_ranks_are_those_of_one(found, method, precision, kind):
    chosen = {
        name: errors
        for name, errors in found["gradients"].items()
        if name.split()[0] == method and name.split()[3:] == [precision, kind]
    }
    # Either pooling, with and without hard negatives: all four, or each once.
    assert len(chosen) == (4 if precision == "float64" else 2)
    for name, errors in chosen.items():
        alike, parameters = errors["parameters"]
        assert alike and parameters > 5, name
        assert errors["loss"] < (1e-12 if precision == "float64" else 1e-6), name
        assert errors["worst" if precision == "float64" else "all"] < (1e-9 if precision == "float64" else 1e-5), name


@pytest.mark.parametrize("method", [Full(), LoRA(4)], ids=lambda method: method.name)
def test_a_sharded_model_takes_the_memory_that_is_said(found, method):
    memory = training_memory(NANO, method, mixed=True)
    for kind, shards in (("data", 1), ("sharded", 2)):
        seen = found["memory"][f"{method.name} {kind}"]
        assert seen["state"] == pytest.approx(memory.state / shards, rel=0.05)
        weights = 2 * NANO.layers * NANO.block_weights  # autocast's copies are whole on every rank, for the way back
        # Adapters that are not folded pass nothing back through the maps that read the first block's input.
        first = 2 * sum(linear.weights for linear in NANO.first_linears)
        assert seen["copies"] in (weights, weights - first)
        assert memory.working == pytest.approx(weights + 2 * method.adapters(NANO))


def test_a_learnt_temperature_has_the_gradient_of_one_process(found):
    alone, together = found["temperatures"]
    assert together == pytest.approx(alone, rel=1e-9) and alone != 0


@pytest.mark.parametrize("kind", ["data", "sharded"])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_by_two_ranks_is_that_of_one(found, method, kind):
    one, two = (found["trainings"][f"{method} {name}"] for name in ("alone", kind))
    assert one["status"] == two["status"] == "done"
    for name in ("loss", "start_loss", "accuracy"):
        assert two[name] == pytest.approx(one[name], abs=1e-5), name
    assert [point[:2] for point in two["curve"]] == [point[:2] for point in one["curve"]]
    assert [point[2] for point in two["curve"]] == pytest.approx([point[2] for point in one["curve"]], abs=1e-5)
    assert len(one["curve"]) == 6
    for name in ("tokens", "squares", "flops"):
        assert two[name] == one[name], name
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-3)  # norms; Adam enlarges rounding
    assert two["bits"]  # no rank drifts away
    assert one["environment"] | {"ranks": 2} == two["environment"] != one["environment"]


def test_kept_states_of_frozen_blocks_are_shared_out(found):
    assert max(found["states"]) < 1e-12
    one, two = found["epochs"]["alone"], found["epochs"]["data"]
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert two["flops"] == one["flops"]  # as much, done once


def test_options_change_no_loss(found):
    plain, *others = found["options"].items()
    assert plain[0] == "alone" and len(others) == 4
    for name, other in others:
        assert other["loss"] == pytest.approx(plain[1]["loss"], abs=1e-5), name
        again = other["flops"] / plain[1]["flops"]
        assert (1.2 < again < 1.4) if "recompute" in name else again == 1, name


def test_a_step_gathers_once_and_adds_up_once(found):
    counts = found["exchanges"]
    assert counts["passes"] > 5
    assert (counts["gathers"], counts["sums of gradients"]) == (1, 1)


def test_when_memory_runs_out_on_one_rank_both_go_on_with_smaller_micro_batches(found):
    *plenty, whole = found["scarce"]["plenty"]
    *scarce, smaller = found["scarce"]["scarce"]
    assert scarce == pytest.approx(plenty, abs=1e-5)
    assert (whole, smaller) == (1024, 256)


def test_an_interrupted_training_ends_with_the_same_bits(found):
    ended = found["interruptions"]
    assert ended["data-data"] == ended["whole"]["data"]
    assert ended["sharded-sharded"] == ended["whole"]["sharded"]


@pytest.mark.parametrize("handed_on", ["sharded-alone", "alone-sharded"])
def test_a_training_may_go_on_with_other_ranks(found, handed_on):
    whole, other = found["interruptions"]["whole"]["data"], found["interruptions"][handed_on]
    assert other["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert [point[:2] for point in other["curve"]] == [point[:2] for point in whole["curve"]]


def test_a_sharded_model_is_exported_whole(found):
    trained, again, start = (np.array(vector) for vector in found["exported"])
    np.testing.assert_allclose(again, trained, atol=1e-6)
    assert np.abs(start - trained).max() > 0.01


def test_ranks_that_differ_are_refused(found):
    assert found["disagreement"] == "ranks differ in their height; give all the same files and versions"


SLOW = """
import sys
from runner.training import train
from runner.cli import main
train.CHECKPOINT_SECONDS = 0.0
sys.exit(main(sys.argv[1:]))
"""


def test_killed_and_resumed_under_torchrun(found, trial, tmp_path):
    """Rank 1 is killed, which ends rank 0; torchrun goes on from there to the bits of a training left alone."""
    write_recipe(tmp_path / "model.toml", replace(trial, steps=40), {})
    train_it = ("train", str(tmp_path / "model.toml"), "--on", "cpu")
    started = start("-c", SLOW, *train_it)
    state = tmp_path / "model" / "checkpoint.safetensors"
    wait_for(lambda: state.exists() or started[0].poll() is not None)
    os.kill(started[1].pid, signal.SIGKILL)
    first, second = finish(started)
    assert second[0] == -signal.SIGKILL
    assert first[0] == 2 and first[2].endswith("embed: error: lost the other processes: one has ended\n"), first
    assert state.exists()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [*torchrun, "-m", "runner.cli", *train_it]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    together = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    [(code, out, err)] = finish([together])
    assert code == 0, err[-2000:]
    assert out.count("held-out loss") == out.count("model: ") == 1  # only rank 0 speaks
    assert (tmp_path / "model" / "model.safetensors").exists() and not state.exists()
    observed = json.loads((tmp_path / "model" / "observation.json").read_text())
    assert {name: observed[name] for name in found["long"]} == found["long"]


ENDS = """
import os, sys
from pathlib import Path
from runner.training.distributed import joined
from sweeps.support import console

def gloo_threads():
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]

with joined("cpu") as ranks:
    import runner.export.sentence_transformers, runner.trainer, runner.training.fsdp
    ranks.wait()
    assert gloo_threads() or sys.platform != "linux"
print(gloo_threads())

def one_fails():
    with joined("cpu") as ranks:
        print("a word")
        if ranks.rank == 1:
            raise ValueError("rank 1 has no data")
        ranks.wait()

os.environ["MASTER_PORT"] = sys.argv[1]
sys.exit(console.run("embed", one_fails))
"""


def test_a_group_leaves_no_thread_and_an_error_on_one_rank_ends_all_and_is_said_once():
    """A thread of the group that needs Python while Python ends would abort the process."""
    first, second = finish(start("-c", ENDS, str(free_port())))
    assert (first[0], second[0]) == (2, 2)
    assert (first[1], second[1]) == ("[]\na word\n", "[]\n")
    assert (first[2], second[2]) == ("", "embed: error: rank 1 has no data\n")


def test_one_process_exchanges_nothing(trial, monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as ranks:
        assert ranks is ALONE

    def never(*_, **__):
        raise AssertionError("an exchange")

    for name in ("init_process_group", "all_gather", "all_reduce", "broadcast", "barrier"):
        monkeypatch.setattr(distributed.dist, name, never)
    assert train(trial, on="cpu").status == "done"


def test_what_torchrun_did_not_start_is_refused(monkeypatch, capsys, tmp_path, trial):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    write_recipe(tmp_path / "recipe.toml", trial, {})
    assert main(["train", str(tmp_path / "recipe.toml"), "--shard"]) == 2
    assert "--shard needs several processes: torchrun" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE is 2 but RANK is not set; start with torchrun"), joined("cpu"):
        pass
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ValueError, match="RANK is 'first', not a number"), joined("cpu"):
        pass


def test_sharded_ranks_cannot_go_on_without_memory():
    said = r"cannot recover from this: .* 9 bytes; give a smaller micro_tokens"
    with pytest.raises(MemoryError, match=said), DistributedRanks(0, 2, sharded=True).synchronise_oom():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")


LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 1000), st.integers(0, 100), st.integers(2, 5))
def test_each_text_is_embedded_and_every_rank_has_as_much(lengths, tokens, padding, count):
    lengths = np.array(lengths)
    cuts = micro_batches(lengths, tokens, padding, count)
    shares = [Ranks(rank, count).share(cuts) for rank in range(count)]
    gathered = np.concatenate([text for share, _ in shares for text in share])
    assert set(gathered) == set(range(len(lengths))) and len(gathered) - len(lengths) < count
    for _, rows in shares:
        assert list(gathered[rows]) == list(range(len(lengths)))
    for cut, *parts in zip(cuts, *(share for share, _ in shares), strict=True):
        assert len({len(part) for part in parts}) == 1
        sizes = [len(part) * lengths[part].max() for part in parts]
        assert max(sizes) <= max(tokens, lengths[cut].max())
        assert np.ptp([lengths[part].sum() for part in parts]) <= lengths[cut].max()


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=20), st.integers(1, 40))
def test_buckets_keep_order_and_types_apart(sizes, most):
    tensors = [torch.zeros(size, dtype=torch.float64 if double else torch.float32) for size, double in sizes]
    made = list(buckets(tensors, most))
    assert [id(tensor) for bucket in made for tensor in bucket] == [id(tensor) for tensor in tensors]
    for bucket in made:
        assert len({tensor.dtype for tensor in bucket}) == 1
        assert len(bucket) == 1 or sum(tensor.numel() for tensor in bucket) <= most
