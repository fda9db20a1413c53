"""What was written and then changed, by a disk or by hand, is told from what was not."""

from __future__ import annotations

import json

import pytest

from planner.law_file import read_laws
from planner.recipe import plan
from support.known_laws import law_book
from sweeps.support.checksum import NAME, refuse_changed, sealed

CONTENT = {"loss": 1.25, "said": 'a "checksum": "" of its own', "inside": {NAME: ""}, "curve": [[1, 2, 0.5]]}


def check(text: str) -> None:
    refuse_changed(text, json.loads(text).get(NAME))


@pytest.mark.parametrize("indent", [None, 1])
def test_every_flipped_bit_that_leaves_json_of_other_content_is_noticed(indent):
    text = sealed(CONTENT, indent).encode()
    check(text.decode())
    changed = 0
    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            try:
                content = json.loads(flipped.decode())
                before = {name: value for name, value in content.items() if name != NAME}
            except ValueError:
                continue
            if NAME in content and (before != CONTENT or content[NAME] != json.loads(text)[NAME]):
                changed += 1
                with pytest.raises(ValueError, match="changed since it was written"):
                    check(flipped.decode())
    assert changed > 100


def test_white_space_may_change_and_a_text_without_a_checksum_is_taken_as_it_is():
    content = json.loads(sealed(CONTENT))
    check(json.dumps(content, indent=4).replace("\n", "\r\n"))
    del content[NAME]
    check(json.dumps(content | {"loss": 1.0}))


def test_a_law_book_that_was_changed_is_refused_with_what_to_do_and_read_without_its_checksum(tmp_path):
    path, content = tmp_path / "laws.json", law_book().to_json()
    path.write_text(sealed(content, indent=1))
    assert read_laws(path) == law_book()
    changed = json.loads(path.read_text())
    changed["laws"][0]["noise"] *= 2
    path.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=rf'{path}: changed since it was written; .* remove its "checksum"'):
        plan(1e13, laws=path)
    del changed[NAME]
    path.write_text(json.dumps(changed))
    assert read_laws(path).laws[0].noise == changed["laws"][0]["noise"]
