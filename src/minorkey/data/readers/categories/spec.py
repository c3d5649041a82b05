"""What is said of a data set of classified images: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, Field

from minorkey.data.readers.layout import Layout
from minorkey.data.readers.reader import Role
from minorkey.labels.tables import read_forms

TABLE_FILE = Path(__file__).with_name("datasets.yaml")

DRAWN = ("train", "val", "all")
"""The splits of a data set that is published without any: two parts of each domain drawn by a seed, and both."""

WHOLE = "all"


class CategorySpec(Layout):
    """A data set of classified images: how its files are named, or which table names them, and what its splits are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needed: ClassVar = ("category", "key")
    images: str = "{domain}/{category}/{key}.*"
    table: str | None = None  # a CSV with columns file and category, perhaps domain and split, in place of folders
    read_as: dict[str, str] = Field(default={})  # folder, or category of the table -> the name of its class
    ignores: list[str] = Field(default=[])  # class names whose images are left out
    held_out: float = Field(default=0.2, gt=0, lt=1)  # share of a domain's images that is `val`, where no split is said
    split_column: bool = Field(default=False, exclude=True)  # whether the table has one; found out by reading it

    @property
    def by_pattern(self) -> bool:
        """Unless a table does."""
        return self.table is None

    @property
    def published(self) -> bool:
        """Whether its splits are said by folders or by the table."""
        return "{split}" in self.images if self.by_pattern else self.split_column

    def default_split(self, role: Role) -> str | None:
        """As of other data sets; of splits that are drawn, a domain that is not trained on is judged as a whole."""
        if self.published:
            return super().default_split(role)
        return {"source": "train", "target": "train", "validation": "val", "unseen": WHOLE}[role]


@cache
def named_category_datasets() -> dict[str, tuple[CategorySpec, ...]]:
    """The data sets of classified images that are known by name; several specs are forms it is found in."""
    return read_forms(CategorySpec, TABLE_FILE)
