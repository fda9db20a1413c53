"""A ladder of small language models: one tokenizer, one text, several sizes, every size on the same tokens.

The method of Ziarko et al. (2024) needs a suite of pretrained decoders of one family. This makes one for any language
or domain: `embed pretrain ladder.toml --out DIR`. The architecture is GPT-NeoX with tied embeddings.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from runner.pretraining.ladder import Ladder, Rung
from runner.training import checkpoint
from runner.training.schedule import rate_factor
from sweeps.data import python_env
from sweeps.models import read_object
from sweeps.support.atomic import replacing, write_text
from sweeps.support.json_io import read_json
from sweeps.support.progress import Progress

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"
HELD_OUT_TOKENS = 200_000
CHECKPOINT_STEPS = 200
TOKENIZER_BYTES = 30_000_000  # text the tokenizer is learnt from


def texts(ladder: Ladder, held_out: bool) -> Iterator[str]:
    """Yields the documents of one split."""
    if ladder.text == "python-env":
        yield from python_env.texts(held_out)
        return
    names = [ladder.text] if isinstance(ladder.text, str) else ladder.text
    if len(names) < 2:
        raise ValueError("text: give at least two files, so that one can be held out")
    for index, name in enumerate(sorted(names)):
        if (index % 20 == 0) == held_out:
            yield Path(name).read_text(encoding="utf-8")


def make_tokenizer(ladder: Ladder, directory: Path) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE of `ladder.vocab` entries, learnt from the training text; kept in `directory`."""
    if (directory / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(directory)
    import tokenizers

    def sample() -> Iterator[str]:
        size = 0
        for index, text in enumerate(texts(ladder, held_out=False)):
            if index % 7 == 0 or ladder.text != "python-env":  # spread over all packages
                size += len(text)
                yield text
            if size > TOKENIZER_BYTES:
                return

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=ladder.vocab,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(sample(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=PADDING,
        model_max_length=ladder.context,
    )
    tokenizer.save_pretrained(directory)
    return tokenizer


def make_corpus(ladder: Ladder, tokenizer: PreTrainedTokenizerFast, directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the token ids of both splits, memory-mapped: [rows, context + 1], end-of-text between documents."""
    for split, wanted in (("train", ladder.tokens), ("held_out", HELD_OUT_TOKENS)):
        path = directory / f"{split}.npy"
        if not path.exists():
            rows = _pack(_shuffled(ladder, split == "held_out"), tokenizer, ladder.context, wanted)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.save(file, rows)
                write_text(directory / "sources.json", json.dumps(_sources(ladder)))  # as they are now, for the card
    train, held_out = (np.load(directory / f"{split}.npy", mmap_mode="r") for split in ("train", "held_out"))
    if len(train) < ladder.steps * ladder.batch:
        raise ValueError(f"the text has {train.size:,} tokens, fewer than tokens = {ladder.tokens:,}")
    return train, held_out


def _sources(ladder: Ladder) -> list[str]:
    """Returns the names of what the text is made of: installed distributions, or files."""
    if ladder.text == "python-env":
        return sorted({file.key.split("/")[0] for file in python_env.source_files()})
    return [ladder.text] if isinstance(ladder.text, str) else list(ladder.text)


def _shuffled(ladder: Ladder, held_out: bool) -> list[str]:
    documents = list(texts(ladder, held_out))
    order = np.random.default_rng(ladder.seed).permutation(len(documents))
    return [documents[index] for index in order]


def _pack(documents: list[str], tokenizer: PreTrainedTokenizerFast, context: int, wanted: int) -> np.ndarray:
    end = tokenizer.eos_token_id
    pieces: list[np.ndarray] = []
    total = 0
    with Progress("tokenising", wanted, "tokens") as progress:
        for start in range(0, len(documents), 64):
            for ids in tokenizer(documents[start : start + 64], verbose=False)["input_ids"]:
                pieces.append(np.array([*ids, end], dtype=np.uint16))
                total += len(ids) + 1
                progress.advance(len(ids) + 1)
            if total > wanted + context:
                break
    flat = np.concatenate(pieces)
    rows = len(flat) // (context + 1)
    return np.random.default_rng(0).permutation(flat[: rows * (context + 1)].reshape(rows, context + 1))


def new_model(ladder: Ladder, rung: Rung) -> GPTNeoXForCausalLM:
    """Returns a freshly initialised GPT-NeoX of this shape, input and output embeddings shared."""
    torch.manual_seed(ladder.seed)
    config = GPTNeoXConfig(
        vocab_size=ladder.vocab,
        hidden_size=rung.width,
        num_hidden_layers=rung.layers,
        num_attention_heads=rung.heads,
        intermediate_size=4 * rung.width,
        max_position_embeddings=ladder.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        use_cache=False,
    )
    return GPTNeoXForCausalLM(config)


def lm_loss(model: GPTNeoXForCausalLM, rows: np.ndarray, device: torch.device) -> Tensor:
    """Returns the mean next-token cross-entropy, nats per token. rows: [sequences, context + 1]."""
    ids = torch.from_numpy(rows.astype(np.int64)).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = model(ids[:, :-1]).logits
    return cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: GPTNeoXForCausalLM, rows: np.ndarray, device: torch.device) -> float:
    """Returns the mean loss over all held-out rows, nats per token."""
    model.eval()
    batches = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    total = sum(lm_loss(model, batch, device).item() * len(batch) for batch in batches)
    model.train()
    return total / len(rows)


def pretrain(ladder: Ladder, rung: Rung, train: np.ndarray, held_out: np.ndarray, directory: Path) -> dict:
    """Train one size to its end, resuming where it stopped; write the model and return its record.

    Returns {name, params, tokens, loss (held out, nats per token), perplexity, key, curve}.
    """
    key = hashlib.sha256(json.dumps([asdict(ladder), asdict(rung)]).encode()).hexdigest()[:12]
    finished = directory / rung.name / "pretraining.json"
    if finished.exists():
        result = read_object(finished)
        if result.get("key") != key:
            raise ValueError(f"{finished}: belongs to another ladder file; choose another folder")
        return result
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_model(ladder, rung).to(device)
    optimizer = _optimizer(model, rung, ladder.weight_decay)
    state = directory / "checkpoints" / f"{rung.name}.safetensors"
    record: dict[str, Any] = {"key": key, "step": 0, "curve": []}
    if state.exists():
        try:
            record = checkpoint.load(state, key, model, optimizer)
        except checkpoint.Damaged as error:
            raise ValueError(f"{error}; delete it to start without it") from None
    with Progress(rung.name, ladder.steps, "steps", done=record["step"]) as progress:
        while record["step"] < ladder.steps:
            step = record["step"]
            loss = _train_step(model, optimizer, ladder, rung, train, step, device)
            record["step"] += 1
            if record["step"] % 25 == 0:
                record["curve"].append([record["step"], round(loss.item(), 4)])
            if record["step"] % CHECKPOINT_STEPS == 0:
                checkpoint.save(state, model, optimizer, record)
            progress.advance(note=f"loss {record['curve'][-1][1]:.3f}" if record["curve"] else "")
    loss = held_out_loss(model, held_out, device)
    result = {
        "name": rung.name,
        "params": sum(p.numel() for p in model.gpt_neox.layers.parameters()) + 2 * rung.width,
        "tokens": ladder.steps * ladder.batch * ladder.context,
        "loss": loss,
        "perplexity": math.exp(loss),
        "key": key,
        "curve": record["curve"],
    }
    model.to(torch.bfloat16).save_pretrained(directory / rung.name)
    write_text(finished, json.dumps(result, indent=1))
    state.unlink(missing_ok=True)
    return result


def _optimizer(model: GPTNeoXForCausalLM, rung: Rung, weight_decay: float) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rung.lr, betas=(0.9, 0.95), fused=True)


def _train_step(model, optimizer, ladder: Ladder, rung: Rung, train: np.ndarray, step: int, device) -> Tensor:
    for group in optimizer.param_groups:
        group["lr"] = rung.lr * rate_factor("wsd", step, ladder.steps, ladder.warmup, ladder.cooldown)
    loss = lm_loss(model, train[step * ladder.batch : (step + 1) * ladder.batch], device)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def make_ladder(ladder: Ladder, directory: Path, names: list[str] | None = None) -> list[dict]:
    """Make tokenizer, corpus and every size (or those in `names`); sizes that are done are left as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    known = [rung.name for rung in ladder.sizes]
    for name in names or ():
        if name not in known:
            raise ValueError(f"no size {name!r} in the ladder; known: {', '.join(known)}")
    tokenizer = make_tokenizer(ladder, directory)
    train, held_out = make_corpus(ladder, tokenizer, directory)
    results = []
    for rung in ladder.sizes:
        if not names or rung.name in names:
            results.append(pretrain(ladder, rung, train, held_out, directory))
            tokenizer.save_pretrained(directory / rung.name)
    if len(results) == len(ladder.sizes):
        sources = read_json(directory / "sources.json")
        write_text(directory / "README.md", card(ladder, results, sources))
    return results


def card(ladder: Ladder, results: list[dict], sources: list[str]) -> str:
    """Returns the model card of a whole ladder, in Markdown: data, tokens, held-out loss of each size, command."""
    if ladder.text == "python-env":
        text = f"the Python source of {', '.join(sources)}"
    else:
        text = ", ".join(sources)
    rows = [
        f"| {result['name']} | {rung.layers} x {rung.width} | {result['params']:,} | {result['loss']:.4f} | "
        f"{result['perplexity']:.1f} | {rung.lr:g} |"
        for rung, result in zip(ladder.sizes, results, strict=True)
    ]
    return "\n".join(
        [
            f"# {ladder.name}",
            "",
            f"Causal language models of one family (GPT-NeoX, tied embeddings), each trained on the same "
            f"{results[0]['tokens']:,} tokens in {ladder.steps:,} steps. One byte-level BPE tokenizer of "
            f"{ladder.vocab:,} entries; context {ladder.context} tokens. They are small on purpose: for scaling "
            "laws, not for writing text.",
            "",
            "Made by `embed pretrain ladder.toml --out DIR` from the `ladder.toml` beside this card.",
            "",
            f"Text: {text}; one file in {python_env.HELD_OUT_SHARE} is held out.",
            "",
            "| model | layers x width | parameters outside the embedding | held-out loss, nats per token | perplexity "
            "| peak rate |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
