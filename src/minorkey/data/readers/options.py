"""A source data set as a user writes it: its name, or a mapping that adds its share and its subset."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from minorkey.data.readers.own import taken


def _a_part(value: str | float) -> str | float:
    """A share, above 0 to 1."""
    try:
        good = 0 < Fraction(str(value)) <= 1
    except (ValueError, ZeroDivisionError):
        good = False
    if not good:
        raise ValueError(f"fraction {value!r} is not above 0 to 1; write e.g. 0.5 or 1/16")
    return value


def _an_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"'{value}' is no regular expression: {error}") from error
    return value


Share = Annotated[str | float, AfterValidator(_a_part)]


class HeldOut(BaseModel):
    """Images of a data set that has no validation images of its own, which are not trained on and judged instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: Share = 0.1  # of the images, or of their groups
    seed: int = Field(default=0, ge=0)  # of the draw; not that of the run, so that runs are judged on the same images
    by: Annotated[str, AfterValidator(_an_expression)] | None = None  # what of a key is its group, e.g. "video\\d+"


class SourceOptions(BaseModel):
    """A data set to train on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str  # as `open_datasets` takes it
    weight: float | None = Field(default=None, gt=0)  # share in the batches; by its length where absent
    fraction: Share | None = None  # part of its images, above 0 to 1, e.g. 0.5 or 1/16
    files: Path | None = None  # list of the keys to keep, one per line
    validation: HeldOut | None = None  # images that are held out first; None: those of its own validation split

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _to_name(self, handler: SerializerFunctionWrapHandler) -> Any:
        """As the user wrote it: the bare name where nothing else was said."""
        return self.data if self == SourceOptions(data=self.data) else handler(self)

    @field_validator("data")
    @classmethod
    def _own_one_is_there(cls, value: str) -> str:
        return taken(value)

    @field_validator("validation", mode="before")
    @classmethod
    def _from_share(cls, value: Any) -> Any:
        return {"fraction": value} if isinstance(value, str | float | int) else value

    @model_validator(mode="after")
    def _one_choice(self) -> "SourceOptions":
        if self.fraction is not None and self.files is not None:
            raise ValueError("give either `fraction` or `files`")
        return self
