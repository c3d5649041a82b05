"""A source data set as a user writes it: its name, or a mapping that adds its share and its subset."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from minorkey.data.readers.own import taken


class SourceOptions(BaseModel):
    """A data set to train on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str  # as `open_datasets` takes it
    weight: float | None = Field(default=None, gt=0)  # share in the batches; by its length where absent
    fraction: str | float | None = None  # part of its images, above 0 to 1, e.g. 0.5 or 1/16
    files: Path | None = None  # list of the keys to keep, one per line

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

    @field_validator("fraction")
    @classmethod
    def _a_part(cls, value: str | float | None) -> str | float | None:
        try:
            good = value is None or 0 < Fraction(value) <= 1
        except (ValueError, ZeroDivisionError):
            good = False
        if not good:
            raise ValueError(f"fraction {value!r} is not above 0 to 1; write e.g. 0.5 or 1/16")
        return value

    @model_validator(mode="after")
    def _one_choice(self) -> "SourceOptions":
        if self.fraction is not None and self.files is not None:
            raise ValueError("give either `fraction` or `files`")
        return self
