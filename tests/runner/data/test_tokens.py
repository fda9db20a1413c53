"""Tokenising in shards: exactly the tokenizer's ids, whatever is killed, changed or done twice meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from runner.data import tokens
from runner.data.tokenizer import load_tokenizer, tokenizer_settings
from runner.data.tokens import Tokenise, TokenizerSettings, write_tokens
from support.waiting import wait_for
from sweeps.data import python_env
from sweeps.data.pair import Pair, data_hash
from sweeps.data.readers import read_pairs
from sweeps.models import find_model
from sweeps.trial import Training

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data"
NANO = find_model("nano-25k").source
TOKENIZERS = {"nano": Path(NANO)} | {
    folder.name: folder for folder in (DATA / "tokenizers" / "pythia", *sorted((DATA / "models").glob("*")))
}
ODD_TEXTS = [
    "word " * 300,
    " " * 900 + "end",
    "\n\t  \n" * 200 + "a b",
    "x" * 2000,
    "été naïve ﬁancée — Ǆ ö" * 60,
    "日本語の文章は空白なしで続く。" * 40 + " a b c",
    "🙂🏽 a family 👨‍👩‍👧‍👦 of emoji " * 40,
    "a <|endoftext|> in the text " * 30,
    "1 2 3 4 a 5 b 6 " * 60,
    "it's they'll we've I'd " * 50,
    "a",
]


@pytest.fixture(scope="module")
def pairs(pairs_file) -> list[Pair]:
    found = read_pairs(str(pairs_file))[0][:500]
    # Some with hard negatives, so that columns differ in length.
    return [Pair(p.query, p.positive, ("no", p.query)[: i % 3], p.group, p.held_out) for i, p in enumerate(found)]


@pytest.fixture(scope="module")
def nano_settings() -> TokenizerSettings:
    return tokenizer_settings(load_tokenizer(NANO), Training(context=48))


@pytest.fixture(scope="module")
def undisturbed(pairs, nano_settings, tmp_path_factory) -> dict[str, bytes]:
    """The files of a preparation by one process in one shard."""
    folder = tmp_path_factory.mktemp("undisturbed") / "tokens"
    write_tokens(pairs, len(pairs), data_hash(pairs), nano_settings, folder, processes=1)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def small_shards(monkeypatch) -> int:
    monkeypatch.setattr(tokens, "SHARD_PAIRS", 40)
    return 40


# -- ids


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    if not TOKENIZERS[request.param].exists():
        pytest.skip("the shared tokenizers are not here")
    return load_tokenizer(str(TOKENIZERS[request.param]))


def whole(tokenizer, texts: list[str], context: int) -> list[list[int]]:
    return tokenizer(texts, truncation=True, max_length=context)["input_ids"]


def coded(tokenise: Tokenise, texts: list[str]) -> list[list[int]]:
    ids, lengths, _ = tokenise(texts)
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("context", [7, 75])
def test_reading_only_the_start_of_a_long_text_gives_the_tokenizers_ids(tokenizer, context):
    source = [python_env.read_source(Path(module.__file__)) for module in (shutil, subprocess, tokens)]
    texts = ODD_TEXTS + [text[at : at + 3000] for text in source for at in range(0, len(text), 700)]
    tokenise = Tokenise(tokenizer_settings(tokenizer, Training(context=context)))
    assert coded(tokenise, texts) == whole(tokenizer, texts, context)


nano_tokenizer = cache(load_tokenizer)


@settings(max_examples=60)
@given(words=st.lists(st.text(max_size=9) | st.sampled_from(["a", "of", "B", " ", "\n", "1", "é"]), max_size=60))
def test_any_text_gives_the_tokenizers_ids(words):
    tokenizer = nano_tokenizer(NANO)
    text = " ".join(words).encode("utf-8", "replace").decode()
    assert coded(Tokenise(tokenizer_settings(tokenizer, Training(context=6))), [text]) == whole(tokenizer, [text], 6)


class Counted:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.chars = tokenizer, 0

    def encode_batch_fast(self, texts: list[str]):
        self.chars += sum(map(len, texts))
        return self.tokenizer.encode_batch_fast(texts)


def test_no_more_of_a_long_text_is_read_than_is_needed():
    tokenise = Tokenise(TokenizerSettings(load_tokenizer(NANO).backend_tokenizer.to_str(), 75))
    counted = tokenise.tokenizer = Counted(tokenise.tokenizer)
    tokenise(["the cat sat on a mat " * 10_000] * 10)
    assert 75 < counted.chars / 10 < 75 * 10


def trained(pre_tokenizer, special: str = "<end>") -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=[AddedToken(special)], show_progress=False)
    made.train_from_iterator(["the cat sat on the mat and the dog sat on the log"] * 20, trainer)
    return made


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (trained(pre_tokenizers.WhitespaceSplit()), True),
        (trained(pre_tokenizers.ByteLevel(add_prefix_space=False)), True),
        (trained(pre_tokenizers.Metaspace()), True),
        (trained(pre_tokenizers.WhitespaceSplit(), special="the end"), False),
        (trained(pre_tokenizers.ByteLevel(use_regex=False)), False),
        (trained(None), False),
    ],
)
def test_a_tokenizer_that_may_merge_words_is_given_whole_texts(made, parts):
    tokenise = Tokenise(TokenizerSettings(made.to_str(), 5))
    assert tokenise.parts == parts
    text = "the cat sat on the end of the mat " * 40
    made.enable_truncation(5)
    assert coded(tokenise, [text]) == [made.encode(text).ids]


def test_texts_that_lose_their_beginning_are_read_to_their_end():
    tokenizer = load_tokenizer(NANO)
    tokenizer.truncation_side = "left"
    text = "the first words and then " + "many more " * 500
    assert coded(Tokenise(tokenizer_settings(tokenizer, Training(context=9))), [text]) == whole(tokenizer, [text], 9)


# -- shards


@pytest.mark.parametrize("shard_pairs", [1, 37, 100, 10**6])
@pytest.mark.parametrize("processes", [1, 2])
def test_shards_and_processes_change_no_bit(
    pairs, nano_settings, undisturbed, tmp_path, monkeypatch, shard_pairs, processes
):
    monkeypatch.setattr(tokens, "SHARD_PAIRS", shard_pairs)
    few = shard_pairs == 1  # one pair a shard: what the smallest shards can get wrong shows in fifty
    chosen = pairs[:50] if few else pairs
    write_tokens(chosen, len(chosen), data_hash(chosen), nano_settings, tmp_path / "tokens", processes)
    if few:
        write_tokens(chosen, len(chosen), data_hash(chosen), nano_settings, tmp_path / "once", 1)
    assert content(tmp_path / "tokens") == (content(tmp_path / "once") if few else undisturbed)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_shards_of_long_documents_close_earlier(pairs, monkeypatch):
    monkeypatch.setattr(tokens, "SHARD_CHARS", 10_000)
    found = list(tokens.chunks(pairs))
    longest = max(len(p.query + p.positive + "".join(p.negatives)) for p in pairs)
    assert len(found) > 5 and max(chunk.chars for chunk in found) <= 10_000 + longest
    assert [text for chunk in found for text in chunk.texts["positive"]] == [pair.positive for pair in pairs]


KILLED = """
import sys, time
from pathlib import Path
from runner.data import tokens
from runner.data.tokenizer import tokenizer_settings, load_tokenizer
from sweeps.data.readers import open_source, survey
from sweeps.trial import Training

data, folder, source, pause = sys.argv[1:]
tokens.SHARD_PAIRS = 40
plain = tokens.chunks

def slow(pairs):
    for chunk in plain(pairs):
        yield chunk
        time.sleep(float(pause))

tokens.chunks = slow
source_of_pairs = open_source(data)
found = survey(source_of_pairs)
nano_settings = tokenizer_settings(load_tokenizer(source), Training(context=48))
print("begun", flush=True)
tokens.write_tokens(source_of_pairs.pairs(), found.pairs, found.data_hash, nano_settings, Path(folder), 2)
"""


def start(data, folder: Path, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-c", KILLED, str(data), str(folder), NANO, str(pause)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n", process.stderr.read()
    return process


def finished(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f".{folder.name}.*/[0-9]*.npz"))


@pytest.fixture(scope="module")
def killed_once(pairs_file, tmp_path_factory) -> Path:
    """A folder whose preparation was killed in the middle."""
    folder = tmp_path_factory.mktemp("killed") / "tokens"
    process = start(pairs_file, folder, 0.2)
    wait_for(lambda: len(finished(folder)) > 3)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = psutil.wait_procs(workers, timeout=60)[1]
    for worker in left:
        worker.kill()
    process.communicate()
    assert len(workers) == 2 and not left
    assert not folder.exists()
    return folder


@pytest.fixture
def killed(killed_once, tmp_path):
    """Such a folder, and what had been finished."""
    shutil.copytree(killed_once.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "tokens", finished(tmp_path / "tokens")


@pytest.fixture(scope="module")
def file_pairs(pairs_file) -> list[Pair]:
    return read_pairs(str(pairs_file))[0]


@pytest.fixture(scope="module")
def file_content(file_pairs, nano_settings, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole") / "tokens"
    write_tokens(file_pairs, len(file_pairs), data_hash(file_pairs), nano_settings, folder, 1)
    return content(folder)


@pytest.mark.slow
def test_after_a_kill_finished_shards_are_not_made_again(
    killed, file_pairs, file_content, nano_settings, small_shards, monkeypatch
):
    folder, before = killed
    made = []
    plain = tokens.write_shard
    monkeypatch.setattr(tokens, "write_shard", lambda path, *rest: made.append(path) or plain(path, *rest))
    now = write_tokens(file_pairs, len(file_pairs), data_hash(file_pairs), nano_settings, folder, processes=1)
    assert len(before) > 3 and not set(made) & set(before)
    assert now == len(file_pairs) - len(before) * small_shards
    assert len(made) + len(before) == len(file_pairs) // small_shards + 1
    assert content(folder) == file_content
    assert not finished(folder)


def test_shards_of_other_data_are_not_taken(killed, file_pairs, nano_settings, small_shards, tmp_path):
    """Not even where the folder's name would have them: a shard's own name says what it holds."""
    folder, before = killed
    changed = [Pair("another query", file_pairs[0].positive), *file_pairs[1:]]
    write_tokens(changed, len(changed), data_hash(changed), nano_settings, folder, processes=1)
    write_tokens(changed, len(changed), data_hash(changed), nano_settings, tmp_path / "anew", processes=1)
    assert before and content(folder) == content(tmp_path / "anew")


def test_data_that_changes_meanwhile_is_refused(pairs, nano_settings, tmp_path):
    with pytest.raises(ValueError, match="changed while it was read"):
        write_tokens(pairs[:-1], len(pairs), data_hash(pairs), nano_settings, tmp_path / "tokens", 1)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.slow
def test_two_at_the_same_time_do_no_harm(pairs_file, file_content, tmp_path):
    folder = tmp_path / "tokens"
    both = [start(pairs_file, folder, pause) for pause in (0.01, 0.012)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert content(folder) == file_content
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


def test_a_worker_that_is_killed_is_said_and_its_siblings_shards_are_kept(
    pairs, nano_settings, undisturbed, small_shards, tmp_path
):
    others = set(psutil.Process().children())

    def deadly():
        yield from islice(pairs, 200)
        wait_for(lambda: finished(tmp_path / "tokens"))
        for child in set(psutil.Process().children()) - others:
            child.kill()
        yield from islice(pairs, 200, None)

    with pytest.raises(ValueError, match="was killed"):
        write_tokens(deadly(), len(pairs), data_hash(pairs), nano_settings, tmp_path / "tokens", 2)
    assert finished(tmp_path / "tokens")
    write_tokens(pairs, len(pairs), data_hash(pairs), nano_settings, tmp_path / "tokens", 2)
    assert content(tmp_path / "tokens") == undisturbed
