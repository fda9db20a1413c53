"""One way of writing: whole or not at all, nothing left behind, and no other way in the sources."""

import ast
import multiprocessing
import os
from pathlib import Path

import pytest

from sweeps.support import atomic
from sweeps.support.atomic import new_folder, publish_text, replacing, write_text

ROOT = Path(__file__).resolve().parents[3]
# What renames and links outside atomic.py, and why it may.
ELSEWHERE = {
    "sweeps/commands/doctor.py": "tries whether the file system keeps what renames and links promise",
    "sweeps/workers/ray_node.py": "a temporary file takes what a process prints; nothing is renamed",
    "sweeps/store/folder.py": "sets a result aside under another name: it moves a file and writes none",
}
ALWAYS = {"link", "hardlink_to", "renames", "mkstemp", "NamedTemporaryFile"}


def test_text_replaces_what_was_there(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "né\n")
    assert (tmp_path / "a.txt").read_bytes() == "né\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_that_fails_leaves_the_old_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        fail(temporary)
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "half of a pair: \ud800")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass  # writes nothing
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_reader_sees_the_old_until_the_block_ends(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with replacing(tmp_path / "a.txt", durable=False) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_is_there_with_all_its_content_or_not(tmp_path):
    with new_folder(tmp_path / "model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("a")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "sub" / "a").read_text() == "a"
    with pytest.raises(OSError, match="model"), new_folder(tmp_path / "model") as folder:
        (folder / "b").write_text("b")
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "other", inside=tmp_path / "model") as folder:
        assert folder.parent == tmp_path / "model"
        (folder / "b").write_text(str(1 / 0))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "model",
        "model/sub",
        "model/sub/a",
    ]


def test_what_is_durable_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    synced = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(atomic.os, "fsync", lambda number: (synced.append("disk"), fsync(number)))
    monkeypatch.setattr(atomic.os, "replace", lambda *paths: (synced.append("name"), replace(*paths)))
    write_text(tmp_path / "a.txt", "text")
    write_text(tmp_path / "a.txt", "text", durable=False)
    assert synced == ["disk", "name", "name"]


def test_of_many_that_publish_the_first_wins(tmp_path):
    with multiprocessing.Pool(4) as pool:
        won = pool.starmap(publish, [(tmp_path / "a.txt", str(number)) for number in range(40)])
    assert sum(won) == 1
    assert (tmp_path / "a.txt").read_text() == str(won.index(True))
    assert os.listdir(tmp_path) == ["a.txt"]


def publish(path, text):
    try:
        publish_text(path, text, durable=False)
    except OSError:
        return False
    return True


def renames(tree: ast.AST) -> list[str]:
    """Calls in a module that rename, link or name a temporary file: `os.replace`, `path.rename(other)`, ..."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil", "tempfile"}:
            found += [alias.name for alias in node.names if alias.name in ALWAYS | {"replace", "rename", "move"}]
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        # A text's replace has two arguments, that of dataclasses and that of pandas have keywords.
        of_path = name in {"replace", "rename"} and len(node.args) == 1 and not node.keywords
        of_module = owner in {"os", "shutil"} and name in {"replace", "rename", "move"}
        if name in ALWAYS or of_path or of_module:
            found.append(f"{owner}.{name}")
    return found


def test_no_other_module_renames():
    sources = [
        path for package in ("sweeps", "planner", "runner", "analysis") for path in (ROOT / package).rglob("*.py")
    ]
    calls = {str(path.relative_to(ROOT)): renames(ast.parse(path.read_text("utf-8"))) for path in sources}
    assert {path for path, found in calls.items() if found} == {"sweeps/support/atomic.py", *ELSEWHERE}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("os.replace(a, b)", ["os.replace"]),
        ("shutil.move(a, b)", ["shutil.move"]),
        ("path.with_suffix('.tmp').rename(path)", ["path.with_suffix('.tmp').rename"]),
        ("temporary.replace(path)", ["temporary.replace"]),
        ("from os import rename", ["rename"]),
        ("text.replace('a', 'b'); frame.rename(columns=names); dataclasses.replace(a, b=1)", []),
    ],
)
def test_a_rename_would_be_seen(line, found):
    assert renames(ast.parse(line)) == found
