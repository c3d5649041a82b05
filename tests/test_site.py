"""The site of the documentation has every page and every public call; `make docs` builds it."""

import re
from pathlib import Path
from typing import Any

import yaml

import minorkey

REPO = Path(__file__).parents[1]
DOCS = REPO / "docs"


SITE = yaml.safe_load((REPO / "mkdocs.yml").read_text(encoding="utf-8"))


def _pages(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [page for each in (part.values() if isinstance(part, dict) else part) for page in _pages(each)]


def test_every_page_has_one_place_in_the_navigation() -> None:
    generated = {"contributing.md", "security.md", "changelog.md"}  # scripts/site_hooks.py
    notebooks = {file.relative_to(DOCS).with_suffix(".md").as_posix() for file in DOCS.glob("notebooks/*.ipynb")}
    written = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md")}
    assert sorted(_pages(SITE["nav"])) == sorted(written | notebooks | generated)


def test_every_public_name_is_described() -> None:
    described = re.findall(r"^::: minorkey\.(?:\w+\.)*(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    assert sorted(described) == sorted(minorkey.__all__)


def test_a_warning_fails_the_build_and_nothing_is_loaded_from_elsewhere() -> None:
    assert SITE["strict"] is True
    assert SITE["theme"]["font"] is False
    assert not {"repo_url", "extra_javascript", "extra"} & set(SITE)


def test_the_start_page_has_three_doors() -> None:
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    doors = re.findall(r"\*\*\[(.+?)\]\(#(.+?)\)\*\*", page)
    headings = [re.sub(r"\s+", "-", title.lower()) for title in re.findall(r"^## (.+)$", page, re.M)]
    assert [anchor for _, anchor in doors] == headings[:3]


def test_the_image_is_built_of_what_is_there_by_no_root() -> None:
    lines = (REPO / "Dockerfile").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied == let_in
    assert all((REPO / name).exists() for name in copied)
    assert lines.index("USER minorkey") < lines.index('ENTRYPOINT ["minorkey"]')
    assert any("--constraint constraints.txt" in line for line in lines)
