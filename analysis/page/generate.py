"""`python -m analysis.page.generate` writes planner/generated.js, the planner as the page runs it, and glossary.js.

What is translated: everything of `planner` that ROOTS lead to, as it stands in the Python: law families and intervals,
candidates and what refuses them, budgets, frontier, odds and crossovers, recipes, warnings, provenance, published
findings, and every constant and sentence in them. A law family, a threshold or a warning is changed in Python alone;
then this command is run again, and a test says so if it was not.

What is written by hand, in planner/:
python.js: what Python's built-ins and number formats do.
shapes.js: stand-ins for `sweeps`. What rests on the shape of a model (FLOPs, memory, learning rates) comes as tables of
planning.py, since the formulas of every method would be more than their few numbers; a name that this script exports is
not looked for in the Python.
book.js: reads the laws and machines of the page's data.
plan.js: the order of `plan`, which a page must do lazily: a slider moves sixty times a second, and neither all recipes
nor the crossovers are worked out each time.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from analysis.page.javascript.definitions import class_text, function_text
from analysis.page.javascript.expressions import Expressions, Source
from planner.laws import Law
from sweeps.machine.chips import CHIPS
from sweeps.methods import METHODS

FILE = Path(__file__).parent / "planner" / "generated.js"
MEANINGS = Path(__file__).parent / "glossary.js"
WORDS = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
# Where the page enters: module -> names.
ROOTS = {
    "planner.laws": ("LAWS",),
    "planner.batch_law": ("TERMS", "AtBatch", "BatchLaw"),
    "planner.batch_sizes": ("CHOICES",),
    "planner.law_book": ("LawBook", "MeasuredRange", "MethodLaw", "Caveat", "NORMAL"),
    "planner.budget": ("read_budget",),
    "planner.quantities": ("count", "memory", "short", "SECONDS"),
    "planner.candidates": ("Limits", "candidates", "on_machine", "timed", "feasible"),
    "planner.extrapolation": ("extrapolation_factor",),
    "planner.frontier": ("budget_grid", "by_regret", "crossovers", "frontier", "odds", "ranked", "searched_budgets"),
    "planner.warnings": ("provenance", "warnings"),
    "planner.evidence": ("REACH", "check_reach"),
    "planner.discrepancy": ("FARTHEST",),
    "planner.recipe": (
        *("Consulted", "Silent", "_plan", "by_evidence", "check_choices", "check_methods", "implied", "lack_pairs"),
        *("nearest_of", "nothing_fits", "recipe_of"),
    ),
    "planner.report": (
        *("CANDIDATE", "RECIPE", "USUAL", "banner_lines", "book_lines", "candidate_row", "crossover_text", "fact_text"),
        *("outlook_rows", "predicted_table", "recipe_flags", "recipe_remarks", "recipe_rows", "spent_lines"),
        *("sweep_flags",),
    ),
    "planner.scores": ("ScoreLaw",),
    "planner.settings": ("distinct",),
    "planner.training_data": ("cut_by_context", "mean_pair"),
    "planner.size_rules": ("led_by", "size_rule"),
    "planner.rate_rule": ("RateRule",),
    "planner.temperature_rule": ("TemperatureRule",),
    "sweeps.flops": ("Work",),
    "sweeps.memory": ("Memory",),
    "sweeps.machine.utilisation": ("ESTIMATED", "NOMINAL", "launch_seconds", "step_seconds"),
}
# Members that come along, of classes that need not come whole.
MEMBERS = {
    "Law": ("at", "knows_repetition", "inputs"),
    "LawBook": ("measure", "name", "published"),
    "BatchTerm": (),
    "BatchLaw": ("best", "interval", "term_of"),
    "MethodLaw": ("any_batch", "at_batch", "label", "interval", "noise_at", "weights"),
    "RateRule": ("formula", "measured", "predict"),
    "TemperatureRule": ("best",),
    "Recipe": ("pairs", "predicted", "sure", "train_command"),
    "Plan": ("recipe", "scores", "crossovers"),
    "Consulted": ("best", "distance", "sentence"),
    "Evidence": (),
    "Extrapolation": ("of", "within_range", "decades", "distance", "to_json", "__str__", "_sentence"),
    "SizeRule": ("chooses", "record", "__str__"),
    "Work": ("times",),
    "Trial": ("pairs",),
}
FAMILY = ("loss", "inputs", "factors")
# Besides `planner`, modules that are translated as they stand where shapes.js has no stand-in.
TRANSLATED = ("sweeps.methods", "sweeps.memory", "sweeps.machine.utilisation")
# What is a value and not a formula to the page.
VALUES = {"CHIPS": list(CHIPS), "METHODS": list(METHODS)}


def exported(script: str) -> list[str]:
    """Names that a hand-written script of planner/ has."""
    text = (FILE.parent / script).read_text(encoding="utf-8")
    return re.findall(r"^export (?:const|function|class) (\w+)", text, flags=re.MULTILINE)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def statement(module: str, name: str) -> ast.stmt | None:
    """Where a module defines a name."""
    for node in tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
    return None


def origin(module: str, name: str) -> tuple[str, str]:
    """The module that defines what `name` means in `module`, and its name there."""
    if statement(module, name):
        return module, name
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return origin(node.module, alias.name)
    raise ValueError(f"{module} uses {name}, which is defined nowhere in it")


class Generator:
    """Definitions that have been reached, in the order in which JavaScript can run them."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.shapes = exported("shapes.js")
        self.stand_ins: set[str] = set()

    def reach(self, module: str, name: str) -> str:
        """The JavaScript name of a module's name; its definition, and what that needs, come along."""
        if name in self.shapes:
            self.stand_ins.add(name)
            return name
        module, name = origin(module, name)
        if self.owners.setdefault(name, module) != module:
            raise ValueError(f"{module} and {self.owners[name]} both define {name}; the page needs two names")
        if name not in self.texts:
            self.texts[name] = ""  # of functions that call one another
            self.texts[name] = self.define(module, name)
            self.texts[name] = self.texts.pop(name)  # after all that it rests on
        return name

    def define(self, module: str, name: str) -> str:
        if name in VALUES:
            return f"export const {name} = {Expressions(self.source(module), set()).of(_literal(VALUES[name]))};"
        node = statement(module, name)
        if not module.startswith("planner") and module not in TRANSLATED and name not in MEMBERS:
            raise ValueError(f"{module}.{name} has no stand-in in planner/shapes.js")
        if isinstance(node, ast.FunctionDef):
            return function_text(self.source(module), node)
        if isinstance(node, ast.ClassDef):
            kind = getattr(importlib.import_module(module), name)
            return class_text(self.source(module), node, _fields(kind) or (), _members(kind))
        assert isinstance(node, (ast.Assign, ast.AnnAssign))
        return f"export const {name} = {Expressions(self.source(module), set()).of(node.value)};"

    def source(self, module: str) -> Source:
        return Source(
            where=module.replace(".", "/") + ".py",
            known=lambda name: self.reach(module, name),
            attribute=lambda name, attribute: self.attribute(module, name, attribute),
            fields=lambda name: _fields(self.object(module, name)),
            arguments=lambda name: self.arguments(module, name),
        )

    def attribute(self, module: str, name: str, attribute: str) -> str | None:
        """What `name.attribute` is where the name is a module."""
        value = getattr(importlib.import_module(module), name, None)
        return self.reach(value.__name__, attribute) if isinstance(value, ModuleType) else None

    def object(self, module: str, name: str) -> Any:
        owner = self.owners.get(name, module)
        return getattr(importlib.import_module(module), name, None) or getattr(
            importlib.import_module(owner), name, None
        )

    def arguments(self, module: str, name: str) -> Sequence[str] | None:
        """Parameters of a function; of a method where the name begins with a dot."""
        if not name.startswith("."):
            return list(inspect.signature(self.object(module, name)).parameters)
        owners = [vars(importlib.import_module(where)).get(kind) for kind, where in list(self.owners.items())]
        members = [getattr(home, name[1:]) for home in owners if inspect.isclass(home) and name[1:] in vars(home)]
        functions = [member for member in members if inspect.isfunction(member)]
        return list(inspect.signature(functions[0]).parameters)[1:] if functions else None


def _fields(kind: object) -> list[str] | None:
    if not inspect.isclass(kind):
        return None
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _members(kind: type) -> Callable[[str], bool]:
    """Which members come along: those of MEMBERS, of a law family its formula, else all."""
    taken = MEMBERS.get(kind.__name__, FAMILY if issubclass(kind, Law) else None)
    return lambda name: taken is None or name in taken


def _literal(value: Sequence[str]) -> ast.expr:
    return ast.parse(repr(value), mode="eval").body


def generated() -> str:
    generator = Generator()
    for module, names in ROOTS.items():
        for name in names:
            generator.reach(module, name)
    body = "\n\n".join(generator.texts.values())
    used = [name for name in exported("python.js") if re.search(rf"(?<!\w)(?<![\w)\]]\.){name}\(", body)]
    head = [
        "/* Written by `python -m analysis.page.generate` from planner/*.py: change those, then run it again. */",
        f"import {{{', '.join(used)}}} from './python.js';",
        f"import {{{', '.join(sorted(generator.stand_ins))}}} from './shapes.js';",
    ]
    return "\n".join(head) + f"\n\n{body}\n"


def glossary() -> str:
    """The words of docs/glossary.md with their meanings, as a script."""
    rows = re.findall(
        r"^\| (?!word )([^|-].*?) \|(?:.*\|)? ([^|]+?) \|$", WORDS.read_text(encoding="utf-8"), re.MULTILINE
    )
    words = {word.replace("`", ""): meaning.replace("`", "") for word, meaning in rows}
    return (
        "/* Written by `python -m analysis.page.generate` from docs/glossary.md: change that, then run it again. */\n"
        f"export const GLOSSARY = {json.dumps(words, ensure_ascii=False, indent=2)};\n"
    )


def main() -> None:
    for file, text in ((FILE, generated()), (MEANINGS, glossary())):
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
