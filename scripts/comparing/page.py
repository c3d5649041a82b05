"""A page of documentation whose figures a script writes: what stands between two comments is replaced."""

from collections.abc import Mapping
from pathlib import Path


def write_blocks(page: Path, blocks: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        SystemExit: the page lacks a pair of comments.
    """
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, begins, rest = text.partition(first)
        _, ends, after = rest.partition(last)
        if not (begins and ends):
            raise SystemExit(f"{page} lacks '{first.strip()}' and '{last}' after it; put them in")
        text = f"{before}{first}\n{block}\n\n{last}{after}"
    page.write_text(text, encoding="utf-8")
