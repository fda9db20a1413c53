"""The identity of a model in a folder: a hash of what it computes. Weights replaced in place are another model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sweeps.machine.measured import cache_folder
from sweeps.models import SUITES
from sweeps.support.atomic import write_text
from sweeps.support.json_io import open_file, read_json
from sweeps.support.paths import located

BLOCK = 2**16  # bytes read at once
BLOCKS = 2**12  # of a file at most: one of up to 256 MB is read whole, of a larger one as many parts, evenly spaced
# Keys of config.json that say where it came from, not what the model computes.
ABOUT = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache"}


def model_hash(name: str) -> str:
    """The hash of the model in the folder `name`; "" of a model of a suite, whose name is its identity.

    Its weights, config.json and tokenizer.json count, not where they lie. A training changes every part of the weights;
    a change to less than a part in 4,096 of a file of more than 256 MB may go unseen. Raises OSError for a file that
    cannot be read, ValueError for what is none.
    """
    if any(model.name == name for suite in SUITES.values() for model in suite):
        return ""
    place = located(name)
    folder = place if place.is_dir() else place.parent
    digest = hashlib.sha256(json.dumps(_settings(folder / "config.json"), sort_keys=True).encode())
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(_kept_hash(file).encode())
    tokenizer = folder / "tokenizer.json"
    digest.update(_file_hash(tokenizer).encode() if tokenizer.is_file() else b"")
    return digest.hexdigest()[:16]


def _settings(config: Path) -> object:
    try:
        content = read_json(config)
    except (OSError, ValueError):
        return None  # who reads the model says what is wrong with it
    return {key: value for key, value in content.items() if key not in ABOUT} if isinstance(content, dict) else content


def _kept_hash(file: Path) -> str:
    """The hash of a file, kept while it is the same one: no copy or edit has its number, size and both times."""
    state = file.stat()
    same = [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    kept = cache_folder() / f"model-{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        known = read_json(kept)
        if known["file"] == same and isinstance(known["hash"], str):
            return str(known["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = _file_hash(file)
    write_text(kept, json.dumps({"file": same, "hash": found}) + "\n", durable=False)
    return found


def _file_hash(file: Path) -> str:
    size = file.stat().st_size
    stride = max(BLOCK, size // BLOCKS)
    digest = hashlib.sha256(str(size).encode())
    with open_file(file) as opened:
        for start in range(0, size, stride):
            opened.seek(start)
            digest.update(opened.read(BLOCK))
    return digest.hexdigest()
