"""What is said of a data set on disk: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from minorkey.labels.space import Colour
from minorkey.labels.tables import parse_row, read_yaml

TABLE_FILE = Path(__file__).with_name("datasets.yaml")


class DatasetSpec(BaseModel):
    """A data set: where its files lie and what its ids, or its colours, are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None  # the domain its samples carry; the name of the folder where absent
    layout: Literal["folders"] = "folders"
    ids: dict[int, str] = {}  # id in the label files -> class name
    colours: dict[str, Colour] = Field(default={}, max_length=256)  # class name -> RGB, for painted label files
    ignores: list[str] = []  # class names that are left out of training and scores

    @model_validator(mode="after")
    def _one_map(self) -> "DatasetSpec":
        if bool(self.ids) == bool(self.colours):
            raise ValueError("give either `ids` (id: class name) or `colours` (class name: [r, g, b])")
        return self


@cache
def named_datasets() -> dict[str, DatasetSpec]:
    """The data sets that are known by name."""
    content = read_yaml(TABLE_FILE)
    assert isinstance(content, dict)
    return {name: parse_row(DatasetSpec, row, name) for name, row in content.items()}
