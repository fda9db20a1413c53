"""A written model as its user loads it, compared with the encoder that was trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from runner.data.tokenizer import (
    SAMPLES,
    load_tokenizer,
    must_read_alike,
    save_tokenizer,
    tokenizer_settings,
    training_tokenizer,
)
from runner.data.tokens import Tokenise
from runner.model.encoder import Encoder
from sweeps.trial import Training

# How far two unit vectors of one text may lie apart. Rounding keeps far below it in fp32; a model that was trained in
# bf16 is loaded in fp32, where its vectors are a little others. A wrong token, mask or pooling is farther off.
WRITTEN = "the exported model differs from the trained one"
FARTHEST = {False: 1e-3, True: 0.1}


def must_be_writable(source: str, training: Training) -> None:
    """Raises ValueError where the tokenizer of a model that is trained from `source` would read other ids once it is
    written and loaded: before any training, not after."""
    tokenizer = training_tokenizer(source, training.pooling)
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as folder:
        AutoConfig.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
        save_tokenizer(tokenizer, Path(folder), training.context)
        must_read_alike(tokenizer, load_tokenizer(folder), training.context, source)


@torch.no_grad()
def own_vectors(encoder: Encoder, tokenizer: PreTrainedTokenizerFast, training: Training) -> tuple[np.ndarray, float]:
    """Returns the encoder's own vectors of SAMPLES [texts, width], and how far the loaded ones may lie from them."""
    ids, lengths, _ = Tokenise(tokenizer_settings(tokenizer, training))(SAMPLES)
    mode = encoder.training
    encoder.eval()
    texts = np.split(ids, np.cumsum(lengths)[:-1])
    vectors = np.concatenate([encoder.embed([text]).float().cpu().numpy() for text in texts])  # alone: no padding
    encoder.train(mode)
    return vectors, FARTHEST[encoder.bf16]


def must_embed_alike(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    training: Training,
    expected: tuple[np.ndarray, float],
) -> None:
    """Raises ValueError naming the text when the model in `folder`, loaded as its user loads it, reads other ids than
    the `tokenizer` or gives other vectors than the `expected`."""
    vectors, farthest = expected
    reads, embedded = _loaded(folder, training)
    must_read_alike(tokenizer, reads, training.context, WRITTEN)
    off = np.linalg.norm(embedded - vectors, axis=1)
    worst = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
    if not off[worst] <= farthest:
        raise ValueError(
            f"{WRITTEN}: it embeds {SAMPLES[worst][:40]!r} {off[worst]:.2g} away from the "
            f"trained one (of unit length; at most {farthest:g}), with the same ids"
        )


def _loaded(folder: Path, training: Training) -> tuple[Any, np.ndarray]:
    """Returns the tokenizer and the vectors of SAMPLES [texts, width] of the model in a folder, in one batch."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        tokenizer = load_tokenizer(str(folder))
        backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
        encoder = Encoder(backbone.eval(), training.pooling, bf16=False, bidirectional=training.bidirectional)
        ids = tokenizer(list(SAMPLES), truncation=True, max_length=training.context)["input_ids"]
        with torch.no_grad():
            return tokenizer, encoder.embed([np.array(text) for text in ids]).numpy()
    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)
    vectors = model.encode(list(SAMPLES), batch_size=len(SAMPLES), show_progress_bar=False)
    return model.tokenizer, np.asarray(vectors, np.float32)
