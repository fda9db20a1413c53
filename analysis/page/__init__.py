"""One HTML file of a results folder: the recipe of any budget, the frontier, every trial. It needs no network.

The page plans by itself, with the planner's own functions: planner/generated.js is translated from `planner` by
`python -m analysis.page.generate`. The scripts are modules; `inlined` makes of each a script that needs no other file.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from pathlib import Path
from typing import Any

from analysis.page.content import document
from planner.law_book import LawBook

HERE = Path(__file__).parent
WHOLE = 1e15  # up to which a whole number is written without a fraction
SCRIPTS = (
    "vendor/echarts.common.min.js",
    *(f"planner/{name}.js" for name in ("python", "shapes", "generated", "book", "plan")),
    *(f"{name}.js" for name in ("dom", "glossary", "meanings", "trials", "state", "looks", "charts", "fields")),
    *(f"{name}.js" for name in ("address", "controls", "recipe_file", "answer", "frontier", "residuals", "fit")),
    *(f"{name}.js" for name in ("about", "table", "dialog", "page")),
)


def page(folder: Path, book: LawBook | None, why: str = "", laws: Path | None = None) -> str:
    """The HTML of a results folder and the laws of its observations.

    book: None where no law could be fitted, and `why` says so. laws: the file that holds the book.
    """
    name = folder.resolve().name
    return assembled(name, document(folder, book, why, laws))


def assembled(name: str, content: dict[str, Any]) -> str:
    """The file: template, style and scripts with their hashes in the policy, and the content where nothing runs."""
    style = _read("page.css")
    scripts = [inlined(_read(script)) for script in SCRIPTS]
    parts = {
        "policy": _policy(style, scripts),
        "title": html.escape(name),
        "style": style,
        "data": as_json(content),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # In one pass: a name that looks like a place of the template stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html"))


def inlined(script: str) -> str:
    """A module as a script of a page: those before it have defined what it imports."""
    alone = re.sub(r"^import \{[^}]*\} from '[^']+';\n+", "", script, flags=re.MULTILINE)
    if alone == script and not re.search(r"^export ", script, flags=re.MULTILINE):
        return script
    return "'use strict';\n" + re.sub(
        r"^export (?=(?:async )?function |class |const |let )", "", alone, flags=re.MULTILINE
    )


def as_json(content: object) -> str:
    """JSON for a <script> that is not run: no tag can begin or end in it, numbers that are none are null."""
    return json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return (
            int(value) if value.is_integer() and abs(value) < WHOLE else value
        )  # one number to JavaScript, and shorter
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _policy(style: str, scripts: list[str]) -> str:
    """Nothing from anywhere, and of scripts and styles these alone."""
    runs = " ".join(_hash(script) for script in scripts)
    mine = f"script-src {runs}; style-src {_hash(style)}"
    return f"default-src 'none'; {mine}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
