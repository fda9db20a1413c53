"""The documentation site: every link and picture leads somewhere, nothing is fetched, the search works from files."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from support.missing import missing

ROOT = Path(__file__).resolve().parents[1]
PAGES = 40  # at least: those of the menu and what they link to


class Page(HTMLParser):
    """What a page links to, what it loads, and the names that links may end in."""

    def __init__(self, file: Path):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names |= {given.get("id") or "", given.get("name") or ""}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        self.loads += [given[key] or "" for key in ("src", "data") if given.get(key)]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loads.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("zensical", "mkdocstrings_handlers"):
        if not importlib.util.find_spec(module):
            missing("the documentation site", f"{module} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run([sys.executable, "docs/build.py", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def own_pages(site: Path) -> list[Path]:
    """All but the pages of results folders, which have tests of their own, and the page of a server's 404."""
    return [
        file
        for file in sorted(site.rglob("*.html"))
        if "Content-Security-Policy" not in file.read_text("utf-8")[:3000] and file.name != "404.html"
    ]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/build.py, of a small repository."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path / "repository"
    menu = '[project]\nnav = [\n  { "Start" = [\n    { "First" = "index.md" },\n  ] },\n]\n[project.theme]\n'
    for name, text in {
        "zensical.toml": menu,
        "docs/index.md": "# First\n\n![A picture](../results/a.png) [a file](../examples/demo.toml)\n",
        "docs/other.md": "# Not in the menu\n\n[notes](../results/README.md#part) [far](https://arxiv.org/abs/1)\n",
        "results/README.md": "[back](../docs/index.md)\n\n```\n[text](as it stands)\n```\n",
        "results/a.png": "",
        "examples/demo.toml": "a = 1",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "DOCS", root / "docs")
    return module


def test_pages_take_along_what_they_link_to_and_stand_in_the_menu(build, tmp_path):
    site = tmp_path / "site"
    build.stage(site)
    assert (
        "repository/results/a.png" in (site / "docs/index.md").read_text()
        and (site / "docs/repository/results/a.png").exists()
    )
    assert "](repository/examples/demo.toml.md)" in (site / "docs/index.md").read_text()
    assert "```toml\na = 1\n```" in (site / "docs/repository/examples/demo.toml.md").read_text()
    assert "](repository/results/README.md#part) [far](https://arxiv.org/abs/1)" in (site / "docs/other.md").read_text()
    assert (
        "[back](../../index.md)\n\n```\n[text](as it stands)"
        in (site / "docs/repository/results/README.md").read_text()
    )
    menu = tomllib.loads((site / "zensical.toml").read_text())["project"]["nav"]
    assert menu == [{"Start": [{"First": "index.md"}]}, {"More": ["other.md"]}]


def test_a_notebook_is_a_page_with_what_its_cells_gave(build, tmp_path):
    outputs = [
        {"output_type": "execute_result", "data": {"text/plain": ["3"], "text/html": ["<b>\n", "\n", "3</b>"]}},
        {"output_type": "stream", "text": ["said\n"]},
        {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": ["a figure"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Own runs\n", "[what is new](../results/README.md)"]},
        {"cell_type": "code", "source": ["a = 1\n", "a + 2"], "outputs": outputs},
    ]
    (build.ROOT / "examples" / "own.ipynb").write_text(json.dumps({"cells": cells}))
    menu = build.ROOT / "zensical.toml"
    menu.write_text(
        menu.read_text().replace("  ] },", '    { "Own" = "repository/examples/own.ipynb.md" },\n  ] },', 1)
    )
    build.stage(tmp_path / "site")
    page = (tmp_path / "site/docs/repository/examples/own.ipynb.md").read_text()
    assert page.startswith("# Own runs\n[what is new](../results/README.md)\n\n```python\na = 1\na + 2\n```\n")
    assert "<div>\n<b>\n3</b>\n</div>" in page and "```text\nsaid\n```" in page
    assert "](data:image/png;base64,iVBO)" in page and (tmp_path / "site/docs/repository/results/README.md").is_file()


def test_a_link_or_a_page_of_the_menu_that_is_not_there_is_named(build, tmp_path):
    page = build.DOCS / "other.md"
    page.write_text("[nowhere](nowhere.md)")
    with pytest.raises(FileNotFoundError, match=r"docs/other.md: the link nowhere.md leads to no file"):
        build.stage(tmp_path / "site")
    (build.DOCS / "index.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"zensical.toml: the page index.md of the menu is not there"):
        build.stage(tmp_path / "site")


@pytest.mark.slow
def test_every_link_and_picture_leads_somewhere_and_nothing_is_fetched(site):
    pages = {file: Page(file) for file in own_pages(site)}
    assert len(pages) > PAGES
    for file, page in pages.items():
        for target in page.loads:
            assert not urlsplit(target).scheme or target.startswith("data:"), f"{file.name} loads {target}"
        for target in [*page.links, *page.loads]:
            parts = urlsplit(target)
            if parts.scheme:
                continue
            found = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert found.is_file(), f"{file.relative_to(site)}: {target}"
            if parts.fragment and found in pages:
                assert unquote(parts.fragment) in pages[found].names, f"{file.relative_to(site)}: {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


@pytest.mark.slow
def test_the_reference_of_python_is_filled_from_the_docstrings(site):
    text = (site / "python.html").read_text(encoding="utf-8")
    assert ":::" not in text and "Tokens in a text pair" not in text
    assert text.count('class="doc doc-heading"') > 30


@pytest.mark.slow
def test_its_search_works_from_files(site, chromium):
    context = chromium.new_context()
    context.set_default_timeout(120_000)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.get_by_placeholder("Search").fill("temperature")
    page.get_by_text(re.compile(r"\d+ results")).wait_for()
    context.close()
    assert not errors and all(url.startswith(("file:", "data:", "about:")) for url in asked), (errors, asked)


def test_lines_of_the_commands_fit_into_a_wide_page(site, chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.goto((site / "index.html").as_uri())
    hidden = "found => found.map(each => each.scrollWidth - each.clientWidth)"
    assert set(page.eval_on_selector_all("pre, pre > code", hidden)) == {0}
    page.close()
