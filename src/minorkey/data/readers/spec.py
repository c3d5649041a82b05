"""What is said of a data set of label images: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from minorkey.data.readers.layout import Layout
from minorkey.data.readers.pattern import wrong_fields
from minorkey.errors import ConfigError
from minorkey.labels import Legend, legend
from minorkey.labels.tables import read_forms

TABLE_FILE = Path(__file__).with_name("datasets.yaml")

Encoding = Literal["ids", "colours", "low_byte", "polygons"]
"""How a label file holds its classes: ids as grey values or palette indices; RGB colours; ids in the low byte of the
first of three 16-bit channels; polygons in JSON as Cityscapes and IDD write them."""


class DatasetSpec(Legend, Layout):
    """A data set: how its files are named, what its splits are, and what its ids or colours are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    legend: str | None = None  # a shipped legend, in place of ids or colours
    labels: str = "labels/{split}/{key}.*"
    invalid: str | None = None  # masks whose pixels other than 0 are left out
    encoding: Encoding = "ids"

    @model_validator(mode="before")
    @classmethod
    def _with_legend(cls, row: Any) -> Any:
        """Take the legend in, and say by the way it is written that labels are painted."""
        if isinstance(row, dict) and isinstance(row.get("legend"), str):
            try:
                row = {**legend(row["legend"]).model_dump(exclude_defaults=True), **row}
            except ConfigError as error:
                raise ValueError(str(error)) from error
        if isinstance(row, dict) and "colours" in row:
            row = {"encoding": "colours", **row}
        return row

    @model_validator(mode="after")
    def _sound_patterns(self) -> "DatasetSpec":
        for text in filter(None, (self.labels, self.invalid)):
            if wrong := wrong_fields(text, ["key"]):
                raise ValueError(wrong)
        if (self.encoding == "colours") != bool(self.colours):
            raise ValueError("`encoding: colours` and a map `colours` go together")
        return self

    @property
    def beside(self) -> str | None:
        """The pattern of its label files."""
        return self.labels


@cache
def named_datasets() -> dict[str, tuple[DatasetSpec, ...]]:
    """The data sets that are known by name; several specs are forms it is published in, tried in order."""
    return read_forms(DatasetSpec, TABLE_FILE)
