"""A model's tokenizer: as its files give it, as a training reads with it, and as it is written for others.

One object is trained with and written, so that what reads a trained model reads the ids that it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import PostProcessor, TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from runner.data.tokens import TokenizerSettings
from sweeps.support.atomic import write_text
from sweeps.trial import Training

# Two texts that no tokenizer of ours takes for the same: one without a vocabulary does.
UNLIKE = ("the quick brown fox", "0 1 2 3 4 5 6 7 8 9")
# Texts on which a written tokenizer is compared with the one that was trained with.
SAMPLES = (
    "return the sum of two numbers",
    " def add(a, b):\n    return a + b  # Ünïcode, 日本語",
    "It's THE end; isn't it?  Two  spaces.",
    "word " * 40,
)
PADS = ("eos_token", "unk_token", "bos_token")  # what stands in for a padding token: padding is masked, any will do


ENDS = ("eos_token", "sep_token")  # what ends a text; ModernBERT's decoders have the second alone


def load_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """Returns the fast tokenizer beside a model, as transformers reads it. Raises ValueError when there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # a damaged file raises whatever its parser does
        raise unavailable(source, "no tokenizer can be read", error) from None
    if not tokenizer.is_fast:
        raise ValueError(f"{source}: has no tokenizer.json; only fast tokenizers are used")
    one, other = tokenizer(list(UNLIKE), add_special_tokens=False)["input_ids"]
    if one == other or not one:  # of a model type that has a class of its own, transformers makes an empty one
        raise ValueError(f"{source}: has no tokenizer (tokenizer.json), or one without a vocabulary")
    return tokenizer


def unavailable(source: str, what: str, error: Exception) -> ValueError:
    """Returns what to tell the user when something of a model at `source` cannot be had. what: that, as a clause."""
    if Path(source).is_absolute() and not Path(source).exists():
        return ValueError(f"{source}: no such folder")
    lines = [line.strip().rstrip(":") for line in str(error).splitlines() if line.strip()]
    return ValueError(f"{source}: {what}: {lines[0] if lines else type(error).__name__}")


def training_tokenizer(source: str, pooling: str) -> PreTrainedTokenizerFast:
    """Returns the tokenizer that a training of the model at `source` reads with.

    It adds what the model's own adds, and for last-token pooling the end token, where its own does not already. Its
    ids lie inside the token table: a special token beyond it is read as text. Raises ValueError where last-token
    pooling has no end token to read, or the vocabulary does not fit the token table.
    """
    tokenizer = load_tokenizer(source)
    try:
        rows = AutoConfig.from_pretrained(source, trust_remote_code=False).get_text_config().vocab_size
    except (OSError, ValueError) as error:
        raise unavailable(source, "no config.json can be read", error) from None
    _keep_below(tokenizer, rows, source)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    _give_padding(tokenizer, rows)
    if pooling == "last":
        _append_end(tokenizer, rows, source)
    tokenizer.padding_side = "right"  # as it is trained: places are counted from the first token
    return tokenizer


def _keep_below(tokenizer: PreTrainedTokenizerFast, rows: int, source: str) -> None:
    """Take added tokens out whose ids lie beyond the `rows` of the token table (Gemma 3 has one for images)."""
    backend = tokenizer.backend_tokenizer
    vocabulary = backend.get_vocab(with_added_tokens=False)
    if max(vocabulary.values(), default=0) >= rows:
        token, place = max(vocabulary.items(), key=lambda item: item[1])
        raise ValueError(
            f"{source}: token {token!r} of tokenizer.json has id {place}; the token table in config.json (vocab_size) "
            f"has {rows} rows: one of the two belongs to another model"
        )
    if any(place >= rows for place in backend.get_added_tokens_decoder()):
        content = json.loads(backend.to_str())
        content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < rows]
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))


def _give_padding(tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
    """Have a padding token inside the token table."""
    if not _known(tokenizer, "pad_token", rows):
        named = [getattr(tokenizer, name) for name in PADS if _known(tokenizer, name, rows)]
        tokenizer.pad_token = named[0] if named else tokenizer.convert_ids_to_tokens(0)


def _known(tokenizer: PreTrainedTokenizerFast, name: str, rows: int) -> bool:
    """Tells whether there is such a special token, with a row in the token table."""
    token = getattr(tokenizer, name)
    place = None if token is None else tokenizer.backend_tokenizer.token_to_id(str(token))
    return place is not None and place < rows


def _append_end(tokenizer: PreTrainedTokenizerFast, rows: int, source: str) -> None:
    """Let the tokenizer itself add the end token that last-token pooling reads, so that every server does."""
    named = [getattr(tokenizer, name) for name in ENDS if _known(tokenizer, name, rows)]
    if not named:
        raise ValueError(
            f"{source}: training.pooling is 'last', which reads the end token, and the tokenizer has none; name an "
            "eos_token in its tokenizer_config.json, or take pooling mean or weighted"
        )
    backend, end = tokenizer.backend_tokenizer, str(named[0])
    place = backend.token_to_id(end)
    if backend.encode(UNLIKE[0]).ids[-1] == place:
        return
    backend.post_processor = _followed_by(backend.post_processor, end, place, source)


def _followed_by(own: PostProcessor | None, end: str, place: int, source: str) -> PostProcessor:
    """Returns the post-processor `own` with the token `end` of id `place` behind all that it gives.

    One template must do it: of two in turn the second takes the first one's special tokens for texts.
    """
    shell = Tokenizer(BPE())  # only what holds a post-processor can be written as JSON
    shell.post_processor = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, place)]
    )
    if own is None:
        return shell.post_processor
    added = json.loads(shell.to_str())["post_processor"]
    shell.post_processor = own
    content = json.loads(shell.to_str())
    processor = content["post_processor"]
    steps = processor["processors"] if processor["type"] == "Sequence" else [processor]
    if unknown := [step["type"] for step in steps if step["type"] not in ("ByteLevel", "TemplateProcessing")]:
        raise ValueError(f"{source}: its tokenizer ends texts with {unknown[0]}, to which no end token can be added")
    if templates := [step for step in steps if step["type"] == "TemplateProcessing"]:
        token = {"SpecialToken": {"id": end, "type_id": 0}}
        templates[-1]["single"].append(token)
        templates[-1]["pair"].append(token)
        templates[-1]["special_tokens"] |= added["special_tokens"]
    else:
        content["post_processor"] = {"type": "Sequence", "processors": [*steps, added]}
    return Tokenizer.from_str(json.dumps(content)).post_processor


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path, context: int) -> None:
    """Write what `training_tokenizer` gave, so that it is read again as it is: tokenizer.json alone says what it does.

    context: tokens at which texts are cut. A class of its own would be built anew from the vocabulary when it is read,
    and settings such as add_bos_token would take the place of what tokenizer.json adds; so neither is written.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    write_text(folder / "tokenizer.json", backend.to_str(pretty=True))
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": tokenizer.split_special_tokens,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        **{name: token for name, token in named.items() if backend.token_to_id(token) is not None},
    }
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")


def must_read_alike(trained: PreTrainedTokenizerFast, read: PreTrainedTokenizerFast, context: int, where: str) -> None:
    """Raises ValueError naming the first text to which the two tokenizers give different ids, and those ids."""
    for text in SAMPLES:
        own, other = (each([text], truncation=True, max_length=context)["input_ids"][0] for each in (trained, read))
        if own != other:
            raise ValueError(
                f"{where}: its tokenizer reads {text[:40]!r} as {_shortly(other)}, the training used {_shortly(own)}"
            )


def _shortly(ids: Sequence[int]) -> str:
    return str(list(ids)) if len(ids) <= 8 else f"{list(ids[:4])}..{list(ids[-3:])} ({len(ids)} ids)"


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Returns the identity of a tokenizer: a hash over everything it does to a text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:12]


def tokenizer_settings(tokenizer: PreTrainedTokenizerFast, training: Training) -> TokenizerSettings:
    """Returns how `training` wants its texts tokenised. Raises ValueError when its context has no room for a text."""
    added = tokenizer.num_special_tokens_to_add(pair=False)
    if training.context <= added:
        raise ValueError(
            f"training.context is {training.context}; the tokenizer adds {added} tokens to every text, which leaves no "
            "room for one"
        )
    return TokenizerSettings(
        tokenizer.backend_tokenizer.to_str(),
        training.context,
        keep_left=tokenizer.truncation_side == "right",
        plain_specials=tokenizer.split_special_tokens,
        prompts=(training.query_prompt, training.document_prompt, training.document_prompt),
    )
