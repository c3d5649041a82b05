"""docs/trust.md promises nothing that no test holds."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs" / "trust.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[^`:]+)::(test_\w+)`", PAGE)


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_every_test_on_the_page_is_there(file, test):
    assert re.search(rf"^def {test}\(", (REPO / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_promise_names_its_test():
    promises = PAGE[PAGE.index("\n## ") :]  # above are the figures of the campaign
    rows = [
        line for line in promises.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "|---"))
    ]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"`tests/[^`]+::test_\w+`", row)] == []


def test_the_page_is_found():
    for page in ("README.md", "SECURITY.md"):
        assert "docs/trust.md" in (REPO / page).read_text(encoding="utf-8")
