"""The page and its requests, put together."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from minorkey.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from minorkey.errors import ConfigError, unknown
from minorkey.plotting.page_template import page_template
from minorkey.show.server import LARGEST, PageServer, whole_number
from minorkey.show.stage import SHARPEST, Examples, Stage, decoded, shrunk
from minorkey.system.outside import outside_faults

SIDES = (256, 512, 1024, SHARPEST)
"""Pixels of an image's longer side to choose from."""


def page_server(folders: Sequence[Path], images: str | None = None, port: int = 0) -> PageServer:
    """The page of finished runs, ready to serve.

    Args:
        folders: of the runs; the first is the one that others are compared with.
        images: path or glob of images to begin with; None: scenes of the built-in world.
        port: of this machine; 0: a free one.

    Raises:
        ConfigError: there are too many runs.
        DataError: a folder holds no finished run, or there are no images.
        StorageError: the port is not to be had.
    """
    stage, examples = Stage.of(folders), Examples.at(images)

    def page(nonce: str) -> str:
        return page_template("show.html.j2").render(
            nonce=nonce,
            runs=list(stage.runs),
            groups={group: list(rows) for group, rows in groupby(CORRUPTIONS.values(), lambda row: row.group)},
            severities=SEVERITIES,
            sides=SIDES,
            largest=LARGEST,
            examples=len(examples),
        )

    return PageServer(port, page, lambda query, body: _answer(stage, examples, query, body))


def _answer(stage: Stage, examples: Examples, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """What the page shows of the image in a request, or of an example where there is none."""
    side = whole_number(query, "side", SIDES[0], SIDES[-1])
    if body:
        name, image = "", decoded(body, side)
    else:
        index = whole_number(query, "example", 0, len(examples) - 1)
        name, image = examples.name(index), shrunk(examples.image(index), side)
    with outside_faults():
        return {"name": name, **stage.show(image, _corruption(query))}


def _corruption(query: Mapping[str, str]) -> Corruption | None:
    """The corruption of a request, one that ships: a request names no code."""
    if not (name := query.get("corruption")):
        return None
    if name not in CORRUPTIONS:
        raise ConfigError(unknown("corruption", name, CORRUPTIONS))
    return Corruption(name, whole_number(query, "severity", SEVERITIES[0], SEVERITIES[-1]))
