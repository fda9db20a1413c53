"""The tokenizer of a model: what a training reads with, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runner.data.tokenizer import load_tokenizer, tokenizer_settings, training_tokenizer
from support.tokenizer_shapes import END, SHAPES, write_shape
from sweeps.models import read_model
from sweeps.trial import POOLINGS, Training

TEXT = "It's the END of Straße"


@pytest.mark.parametrize("name", SHAPES)
def test_a_training_reads_what_the_models_own_tokenizer_reads(tmp_path, name):
    folder = str(write_shape(name, tmp_path))
    own = load_tokenizer(folder)(TEXT)["input_ids"]
    for pooling in ("mean", "weighted"):
        assert training_tokenizer(folder, pooling)(TEXT)["input_ids"] == own


@pytest.mark.parametrize("name", SHAPES)
def test_last_token_pooling_reads_one_end_token_behind_it(tmp_path, name):
    folder = str(write_shape(name, tmp_path))
    tokenizer = training_tokenizer(folder, "last")
    own, ids = load_tokenizer(folder)(TEXT)["input_ids"], tokenizer(TEXT)["input_ids"]
    end = tokenizer.convert_tokens_to_ids(END)
    assert ids == (own if own[-1] == end else [*own, end]) and ids.count(end) == 1
    assert tokenizer(TEXT * 9, truncation=True, max_length=12)["input_ids"][-1] == end


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_there_is_a_padding_token_inside_the_token_table(tmp_path, name, pooling):
    folder = write_shape(name, tmp_path)
    tokenizer = training_tokenizer(str(folder), pooling)
    assert 0 <= tokenizer.pad_token_id < read_model(folder).vocab
    one, other = tokenizer(["a", "a longer one"], padding=True)["attention_mask"]
    assert len(one) == len(other) and one[-1] == 0 and one[0] == 1  # at the right, as it is trained


def test_without_an_end_token_last_token_pooling_is_refused(tmp_path):
    folder = str(write_shape("first-and-end", tmp_path, eos_token=None))
    with pytest.raises(ValueError, match=r"'last'.*the tokenizer has none; name an eos_token .* mean or weighted"):
        training_tokenizer(folder, "last")
    assert training_tokenizer(folder, "mean")


def test_a_special_token_beyond_the_token_table_is_read_as_text(tmp_path):
    folder = write_shape("padding-beyond-the-table", tmp_path)
    ids = training_tokenizer(str(folder), "mean")("before <pad> behind")["input_ids"]
    assert max(ids) < read_model(folder).vocab


def test_a_vocabulary_beyond_the_token_table_is_refused(tmp_path):
    folder = write_shape("llama3", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 1000}))
    with pytest.raises(ValueError, match=r"has id 4095; the token table .* has 1000 rows"):
        training_tokenizer(str(folder), "mean")


@pytest.mark.parametrize("kind", ["llama3", "pythia", "qwen3-embedding"])
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, kind):
    folder = write_shape(kind, tmp_path)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=str(folder)) as error:
        load_tokenizer(str(folder))
    assert "tokenizer" in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_tokenizer_file_is_refused(tmp_path):
    folder = write_shape("llama3", tmp_path)
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": ')
    with pytest.raises(ValueError, match=str(folder)):
        load_tokenizer(str(folder))


def test_a_context_without_room_for_a_text_is_refused(tmp_path):
    tokenizer = training_tokenizer(str(write_shape("first-and-end", tmp_path)), "mean")
    with pytest.raises(ValueError, match=r"training\.context is 2; the tokenizer adds 2 tokens"):
        tokenizer_settings(tokenizer, Training(context=2))


def test_whatever_changes_ids_changes_the_name_of_the_kept_tokens(tmp_path):
    folder = str(write_shape("llama3", tmp_path))
    plain = Training(context=20)
    names = [
        tokenizer_settings(training_tokenizer(folder, training.pooling), training).name
        for training in (
            plain,
            replace(plain, pooling="last"),
            replace(plain, context=21),
            replace(plain, query_prompt="q: "),
            replace(plain, document_prompt="q: "),
        )
    ]
    for setting in ({"truncation_side": "left"}, {"split_special_tokens": True}):
        changed = str(write_shape("llama3", tmp_path / "other", **setting))
        names.append(tokenizer_settings(training_tokenizer(changed, "mean"), plain).name)
    assert len(set(names)) == len(names) == 7
    assert tokenizer_settings(training_tokenizer(folder, "weighted"), plain).name == names[0]
