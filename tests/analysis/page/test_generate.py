"""The page's planner is the planner: what is generated is fresh, and gives what the Python gives."""

from __future__ import annotations

import ast
import math
import random
import subprocess
from dataclasses import dataclass, fields
from functools import cache, cached_property
from inspect import getsource
from pathlib import Path
from textwrap import dedent

import pytest

from analysis.page import generate
from analysis.page.javascript.definitions import class_text, function_text
from analysis.page.javascript.expressions import Source
from planner.laws import LAWS, family_of, worth
from support.known_laws import FULL, mean_of_three
from support.node import SCRIPTS, call


def test_the_generated_file_is_that_of_todays_planner():
    fresh = generate.generated() == generate.FILE.read_text(encoding="utf-8")
    assert fresh, "planner/ has changed: run python -m analysis.page.generate"


def test_the_meanings_of_words_are_those_of_the_glossary():
    assert generate.glossary() == generate.MEANINGS.read_text(encoding="utf-8"), "run python -m analysis.page.generate"
    assert '"backtest": "a law fitted to the small runs predicts the large ones"' in generate.glossary()
    assert generate.glossary().count('": "') > 50


def cases(family: str) -> list[list]:
    """Coefficients and N, D, S, U of many sizes, repeats and none."""
    chance = random.Random(family)
    names = [field.name for field in fields(LAWS[family])]
    return [
        [
            {name: chance.lognormvariate(0, 1) for name in names},
            10 ** chance.uniform(3, 11),
            10 ** chance.uniform(4, 13),
            chance.uniform(0.001, 1),
            10 ** chance.uniform(4, 13),
        ]
        for _ in range(300)
    ]


def test_every_law_family_gives_the_loss_that_python_gives(node):
    given = {family: cases(family) for family in LAWS}
    body = "Object.entries(given).map(([name, rows]) => rows.map(([c, ...at]) => new all.LAWS[name](c).at(...at)))"
    theirs = call(node, generate.FILE, body, given)
    for family, losses in zip(LAWS, theirs, strict=True):
        wanted = [LAWS[family](**c).at(*inputs) for c, *inputs in given[family]]
        assert losses == pytest.approx(wanted, rel=1e-14), family


def test_a_mean_of_laws_gives_the_loss_that_python_gives(node):
    mean = mean_of_three(FULL)
    rows = [row[1:3] for row in cases("tied")]
    given = {"parts": [[family_of(part), part.coefficients] for part in mean.parts], "weights": mean.weights}
    body = """(({parts, weights, rows}) => {
        const mean = new all.Weighted({weights, parts: parts.map(([name, own]) => new all.LAWS[name](own))});
        return rows.map(([N, D]) => mean.at(N, D, 0.5, 1e6));
    })(given)"""
    theirs = call(node, generate.FILE, body, {**given, "rows": rows})
    assert theirs == pytest.approx([mean.loss(*row) for row in rows], rel=1e-14)


def test_what_repeats_are_worth_is_what_python_says(node):
    chance = random.Random(0)
    rows = [[10 ** chance.uniform(3, 12), 10 ** chance.uniform(3, 12), chance.uniform(1, 30)] for _ in range(500)]
    theirs = call(node, generate.FILE, "given.map((row) => all.worth(...row))", rows)
    assert theirs == pytest.approx([worth(*row) for row in rows], rel=1e-14)


def test_a_new_law_family_needs_no_javascript(node, tmp_path, monkeypatch):
    """A class in a file and its line in LAWS: the page knows it."""
    module = "planner.laws"
    tree = ast.parse(getsource(__import__(module, fromlist=["LAWS"])))
    new = ast.parse(
        "class Shifted(Law):\n    E: float\n    b: float\n"
        "    def loss(self, N, D):\n        return self.E + _log(N) / (D + self.b)"
    )
    tree.body[-1:-1] = new.body
    [table] = [node for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "LAWS"]
    table.value.keys.append(ast.Constant("shifted"))
    table.value.values.append(ast.Name("Shifted"))
    shifted = dataclass(frozen=True)(type("Shifted", (), {"__annotations__": {"E": float, "b": float}}))
    monkeypatch.setattr("planner.laws.Shifted", shifted, raising=False)
    real = generate.tree
    monkeypatch.setattr(generate, "tree", lambda name: tree if name == module else real(name))
    monkeypatch.setattr(generate, "ROOTS", {module: ("LAWS",)})
    for script in (SCRIPTS / "planner").glob("*.js"):
        (tmp_path / script.name).write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "generated.js").write_text(generate.generated(), encoding="utf-8")
    theirs = call(node, tmp_path / "generated.js", "new all.LAWS.shifted({E: 0.5, b: 3}).at(10, 2)", None)
    assert theirs == pytest.approx(0.5 + math.log(10) / 5)


def test_numbers_are_printed_as_python_prints_them(node):
    chance = random.Random(0)
    values = [chance.uniform(-1, 1) * 10 ** chance.uniform(-12, 25) for _ in range(2000)]
    values += [0.0, 1e5, 1e-5, 999.9, 0.125, 2.5, 0.5, 1e22, *(place / 200 for place in range(400))]
    body = "given.map((x) => [all.g(x, 2), all.g(x, 6), all.exponential(x, 0), all.fixed(x % 1e6, 2)])"
    shown = call(node, SCRIPTS / "planner" / "python.js", body, values)
    assert shown == [[f"{x:.2g}", f"{x:.6g}", f"{x:.0e}", f"{math.fmod(x, 1e6):.2f}"] for x in values]


# ---- the translator, over what the planner is written in


@dataclass(frozen=True)
class Box:
    """A record with a default, a property and a method."""

    wide: float
    high: float = 2.0

    @cached_property
    def area(self) -> float:
        return self.wide * self.high

    def scaled(self, factor: float, extra: float = 1.0) -> float:
        return -(self.area**factor) + extra


def numbers(values):
    total, least = 0.0, min((value for value in values if value > 2), default=math.inf)
    for place, value in enumerate(values):
        if value == 3:
            continue
        total += value * place if place % 2 else -value
    while total > 100:
        total = total / 2
    return [
        total,
        least,
        max(values),
        sum(values),
        all(values),
        round(2.5),
        round(3.5),
        int(7.9),
        2**-1 - (3 - 4),
        10 / (5 / 2),
        -(2**2),
    ]


def texts(values):
    found = {"a": 1, "b c": "it"}
    found["d"] = values[-1]
    if shared := found.get("b c"):
        found["e"] = len(shared)
    found["f"] = "".join([half for value in values if (half := f"{value / 2:.1f}") != "1.3"])
    kept = [f"{key} {value!r}" for key, value in found.items() if key not in ("a",)]
    ends = "none" if not values else f"{values[0]:.3g} to {values[-1]:.2f}, {values[1]:,} and {values[0]:.0%}"
    return [
        "; ".join(kept),
        ends,
        found.get("z", "nothing"),
        "abc".removesuffix("c"),
        ["a", "b", "c"][1],
        f"{values[0]:#.3g} {values[1]:#.2g}",
        "abc"[1:],
        "it's `${1}`\n" + "x",
    ]


def branches(value):
    if value is None:
        word = "none"
    elif 0 < value <= 1 and value != 0.5:
        word = "share"
    else:
        word = "half" if value == 0.5 else "many"
    return [word, value or "zero", (word and []) or "empty", not value]


def records(factor):
    boxes = [Box(1.0), Box(3.0, high=1.0), Box(*[2.0, 5.0])]
    best = min(boxes, key=lambda box: box.area)
    ranked = sorted(boxes, key=lambda box: -box.area)
    pairs = dict(zip("ab", (best.wide, best.scaled(factor, extra=0.5)), strict=True))
    return [
        pairs,
        [box.area for box in ranked[:2]],
        sorted({box.high for box in boxes}),
        any(b.area > 9 for b in boxes),
    ]


@cache
def drawn(name: str, count: int) -> tuple[float, ...]:
    return tuple(ord(name[0]) / (place + 1) for place in range(count))


TRIED = [
    (drawn, ["abc", 3]),
    (numbers, [[1, 3, 7, 2.5, 60, 80]]),
    (numbers, [[0]]),
    (texts, [[0.123456, 1234567, 2.675]]),
    (branches, [0.5]),
    (branches, [1]),
    (branches, [None]),
    (branches, [0]),
    (records, [1.5]),
]


def source() -> Source:
    names = {"Box": [field.name for field in fields(Box)]}
    methods = {".scaled": ["factor", "extra"]}
    return Source("here.py", lambda name: name, lambda *_: None, names.get, methods.get)


@pytest.fixture(scope="module")
def translated(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("translated") / "made.js"
    box = ast.parse(getsource(Box)).body[0]
    functions = [ast.parse(getsource(function)).body[0] for function in (numbers, texts, branches, records, drawn)]
    body = [
        class_text(source(), box, ["wide", "high"], lambda _: True),
        *(function_text(source(), f) for f in functions),
    ]
    helpers = (
        f"import {{{', '.join(generate.exported('python.js'))}}} from '{(SCRIPTS / 'planner' / 'python.js').as_uri()}';"
    )
    file.write_text("\n".join([helpers, *body]), encoding="utf-8")
    return file


@pytest.mark.parametrize(("function", "given"), TRIED, ids=lambda one: getattr(one, "__name__", None))
def test_a_translation_does_what_the_python_does(node, translated, function, given):
    theirs = call(node, translated, f"all.{function.__name__}(...given)", given)
    assert theirs == _as_json(function(*given))


def test_what_python_remembers_is_remembered(node, translated):
    assert call(node, translated, "all.drawn('a', 3) === all.drawn('a', 3)", None) is True
    assert call(node, translated, "all.drawn('a', 3) === all.drawn('a', 2)", None) is False


def _as_json(value):
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


@pytest.mark.parametrize(
    "text",
    [
        "with open(x) as f: pass",
        "try: f()\n    except ValueError: pass",
        "return x[::2]",
        "return f'{x:>8}'",
        "return x.split()",
        "x += [1]",
    ],
)
def test_what_has_no_translation_is_refused_by_its_line(text):
    [function] = ast.parse(f"def f(x):\n    {dedent(text)}").body
    with pytest.raises(ValueError, match=r"here\.py:2: .* has no translation to JavaScript"):
        function_text(source(), function)


def test_the_scripts_pass_their_own_tests(node):
    tests = sorted(str(file) for file in Path(__file__).parent.glob("*.test.mjs"))
    ran = subprocess.run([node, "--no-warnings", "--test", *tests], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "fail 0" in ran.stdout and "pass 0" not in ran.stdout
