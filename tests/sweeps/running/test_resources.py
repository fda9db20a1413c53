"""Trials go to the smallest class that they fit; workers take what is theirs; a profile is checked and never run."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.toy_sweeps import DATA, SWEEP, toy_main
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.cluster_file import ClusterProfile, ResourceClass, read_cluster_profile
from sweeps.machine.eligibility import Eligibility, Requirement, Requirements
from sweeps.machine.measured import installed_memory
from sweeps.memory import training_memory
from sweeps.methods import METHODS, BiasOnly, Full, QLoRA
from sweeps.models import find_model
from sweeps.running import resources
from sweeps.running.estimate import Cost, Speed
from sweeps.running.resources import BASE, needed_memory, requirements, smallest, this_machine
from sweeps.store.attempts import Attempt
from sweeps.store.folder import FolderStore
from sweeps.trial import Training, Trial
from sweeps.workers.base import sweep_name
from sweeps.workers.slurm import job_script
from sweeps.workers.slurm_queue import Job, reap

ROOT = Path(__file__).parents[3]
PACE = Speed({}, {}, 1e12, 10.0, "made up")
CLASSES = (
    ResourceClass("small", memory=8, gpus=1, slots=4),
    ResourceClass("large", memory=20, gpus=1, longest=1),
    ResourceClass("many", memory=20, gpus=8),
)


def trial(model: str, method=Full(), **changes) -> Trial:
    return Trial(model, method, Training(**changes), lr=1e-3, steps=100, budget=1e15)


def fitting(one: Trial, seconds: float = 60.0, classes=CLASSES) -> str:
    return smallest(one, find_model(one.model), seconds, classes).name


def test_a_trial_goes_to_the_smallest_class_that_it_fits():
    assert fitting(trial("pythia-14m")) == "small"
    assert fitting(trial("pythia-410m")) == "large"
    assert fitting(trial("pythia-410m", BiasOnly())) == "small"
    assert fitting(trial("pythia-410m"), seconds=2 * 3600) == "many"  # more than an hour alone, a quarter on eight


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_memory_is_what_the_count_says_and_a_process(method):
    model, training = find_model("pythia-70m"), Training(context=75, precision="fp32")
    there = ResourceClass("cpu", memory=8)
    memory = training_memory(model, method())
    assert needed_memory(model, method(), training, there) == BASE + memory.peak(512)
    longer = replace(training, context=2048)
    assert needed_memory(model, method(), longer, there) == BASE + memory.peak(2048)
    whole, shared = (ResourceClass("x", memory=8, gpus=4, sharded=sharded) for sharded in (False, True))
    less = needed_memory(model, method(), training, whole) - needed_memory(model, method(), training, shared)
    assert less == pytest.approx(0.75 * memory.state + memory.folded - memory.gathered)


def test_what_can_never_fit_is_refused_and_told_what_would():
    with pytest.raises(ValueError, match=r"pythia-2.8b full at 1e\+15 FLOPs needs about .* GB") as caught:
        fitting(trial("pythia-2.8b"))
    said = str(caught.value)
    assert "no class has so much (small: 8 GB, large: 20 GB, many: 20 GB)" in said
    assert "it would fit into class 'large' with memory = " in said and "or with method qlora rank 32 alpha 8" in said
    roomier = float(said.partition("with memory = ")[2].split(",")[0])
    assert fitting(trial("pythia-2.8b"), classes=(*CLASSES, ResourceClass("huge", memory=roomier, gpus=1))) == "huge"
    assert fitting(trial("pythia-2.8b", QLoRA())) == "large"
    with pytest.raises(ValueError, match=r"whose trials may take 1 h; it would fit with longest = 3$"):
        fitting(trial("pythia-14m"), seconds=3 * 3600, classes=CLASSES[1:2])


def test_this_machine_offers_its_memory_or_a_share_of_its_smallest_gpu(tmp_path, monkeypatch):
    assert this_machine([], 1).memory == installed_memory() / 1e9
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_machine(["0"], 1).memory == installed_memory() / 1e9  # nobody tells how large it is
    tool = '#!/bin/sh\ncase "$1" in --id=0) echo 81559 ;; --id=1) echo 40960 ;; *) echo "[N/A]" ;; esac\n'
    (tmp_path / "nvidia-smi").write_text(tool)
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert this_machine(["0", "1"], 4).memory == 40960 * 2**20 / 1e9 / 4
    assert this_machine(["MIG-x"], 1).memory == installed_memory() / 1e9


def test_what_this_machine_cannot_hold_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "installed_memory", lambda: 0.5e9)
    (tmp_path / "toy.toml").write_text(SWEEP)
    assert toy_main(["run", "toy.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweep: error: nano-25k") and "(this-machine: 0.5 GB)" in said and said.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_every_trial_of_a_sweep_has_a_class_and_a_time(tmp_path):
    (tmp_path / "file.toml").write_text(SWEEP)
    sweep = read_sweep(tmp_path / "file.toml")
    wanted = [Cost(cell.trial(1e-3), 1e12, 0.0) for cell in cells(sweep, DATA) if not cell.reason]
    found = requirements(wanted, sweep, CLASSES, PACE)
    assert found.classes == ("small", "large", "many")
    assert set(found.trials.values()) == {Requirement("small", 11.0)}
    assert Requirements.from_json(found.to_json(), "needs.json") == found
    assert Requirements.from_json({}, "needs.json") == Requirements()


REQUIREMENTS = Requirements(
    ("a", "b", "c"),
    {"1": Requirement("a", 50), "2": Requirement("b", 50), "3": Requirement("c", 50), "4": Requirement("b", 5000)},
)


@given(st.permutations(list(REQUIREMENTS.trials)), st.sampled_from(["", *REQUIREMENTS.classes]), st.booleans())
def test_a_worker_looks_at_its_own_class_first_and_loses_none(keys, own, takes_smaller):
    eligibility = Eligibility(own, takes_smaller, requirements=REQUIREMENTS)
    order = eligibility.order(keys)
    assert sorted(order) == sorted(keys)
    taken = [REQUIREMENTS.trials[key].resource_class for key in order if eligibility.takes(key)]
    if not own:
        assert order == keys and len(taken) == len(keys)
    else:
        assert taken == sorted(taken, reverse=True)  # own class first, then the next smaller
        assert set(taken) == ({one for one in REQUIREMENTS.classes if one <= own} if takes_smaller else {own})
    for one in REQUIREMENTS.classes:  # within a class in the order of the queue
        same = [key for key in keys if REQUIREMENTS.trials[key].resource_class == one]
        assert [key for key in order if REQUIREMENTS.trials[key].resource_class == one] == same


def test_a_worker_takes_what_fits_its_time_or_can_be_begun():
    import time

    now = time.monotonic()
    short, long = (
        Eligibility("b", until=now + seconds, min_seconds=120.0, requirements=REQUIREMENTS) for seconds in (60, 200)
    )
    assert (short.takes("2"), short.takes("4")) == (True, False)  # 50 s fit; 5,000 s would hardly be begun
    assert (long.takes("2"), long.takes("4")) == (True, True)
    assert not Eligibility("b", until=now - 1, requirements=REQUIREMENTS).takes("unknown")


def test_what_ran_out_of_memory_twice_goes_one_class_up():
    assert not Eligibility("a", requirements=REQUIREMENTS).takes("1", bigger=1)
    assert Eligibility("b", requirements=REQUIREMENTS).takes("1", bigger=1)
    assert not Eligibility("b", requirements=REQUIREMENTS).takes("2", bigger=1)
    assert Eligibility("c", requirements=REQUIREMENTS).takes("3", bigger=1)  # there is none above
    assert [REQUIREMENTS.classes_above(key) for key in ("1", "2", "3", "unknown")] == [2, 1, 0, 0]


# -- the profile


PROFILE = """
minutes = 30
setup = ["module load cuda/12.4"]
[environment]
NCCL_DEBUG = "a 'b' $(touch pwned)"
[[classes]]
name = "gpu/4"
memory = 10
gpus = 1
slots = 4
options = ["--exclude=n[1-3]"]
"""


def read(tmp_path: Path, text: str) -> ClusterProfile:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return read_cluster_profile(path)


def test_the_example_is_a_profile():
    made = read_cluster_profile(ROOT / "examples" / "slurm.toml")
    assert len(made.classes) >= 3 and made.setup


def test_a_profile_says_what_it_holds(tmp_path):
    made = read(tmp_path, PROFILE)
    assert made.setup == (("module", "load", "cuda/12.4"),)
    (one,) = made.classes
    assert (one.name, one.minutes, one.slots, one.ranks, one.on_gpu) == ("gpu/4", 30, 4, 1, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("memory", "memroy"), r"classes\[0\] has no key 'memroy' \(meant 'memory'\?\); known: name, memory"),
        (("minutes", "minuets"), r"the file has no key 'minuets' \(meant 'minutes'\?\)"),
        (("memory = 10\n", ""), r"classes\[0\] has no memory"),
        (("memory = 10", "memory = -1"), r"classes\[0\].memory is -1.0; it must be between 0 and"),
        (("memory = 10", "memory = nan"), r"classes\[0\].memory is nan"),
        (("memory = 10", "memory = true"), r"classes\[0\].memory is True; it must be of type float"),
        (("memory = 10", 'memory = "10"'), r"classes\[0\].memory is '10'; it must be of type float"),
        (("gpus = 1", "gpus = 1.5"), r"classes\[0\].gpus is 1.5; it must be of type int"),
        (("gpus = 1", "gpus = 100000"), r"classes\[0\].gpus is 100000; it must be between 0 and 64"),
        (("gpus = 1", "gpus = 1\nshards = 2"), "gpus is 1 and shards is 2"),
        (("slots = 4", "slots = 4\nprocesses = 2"), "slots is 4 with 2 processes"),
        (("minutes = 30", "minutes = 0"), r"classes\[0\].minutes is 0"),
        (("gpu/4", "gpu;rm -rf /"), r"classes\[0\].name is 'gpu;rm -rf /'; it must be letters"),
        (("gpu/4", "../../etc"), r"classes\[0\].name is '../../etc'"),
        (("slots = 4", 'partition = "a b; touch x"'), r"classes\[0\].partition is"),
        (("--exclude=n[1-3]", "--wrap=touch x"), r"classes\[0\].options\[0\] is '--wrap=touch x'"),
        (("--exclude=n[1-3]", "--job-name=x"), "--job-name follows from the class's own keys"),
        (("--exclude=n[1-3]", "exclude"), "must be like --name"),
        (('["--exclude=n[1-3]"]', '"--exclude"'), r"classes\[0\].options is '--exclude'; it must be a list of strings"),
        (("module load cuda/12.4", "module load x; touch pwned"), r"setup\[0\] is .*; it must be one plain command"),
        (("module load cuda/12.4", "echo `id`"), r"setup\[0\]"),
        (("module load cuda/12.4", "echo 'half"), r"setup\[0\] is .*: No closing quotation"),
        (("NCCL_DEBUG", '"A;B"'), r"environment.A;B is 'A;B'; it must be the name of a variable"),
        (("minutes = 30", "grace = -5"), "grace is -5; it must be a whole number between 1 and 3,600"),
        (("minutes = 30", "minutes = 1"), "grace is 90; it must be less than the 60 s that the shortest job has"),
        (("[[classes]]", "[classes]"), r"has no \[\[classes\]\]"),
        (("minutes = 30", "minutes ="), "not TOML"),
    ],
)
def test_mistakes_in_a_profile_name_their_place_and_the_choices(tmp_path, change, said):
    assert change[0] in PROFILE
    with pytest.raises(ValueError, match=said) as caught:
        read(tmp_path, PROFILE.replace(*change))
    assert str(caught.value).startswith(f"{tmp_path}/cluster.toml: ")


def test_two_classes_of_one_name_are_refused(tmp_path):
    second = '[[classes]]\nname = "gpu-4"\nmemory = 1\n'
    with pytest.raises(ValueError, match=r"classes\[1\].name is 'gpu-4'; it must be a name that no other class has"):
        read(tmp_path, PROFILE + second)  # their logs would have one name


def test_nothing_of_a_profile_reaches_a_shell_unquoted(tmp_path):
    made = read(tmp_path, PROFILE.replace('"module load cuda/12.4"', "\"echo ~ * a'b c'\""))
    where = tmp_path / "a folder; touch pwned"
    script = job_script(made.classes[0], made, ["/bin/echo", "$HOME `id`"], where)
    script = script.replace("exec srun --kill-on-bad-exit=0 ", "env | grep NCCL_DEBUG\nexec ")
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == ["~ * ab c", "NCCL_DEBUG=a 'b' $(touch pwned)"]
    assert f"$HOME `id` --sweep {where} --class gpu/4" in done.stdout
    assert not (tmp_path / "pwned").exists()
    for line in script.splitlines()[1:]:
        shlex.split(line, comments=True)


# -- what Slurm's queue says of attempts


def test_the_queue_tells_which_attempts_are_over(tmp_path):
    file = tmp_path / "file.toml"
    file.write_text(SWEEP)
    store = FolderStore(tmp_path / "sweep")
    store.begin(file, DATA)
    wanted = [cell.trial(2e-3) for cell in cells(read_sweep(file), DATA) if not cell.reason]
    store.add(wanted)
    claims = [store.claim(Eligibility(job={"job": f"7_{index}", "restarts": 1})) for index in range(len(wanted))]
    states = ["RUNNING", "RUNNING", "PENDING", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAIL"]
    known = [Job(f"7_{i}", 2 if i == 1 else 1, state, "x") for i, state in enumerate(states) if i < len(claims)]
    assert len(known) == len(states)
    reap(store, known)
    causes = [store.attempts(claim.trial.key)[-1].cause for claim in claims[: len(states)]]
    assert causes == ["", "lost", "lost", "time", "memory", "stopped", "lost"]
    unlisted = [store.attempts(claim.trial.key)[-1].cause for claim in claims[len(states) :]]
    assert set(unlisted) <= {""}  # what is not listed may be another cluster's
    assert Job("7_0", 1, "COMPLETING", "x").runs(Attempt(1, job="7_0", restarts=1))
    assert sweep_name(store) == sweep_name(FolderStore(tmp_path / "." / "sweep")) != sweep_name(FolderStore(tmp_path))
