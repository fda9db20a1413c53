"""The page of a results folder as a file: what it holds, and what cannot get out of its data."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from analysis.cli import main
from analysis.page import HERE, SCRIPTS, as_json, assembled, document, inlined
from analysis.page.trials import columns, thinned
from planner.palette import looks
from support.hostile_pages import HOSTILE, diverged, hostile_observations, hostile_page
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observations, write_sweep
from sweeps.methods import Full, LoRA
from sweeps.trial import failure


class Tags(HTMLParser):
    """Tags with their attributes, in order, and the text inside of each script."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data


def test_hostile_text_ends_no_script_and_makes_no_tag(tmp_path):
    there = Tags(hostile_page(tmp_path / "<b onclick=alert(1)>"))
    assert len(there.scripts) == 1 + len(SCRIPTS)
    assert [tag for tag, _ in there.tags].count("img") == 0
    assert not any(name.startswith("on") for _, attributes in there.tags for name in attributes)
    content = json.loads(there.scripts[0])
    assert set(HOSTILE[:3]) <= set(content["trials"]["model"]["words"])
    assert "<" not in there.scripts[0]


def test_the_page_draws_a_method_as_the_figures_do(tmp_path):
    folder = write_sweep(
        tmp_path / "sweep", observations({method: LAWS_OF_THE_TESTS[Full()] for method in TWO}, NANO[:1], [1e13])
    )
    assert document(folder, None)["looks"] == {
        "full": {"colour": "#0072B2", "on_dark": "#3D96E0", "marker": "o", "hollow": False},
        **{label: asdict(look) for label, look in looks({"lora rank 8 alpha 8": {"name": "lora", "rank": 8}}).items()},
    }


TWO = (Full(), LoRA(rank=8))


def test_the_policy_names_each_script_and_nothing_is_fetched(tmp_path):
    there = Tags(hostile_page(tmp_path / "sweep"))
    policy = next(attributes["content"] for tag, attributes in there.tags if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for script in there.scripts[1:]:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    links = [value for _, attributes in there.tags for name, value in attributes.items() if name in ("src", "href")]
    assert [link for link in links if not link.startswith(("#", "data:"))] == []


def test_numbers_that_json_lacks_are_null_and_huge_texts_are_cut():
    assert as_json([math.nan, -math.inf, 1.5, {"a": math.nan}]) == '[null,null,1.5,{"a":null}]'
    held = columns(hostile_observations(), {})
    assert max(map(len, held["model"]["words"])) < 500
    json.loads(as_json(held), parse_constant=pytest.fail)


def test_a_name_that_looks_like_a_place_of_the_template_stays_a_name():
    there = Tags(assembled("{{data}}", {"name": "{{scripts}}"}))
    assert len(there.scripts) == 1 + len(SCRIPTS) and json.loads(there.scripts[0]) == {"name": "{{scripts}}"}


def test_the_scripts_share_one_scope_without_a_clash_and_need_no_other_file():
    owners: dict[str, str] = {}
    for script in SCRIPTS[1:]:
        text = inlined((HERE / script).read_text(encoding="utf-8"))
        assert not re.search(r"^\s*(import|export)\b", text, flags=re.MULTILINE), script
        for name in re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, flags=re.MULTILINE):
            assert owners.setdefault(name, script) == script, f"{name} is in {owners[name]} and in {script}"
    assert {"plan", "LAWS", "odds", "crossovers", "warnings"} <= set(owners)


def test_every_script_of_the_folder_is_in_the_page():
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*.js")}
    assert there == set(SCRIPTS)


def test_a_thinned_curve_keeps_its_end_and_its_mean():
    curve = [(step, 10 * step, 5 / step) for step in range(1, 1001)]
    thin = thinned(curve, 50)
    assert len(thin) == 50 and thin[-1][0] == 1000
    assert sum(loss for _, loss in thin) / 50 == pytest.approx(sum(row[2] for row in curve) / 1000)
    assert thinned(curve[:50], 50) == [(row[0], row[2]) for row in curve[:50]]


def test_every_observation_is_in_the_page_with_why_it_entered_no_law():
    found = observations(models=NANO[:2], budgets=[1e13])
    lost = failure(replace(found[0].trial, seed=7), "out of memory")
    held = columns([*found, lost], {found[0].key: "too short"})
    assert held["count"] == len(found) + 1 and held["key"][-1] == lost.key
    texts = {
        name: [held[name]["words"][place] for place in held[name]["places"]]
        for name in ("reason", "excluded", "status")
    }
    assert texts["reason"][-1] == "out of memory" and texts["status"][-1] == "failed"
    assert texts["excluded"][0] == "too short" and not any(texts["excluded"][1:])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.mkdir() or folder, "holds no observations.jsonl"),
        (lambda folder: write_sweep(folder, []), "the file is empty"),
        (lambda folder: write_sweep(folder, observations(models=NANO[:1], budgets=[1e13])[:1]), "1 runs; a law needs"),
        (diverged, "diverged: loss is nan"),
    ],
    ids=["no file", "empty", "a single point", "all diverged"],
)
def test_a_sweep_without_a_law_becomes_a_page_in_words_and_the_command_still_fails(tmp_path, capsys, make, words):
    folder, file = make(tmp_path / "sweep"), tmp_path / "page.html"
    assert main([str(folder), "--page", str(file)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("fit: error: ")
    content = json.loads(Tags(file.read_text(encoding="utf-8")).scripts[0])
    assert words in content["why"] and content["planning"] is None


def test_the_command_writes_the_page_of_a_folder_and_refuses_a_table(tmp_path, capsys):
    folder = write_sweep(tmp_path / "sweep", observations(models=NANO[:3], budgets=[1e13, 4e13, 1.6e14]))
    file = tmp_path / "pages" / "nano.html"
    assert main([str(folder), "--bootstraps", "20", "--family", "tied", "--page", str(file)]) == 0
    assert f"wrote {file}" in capsys.readouterr().out
    content = json.loads(Tags(file.read_text(encoding="utf-8")).scripts[0])
    assert content["flags"] == [f"--laws {folder / 'laws.json'}", "--laws ziarko2024"]
    own, beside = content["planning"]["books"]
    assert len(own["laws"]) == 3 and beside["book"]["source"]["kind"] == "published"
    table = tmp_path / "runs.csv"
    table.write_text("N,D,loss\n1,2,3\n")
    assert main([str(table), "--n", "N", "--d", "D", "--loss", "loss", "--page", str(file)]) == 2
    assert "--page: only a results folder" in capsys.readouterr().err


def test_the_vendored_library_is_the_one_that_its_note_names():
    note = (HERE / "vendor" / "VENDORED.md").read_text(encoding="utf-8")
    [(name, version, sha256)] = re.findall(r"\| `([\w.]+)` \|.*echarts@([\d.]+)`.*`(\w{64})`", note)
    content = (HERE / "vendor" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == sha256
    assert f'version="{version}"' in content.decode() and f"ECharts {version}" in (HERE / "about.js").read_text()
    for named in re.findall(r"`((?:LICENSE|NOTICE)-\w+)`", note):
        assert (HERE / "vendor" / named).stat().st_size > 100


def test_no_two_scripts_give_one_name_to_two_things():
    """The page joins them in one scope: a constant of the planner may be called as one of the charts."""
    names = [
        name
        for script in SCRIPTS
        if not script.startswith("vendor/")
        for name in re.findall(
            r"^(?:export )?(?:async )?(?:const|let|function\*?|class) (\w+)",
            (HERE / script).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert len(names) > 100 and len(names) == len(set(names))
