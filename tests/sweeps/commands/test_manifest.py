"""Manifests are what their engines' own schemas take, and no name or command in them means anything but itself."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from sweeps import cli
from sweeps.commands.manifest import MANIFESTS
from sweeps.support.extras import EXTRAS

SCHEMAS = Path(__file__).parents[2] / "records" / "schemas"
SWEEP = 'models = ["nano-25k"]\nbudgets = [3e11]\n[[methods]]\nname = "full"\nlr = 2e-3\n'
PROFILE = """
grace = 45
python = ""
setup = ["source /etc/profile", "module load 'a b'"]
environment = {{ NOTE = {note} }}
[[classes]]
name = "small+1"
memory = 4
workers = 3
[[classes]]
name = "gpu.8"
memory = 70
gpus = 8
cpus = 4
ram = 500
sharded = true
workers = 2
"""
HOSTILE = """it's "$(id)" `id` $HOME ${HOME} \\\\ #: {}[] - & * ! | > % @ é \U0001f600"""
ENGINES = {
    "kubernetes": ("--image", "registry.example:5000/a/b@sha256:1", "--claim", "shared"),
    "skypilot": ("--gpu", "A100", "--class", "gpu.8"),
    "docker": (),
}


def made(folder: Path, capsys, engine: str, *more: str, note: str = "plain", sweep: str = SWEEP) -> str:
    """What `sweep manifest` prints of a sweep with this profile."""
    (folder / "My Sweep.toml").write_text(sweep)
    (folder / "cluster.toml").write_text(PROFILE.format(note=json.dumps(note, ensure_ascii=False)))
    arguments = [str(folder / "My Sweep.toml"), "--for", engine, *(more or ENGINES[engine])]
    assert cli.main(["manifest", *arguments, "--profile", str(folder / "cluster.toml")]) == 0
    return capsys.readouterr().out


def kubernetes_schema(kind: str) -> Draft7Validator:
    schemas = json.loads((SCHEMAS / "kubernetes-1.37.json").read_text())
    group = {"Job": "batch", "ConfigMap": "core"}[kind]
    return Draft7Validator({"$ref": f"#/definitions/io.k8s.api.{group}.v1.{kind}", **schemas})


def test_every_engine_is_tried():
    assert set(ENGINES) == set(MANIFESTS)


@pytest.mark.parametrize("state", [("--claim", "shared"), ("--secret", "database")])
def test_kubernetes_takes_what_is_made_for_it(tmp_path, capsys, state):
    text = made(tmp_path, capsys, "kubernetes", "--image", "a/b:1", *state, note=HOSTILE)
    documents = list(yaml.safe_load_all(text))
    assert [each["kind"] for each in documents] == ["ConfigMap", "Job", "Job", "Job"]
    for each in documents:
        assert list(kubernetes_schema(each["kind"]).iter_errors(each)) == []
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", each["metadata"]["name"])
    assert documents[0]["data"]["sweep.toml"] == SWEEP
    _, run, small, large = documents
    assert [job["spec"]["completions"] for job in (run, small, large)] == [1, 3, 2]
    assert (
        small["spec"]["completionMode"] == "Indexed" and small["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    )
    (worker,) = large["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {"nvidia.com/gpu": 8, "memory": "500000M"}
    assert worker["resources"]["requests"]["cpu"] == "32"
    assert large["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45
    assert ("--store" in worker["command"]) == (state[0] == "--secret")
    assert "--shard" in worker["command"] and "--patience" not in worker["command"]


def test_pods_and_machines_get_what_opens_the_database_and_the_bucket(tmp_path, capsys):
    copies = ("--checkpoints", "s3://bucket/sweeps")
    text = made(tmp_path, capsys, "kubernetes", "--image", "a", "--secret", "places", *copies)
    _, run, *workers = yaml.safe_load_all(text)
    for job in (run, *workers):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "places"}}]
        assert ("s3://bucket/sweeps" in container["command"]) == (job is run)  # workers ask the database
    task = yaml.safe_load(made(tmp_path, capsys, "skypilot", *ENGINES["skypilot"], *copies))
    assert list(task["secrets"]) == ["SWEEP_STORE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
    arguments = ["--for", "docker", "--checkpoints", "http://x"]
    assert cli.main(["manifest", str(tmp_path / "My Sweep.toml"), *arguments]) == 2
    assert "--checkpoints must be s3://" in capsys.readouterr().err


def expanded(text: str) -> str:
    """What Kubernetes makes of a word: $$ is $, and $(NAME) what the variable holds."""
    return re.sub(r"\$(\$|\((\w+)\))", lambda found: "$" if found[1] == "$" else f"<{found[2]}>", text)


def test_a_schema_would_refuse_a_mistake(tmp_path, capsys):
    job = list(yaml.safe_load_all(made(tmp_path, capsys, "kubernetes")))[2]
    job["spec"]["completionmode"] = job["spec"].pop("completionMode")
    assert list(kubernetes_schema("Job").iter_errors(job))


def test_kubernetes_puts_no_variable_into_what_is_not_one(tmp_path, capsys):
    text = made(tmp_path, capsys, "kubernetes", "--image", "a", "--secret", "database", note=HOSTILE)
    *_, job = yaml.safe_load_all(text)
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    values = {each["name"]: each.get("value") for each in worker["env"]}
    assert expanded(values["NOTE"]) == HOSTILE
    command = [expanded(word) for word in worker["command"]]
    assert command[:2] == ["bash", "-c"] and command[-2:] == ["--store", "<SWEEP_STORE>"]
    assert command[2] == "source /etc/profile\nmodule load 'a b'\nexec \"$@\""


def test_skypilot_takes_what_is_made_for_it_and_its_shell_sees_the_words(tmp_path, capsys):
    text = made(tmp_path, capsys, "skypilot", note=HOSTILE)
    task = yaml.safe_load(text)
    schemas = json.loads((SCHEMAS / "skypilot-0.14.json").read_text())
    assert list(Draft7Validator(schemas["task"]).iter_errors(task)) == []
    assert list(Draft7Validator(schemas["resources"]).iter_errors(task["resources"])) == []
    assert list(Draft7Validator(schemas["task"]).iter_errors(task | {"resource": {}}))
    assert task["envs"]["NOTE"] == HOSTILE and task["resources"]["accelerators"] == {"A100": 8}
    _, second, last = task["run"].splitlines()
    assert shlex.split(second) == ["module", "load", "a b"]
    assert shlex.split(last)[:4] == ["exec", "embed", "worker", "--sweep"]
    done = subprocess.run(
        ["bash", "-c", last.replace("exec embed", "printf '%s\\n'")], env={"SWEEP_STORE": "a b"}, stdout=subprocess.PIPE
    )
    assert done.stdout.decode().splitlines()[-2:] == ["--store", "a b"]


def test_a_dockerfile_starts_workers_and_keeps_values_as_they_are(tmp_path, capsys):
    lines = made(tmp_path, capsys, "docker", note=HOSTILE).splitlines()
    words = [line.partition(" ")[0] for line in lines]
    assert set(words) <= {"#", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert words.count("FROM") == 1 and words.count("ENTRYPOINT") == words.count("CMD") == 1
    parsed = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    assert json.loads(parsed["ENTRYPOINT"]) == ["embed", "worker"]
    assert json.loads(parsed["CMD"]) == ["--sweep", "/shared/results/my-sweep"]
    (note,) = [line.removeprefix("ENV NOTE=") for line in lines if line.startswith("ENV NOTE=")]
    assert re.sub(r"\\(.)", r"\1", note[1:-1]) == HOSTILE and not re.search(r"(?<!\\)(\\\\)*[$`]", note[1:-1])


@pytest.mark.parametrize("engine", MANIFESTS)
def test_what_is_in_a_sweep_file_stays_text(tmp_path, capsys, engine):
    text = made(tmp_path, capsys, engine, sweep="# \x85\u2028 ---\n# - a: &b *c !!python/object\n" + SWEEP)
    if engine == "kubernetes":
        first, *_ = yaml.safe_load_all(text)
        assert first["data"]["sweep.toml"].startswith("# \x85\u2028 ---\n# - a: &b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--for", "kubernetes"), "--image is missing"),
        (("--for", "kubernetes", "--image", "a"), "give --claim"),
        (("--for", "kubernetes", "--image", "a", "--claim", "a", "--secret", "b"), "give --claim"),
        (("--for", "kubernetes", "--image", "a\nb", "--claim", "a"), "--image is 'a\\nb'"),
        (("--for", "kubernetes", "--image", "a", "--claim", "A B"), "--claim is 'A B'"),
        (("--for", "skypilot"), "choose it with --class"),
        (("--for", "skypilot", "--class", "gpu.8"), "name it with --gpu"),
        (("--for", "skypilot", "--class", "gpu"), "meant 'gpu.8'?"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path, capsys, arguments, said):
    (tmp_path / "a.toml").write_text(SWEEP)
    (tmp_path / "cluster.toml").write_text(PROFILE.format(note='"x"'))
    profile = ("--profile", str(tmp_path / "cluster.toml"))
    assert cli.main(["manifest", str(tmp_path / "a.toml"), *arguments, *profile]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "key", "said"),
    [
        ("kubernetes", "nodes = 2", "a pod runs on one node"),
        ("kubernetes", "gpus = 1\nslots = 2", "a pod has its GPUs to itself"),
        ("kubernetes", "resources = { tpu = 0.5 }", "a whole number for Kubernetes"),
        ("skypilot", "nodes = 2", "a worker has its own machine"),
    ],
)
def test_a_class_that_an_engine_has_not_is_refused(tmp_path, capsys, engine, key, said):
    (tmp_path / "a.toml").write_text(SWEEP)
    (tmp_path / "cluster.toml").write_text(f'[[classes]]\nname = "x"\nmemory = 2\n{key}\n')
    arguments = ["--for", engine, "--profile", str(tmp_path / "cluster.toml"), "--image", "a", "--gpu", "A100"]
    arguments += ["--claim", "c"] if engine == "kubernetes" else []
    assert cli.main(["manifest", str(tmp_path / "a.toml"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_names_that_become_one_are_told_apart(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(SWEEP)
    classes = "".join(f'[[classes]]\nname = "{name}"\nmemory = 2\n' for name in ("g.1", "g+1", "other"))
    (tmp_path / "cluster.toml").write_text(classes)
    arguments = ["--for", "kubernetes", "--image", "a", "--claim", "c", "--profile", str(tmp_path / "cluster.toml")]
    assert cli.main(["manifest", str(tmp_path / "a.toml"), *arguments]) == 0
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(capsys.readouterr().out)]
    assert names == ["a", "a-run", "a-g-1-1", "a-g-1-2", "a-other"]


def test_a_manifest_is_written_to_a_file(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(SWEEP)
    path = tmp_path / "out" / "Dockerfile"
    path.parent.mkdir()
    assert cli.main(["manifest", str(tmp_path / "a.toml"), "--for", "docker", "--write", str(path)]) == 0
    assert path.read_text().startswith("# In a checkout") and capsys.readouterr().out == f"{path}\n"
    path.write_text("somebody's own")
    assert cli.main(["manifest", str(tmp_path / "a.toml"), "--for", "docker", "--write", str(path)]) == 2
    assert path.read_text() == "somebody's own" and "--force replaces it" in capsys.readouterr().err
    assert cli.main(["manifest", str(tmp_path / "a.toml"), "--for", "docker", "--write", str(path), "--force"]) == 0
    assert path.read_text().startswith("# In a checkout")


def test_a_machine_of_skypilot_installs_what_trains_and_reads_and_reaches_the_database(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(SWEEP)
    assert cli.main(["manifest", str(tmp_path / "a.toml"), "--for", "skypilot"]) == 0
    setup = yaml.safe_load(capsys.readouterr().out)["setup"]
    extras = re.search(r"\[(.*)\]", setup)[1].split(",")
    assert {"torch", "pyarrow", "datasets", "psycopg"} <= {module for extra in extras for module in EXTRAS[extra]}
