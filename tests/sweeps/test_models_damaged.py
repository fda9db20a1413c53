"""A model folder that no model has is refused in a line, before anything of its size is made."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from sweeps.models import find_model, read_model

NANO = Path(find_model("nano-7k").source)


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(NANO, tmp_path / "model"))


def change(folder: Path, **changes) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers in its config.json is 1000000000; it must be"),
        ({"hidden_size": 10**9}, "hidden_size in its config.json is 1000000000; it must be"),
        ({"hidden_size": 10**6, "num_attention_heads": 10, "intermediate_size": 10**9}, "parameters; at most 1e+13"),
        ({"num_hidden_layers": 5000}, "its weights have only"),
        ({"num_attention_heads": 3, "hidden_size": 16}, "cannot be split into 3 attention heads"),
        ({"hidden_act": "os.system"}, "hidden_act is 'os.system'; known: gelu"),
        ({"hidden_act": ["gelu"]}, "hidden_act is ['gelu']; known: gelu"),
        ({"vocab_size": 10**400}, "vocab_size in its config.json is"),
    ],
)
def test_a_shape_that_no_model_has_is_refused_at_once(folder, changes, words):
    change(folder, **changes)
    begun = time.monotonic()
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_model(folder)
    assert time.monotonic() - begun < 1.0 and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["/etc/passwd", "../model.safetensors", "missing.safetensors", 3])
def test_an_index_names_files_of_its_own_folder(folder, place):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json"):
        read_model(folder)


def test_pickled_weights_are_refused_without_a_word_on_how_to_run_them(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: is pickled, .* convert it to safetensors"):
        read_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_pipe_in_a_model_folder_is_refused_and_nobody_waits_for_it(folder, name):
    (folder / "1_Pooling").mkdir()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=rf"{name}: is a named pipe; it must be a file"):
        read_model(folder)
