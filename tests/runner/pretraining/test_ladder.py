"""The file of a ladder: what is wrong with it is named, and at once."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from runner.pretraining.ladder import read_ladder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tokens = ", "ladder.toml: "),
        ('name = "x"\ntokens = 1\nfoo = 2\n', "the file has no key 'foo'; known: name, tokens"),
        ('name = "x"\ntokens = 1\n', "sizes is empty"),
        (
            'name="x"\ntokens=1\n[[sizes]]\nname="a"\nlayers=1\nwidth=30\nheads=4\nlr=1\n',
            "[0].width is 30; it must be a multiple of 4",
        ),
        (
            'name="x"\ntokens=1\n[[sizes]]\nname="../a"\nlayers=1\nwidth=32\nheads=4\nlr=1e-3\n',
            "sizes[0].name is '../a'",
        ),
    ],
)
def test_a_wrong_ladder_file_is_named(tmp_path, content, message):
    (tmp_path / "ladder.toml").write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_ladder(tmp_path / "ladder.toml")


def test_what_is_wrong_is_told_before_anything_is_loaded(tmp_path):
    code = (
        "import sys; from runner.cli import main; code = main(sys.argv[1:]); sys.exit('torch' in sys.modules or code)"
    )
    command = [sys.executable, "-c", code, "pretrain", str(tmp_path / "none.toml"), "--out", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "none.toml: No such file" in done.stderr, done.stderr
