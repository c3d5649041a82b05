"""What the site takes from outside docs/: pages at the root of the checkout, and the notebooks as pages.

Hooks of mkdocs (`mkdocs.yml`). The Markdown files stay as they read best in the checkout; links out of docs/ are turned
here into links to pages of the site or, of files that are no pages, into their paths.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
"""File at the root -> page of the site."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", re.DOTALL | re.MULTILINE)
NOTES = re.compile(r"<!--.*?-->\s*", re.DOTALL)
"""Comments steer the tests of the examples; the site has no use for them."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for notebook in sorted(Path(config["docs_dir"]).glob("notebooks/*.ipynb")):
        page = notebook.relative_to(config["docs_dir"]).with_suffix(".md").as_posix()
        files.append(File.generated(config, page, content=_page_of(notebook)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page without comments, its links leading to pages of the site."""
    place = page.file.src_uri
    origin = next((name for name, target in PAGES.items() if target == place), f"docs/{place}")
    parts = CODE.split(NOTES.sub("", markdown))
    return "".join(part if number % 2 else _linked(part, origin, place, files) for number, part in enumerate(parts))


def _linked(text: str, origin: str, place: str, files: Files) -> str:
    """A text of the file `origin` in the checkout, its links as the page `place` of the site needs them."""

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found[1], found[2], found[3], found[4] or ""
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        on_site = PAGES.get(whole, whole.removeprefix("docs/") if whole.startswith("docs/") else "")
        if whole == "README.md":
            on_site = "index.md"
        if on_site.endswith(".ipynb") and (as_page := on_site.removesuffix("ipynb") + "md") != place:
            on_site = as_page
        if files.get_file_from_path(on_site) is None:  # of what is nowhere mkdocs warns
            return f"`{whole}`" if (ROOT / whole).exists() else found[0]
        return f"{picture}[{words}]({posixpath.relpath(on_site, posixpath.dirname(place) or '.')}{anchor})"

    return LINK.sub(link, text)


def _page_of(notebook: Path) -> str:
    """A notebook as Markdown, with a link to itself."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    shown = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    shown.insert(1, f"This page is a notebook: [{notebook.name}]({notebook.name}).")
    return "\n\n".join(shown) + "\n"
