"""Mined code-search pairs: what a pair is, and that the split and the result hold still."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from sweeps.data import python_env

SOURCE = '''
class Shelf:
    def take(self, count=1):
        """Take books from the shelf.

        A second paragraph that is no part of the query.
        """
        # the oldest first
        return [self.books.pop(0) for _ in range(count)]

    def short(self): "One line only here"; return 1

    def undocumented(self):
        return 2

    def empty(self):
        """Has a docstring and nothing else."""
'''


def test_a_pair_is_the_first_paragraph_and_the_code_without_it():
    [(query, code)] = python_env.function_pairs(SOURCE)
    assert query == "Take books from the shelf."
    assert code.startswith("def take(self, count=1):\n")
    assert "return [self.books.pop(0)" in code
    assert "second paragraph" not in code and '"""' not in code


def test_mined_code_is_python_and_never_holds_its_query():
    pairs = list(python_env.function_pairs(python_env.read_source(Path(shutil.__file__))))
    assert len(pairs) > 20
    for query, code in pairs:
        assert ast.parse(code).body[0].name
        assert query not in " ".join(code.split())


def test_the_tasks_are_made_of_the_same_functions():
    assert list(python_env.function_pairs(SOURCE, "python-env-halves")) == []  # too short to be cut
    [(summary, rest)] = python_env.function_pairs(SOURCE, "python-env-docs")
    assert summary == "Take books from the shelf." and rest == "A second paragraph that is no part of the query."
    source = python_env.read_source(Path(shutil.__file__))
    whole = {code for _, code in python_env.function_pairs(source)}
    halves = list(python_env.function_pairs(source, "python-env-halves"))
    assert len(halves) > 10 and {f"{first}\n{second}" for first, second in halves} <= whole


@pytest.mark.parametrize("task", python_env.TASKS)
def test_every_task_has_its_pairs_once_each(task):
    files = [f for f in python_env.source_files() if f.key.startswith(("stdlib/email/", "stdlib/asyncio/"))]
    pairs, unread = python_env.mine_pairs(files, task)
    assert len(pairs) > 30 and not unread
    assert {pair["held_out"] for pair in pairs} <= {f.held_out for f in files}
    assert len({pair["positive"] for pair in pairs}) == len(pairs)


def test_mining_twice_gives_the_same_pairs_once_each():
    files = [f for f in python_env.source_files() if f.key.startswith(("stdlib/json/", "stdlib/email/"))]
    first, unread = python_env.mine_pairs(files)
    second, _ = python_env.mine_pairs(list(files))
    assert first == second and len(first) > 50 and not unread
    assert len({pair["query"].lower() for pair in first}) == len(first)


def test_no_file_feeds_both_splits_and_both_have_some():
    files = python_env.source_files()
    held_out = {f.key for f in files if f.held_out}
    assert 0.03 < len(held_out) / len(files) < 0.07
    assert all(python_env.SourceFile(f.key, f.path.parent).held_out == f.held_out for f in files[:100])


def test_what_cannot_be_parsed_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    _, unread = python_env.mine_pairs([python_env.SourceFile("x/broken.py", tmp_path / "broken.py")])
    assert unread == ["x/broken.py"]
