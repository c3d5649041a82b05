"""What CONTRIBUTING.md says is true of the tree."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PAGE = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
KINDS = (
    "backbone", "head for segmentation", "head for detection", "head for classification", "data set with label images",
    "data set with boxes", "data set with classified images",
    "label space", "corruption", "method", "regime", "teacher", "task", "metric", "preset", "command", "fault to try",
)  # fmt: skip


def _rows() -> dict[str, list[str]]:
    """What can be added -> the paths that are to be changed, of the table that begins with `what`."""
    table = PAGE.partition("| what |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {what: re.findall(r"`([^`]+)`", " ".join(where)) for what, *where in cells}


ROWS = _rows()


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_says_where_to_add(kind: str) -> None:
    assert any(what.partition(",")[0] == kind for what in ROWS)


@pytest.mark.parametrize("what", ROWS)
def test_to_add_one_touches_two_places_at_most_and_they_are_there(what: str) -> None:
    paths = ROWS[what]
    assert 1 <= len(paths) <= 2
    for path in paths:
        place = REPO / (path if path.startswith(("tests/", "benchmarks/")) else f"src/minorkey/{path}")
        assert place.is_dir() if path.endswith("/") else place.is_file(), f"{path} is no longer there"


def test_links_of_the_page_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE) if "://" not in link]
    assert links
    assert [link for link in links if not (REPO / link).exists()] == []
