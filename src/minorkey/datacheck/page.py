"""The preview page: one self-contained HTML file, no script, nothing loaded from elsewhere."""

from math import log10
from pathlib import Path

from minorkey.datacheck.findings import Check
from minorkey.datacheck.pictures import pictures
from minorkey.datacheck.tables import SHOWN, amount_text, count_text, image_count, own_rows, verdict
from minorkey.datacheck.targets import CheckTarget
from minorkey.plotting.page_template import page_template
from minorkey.plotting.style import css
from minorkey.system.ours import check as check_ours
from minorkey.system.ours import claim
from minorkey.system.storage import write_json, write_text

PICTURES = 4
PART, FILES = "a check", ("check.json", "check.html")
RAREST = 1e-5
"""Share of the pixels or boxes at which a bar has no length: they are logarithmic, or rare ones would be invisible."""


def write_check(check: Check, target: CheckTarget, folder: Path, pictures_each: int = PICTURES) -> Path:
    """Write `check.json` and `check.html`.

    Args:
        check: what was found.
        target: the data sets it was found in.
        folder: where to write.
        pictures_each: how many images of each data set are shown.

    Returns:
        The page.

    Raises:
        ConfigError: `folder` holds files of these names that are not of an earlier check.
        StorageError: a file cannot be written.
    """
    claim(folder, PART, FILES)
    write_json(folder / FILES[0], check.to_json())
    page = folder / FILES[1]
    write_text(page, _render(check, target, pictures_each))
    return page


def check_folder(folder: Path) -> None:
    """Make sure, before anything is looked at, that the page replaces none but that of an earlier check.

    Raises:
        ConfigError: it would.
    """
    check_ours(folder, PART, FILES)


def bar_length(share: float) -> float:
    """Length of the bar of a class of this share, 0 ... 1: linear in the logarithm of the share above RAREST."""
    return max(0.02, 1 - log10(share) / log10(RAREST)) if share > 0 else 0.0


def _render(check: Check, target: CheckTarget, pictures_each: int) -> str:
    space = target.space
    return page_template("data.html.j2").render(
        check=check,
        verdict=verdict(check),
        colours=dict(zip(space.classes, map(css, space.colours.tolist()), strict=True)),
        galleries=[list(pictures(opened.reader, space, target.task, pictures_each)) for opened in target.opened],
        own_rows=own_rows(check),
        image_count=image_count,
        amount_text=amount_text,
        count_text=count_text,
        bar_length=bar_length,
        shown=SHOWN,
    )
