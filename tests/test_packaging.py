"""What is installed and shipped: the lock, the commands, the data files of the wheel."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recipe_planner.packages import NEEDS
from sweeps.experiment.examples import examples

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line]
EXTRAS = PROJECT["project"]["optional-dependencies"]
OURS = PROJECT["project"]["name"]


def brought(extra: str) -> set[str]:
    """The requirements of an extra, those of the extras that it names among them."""
    own = [Requirement(line) for line in EXTRAS[extra]]
    others = {line for each in own if each.name == OURS for name in each.extras for line in brought(name)}
    return {str(each) for each in own if each.name != OURS} | others


WANTED = sorted(brought("dev"))


def test_the_lock_holds_exact_versions_and_nothing_else():
    assert [line for line in LOCK if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_the_lock_leaves_the_kind_of_torch_to_the_machine():
    assert "torch==2.13.0" in LOCK
    assert [line for line in LOCK if re.match(r"nvidia|cuda|triton", line)] == []


@pytest.mark.parametrize("wanted", WANTED)
def test_the_lock_lies_within_the_ranges(wanted):
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("version", [("torch", "2.11.0"), ("transformers", "5.17.0")])
def test_the_ranges_admit_what_gpu_machines_have(version):
    ranges = {Requirement(line).name: Requirement(line).specifier for line in WANTED}
    assert ranges[version[0]].contains(version[1])


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_a_command_is_there_and_explains_itself(command, capsys):
    module, function = PROJECT["project"]["scripts"][command].split(":")
    main = getattr(importlib.import_module(module), function)
    try:
        code = main(["--help"])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 0
    assert f"usage: {command}" in capsys.readouterr().out


def test_everything_is_installed_below_one_package():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = {"recipe_planner", *NEEDS, "results", "examples"}
    assert set(wheel["only-include"]) == folders
    assert wheel["sources"] == {name: f"recipe_planner/{name}" for name in folders - {"recipe_planner"}}
    assert (ROOT / "recipe_planner.pth").read_text() == "recipe_planner\n"  # relative to where the file is installed


def test_the_examples_are_found_beside_the_code():
    assert set(examples()) == {file.stem for file in (ROOT / "examples").glob("*.toml")} >= {"demo", "reference"}
