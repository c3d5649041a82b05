"""What is said of a data set of label images: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from minorkey.data.readers.layout import Layout
from minorkey.data.readers.pattern import wrong_fields
from minorkey.errors import ConfigError
from minorkey.labels import Legend, legend, plain_name
from minorkey.labels.tables import read_forms

TABLE_FILE = Path(__file__).with_name("datasets.yaml")

Encoding = Literal["ids", "colours", "low_byte", "polygons", "coco", "cvat", "yolo", "labelme", "supervisely"]
"""How a label file holds its classes: ids as grey values or palette indices; RGB colours; ids in the low byte of the
first of three 16-bit channels; polygons in JSON as Cityscapes and IDD write them; shapes as tools for labelling do."""

BACKGROUND = "background"
"""The class of what no shape covers; `_background_`, as Labelme has it, is the same name."""

PER_SPLIT = ("coco", "cvat")
"""Encodings in which one file tells of all images of a split, or of all splits."""

DRAWN = (*PER_SPLIT, "yolo", "labelme", "supervisely")
"""Encodings of shapes, which are drawn: what none covers is the class `background`."""


class DatasetSpec(Legend, Layout):
    """A data set: how its files are named, what its splits are, and what its ids or colours are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    legend: str | None = None  # a shipped legend, in place of ids or colours
    labels: str = "labels/{split}/{key}.*"
    invalid: str | None = None  # masks whose pixels other than 0 are left out
    encoding: Encoding = "ids"
    lists: str | None = None  # pattern of the list of the keys of a split, as in Pascal VOC
    # A CSV of columns image and mask, perhaps domain and split, in place of patterns; one for each {split} in its name.
    table: str | None = None

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
        needed = {
            self.labels: [] if self.encoding in PER_SPLIT else ["key"],
            self.invalid: ["key"],
            self.lists: ["split"],
        }
        for text, fields in needed.items():
            if text is not None and (wrong := wrong_fields(text, fields)):
                raise ValueError(wrong)
        if self.encoding in DRAWN and self.background is None:
            raise ValueError(
                f"`encoding: {self.encoding}` needs a class `background` among its `ids`: what no shape covers"
            )
        if (self.encoding == "colours") != bool(self.colours):
            raise ValueError("`encoding: colours` and a map `colours` go together")
        return self

    @model_validator(mode="after")
    def _sound_table(self) -> "DatasetSpec":
        if self.table is not None and (self.encoding in (*DRAWN, "polygons") or self.lists or self.invalid):
            raise ValueError(
                "`table` names label images: `encoding` of shapes, `lists` and `invalid` do not go with it"
            )
        return self

    @property
    def by_pattern(self) -> bool:
        """Unless a table does."""
        return self.table is None

    @property
    def beside(self) -> str | None:
        """The pattern of its lists, where it has any, else of its label files."""
        return self.lists or self.labels

    @property
    def own(self) -> tuple[str, ...]:
        """As of a legend; what shapes are drawn on comes first, whatever its id."""
        names = super().own
        return (
            tuple(sorted(names, key=lambda name: plain_name(name) != BACKGROUND)) if self.encoding in DRAWN else names
        )

    @property
    def background(self) -> int | None:
        """The id of the class `background`; None: it has none."""
        return next((number for number, name in self.classes.items() if plain_name(name) == BACKGROUND), None)


@cache
def named_datasets() -> dict[str, tuple[DatasetSpec, ...]]:
    """The data sets that are known by name; several specs are forms it is published in, tried in order."""
    return read_forms(DatasetSpec, TABLE_FILE)
