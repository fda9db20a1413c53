"""This program's packages, found in its own folder, whatever else of their names is installed.

Installed, they lie below this package, where a neighbour's package `sweeps`, as that of Weights & Biases, overwrites
nothing; recipe_planner.pth lets `from planner import plan` find them, behind all other packages. In the source they lie
beside this package.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "planner").is_dir() else HERE.parent  # that the packages lie in
# Package -> those of ours that it imports.
NEEDS: dict[str, tuple[str, ...]] = {
    "sweeps": (),
    "planner": ("sweeps",),
    "runner": ("sweeps",),
    "analysis": ("sweeps", "planner"),
}


def claim(package: str) -> None:
    """Load those of our packages that one needs from our own folder; sys.path stays as it is.

    Raises ImportError where another package of such a name is loaded already.
    """
    for name in NEEDS[package]:
        own(name)


def own(package: str) -> ModuleType:
    """One of our packages. Raises ImportError where another package of its name is loaded already."""
    module = sys.modules.get(package)
    if module is None:
        return _load(package)
    if Path(module.__file__ or "").resolve() != (ROOT / package / "__init__.py").resolve():
        place = module.__file__ or "a folder without __init__.py"
        raise ImportError(
            f"another package {package} is loaded already, from {place}: `from recipe_planner import ...` must come "
            "before it, or each in a process of its own",
            name=package,
        )
    return module


def _load(package: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    folder = ROOT / package
    spec = spec_from_file_location(package, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None  # only files of an unknown kind have none
    module = sys.modules[package] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[package]
        raise
    return module


def public(package: str, homes: Mapping[str, str], name: str) -> Any:
    """A public name of a package, from the module that `homes` gives (name -> module inside the package).

    Raises AttributeError for a name that is not among them.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
