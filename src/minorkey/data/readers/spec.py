"""What is said of a data set on disk: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from minorkey.data.readers.pattern import wrong_fields
from minorkey.data.readers.reader import Role
from minorkey.errors import ConfigError
from minorkey.labels import Legend, legend
from minorkey.labels.tables import parse_row, read_yaml

DEFAULT_SPLITS: dict[Role, tuple[str, ...]] = {
    "source": ("train", "all"),
    "target": ("train", "all"),
    "unseen": ("val", "test"),
}
"""The splits a data set is trained and judged on unless said, in order of preference."""

TABLE_FILE = Path(__file__).with_name("datasets.yaml")

Encoding = Literal["ids", "colours", "low_byte", "polygons"]
"""How a label file holds its classes: ids as grey values or palette indices; RGB colours; ids in the low byte of the
first of three 16-bit channels; polygons in JSON as Cityscapes and IDD write them."""


class DatasetSpec(Legend):
    """A data set: how its files are named, what its splits are, and what its ids or colours are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None  # the domain its samples carry; the name of the folder where absent
    folder: str | None = None  # where it lies in data_root; a folder of its name where absent
    legend: str | None = None  # a shipped legend, in place of ids or colours
    images: str = "images/{split}/{key}.*"  # see pattern.py
    labels: str = "labels/{split}/{key}.*"
    invalid: str | None = None  # masks whose pixels other than 0 are left out
    encoding: Encoding = "ids"
    splits: dict[str, str] = Field(default={})  # split -> its folder; any folder where absent
    unlabelled: list[str] = Field(default=[])  # splits that are published without labels
    domains: list[str] = Field(default=[])  # folders that are domains of their own
    skips: dict[str, str] = Field(default={})  # key of a pair that is known to be unusable -> why

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

    @field_validator("splits", mode="before")
    @classmethod
    def _own_folders(cls, value: Any) -> Any:
        """A list of splits that lie in folders of their names."""
        return {name: name for name in value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _sound_patterns(self) -> "DatasetSpec":
        for text in filter(None, (self.images, self.labels, self.invalid)):
            if wrong := wrong_fields(text, ["key"]):
                raise ValueError(wrong)
        if ("{domain}" in self.images) != bool(self.domains):
            raise ValueError("`domains` and a field {domain} in `images` go together")
        if (self.encoding == "colours") != bool(self.colours):
            raise ValueError("`encoding: colours` and a map `colours` go together")
        return self

    def default_split(self, role: Role) -> str | None:
        """The split that a role takes unless said, labelled where it needs labels; None if there is none."""
        choices = DEFAULT_SPLITS[role]
        if not self.splits:
            return choices[0]
        left_out = () if role == "target" else self.unlabelled
        return next((name for name in choices if name in self.splits and name not in left_out), None)


@cache
def named_datasets() -> dict[str, tuple[DatasetSpec, ...]]:
    """The data sets that are known by name; several specs are forms it is published in, tried in order."""
    content = read_yaml(TABLE_FILE)
    assert isinstance(content, dict)
    forms = {name: rows if isinstance(rows, list) else [rows] for name, rows in content.items()}
    return {name: tuple(parse_row(DatasetSpec, row, name) for row in rows) for name, rows in forms.items()}
