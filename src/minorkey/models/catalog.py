"""The table of backbones by name: where they come from, under which licence, and what suits them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from minorkey.adapters.options import MethodOptions
from minorkey.labels.tables import parse_row, shipped_yaml
from minorkey.models.options import PerChannel

TABLE_FILE = Path(__file__).with_name("backbones.yaml")

IMAGENET_MEAN: PerChannel = (0.485, 0.456, 0.406)
IMAGENET_STD: PerChannel = (0.229, 0.224, 0.225)

NORMS: dict[str, tuple[PerChannel, PerChannel]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Mean and standard deviation of the input, per channel."""


class BackboneRow(BaseModel):
    """A row of `backbones.yaml`, which explains the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hub: str
    licence: str
    gated: bool = False
    parameters: float  # millions
    blocks: int
    first_block: int | None = None
    data: str
    norm: Literal["imagenet", "half", "clip"]
    recipe: dict[Literal["patch_size", "image_size"], int] = {}
    source: str
    config: dict[str, Any]

    @property
    def needs_timm(self) -> bool:
        """Whether the architecture is timm's."""
        return "architecture" in self.config


@cache
def catalog() -> Mapping[str, BackboneRow]:
    """The rows by name, in the order of the file."""
    content = shipped_yaml(TABLE_FILE)
    return {name: parse_row(BackboneRow, row, f"{TABLE_FILE.name}, '{name}'") for name, row in content.items()}


def with_first_block(method: MethodOptions, backbone: str) -> MethodOptions:
    """A method that freezes the first blocks, with the number that a paper gives for this backbone.

    Nothing changes where `first_block` is set, the method adapts every block, or no paper is known.
    """
    row = catalog().get(backbone)
    if row is None or row.first_block is None or method.first_block is not None or not method.spec.frozen_share:
        return method
    return method.model_copy(update={"first_block": row.first_block})


def markdown_table() -> str:
    """The table as docs/backbones.md shows it."""
    head = ["name", "million parameters", "blocks", "first_block", "pretrained on", "licence", "for 512 crops", "from"]
    lines = [head, ["---"] * len(head), *(_cells(name, row) for name, row in catalog().items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(name: str, row: BackboneRow) -> list[str]:
    recipe = ", ".join(f"`{key}: {value}`" for key, value in row.recipe.items())
    return [
        f"`{name}`",
        f"{row.parameters:.1f}",
        str(row.blocks),
        "a third" if row.first_block is None else str(row.first_block),
        f"{row.data} ({row.source})",
        row.licence + (", gated" if row.gated else ""),
        recipe or "as it is",
        f"[{row.hub}](https://huggingface.co/{row.hub})" + (", needs `minorkey[timm]`" if row.needs_timm else ""),
    ]
