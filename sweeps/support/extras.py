"""What parts of this program need beyond the standard library, and the extra of the distribution that brings it."""

from __future__ import annotations

from recipe_planner.packages import NEEDS

DISTRIBUTION = "recipe-planner"
# Extra -> the modules that it brings first; pyproject.toml has the versions.
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "transformers", "tokenizers", "safetensors", "peft", "optuna", "psutil", "huggingface_hub"),
    "fit": ("numpy", "pandas", "scipy", "matplotlib"),
    "terminal": ("rich", "rich_argparse", "shtab"),
    "st": ("sentence_transformers",),
    "parquet": ("pyarrow",),
    "hub": ("datasets",),
    "postgres": ("psycopg",),
    "s3": ("obstore",),
    "mteb": ("mteb",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "quantized": ("bitsandbytes",),
    "ray": ("ray",),
    "dashboard": ("optuna_dashboard",),
}


def is_ours(module: str) -> bool:
    """Whether a module is of this program: where one of these is not found, no installation helps."""
    return module.partition(".")[0] in NEEDS


def how_to_install(module: str) -> str:
    """The command that installs a module: by the extra that brings it, else by its own name."""
    top = module.partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if top in modules), "")
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {top}"


def lacking(error: ModuleNotFoundError) -> str:
    """What is not installed and how it is got, in one line."""
    top = (error.name or "").partition(".")[0]
    return f"{top} is not installed; {how_to_install(top)}"


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError for the first of the modules that is not installed; none of them is loaded."""
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
