"""The documentation as a site of files that need no network: `python docs/build.py [FOLDER]`, by default out/docs.

Pages link to files of the repository (examples, results, sources), so that they can be read in it. Zensical knows the
folder docs/ alone. This copies docs/ into FOLDER/docs and everything that its pages link to, directly or by way of
another page, into FOLDER/docs/repository: pages and notebooks as pages, other text files as pages that show them,
pictures and HTML as they are. Links are rewritten to where the files then lie. Zensical makes FOLDER/site from that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REPOSITORY = Path("repository")  # in the site: what lies outside docs/
LANGUAGES = {".toml": "toml", ".py": "python", ".json": "json", ".cff": "yaml", ".jsonl": "json", "": "text"}
COPIED = {".png", ".svg", ".html", ".css"}  # shown as they are
LINKING = {".md", ".ipynb"}  # whose text has links
LARGEST = 100_000  # bytes of a text file that is shown as a page
INSTEAD = {ROOT / "README.md": DOCS / "index.md", ROOT / "results/reference/figures": DOCS / "gallery.md"}
# A link or picture of Markdown: what it shows, where it leads, and the rest behind #.
LINK = re.compile(r"(?P<shown>\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def stage(folder: Path) -> list[Path]:
    """Copy the configuration, the pages and what they link to into `folder`; the files that were linked to.

    Raises FileNotFoundError naming the page and the link that leads nowhere.
    """
    shutil.rmtree(folder / "docs", ignore_errors=True)
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    (folder / "zensical.toml").write_text(configuration(), encoding="utf-8")
    waiting, done = sorted({*DOCS.rglob("*.md"), *navigation()}), []
    while waiting:
        source = waiting.pop()
        done.append(source)
        target = folder / "docs" / place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not is_page(source):
            shutil.copy(source, target)
            continue
        text = source.read_text(encoding="utf-8")
        text = of_notebook(text) if source.suffix == ".ipynb" else text
        target.write_text(
            rewritten(source, text) if source.suffix in LINKING else shown(source, text), encoding="utf-8"
        )
        new = {linked for linked in links(source, text) if DOCS not in linked.parents}
        waiting += sorted(new.difference(done, waiting))
    return [source for source in done if DOCS not in source.parents]


def configuration() -> str:
    """zensical.toml, with the pages of docs/ that its menu lacks in a section of their own at the menu's end."""
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    lacking = [str(place(page)) for page in sorted(set(DOCS.rglob("*.md")) - set(navigation()))]
    head, end, tail = text.partition("\n]\n")  # of the menu, the first list that ends in a line of its own
    return f'{head}\n  {{ "More" = {json.dumps(lacking)} }},{end}{tail}' if lacking else text


def navigation() -> list[Path]:
    """The pages of the menu. Raises FileNotFoundError where one is not there: Zensical would leave it out."""
    menu = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    pages = [page for section in menu for pages in section.values() for entry in pages for page in entry.values()]
    found = [
        ROOT / Path(page.replace(".ipynb.md", ".ipynb")).relative_to(REPOSITORY)
        if REPOSITORY in Path(page).parents
        else DOCS / page
        for page in pages
    ]
    for page, file in zip(pages, found, strict=True):
        if not file.is_file():
            raise FileNotFoundError(f"zensical.toml: the page {page} of the menu is not there")
    return found


def place(source: Path) -> Path:
    """Where a file of the repository lies in the site's docs/."""
    if DOCS in source.parents:
        return source.relative_to(DOCS)
    name = REPOSITORY / source.relative_to(ROOT)
    return name.with_name(f"{name.name}.md") if source.suffix != ".md" and is_page(source) else name


def is_page(source: Path) -> bool:
    """Whether the site shows a file as a page; else it is copied as it is."""
    return source.suffix in LINKING or (source.suffix not in COPIED and source.stat().st_size <= LARGEST)


def links(source: Path, text: str) -> Iterator[Path]:
    """Files of the repository that a page links to; of another text file, none."""
    if source.suffix not in LINKING:
        return
    for part in FENCED.split(text)[::2]:
        for link in LINK.finditer(part):
            if found := target_of(source, link["target"]):
                yield found


def target_of(source: Path, target: str) -> Path | None:
    """The file that a link in a page leads to; None where it is an address."""
    if re.match(r"\w+:", target):
        return None
    found = (source.parent / target).resolve()
    found = INSTEAD.get(found, found)
    if not found.is_file():
        raise FileNotFoundError(f"{source.relative_to(ROOT)}: the link {target} leads to no file")
    return found


def rewritten(source: Path, text: str) -> str:
    """A page whose links lead to where the files lie in the site; code blocks stay as they are."""

    def moved(link: re.Match[str]) -> str:
        found = target_of(source, link["target"])
        if found is None:
            return link[0]
        to = os.path.relpath(place(found), place(source).parent)
        return f"{link['shown']}{Path(to).as_posix()}{link['anchor'] or ''})"

    parts = FENCED.split(text)
    return "".join(part if number % 2 else LINK.sub(moved, part) for number, part in enumerate(parts))


def of_notebook(text: str) -> str:
    """A notebook as Markdown: its text, its code, and below each what it gave when it was executed."""
    return "\n\n".join(part for cell in json.loads(text)["cells"] for part in _parts(cell)) + "\n"


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![{source.strip(';')}](data:image/png;base64,{''.join(data['image/png']).strip()})"
        elif "text/html" in data:  # without empty lines, at which Markdown would go on
            lines = "".join(data["text/html"]).splitlines()
            yield "\n".join(["<div>", *(line for line in lines if line.strip()), "</div>"])
        else:
            yield f"```text\n{''.join(data.get('text/plain', output.get('text', ''))).rstrip()}\n```"


def shown(source: Path, text: str) -> str:
    """A page that shows a text file."""
    fence = "`" * (max([2, *map(len, re.findall("`+", text))]) + 1)
    return f"# {source.relative_to(ROOT)}\n\n{fence}{LANGUAGES.get(source.suffix, 'text')}\n{text}\n{fence}\n"


def build(folder: Path) -> Path:
    """The site in `folder`/site, made anew. Raises CalledProcessError where Zensical warns or fails."""
    folder.mkdir(parents=True, exist_ok=True)
    stage(folder)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(folder / "zensical.toml")]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # mkdocstrings reads the sources
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths})
    return folder / "site"


if __name__ == "__main__":
    print(f"open {build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / 'out' / 'docs')) / 'index.html'}")
