"""The README of a model: what it is, where it comes from, how it was made, and what was predicted and reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.data.pair import told
from sweeps.experiment.prediction import Predicted
from sweeps.experiment.recipe_file import recipe_text
from sweeps.models import SUITES, find_model
from sweeps.trial import Observation, Training, Trial

# By the beginning of a name on the hub, as the model's page there states it.
LICENCES = {
    "EleutherAI/pythia": "apache-2.0",
    "Qwen/Qwen2.5-3B": "qwen-research",
    "Qwen/Qwen2.5": "apache-2.0",
    "Qwen/Qwen3": "apache-2.0",
    "HuggingFaceTB/SmolLM2": "apache-2.0",
    "google/gemma-3": "gemma",
    "allenai/OLMo-2": "apache-2.0",
    "meta-llama/Llama-3.2": "llama3.2",
    "jhu-clsp/ettin": "mit",
    "cerebras/Cerebras-GPT": "apache-2.0",
}
TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction", "recipe-planner")
HUB = "hf:"


def model_card(observation: Observation, predicted: Sequence[Predicted] = ()) -> str:
    """Returns the README of a trained model, Markdown with the metadata that model hubs read.

    predicted: what its recipe had predicted, beside what was measured.
    """
    trial, training = observation.trial, observation.trial.training
    base = base_of(trial.model)
    parts = [
        metadata(base, [trial.method.name], training),
        f"# {Path(trial.model).name}, tuned with {trial.label}",
        licence_words(base, trial.model),
        snippet(training),
        "## What it was made of\n\n" + "\n".join(_made_of(observation)),
        "## What it reaches\n\n" + "\n".join(_reached(observation)),
        *(["## Predicted and reached\n\n" + "\n".join(f"- {each}" for each in predicted)] if predicted else []),
        f"## Recipe\n\n`embed train` makes it again from this file:\n\n```toml\n{_recipe(trial)}```",
        "The whole record is in observation.json.",
    ]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Base:
    """A base model as a card names it."""

    hub: str
    """Its name on the hub; "" for a model in a folder."""
    licence: str
    """Its licence; "" where it is not stated."""


def base_of(name: str) -> Base:
    """Returns what a card says of a base model, by its name or its folder."""
    source = find_model(name).source
    if Path(source).is_dir():
        ours = any(model.name == name for suite in SUITES.values() for model in suite)
        return Base("", _stated_in(Path(source).parent if ours else Path(source)))
    return Base(source, next((known for start, known in LICENCES.items() if source.startswith(start)), ""))


def _stated_in(folder: Path) -> str:
    """Returns the licence that the metadata of a folder's README states; "" where none does."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    for line in lines[1 : lines.index("---", 1)] if lines[:1] == ["---"] and "---" in lines[1:] else []:
        if line.startswith("license:"):
            return line.partition(":")[2].strip().strip("\"'")
    return ""


def metadata(base: Base, tags: Sequence[str], training: Training | None = None) -> str:
    """Returns the block that model hubs read, YAML."""
    from huggingface_hub import ModelCardData

    data = [name.removeprefix(HUB) for name, _ in training.sources if name.startswith(HUB)] if training else []
    content = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        base_model=base.hub or None,
        license=base.licence or None,
        tags=[*TAGS, *tags],
        datasets=data or None,
    )
    return f"---\n{content.to_yaml()}\n---"


def licence_words(base: Base, name: str) -> str:
    """Returns the base and its licence in words. name: the base's, where it is not on a hub."""
    stated = f"Its licence is {base.licence}." if base.licence else "Its licence is not stated here: see its own page."
    return f"The base is {base.hub or name}. {stated} The training data have a licence of their own."


def snippet(training: Training | None = None) -> str:
    """Returns how the model is used, as Python."""
    prompts = _prompt_lines(training) if training else []
    code = [
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("path/to/this/folder")',
        'queries = model.encode_query(["what is looked for"])',
        'documents = model.encode_document(["a text that may answer it", "another one"])',
        "print(model.similarity(queries, documents))",
    ]
    return "\n".join(["```python", *code, "```", *(["", *prompts] if prompts else [])])


def _prompt_lines(training: Training) -> list[str]:
    prompts = {"encode_query": training.query_prompt, "encode_document": training.document_prompt}
    return [f"- `{call}` puts {json.dumps(text)} before a text" for call, text in prompts.items() if text]


def _made_of(observation: Observation) -> list[str]:
    trial, training = observation.trial, observation.trial.training
    rows = {
        "base": f"{trial.model}, {observation.params:,} parameters outside the embeddings"
        + (f", hash {trial.model_hash}" if trial.model_hash else ""),
        "method": f"{trial.label}: {observation.trainable:,} parameters trained{_of_table(trial)}",
        "data": f"{training.data} (hash {training.data_hash or 'not known'})",
        **({"records": told(observation.problems)} if observation.problems else {}),
        "pairs": f"{observation.pairs:,} of {observation.data_pairs:,} unique ones, {observation.epochs:.2f} epochs, "
        f"{observation.tokens:,} tokens",
        "steps": f"{trial.steps:,} of {training.batch_size} pairs, learning rate {trial.lr:g}, seed {trial.seed}",
        "texts": f"cut at {training.context} tokens, {training.pooling} pooling, temperature {training.temperature:g}",
        "compute": f"{observation.flops:.3g} training FLOPs in {observation.seconds:.0f} s",
        **_merged(observation.merged),
    }
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]


def _of_table(trial: Trial) -> str:
    entries = trial.method.table_trainable(find_model(trial.model))
    whose = "of the token table" if trial.method.trains_token_table else "of the token table's adapter"
    return f", and {entries:,} {whose}" if entries else ""


def _merged(merged: Mapping[str, object]) -> dict[str, str]:
    factors = merged.get("factors")
    if not isinstance(factors, (list, tuple)):
        return {}
    return {"merge": f"task vectors times {', '.join(f'{factor:.3g}' for factor in factors)}"}


def _reached(observation: Observation) -> list[str]:
    training = observation.trial.training
    before = "" if observation.start_loss is None else f" (before training: {observation.start_loss:.4f})"
    lines = [f"- held-out loss {observation.loss:.4f} nats per pair in pools of {training.pool_size}{before}"]
    lines += [] if observation.accuracy is None else [f"- accuracy@1 {observation.accuracy:.3f} in these pools"]
    return [*lines, *(f"- {name} {value:.3f}" for name, value in observation.scores.items())]


def _recipe(trial: Trial) -> str:
    text, _, _ = recipe_text(trial, {}).partition("[predicted]")
    return text.rstrip() + "\n"
